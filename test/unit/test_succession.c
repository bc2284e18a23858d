/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper that has exec'ed this program finds an older arena; the workers are the real ones. */
#define _GNU_SOURCE 1

#include "common/clock.h"
#include "master/keeper.h"
#include "shm/arena_migrate.h"
#include "shm/board.h"
#include "test/unit/arena_v2_fixture.h"
#include "worker/context.h"
#include "worker/position.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SLOT = 1, TUNNELS = 2, TUNNELS_MAX = 16, ASIDE = 300, DESCRIPTORS = 1024, BULK = 32768 };

/* True as soon as `what` holds; false after ten seconds. */
#define UNTIL(what)                                                                                \
    ({                                                                                             \
        uint64_t end_ms = clock_mono_ms() + 10000;                                                 \
        bool holds;                                                                                \
        while (!(holds = (what)) && clock_mono_ms() < end_ms)                                      \
            poll(NULL, 0, 1);                                                                      \
        holds;                                                                                     \
    })

static struct arena_v2 old;
static struct board board;
static char board_name[64];
static int control[2];
static int error_log;
static int own[TUNNELS][2];  /* the worker's sockets: [0] to the client, [1] to the backend */
static int peer[TUNNELS][2]; /* clients and backends */
static uint8_t bulk[BULK];
static pid_t keeper;
static uint32_t *resumed; /* shared: parked workers that took the command back */

/* ---- what the program before has left ---- */

/* Connected over loopback; the worker has accepted clients, and has connected to backends. */
static void connect_pair(uint32_t tunnel, uint32_t side)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    int active = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(active, (struct sockaddr *)&at, len), 0);
    int passive = accept(listener, NULL, NULL);
    ck_assert_int_ge(passive, 0);
    close(listener);
    int ours = side == 0 ? passive : active;
    own[tunnel][side] = fcntl(ours, F_DUPFD, ASIDE);
    ck_assert_int_eq(fcntl(own[tunnel][side], F_SETFL, O_NONBLOCK), 0);
    close(ours);
    peer[tunnel][side] = side == 0 ? active : passive;
}

/* What a request's head was once: counted by the kernel, not by the tunnel. */
static void pass_aside(int from, int to, const char *bytes)
{
    char gone[64];
    size_t n = strlen(bytes);
    ck_assert_int_eq(send(from, bytes, n, 0), (ssize_t)n);
    struct pollfd readable = {.fd = to, .events = POLLIN};
    ck_assert_int_eq(poll(&readable, 1, 10000), 1);
    ck_assert_int_eq(recv(to, gone, n, MSG_WAITALL), (ssize_t)n);
}

static uint32_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
    return (uint32_t)cookie;
}

static void fill_record(uint32_t tunnel)
{
    struct arena_v2_tunnel *t = &old.tunnels[tunnel];
    struct position at[2];
    *t = (struct arena_v2_tunnel){.gen = 7, .state = TUNNEL_OPEN, .send_100ms = 600};
    t->active_ms = (uint32_t)clock_mono_ms();
    if (tunnel == 1) {
        /* As taken from the sources and not yet sent: one unmasked frame of 14 bytes, and bulk. */
        t->dir[0].rx = t->dir[0].tx = 5000;
        /* The head of the 101 has passed: layout 2 counts it in its positions. */
        t->head_len = 14;
        t->dir[1].rx = t->dir[1].tx = 14;
        arena_v2_stage(&old, &t->dir[0], 9, 32768 - 14, "\x82\x0cto a backend", 14);
        arena_v2_stage(&old, &t->dir[1], 10, 0, bulk, BULK);
        t->dir[0].flags |= ARENA_V2_READY;
        t->dir[1].flags |= ARENA_V2_READY;
        t->track[0].frames = 1;
        t->track[1].left = 1 << 20;
    }
    for (uint32_t side = 0; side < 2; side++) {
        t->fd[side] = own[tunnel][side];
        t->cookie[side] = cookie_of(t->fd[side]);
        ck_assert_int_eq(position_read(t->fd[side], side == 1, &at[side]), 0);
    }
    for (uint32_t d = 0; d < 2; d++) {
        t->src_off[d] = at[d].consumed - t->dir[d].rx;
        t->dst_off[d] = at[!d].written - t->dir[d].tx;
    }
    struct board_tunnel *pub = board_tunnel(&board, SLOT, tunnel);
    for (uint32_t d = 0; d < 2; d++)
        pub->bytes[d] = t->dir[d].rx - (d == 1 ? t->head_len : 0u);
    pub->id = board_tunnel_id(SLOT, 7, tunnel);
}

static struct board_slot *shown(void)
{
    return board_slot(&board, SLOT);
}

static void set_up(void)
{
    int32_t owner;
    struct board_shape shape = {.tunnels_max = TUNNELS_MAX};
    for (size_t i = 0; i < BULK; i++)
        bulk[i] = (uint8_t)(i * 11 + i / 256);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    resumed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(resumed, MAP_FAILED);
    snprintf(board_name, sizeof board_name, "/holdfast-test-succession-%d", getpid());
    ck_assert_int_eq(board_create(&board, board_name, &shape, &owner), 0);
    error_log = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, control), 0);
    arena_v2_init(&old, SLOT, TUNNELS_MAX);
    for (uint32_t tunnel = 0; tunnel < TUNNELS; tunnel++) {
        connect_pair(tunnel, 0);
        connect_pair(tunnel, 1);
        pass_aside(peer[tunnel][0], own[tunnel][0], "GET / HTTP/1.1");
        pass_aside(own[tunnel][1], peer[tunnel][1], "GET / HTTP/1.1, as sent on");
        pass_aside(peer[tunnel][1], own[tunnel][1], "HTTP/1.1 101");
        pass_aside(own[tunnel][0], peer[tunnel][0], "HTTP/1.1 101 S");
        fill_record(tunnel);
    }
    old.header->renewed_seq = 3;
    shown()->renew_seq = 3;
    /* What the board says of a slot whose first worker has parked. */
    shown()->starts = 1;
    shown()->tunnels_high = TUNNELS;
    shown()->tunnels_open = TUNNELS;
    shown()->counters[COUNTER_ACCEPTED] = TUNNELS;
    shown()->counters[COUNTER_TUNNELS_OPENED] = TUNNELS;
}

/* ---- the keeper after its exec ---- */

static void place(int fd, int number)
{
    if (dup2(fd, number) < 0)
        _exit(9);
    close(fd);
}

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void watch_tunnels(void)
{
    for (uint32_t tunnel = 0; tunnel < TUNNELS; tunnel++) {
        for (uint32_t side = 0; side < 2; side++) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
            event.data.u64 = (uint64_t)EVENT_TUNNEL << 56 | 7ull << 32 | tunnel << 1 | side;
            if (epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, own[tunnel][side], &event) < 0)
                _exit(9);
        }
    }
    /* Edges that the parked worker has handled come no more. */
    struct epoll_event handled[TUNNELS * 2];
    (void)epoll_wait(FD_EPOLL, handled, TUNNELS * 2, 0);
}

/* The numbers of a slot, with nothing of the test's: its ends of the sockets would hold them open. */
static void arrange(void)
{
    struct rlimit limit = {.rlim_cur = DESCRIPTORS, .rlim_max = DESCRIPTORS};
    int moved[] = {old.fd, control[1], error_log, shm_open(board_name, O_RDWR, 0)};
    static const int numbers[] = {FD_ARENA, FD_CONTROL, FD_ERROR_LOG, FD_BOARD};
    for (size_t i = 0; i < ARRAY_LEN(moved); i++)
        moved[i] = fcntl(moved[i], F_DUPFD, ASIDE + 100);
    int null = open("/dev/null", O_RDWR);
    null = fcntl(null, F_DUPFD, ASIDE + 100);
    for (int number = 0; number < FD_DYNAMIC; number++) {
        if (dup2(null, number) < 0)
            _exit(9);
    }
    if (close_range(FD_DYNAMIC, ASIDE - 1, 0) < 0)
        _exit(9);
    if (dup2(moved[2], STDERR_FILENO) < 0) /* a worker's log before it has an image */
        _exit(9);
    close(null);
    for (size_t i = 0; i < ARRAY_LEN(moved); i++)
        place(moved[i], numbers[i]);
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        _exit(9);
    place(epoll_create1(0), FD_EPOLL);
    place(eventfd(0, EFD_NONBLOCK), FD_WAKE);
    place(pidfd_of(getpid()), FD_KEEPER_PID);
    watch_tunnels();
}

/* Stands for the parked worker: a table and a mapping of its own, until it is told to exit. */
static void park(void)
{
    for (;;) {
        struct pollfd dead = {.fd = FD_KEEPER_PID, .events = POLLIN};
        uint32_t park = ARENA_PARK;
        if (LOAD_ACQUIRE(&old.header->command) == ARENA_EXIT)
            _exit(WORKER_EXIT_PARKED);
        if (poll(&dead, 1, 1) == 1 &&
            __atomic_compare_exchange_n(&old.header->command, &park, ARENA_RUN, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            STORE_RELEASE(resumed, *resumed + 1);
            _exit(0);
        }
    }
}

static void start_keeper(bool full)
{
    fflush(NULL);
    keeper = fork();
    if (keeper == 0) {
        arrange();
        pid_t parked = fork();
        if (parked == 0)
            park();
        place(pidfd_of(parked), FD_WORKER_PID);
        STORE_RELEASE(&shown()->worker_pid, parked);
        munmap(old.header, old.header->size); /* an exec does that */
        while (full && dup(FD_RESERVE) >= 0)
            continue;
        keeper_resume(SLOT);
    }
    close(control[1]);
    for (uint32_t tunnel = 0; tunnel < TUNNELS; tunnel++) {
        close(own[tunnel][0]);
        close(own[tunnel][1]);
    }
}

static bool log_has(const char *text)
{
    static char buffer[65536];
    ssize_t n = pread(error_log, buffer, sizeof buffer - 1, 0);
    buffer[n > 0 ? n : 0] = '\0';
    return strstr(buffer, text) != NULL;
}

/* Without its master the last worker ends, and its keeper with it. */
static void tear_down(void)
{
    uint64_t end_ms = clock_mono_ms() + 10000;
    close(control[0]);
    while (waitpid(-1, NULL, WNOHANG) >= 0 && clock_mono_ms() < end_ms)
        poll(NULL, 0, 1);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_eq(board_unlink(board_name), 0);
    board_fini(&board);
    arena_v2_fini(&old);
    munmap(resumed, 4096);
    close(error_log);
}

/* ---- traffic ---- */

static void expect(int fd, const void *bytes, size_t n)
{
    static uint8_t got[BULK];
    struct timeval patience = {.tv_sec = 10};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ck_assert_int_eq(recv(fd, got, n, MSG_WAITALL), (ssize_t)n);
    ck_assert_mem_eq(got, bytes, n);
}

/* Both ways through both tunnels; nothing else may stand before it. */
static void talk(const char *words)
{
    char line[64];
    for (uint32_t tunnel = 0; tunnel < TUNNELS; tunnel++) {
        for (uint32_t side = 0; side < 2; side++) {
            int n = snprintf(line, sizeof line, "%s %u %u", words, tunnel, side);
            ck_assert_int_eq(send(peer[tunnel][side], line, (size_t)n, 0), n);
            expect(peer[tunnel][!side], line, (size_t)n);
        }
    }
}

static void take_pending(void)
{
    expect(peer[1][1], "\x82\x0cto a backend", 14);
    expect(peer[1][0], bulk, BULK);
}

static void kill_worker(int signal)
{
    int32_t worker = LOAD_ACQUIRE(&shown()->worker_pid);
    uint32_t starts = LOAD_ACQUIRE(&shown()->starts);
    poll(NULL, 0, 25); /* older than what counts as a young death */
    ck_assert_int_eq(kill(worker, signal), 0);
    ck_assert(UNTIL(LOAD_ACQUIRE(&shown()->starts) == starts + 1));
}

START_TEST(tunnels_of_an_older_arena_go_on_with_every_pending_byte)
{
    start_keeper(false);
    take_pending();
    talk("after the upgrade");
    ck_assert(log_has("arena_migrated slot=1 from=2 to=3"));
    ck_assert(log_has("adopted tunnels=2"));
    ck_assert(
        UNTIL(board_tunnel(&board, SLOT, 1)->bytes[1] == BULK + strlen("after the upgrade 1 1")));
    ck_assert_uint_eq(shown()->tunnels_open, TUNNELS);
    ck_assert_uint_eq(shown()->counters[COUNTER_TUNNELS_LOST], 0);
    ck_assert_uint_eq(shown()->renewed_seq, 3);
    ck_assert_int_eq(shown()->renew_error, 0);
    ck_assert_int_ne(shown()->keeper_pid, 0);
}
END_TEST

/* Its memory would be held for good. */
static bool maps_old(int32_t pid)
{
    char path[64];
    char line[512];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (strstr(line, "memfd:arena-v2"))
            found = true;
    }
    fclose(maps);
    return found;
}

/* After SIGABRT a successor compares each record with the kernel's counts. */
START_TEST(the_new_arena_is_exact_and_is_the_only_one)
{
    start_keeper(false);
    take_pending();
    talk("before a crash");
    ck_assert(UNTIL(!maps_old(keeper) && !maps_old(shown()->worker_pid)));
    memset(old.header, 0xff, old.header->size); /* nobody looks at it any more */
    kill_worker(SIGABRT);
    talk("after a crash");
    ck_assert(log_has("verified condemned=0"));
    kill_worker(SIGKILL);
    kill(LOAD_ACQUIRE(&shown()->keeper_pid), SIGKILL);
    talk("after two more");
    ck_assert_uint_eq(shown()->counters[COUNTER_TUNNELS_LOST], 0);
}
END_TEST

/* Or the next program would not find it. */
START_TEST(the_new_arena_stays_open_when_the_keeper_execs_again)
{
    char path[64];
    char line[128];
    unsigned flags = UINT32_MAX;
    start_keeper(false);
    take_pending();
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", keeper, FD_ARENA);
    FILE *info = fopen(path, "re");
    ck_assert_ptr_nonnull(info);
    while (fgets(line, sizeof line, info)) {
        if (sscanf(line, "flags: %o", &flags) == 1)
            break;
    }
    fclose(info);
    ck_assert_uint_eq(flags & O_CLOEXEC, 0);
}
END_TEST

START_TEST(a_half_close_passes_through_a_migrated_tunnel)
{
    char byte;
    start_keeper(false);
    take_pending();
    ck_assert_int_eq(shutdown(peer[0][0], SHUT_WR), 0);
    ck_assert_int_eq(recv(peer[0][1], &byte, 1, 0), 0);
    ck_assert_int_eq(send(peer[0][1], "last", 4, 0), 4);
    expect(peer[0][0], "last", 4);
    ck_assert_int_eq(shutdown(peer[0][1], SHUT_WR), 0);
    ck_assert_int_eq(recv(peer[0][0], &byte, 1, 0), 0);
    ck_assert(UNTIL(LOAD_ACQUIRE(&shown()->tunnels_open) == 1));
}
END_TEST

/* The program before reads layout 2 only: going back to it would lose what it can not read. */
START_TEST(workers_that_die_do_not_lead_back_to_a_program_that_cannot_read_the_arena)
{
    start_keeper(false);
    take_pending();
    for (int i = 0; i < 5; i++) {
        talk("before a death");
        kill_worker(SIGKILL);
    }
    talk("after all");
    ck_assert(!log_has("program_rolled_back"));
    ck_assert(!log_has("roll_back_failed"));
}
END_TEST

START_TEST(a_full_table_does_not_stand_in_the_way)
{
    start_keeper(true);
    take_pending();
    talk("with a full table");
}
END_TEST

/* Refused before the commit: the worker takes back, nothing has changed. */
static void assert_taken_back(void)
{
    int status;
    struct arena_v2_header before = *old.header;
    size_t bytes = TUNNELS * sizeof(struct arena_v2_tunnel);
    uint8_t records[TUNNELS * sizeof(struct arena_v2_tunnel)];
    memcpy(records, old.tunnels, bytes);
    start_keeper(false);
    ck_assert_int_eq(waitpid(keeper, &status, 0), keeper);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert(UNTIL(LOAD_ACQUIRE(resumed) == 1));
    ck_assert_uint_eq(old.header->command, ARENA_RUN);
    before.command = ARENA_RUN;
    ck_assert_mem_eq(&before, old.header, sizeof before);
    ck_assert_mem_eq(records, old.tunnels, bytes);
    ck_assert_uint_eq(shown()->starts, 1);
    ck_assert(log_has("keeper_failed"));
}

START_TEST(an_unreadable_layout_is_refused_and_the_worker_takes_back)
{
    old.header->version = ARENA_VERSION + 1;
    assert_taken_back();
    ck_assert(log_has("arena layout 4 cannot be read by this program (reads 2 to 3)"));
}
END_TEST

START_TEST(a_damaged_arena_is_refused_and_the_worker_takes_back)
{
    old.tunnels[1].dir[0].chunk = 300;
    assert_taken_back();
    ck_assert(log_has("Bad message"));
}
END_TEST

START_TEST(a_worker_that_runs_again_is_left_alone)
{
    int status;
    old.header->command = ARENA_RUN;
    start_keeper(false);
    ck_assert_int_eq(waitpid(keeper, &status, 0), keeper);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert_uint_eq(shown()->starts, 1);
    /* Our stand-in for the worker ends as if by its master. */
    STORE_RELEASE(&old.header->command, ARENA_EXIT);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("succession");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, tunnels_of_an_older_arena_go_on_with_every_pending_byte);
    tcase_add_test(tcase, the_new_arena_is_exact_and_is_the_only_one);
    tcase_add_test(tcase, the_new_arena_stays_open_when_the_keeper_execs_again);
    tcase_add_test(tcase, a_half_close_passes_through_a_migrated_tunnel);
    tcase_add_test(tcase,
                   workers_that_die_do_not_lead_back_to_a_program_that_cannot_read_the_arena);
    tcase_add_test(tcase, a_full_table_does_not_stand_in_the_way);
    tcase_add_test(tcase, an_unreadable_layout_is_refused_and_the_worker_takes_back);
    tcase_add_test(tcase, a_damaged_arena_is_refused_and_the_worker_takes_back);
    tcase_add_test(tcase, a_worker_that_runs_again_is_left_alone);
    Suite *suite = suite_create("succession");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
