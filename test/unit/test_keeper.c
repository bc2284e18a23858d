/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper with a worker of this file's own: it follows a script that the test writes. */
#define _GNU_SOURCE 1

#include "common/clock.h"
#include "master/keeper.h"
#include "master/process.h"
#include "shm/arena.h"
#include "worker/worker.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum command { SERVE, END_DONE, END_FAILED, END_ABORTED, FILL_TABLE };

/* Shared with every worker of the test. */
struct script {
    uint32_t command;    /* what a worker does next */
    uint32_t serving;    /* workers that have reached their loop */
    int32_t pid;         /* of the last of them */
    int32_t socket;      /* descriptor the first worker has opened */
    uint64_t socket_ino; /* what it was, as each worker finds it */
    int32_t died_by_signal;
    int32_t ignored;      /* signals of the master's that are not ignored in the worker */
    int32_t pidfds_wrong; /* workers that did not find themselves and their keeper */
    uint32_t respawned;
    uint32_t disowned;  /* by keepers that workers have cloned */
    int32_t fill_error; /* what dup said at last */
};

static struct script *script;
static struct board board;
static int control = -1;
static int error_log = -1;
static pid_t keeper;

/* ---- the worker ---- */

static int32_t pid_of_pidfd(int fd)
{
    char path[64];
    char line[128];
    int32_t pid = -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "re");
    while (info && fgets(line, sizeof line, info)) {
        if (sscanf(line, "Pid: %d", &pid) == 1)
            break;
    }
    if (info)
        fclose(info);
    return pid;
}

static void check_surroundings(const struct worker_start *start)
{
    int32_t shown = board_slot(start->board, start->slot)->keeper_pid;
    if (pid_of_pidfd(FD_WORKER_PID) != getpid() || pid_of_pidfd(FD_KEEPER_PID) != shown)
        script->pidfds_wrong++;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGWINCH, SIGPIPE};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct sigaction action;
        sigaction(signals[i], NULL, &action);
        if (action.sa_handler != SIG_IGN)
            script->ignored++;
    }
}

static void obey(const struct worker_start *start)
{
    switch (LOAD_ACQUIRE(&script->command)) {
    case END_DONE: _exit(WORKER_EXIT_DONE);
    case END_FAILED: _exit(3);
    case END_ABORTED: {
        struct board_slot *slot = board_slot(start->board, start->slot);
        assert_set_last_words(slot->last_words, sizeof slot->last_words);
        ASSERT(script->command != END_ABORTED);
        break;
    }
    default: break;
    }
}

/* In the keeper, which has a copy of the worker's memory. */
static void disown(void *worker)
{
    if (worker == script && getpid() != script->pid)
        STORE_RELEASE(&script->disowned, script->disowned + 1);
}

void worker_main(const struct worker_start *start)
{
    struct stat st;
    if (script->socket < 0)
        script->socket = socket(AF_INET, SOCK_STREAM, 0);
    script->socket_ino = fstat(script->socket, &st) == 0 ? st.st_ino : 0;
    script->died_by_signal = start->died_by_signal;
    if (script->command == FILL_TABLE) {
        while (dup(STDIN_FILENO) >= 0)
            continue;
        script->fill_error = errno;
    }
    check_surroundings(start);
    STORE_RELAXED(&board_slot(start->board, start->slot)->state, SLOT_RUNNING);
    script->pid = (int32_t)getpid();
    STORE_RELEASE(&script->serving, script->serving + 1);
    for (;;) {
        struct pollfd fds[] = {{.fd = FD_KEEPER_PID, .events = POLLIN},
                               {.fd = FD_CONTROL, .events = POLLIN}};
        poll(fds, 2, 1);
        if (fds[1].revents)
            _exit(WORKER_EXIT_DONE); /* the test has ended, perhaps by failing */
        if (fds[0].revents && start->respawn_keeper(start->context, disown, script) > 0)
            STORE_RELEASE(&script->respawned, script->respawned + 1);
        obey(start);
    }
}

/* ---- the master's part ---- */

/* True as soon as `what` holds; false after ten seconds. */
#define UNTIL(what)                                                                                \
    ({                                                                                             \
        uint64_t end_ms = clock_mono_ms() + 10000;                                                 \
        bool holds;                                                                                \
        while (!(holds = (what)) && clock_mono_ms() < end_ms)                                      \
            poll(NULL, 0, 1);                                                                      \
        holds;                                                                                     \
    })

static char board_name[64];

static struct board_slot *shown(void)
{
    return board_slot(&board, 1);
}

static void set_up(void)
{
    int32_t owner;
    struct board_shape shape = {.tunnels_max = 100};
    script = mmap(NULL, sizeof *script, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(script, MAP_FAILED);
    script->socket = -1;
    snprintf(board_name, sizeof board_name, "/holdfast-test-keeper-%d", getpid());
    ck_assert_int_eq(board_create(&board, board_name, &shape, &owner), 0);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    error_log = memfd_create("log", MFD_CLOEXEC);
}

static void start_keeper(uint64_t descriptors)
{
    int ends[2];
    struct privileges stay = {.drop = false};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                     0);
    fflush(NULL);
    keeper = fork();
    if (keeper == 0) {
        struct keeper_start start = {
            .board = &board,
            .board_name = board_name,
            .slot = 1,
            .tunnels_max = 100,
            .control = ends[1],
            .error_log = error_log,
            .log_level = LOG_LEVEL_INFO,
            .descriptors = descriptors,
            .privileges = &stay,
        };
        keeper_main(&start);
    }
    close(ends[1]);
    control = ends[0];
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 1));
}

/* Every descendant ends by itself once the control socket is closed: nothing is left behind. */
static void tear_down(void)
{
    if (control >= 0)
        close(control);
    uint64_t end_ms = clock_mono_ms() + 10000;
    while (waitpid(-1, NULL, WNOHANG) >= 0 && clock_mono_ms() < end_ms)
        poll(NULL, 0, 1);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_eq(board_unlink(board_name), 0);
    close(error_log);
    munmap(script, sizeof *script);
    board_fini(&board);
}

static bool log_has(const char *text)
{
    static char buffer[65536];
    ssize_t n = pread(error_log, buffer, sizeof buffer - 1, 0);
    buffer[n > 0 ? n : 0] = '\0';
    return strstr(buffer, text) != NULL;
}

static int keeper_exit_status(void)
{
    int status = -1;
    ck_assert(UNTIL(waitpid(keeper, &status, WNOHANG) == keeper));
    return status;
}

START_TEST(a_killed_worker_is_replaced_and_told_how_its_predecessor_died)
{
    start_keeper(256);
    int32_t first = script->pid;
    ck_assert_int_eq(kill(first, SIGKILL), 0);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 2));
    ck_assert_int_ne(script->pid, first);
    ck_assert_int_eq(script->died_by_signal, SIGKILL);
    ck_assert_int_eq(shown()->worker_pid, script->pid);
    ck_assert_uint_eq(shown()->starts, 2);
    ck_assert_uint_eq(shown()->crashes, 1);
    ck_assert(WIFSIGNALED((int)shown()->last_status));
    ck_assert(UNTIL(log_has("worker_died")));
    ck_assert(log_has("reason=signal signal=KILL"));
    ck_assert(UNTIL(kill(first, 0) < 0)); /* reaped */
}
END_TEST

START_TEST(a_socket_of_the_first_worker_is_open_in_the_second)
{
    start_keeper(256);
    uint64_t ino = script->socket_ino;
    ck_assert_uint_ne(ino, 0);
    kill(script->pid, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 2));
    ck_assert_int_ge(script->socket, FD_DYNAMIC);
    ck_assert_uint_eq(script->socket_ino, ino);
}
END_TEST

START_TEST(a_worker_finds_itself_and_its_keeper_and_ignores_the_masters_signals)
{
    start_keeper(256);
    kill(script->pid, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 2));
    ck_assert_int_eq(script->pidfds_wrong, 0);
    ck_assert_int_eq(script->ignored, 0);
    ck_assert(process_is_ours(script->pid, PROCESS_WORKER));
    ck_assert(process_is_ours(keeper, PROCESS_KEEPER));
}
END_TEST

START_TEST(a_worker_that_ends_as_told_ends_its_keeper)
{
    start_keeper(256);
    STORE_RELEASE(&script->command, END_DONE);
    ck_assert_int_eq(keeper_exit_status(), 0);
    ck_assert_uint_eq(shown()->starts, 1);
    ck_assert_uint_eq(shown()->crashes, 0);
    ck_assert_uint_eq(shown()->state, SLOT_FREE);
    ck_assert_int_eq(shown()->worker_pid, 0);
}
END_TEST

START_TEST(a_worker_that_exits_with_an_error_is_replaced)
{
    start_keeper(256);
    STORE_RELEASE(&script->command, END_FAILED);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) >= 2));
    STORE_RELEASE(&script->command, SERVE);
    ck_assert_int_eq(script->died_by_signal, 0);
    ck_assert(UNTIL(log_has("reason=exit status=3")));
}
END_TEST

START_TEST(last_words_of_an_assert_are_logged)
{
    start_keeper(256);
    STORE_RELEASE(&script->command, END_ABORTED);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) >= 2));
    STORE_RELEASE(&script->command, SERVE);
    ck_assert(UNTIL(log_has("words=\"assertion failed: script->command")));
    ck_assert_int_eq(script->died_by_signal, SIGABRT);
}
END_TEST

START_TEST(workers_that_keep_dying_young_are_throttled)
{
    start_keeper(256);
    uint64_t before_ms = clock_mono_ms();
    STORE_RELEASE(&script->command, END_FAILED);
    /* Three are replaced at once, then 50, 100 and 200 ms pass. */
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) >= 7));
    ck_assert_uint_ge(clock_mono_ms() - before_ms, 350);
    ck_assert(UNTIL(LOAD_ACQUIRE(&shown()->state) == SLOT_THROTTLED));
    ck_assert_uint_ge(shown()->throttled, 3);
    ck_assert(log_has("worker_throttled"));
    STORE_RELEASE(&script->command, SERVE);
    ck_assert(UNTIL(LOAD_ACQUIRE(&shown()->state) == SLOT_RUNNING));
}
END_TEST

START_TEST(workers_killed_from_outside_are_replaced_without_a_pause)
{
    start_keeper(256);
    for (uint32_t i = 2; i < 12; i++) {
        poll(NULL, 0, 25); /* older than the 20 ms below which even a kill counts */
        kill(script->pid, SIGKILL);
        ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == i));
    }
    ck_assert_uint_eq(shown()->throttled, 0);
    ck_assert_uint_eq(shown()->crashes, 10);
}
END_TEST

START_TEST(a_killed_keeper_is_replaced_by_its_worker_and_goes_on_watching)
{
    start_keeper(256);
    int32_t worker = script->pid;
    uint64_t ino = script->socket_ino;
    for (uint32_t i = 1; i <= 5; i++) {
        int32_t dead = LOAD_ACQUIRE(&shown()->keeper_pid);
        ck_assert_int_eq(kill(dead, SIGKILL), 0);
        ck_assert(UNTIL(LOAD_ACQUIRE(&script->respawned) == i));
        ck_assert_int_ne(shown()->keeper_pid, dead);
        ck_assert(UNTIL(process_is_ours(shown()->keeper_pid, PROCESS_KEEPER)));
        ck_assert(UNTIL(LOAD_ACQUIRE(&script->disowned) == i));
    }
    ck_assert_int_eq(script->pid, worker);
    kill(worker, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 2));
    ck_assert_int_ne(script->pid, worker);
    ck_assert_uint_eq(script->socket_ino, ino);
    ck_assert_int_eq(script->pidfds_wrong, 0);
}
END_TEST

START_TEST(a_keeper_that_was_replaced_ends_with_a_stopped_worker)
{
    start_keeper(256);
    kill(keeper, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->respawned) == 1));
    struct arena arena;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", script->pid, FD_ARENA);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(arena_attach(&arena, fd), 0);
    arena.header->mode = SLOT_MODE_STOP;
    STORE_RELEASE(&script->command, END_DONE);
    ck_assert(UNTIL(LOAD_ACQUIRE(&shown()->keeper_pid) == 0));
    ck_assert_uint_eq(shown()->starts, 1);
    munmap(arena.header, arena.header->size);
    close(fd);
}
END_TEST

START_TEST(keeper_and_worker_killed_in_turns_lose_no_descriptor)
{
    start_keeper(256);
    uint64_t ino = script->socket_ino;
    for (uint32_t i = 1; i <= 20; i++) {
        kill(LOAD_ACQUIRE(&shown()->keeper_pid), SIGKILL);
        ck_assert(UNTIL(LOAD_ACQUIRE(&script->respawned) == i));
        poll(NULL, 0, 25);
        kill(script->pid, SIGKILL);
        ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == i + 1));
        ck_assert_uint_eq(script->socket_ino, ino);
    }
    ck_assert_uint_eq(shown()->crashes, 20);
    ck_assert_uint_eq(shown()->throttled, 0);
}
END_TEST

START_TEST(a_worker_is_replaced_while_the_descriptor_table_is_full)
{
    struct rlimit tight = {.rlim_cur = 256, .rlim_max = 256};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    script->command = FILL_TABLE;
    start_keeper(256);
    ck_assert_int_eq(script->fill_error, EMFILE);
    kill(script->pid, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 2));
    ck_assert(process_is_ours(shown()->worker_pid, PROCESS_WORKER));
    /* A keeper without its worker's pidfd would never see this. */
    kill(script->pid, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->serving) == 3));
    kill(shown()->keeper_pid, SIGKILL);
    ck_assert(UNTIL(LOAD_ACQUIRE(&script->respawned) == 1));
}
END_TEST

static TCase *cases(void)
{
    TCase *tcase = tcase_create("keeper");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_killed_worker_is_replaced_and_told_how_its_predecessor_died);
    tcase_add_test(tcase, a_socket_of_the_first_worker_is_open_in_the_second);
    tcase_add_test(tcase, a_worker_finds_itself_and_its_keeper_and_ignores_the_masters_signals);
    tcase_add_test(tcase, a_worker_that_ends_as_told_ends_its_keeper);
    tcase_add_test(tcase, a_worker_that_exits_with_an_error_is_replaced);
    tcase_add_test(tcase, last_words_of_an_assert_are_logged);
    tcase_add_test(tcase, workers_that_keep_dying_young_are_throttled);
    tcase_add_test(tcase, workers_killed_from_outside_are_replaced_without_a_pause);
    tcase_add_test(tcase, a_killed_keeper_is_replaced_by_its_worker_and_goes_on_watching);
    tcase_add_test(tcase, a_keeper_that_was_replaced_ends_with_a_stopped_worker);
    tcase_add_test(tcase, keeper_and_worker_killed_in_turns_lose_no_descriptor);
    tcase_add_test(tcase, a_worker_is_replaced_while_the_descriptor_table_is_full);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("keeper");
    suite_add_tcase(suite, cases());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
