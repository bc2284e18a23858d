/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/keeper.h"

#include "common/clock.h"
#include "master/descriptors.h"
#include "master/obituary.h"
#include "master/process.h"
#include "master/slim.h"
#include "master/succession.h"
#include "master/throttle.h"
#include "shm/arena.h"
#include "shm/arena_migrate.h"
#include "shm/vault.h"
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CLONE_RETRY_MIN_MS = 10,
    CLONE_RETRY_MAX_MS = 1000,
    GO_PATIENCE_MS = 100,    /* how often a waiting worker looks whether its keeper lives */
    SUCCEED_PATIENCE_MS = 2, /* the same while tunnels wait for it */
    STATUS_TRIES = 5,        /* a traced worker is dead before we may know how it died */
    OOM_SCORE_WORKER = 500,  /* above the keeper's */
    OOM_SCORE_MAX = 1000,
    HANG_LOOK_S = 1,      /* how often we look whether the worker still comes round */
    TRIAL_MS = 10000,     /* how long a new program is on trial */
    TRIAL_DEATHS_MAX = 3, /* workers that may die in it */
};

struct keeper {
    struct board board;
    struct board_slot *shown; /* our slot on the board */
    struct arena arena;
    uint32_t slot;
    int32_t self;
    int32_t worker;    /* watched, or our own PID when we are the worker */
    bool foreign;      /* the worker is not our child: its status stays unknown */
    bool pidfd_placed; /* FD_WORKER_PID is the worker's */
    enum log_level log_level;
    uint64_t started_ms; /* monotonic: when the worker was cloned */
    int died_by_signal;
    int oom_score; /* the keeper's own */
    uint64_t
        trial_until_ms; /* a new program's first seconds: if workers die now, the old one returns */
    uint32_t trial_deaths;
    struct throttle throttle;
    struct log_limit limit;
    const struct succession *succession; /* in the making; NULL: none */
    struct arena_old old;                /* what the parked worker maps, if it is not ours */
    jmp_buf watch;                       /* where a respawned keeper begins */
};

static void pause_ms(uint32_t ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

/* ---- what every keeper is, forked by the master or respawned by its worker ---- */

static void do_nothing(int signal)
{
    (void)signal;
}

/* The master rules: a signal to a group or by name ends no keeper and no worker. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGWINCH, SIGPIPE};
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    /* USR2 means "look at the board"; it is let in by ppoll only, and never into a worker. */
    struct sigaction look = {.sa_handler = do_nothing};
    sigaction(SIGUSR2, &look, NULL);
    sigset_t only_usr2;
    sigemptyset(&only_usr2);
    sigaddset(&only_usr2, SIGUSR2);
    sigprocmask(SIG_SETMASK, &only_usr2, NULL);
}

static void open_log(const struct keeper *keeper)
{
    char who[16];
    snprintf(who, sizeof who, "k%u", keeper->slot);
    log_init(FD_ERROR_LOG, keeper->log_level, who);
}

static void become_keeper(struct keeper *keeper)
{
    process_set_name(PROCESS_KEEPER);
    (void)setsid();
    ignore_signals();
    open_log(keeper);
    keeper->self = (int32_t)getpid();
    STORE_RELEASE(&keeper->shown->keeper_pid, keeper->self);
}

/*
 * Raising one's own OOM score needs no right, but the file belongs to root while a process that has
 * changed its user is not dumpable.
 */
static void set_oom_score(int score)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%d", score);
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, text, (size_t)n);
        (void)ignored;
        close(fd);
    }
    if (dumpable != 1)
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int read_oom_score(void)
{
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

/* Worker: of the two, the one that can be replaced is to be taken. */
static void raise_oom_score(const struct keeper *keeper)
{
    int score = keeper->oom_score + OOM_SCORE_WORKER;
    set_oom_score(score < OOM_SCORE_MAX ? score : OOM_SCORE_MAX);
}

/* ---- the worker's side of a clone ---- */

static void go_wait(struct arena_header *header, long patience_ms)
{
    struct timespec patience = {.tv_nsec = patience_ms * 1000000L};
    (void)syscall(SYS_futex, &header->go, FUTEX_WAIT, 0, &patience, NULL, 0);
}

static void go_wake(struct arena_header *header)
{
    STORE_RELEASE(&header->go, 1);
    (void)syscall(SYS_futex, &header->go, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The worker stands on the board and its pidfd in the table. Keeper, or a worker it left alone. */
static void introduce(struct keeper *keeper, int32_t worker)
{
    keeper->pidfd_placed = descriptors_place_pidfd(worker, FD_WORKER_PID) == 0;
    STORE_RELAXED(&keeper->shown->starts, keeper->shown->starts + 1);
    STORE_RELEASE(&keeper->shown->worker_pid, worker);
}

/* What became of the renewal that was tried last. */
static void show_renewed(struct keeper *keeper, int error)
{
    keeper->shown->renew_error = -error;
    STORE_RELEASE(&keeper->shown->renewed_seq, keeper->arena.header->renewed_seq);
}

static int respawn_keeper(void *context, void (*disown)(void *worker), void *worker);

static NORETURN void run_worker(struct keeper *keeper)
{
    keeper->worker = (int32_t)getpid();
    process_set_name(PROCESS_WORKER);
    const struct succession *succession = keeper->succession;
    while (LOAD_ACQUIRE(&keeper->arena.header->go) == 0) {
        go_wait(keeper->arena.header, succession ? SUCCEED_PATIENCE_MS : GO_PATIENCE_MS);
        if ((int32_t)getppid() == keeper->self || LOAD_ACQUIRE(&keeper->arena.header->go) != 0)
            continue;
        /* The keeper died before it let us go: do the rest of its work, and replace it later. */
        if (succession && !succession_claim(succession))
            _exit(WORKER_EXIT_PARKED);
        if (LOAD_ACQUIRE(&keeper->shown->worker_pid) != keeper->worker)
            introduce(keeper, keeper->worker);
        break;
    }
    if (succession) {
        show_renewed(keeper, 0);
        succession_end(succession);
        arena_migrate_close(&keeper->old);
        keeper->succession = NULL;
    }
    raise_oom_score(keeper);
    struct worker_start start = {
        .board = &keeper->board,
        .arena = &keeper->arena,
        .slot = keeper->slot,
        .died_by_signal = keeper->died_by_signal,
        .respawn_keeper = respawn_keeper,
        .context = keeper,
    };
    worker_main(&start);
}

/* A child with the same descriptor table and a copy of the memory. */
static int32_t clone_sharing_files(void)
{
    return (int32_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
}

/*
 * Worker: the keeper died. The new one holds a copy of this worker's memory, and goes back to the
 * frame in which the first keeper watches: nothing is stacked on stack, however often this happens.
 */
static int respawn_keeper(void *context, void (*disown)(void *worker), void *worker)
{
    struct keeper *keeper = context;
    int32_t dead = LOAD_ACQUIRE(&keeper->shown->keeper_pid);
    if (dead > 1)
        (void)waitpid(dead, NULL, WNOHANG); /* ours if it was respawned, too; the master's if not */
    /* The new keeper inherits the score: it must open nothing while we place its pidfd. */
    set_oom_score(keeper->oom_score);
    int32_t pid = clone_sharing_files();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0) {
        keeper->foreign = true;
        become_keeper(keeper);
        disown(worker);
        longjmp(keeper->watch, 1);
    }
    if (!error) {
        keeper->self = pid;
        STORE_RELEASE(&keeper->shown->keeper_pid, pid);
        error = descriptors_place_pidfd(pid, FD_KEEPER_PID);
    }
    raise_oom_score(keeper);
    if (pid < 0)
        return error;
    log_write(LOG_LEVEL_WARN, "keeper_replaced", "slot=%u dead=%d pid=%d", keeper->slot, dead, pid);
    board_event(&keeper->board, OBITUARY_WRITER_SLOT + keeper->slot,
                "keeper_replaced slot=%u pid=%d", keeper->slot, pid);
    return error ? error : pid;
}

/* ---- the keeper's side ---- */

static void clone_worker(struct keeper *keeper)
{
    uint32_t wait_ms = CLONE_RETRY_MIN_MS;
    STORE_RELAXED(&keeper->shown->state, SLOT_STARTING);
    STORE_RELEASE(&keeper->arena.header->go, 0);
    for (;;) {
        keeper->started_ms = clock_mono_ms();
        int32_t pid = clone_sharing_files();
        if (pid == 0)
            run_worker(keeper);
        if (pid > 0) {
            keeper->worker = pid;
            keeper->foreign = false;
            introduce(keeper, pid);
            go_wake(keeper->arena.header);
            return;
        }
        log_limited(&keeper->limit, LOG_LEVEL_ERROR, "worker_clone_failed", "slot=%u error=\"%s\"",
                    keeper->slot, strerror(errno));
        pause_ms(wait_ms);
        wait_ms = wait_ms * 2 < CLONE_RETRY_MAX_MS ? wait_ms * 2 : CLONE_RETRY_MAX_MS;
    }
}

/* The master wants the program to be renewed: park the worker and exec. Returns if that failed. */
static void renew(struct keeper *keeper)
{
    struct arena_header *header = keeper->arena.header;
    uint64_t wanted = LOAD_ACQUIRE(&keeper->shown->renew_seq);
    char program[sizeof keeper->board.header->program];
    if (wanted == header->renewed_seq)
        return;
    header->renewed_seq = wanted; /* before the attempt: no successor tries the same again */
    memcpy(program, keeper->board.header->program, sizeof program);
    program[sizeof program - 1] = '\0';
    int error = succession_park(header, keeper->board.header->upgrade_timeout_ms);
    if (!error) {
        error = LOAD_RELAXED(&keeper->shown->renew_former) ? succession_exec_former(keeper->slot)
                                                           : succession_exec(program, keeper->slot);
        succession_undo(header);
    }
    log_write(LOG_LEVEL_ERROR, "renew_failed", "slot=%u program=%s error=\"%s\"", keeper->slot,
              program, strerror(-error));
    show_renewed(keeper, error);
}

/* A worker that does not come round any more is worth no more than a dead one. */
static void end_hung_worker(struct keeper *keeper)
{
    uint64_t limit_ms = LOAD_RELAXED(&keeper->board.header->hang_timeout_ms);
    uint64_t now_ms = clock_mono_ms();
    uint64_t beat_ms = LOAD_RELAXED(&keeper->shown->beat_ms);
    if (beat_ms < keeper->started_ms)
        beat_ms = keeper->started_ms; /* of its predecessor */
    bool parked = LOAD_ACQUIRE(&keeper->arena.header->parked) != 0;
    if (limit_ms == 0 || parked || now_ms <= beat_ms || now_ms - beat_ms <= limit_ms)
        return;
    log_write(LOG_LEVEL_ERROR, "worker_hung", "slot=%u pid=%d silent_ms=%llu", keeper->slot,
              keeper->worker, (unsigned long long)(now_ms - beat_ms));
    board_event(&keeper->board, OBITUARY_WRITER_SLOT + keeper->slot, "worker_hung slot=%u pid=%d",
                keeper->slot, keeper->worker);
    /* By the pidfd: a number may be somebody else's by now. */
    (void)syscall(SYS_pidfd_send_signal, FD_WORKER_PID, SIGKILL, NULL, 0);
}

/* We sleep nearly always: then neither code nor what we have looked at needs to be mapped. */
static void forget_pages(const struct keeper *keeper)
{
    /* Shared memory stays where it is, only it is no longer ours. */
    (void)madvise(keeper->board.header, keeper->board.size, MADV_DONTNEED);
    (void)madvise(keeper->arena.header, keeper->arena.header->size, MADV_DONTNEED);
    slim_drop_text();
}

/* Blocks until the worker has ended. It stays a zombie: reaping can take 10 ms and comes last. */
static void await_death(struct keeper *keeper)
{
    sigset_t all_in;
    sigemptyset(&all_in);
    for (;;) {
        struct pollfd pidfd = {.fd = FD_WORKER_PID, .events = POLLIN};
        struct timespec look = {.tv_sec = HANG_LOOK_S};
        renew(keeper);
        end_hung_worker(keeper);
        forget_pages(keeper);
        if (keeper->pidfd_placed && ppoll(&pidfd, 1, &look, &all_in) <= 0)
            continue;
        if (keeper->pidfd_placed && (pidfd.revents & POLLIN))
            return;
        /* No pidfd, or the worker has closed it: slower ways. */
        siginfo_t info;
        if (!keeper->foreign && waitid(P_PID, (id_t)keeper->worker, &info, WEXITED | WNOWAIT) == 0)
            return;
        if (keeper->foreign && !process_is_named(keeper->worker, PROCESS_WORKER))
            return;
        pause_ms(CLONE_RETRY_MIN_MS);
    }
}

/* How the worker ended, as a wait status; OBITUARY_UNKNOWN if nobody tells us. */
static int death_status(const struct keeper *keeper)
{
    for (int i = 0; i < STATUS_TRIES && !keeper->foreign; i++) {
        siginfo_t info;
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)keeper->worker, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
            break;
        if (info.si_pid == keeper->worker)
            return info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
                                              : (info.si_status & 0x7f);
        pause_ms(1); /* a tracer has it */
    }
    return OBITUARY_UNKNOWN;
}

/* Did it end because the master said so? A worker that is not our child cannot tell by its status. */
static bool ended_as_told(const struct keeper *keeper, int status)
{
    if (status != OBITUARY_UNKNOWN)
        return WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_DONE;
    uint32_t mode = keeper->arena.header->mode;
    bool empty = LOAD_RELAXED(&keeper->shown->tunnels_open) == 0 &&
                 LOAD_RELAXED(&keeper->shown->clients_open) == 0;
    return mode == SLOT_MODE_STOP || (mode == SLOT_MODE_DRAIN && empty);
}

static NORETURN void finish(struct keeper *keeper)
{
    STORE_RELAXED(&keeper->shown->state, SLOT_FREE);
    STORE_RELEASE(&keeper->shown->worker_pid, 0);
    STORE_RELEASE(&keeper->shown->keeper_pid, 0);
    _exit(0);
}

/* Too many died young: wait, and show it. */
static void hold_back(struct keeper *keeper, uint32_t wait_ms)
{
    STORE_RELAXED(&keeper->shown->state, SLOT_THROTTLED);
    STORE_RELAXED(&keeper->shown->throttled, keeper->shown->throttled + 1);
    log_limited(&keeper->limit, LOG_LEVEL_ERROR, "worker_throttled",
                "slot=%u young_deaths=%u pause_ms=%u", keeper->slot, keeper->throttle.young,
                wait_ms);
    pause_ms(wait_ms);
}

/* Workers of a new program that die at once: let the program before it try. */
static void judge_trial(struct keeper *keeper, const struct obituary *death)
{
    /* Who is killed, by an administrator or for want of memory, says nothing of his program. */
    if (death->status == OBITUARY_UNKNOWN ||
        (WIFSIGNALED(death->status) && WTERMSIG(death->status) == SIGKILL))
        return;
    if (clock_mono_ms() > keeper->trial_until_ms || ++keeper->trial_deaths < TRIAL_DEATHS_MAX)
        return;
    keeper->trial_until_ms = 0;
    obituary_log(death, &keeper->limit);
    log_write(LOG_LEVEL_ERROR, "program_rolled_back", "slot=%u deaths=%u", keeper->slot,
              keeper->trial_deaths);
    board_event(&keeper->board, OBITUARY_WRITER_SLOT + keeper->slot, "program_rolled_back slot=%u",
                keeper->slot);
    keeper->shown->renew_error = ENOEXEC;
    int error = succession_exec_former(keeper->slot);
    log_write(LOG_LEVEL_ERROR, "roll_back_failed", "slot=%u error=\"%s\"", keeper->slot,
              strerror(-error));
}

/* One life of a worker: wait for its end, replace it first, tell and reap after. */
static void watch_once(struct keeper *keeper)
{
    await_death(keeper);
    STORE_RELAXED(&keeper->shown->state, SLOT_STARTING); /* nobody serves */
    struct obituary death = {
        .slot = keeper->slot,
        .pid = keeper->worker,
        .status = death_status(keeper),
        .lived_ms = clock_mono_ms() - keeper->started_ms,
    };
    bool child = !keeper->foreign;
    if (ended_as_told(keeper, death.status))
        finish(keeper);
    obituary_show(&death, &keeper->board);
    judge_trial(keeper, &death);
    keeper->died_by_signal = obituary_signal(&death);
    int status = death.status == OBITUARY_UNKNOWN ? SIGKILL : death.status;
    uint32_t wait_ms = throttle_pause_ms(&keeper->throttle, death.lived_ms, status);
    if (wait_ms > 0)
        hold_back(keeper, wait_ms);
    /* A worker that died while it respawned us may not have got so far. */
    if (keeper->foreign && descriptors_place_pidfd(keeper->self, FD_KEEPER_PID) < 0)
        log_limited(&keeper->limit, LOG_LEVEL_WARN, "keeper_unwatched", "slot=%u", keeper->slot);
    clone_worker(keeper);
    obituary_log(&death, &keeper->limit);
    if (child)
        (void)waitpid(death.pid, NULL, 0);
}

/* The keeper itself never maps it: only the worker sees keys. */
static int make_vault(const struct keeper *keeper)
{
    int vault;
    int error = vault_create(keeper->slot, keeper->arena.header->tunnels_max, &vault);
    if (error || vault == FD_VAULT)
        return error < 0 || fcntl(FD_VAULT, F_SETFD, 0) == 0 ? error : -errno;
    return descriptors_place(vault, FD_VAULT);
}

static int set_up(struct keeper *keeper, const struct keeper_start *start)
{
    keeper->board = *start->board;
    keeper->board.fd = -1;
    keeper->slot = start->slot;
    keeper->log_level = start->log_level;
    keeper->shown = board_slot(&keeper->board, start->slot);
    int error =
        descriptors_arrange(start->control, start->error_log, start->detached, start->descriptors);
    if (error)
        return error;
    become_keeper(keeper);
    tzset(); /* so that no later log line opens a file for it */
    keeper->oom_score = read_oom_score();
    int arena;
    error = arena_create(&keeper->arena, start->slot, start->tunnels_max, &arena);
    if (error || (error = descriptors_place(arena, FD_ARENA)))
        return error;
    /* What the slot's last keeper was told is not for us: we are the newest program already. */
    keeper->arena.header->renewed_seq = LOAD_ACQUIRE(&keeper->shown->renew_seq);
    show_renewed(keeper, 0);
    int epoll = epoll_create1(0);
    if (epoll < 0)
        return -errno;
    error = descriptors_place(epoll, FD_EPOLL);
    if (error || (error = make_vault(keeper)))
        return error;
    int wake = error ? -1 : eventfd(0, EFD_NONBLOCK);
    if (!error)
        error = wake < 0 ? -errno : descriptors_place(wake, FD_WAKE);
    if (error || (error = descriptors_place_pidfd(keeper->self, FD_KEEPER_PID)))
        return error;
    int board = shm_open(start->board_name, O_RDWR, 0);
    error = board < 0 ? -errno : descriptors_place(board, FD_BOARD);
    if (error)
        return error;
    /* A core file would keep the successor waiting; 1, because 0 does not stop one piped to a program. */
    struct rlimit no_core = {.rlim_cur = 1, .rlim_max = 1};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    return privileges_drop(start->privileges);
}

/* The keeper before us died, maybe while it renewed itself: nobody will go on with that. */
static void give_up_renewal(struct keeper *keeper)
{
    succession_undo(keeper->arena.header);
    if (keeper->shown->renewed_seq != keeper->arena.header->renewed_seq)
        show_renewed(keeper, -ECANCELED);
}

/* Nothing is committed: the parked worker sees us die, goes on and makes a keeper. */
static NORETURN void fail_to_resume(const struct keeper *keeper, int error)
{
    log_write(LOG_LEVEL_ERROR, "keeper_failed", "slot=%u error=\"%s\"", keeper->slot,
              strerror(-error));
    _exit(1);
}

/* It has left, as it was told to; or somebody killed it while it was parked: that counts as any death. */
static void mourn_parked(const struct keeper *keeper, int32_t pid)
{
    struct obituary death = {.slot = keeper->slot, .pid = pid};
    if (waitpid(pid, &death.status, WNOHANG) == pid && WIFSIGNALED(death.status))
        obituary_show(&death, &keeper->board);
}

/*
 * The new program's first worker is there before the old one leaves: were we killed between, nobody
 * would hold the descriptors.
 */
static void take_over(struct keeper *keeper)
{
    const struct succession *succession = keeper->succession;
    STORE_RELEASE(&keeper->arena.header->go, 0);
    keeper->started_ms = clock_mono_ms();
    int32_t pid = clone_sharing_files();
    if (pid == 0)
        run_worker(keeper);
    int error = pid < 0 ? -errno : succession_commit(succession);
    if (error) {
        if (pid > 0)
            (void)kill(pid, SIGKILL);
        fail_to_resume(keeper, error);
    }
    keeper->worker = pid;
    keeper->succession = NULL;
    STORE_RELAXED(&keeper->shown->state, SLOT_STARTING);
    introduce(keeper, pid);
    show_renewed(keeper, 0);
    go_wake(keeper->arena.header);
    succession_end(succession);
    arena_migrate_close(&keeper->old); /* or it would keep its memory as long as we live */
    mourn_parked(keeper, succession->parked_pid);
}

/* A new keeper, cloned by a worker whose keeper died, begins at the jump, with its worker running. */
static NORETURN void watch_for_ever(struct keeper *keeper)
{
    if (setjmp(keeper->watch) != 0)
        give_up_renewal(keeper);
    else if (keeper->succession)
        take_over(keeper);
    else
        clone_worker(keeper);
    for (;;)
        watch_once(keeper);
}

void keeper_main(const struct keeper_start *start)
{
    struct keeper keeper;
    memset(&keeper, 0, sizeof keeper);
    int error = set_up(&keeper, start);
    if (error) {
        log_write(LOG_LEVEL_ERROR, "keeper_failed", "slot=%u error=\"%s\"", start->slot,
                  strerror(-error));
        _exit(1);
    }
    watch_for_ever(&keeper);
}

/*
 * The slot's arena, of whatever layout. One of an older layout is copied into a new one, which stands
 * at FD_ARENA of our table; the parked worker has a table of its own, and until the commit nothing in
 * the old arena changes. Our place for the old one is given up first: the table may be full.
 */
static int inherit_arena(struct keeper *keeper)
{
    int arena;
    struct arena_old *old = &keeper->old;
    int error = arena_attach(&keeper->arena, FD_ARENA);
    if (error != -EPROTONOSUPPORT)
        return error;
    error = arena_migrate_open(old, FD_ARENA);
    if (error == -EPROTONOSUPPORT)
        log_write(
            LOG_LEVEL_ERROR, "arena_unreadable",
            "slot=%u error=\"arena layout %u cannot be read by this program (reads %d to %d)\"",
            keeper->slot, old->version, ARENA_VERSION_READ_MIN, ARENA_VERSION);
    if (error)
        return error;
    close(FD_ARENA);
    error = arena_migrate(old->base, old->size, LOAD_RELAXED(&keeper->shown->tunnels_high),
                          &keeper->arena, &arena);
    if (error || arena == FD_ARENA)
        return error < 0 || fcntl(FD_ARENA, F_SETFD, 0) == 0 ? error : -errno;
    return descriptors_place(arena, FD_ARENA);
}

/*
 * The slot's vault; made anew if the program before had none: then there are no keys to lose. Its place
 * is given up first: the table may be full.
 */
static int inherit_vault(const struct keeper *keeper)
{
    int error = vault_look(FD_VAULT);
    if (error == -EPROTO && keeper->old.base) {
        close(FD_VAULT);
        return make_vault(keeper);
    }
    if (error)
        log_write(LOG_LEVEL_ERROR, "vault_unreadable", "slot=%u error=\"%s\"", keeper->slot,
                  strerror(-error));
    return error;
}

/* The table that exec left us is as big as what it holds: grow it while nobody shares it. */
static int inherit(struct keeper *keeper, uint32_t slot)
{
    struct rlimit limit;
    keeper->slot = slot;
    keeper->log_level = LOG_LEVEL_INFO;
    open_log(keeper);
    int error = board_attach_inherited(&keeper->board, FD_BOARD);
    if (error)
        return error;
    if (slot >= BOARD_SLOTS_MAX)
        return -EINVAL;
    keeper->shown = board_slot(&keeper->board, slot);
    error = inherit_arena(keeper);
    if (error)
        return error;
    if (keeper->arena.header->slot != slot)
        return -EINVAL;
    error = inherit_vault(keeper);
    if (error)
        return error;
    keeper->worker = LOAD_ACQUIRE(&keeper->shown->worker_pid);
    keeper->oom_score = read_oom_score();
    become_keeper(keeper);
    tzset();
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    return descriptors_grow(limit.rlim_cur);
}

/*
 * The words by which the parked worker is let go: those of the arena that it maps. An arena that was
 * migrated cannot be read by the program before: no way back is kept. Returns 1, 0 (the way back: the
 * worker is dead, not parked) or -ECANCELED.
 */
static int prepare_succession(struct keeper *keeper, struct succession *succession)
{
    const struct arena_old *old = &keeper->old;
    struct arena_header *header = keeper->arena.header;
    bool migrated = old->base != NULL;
    *succession = (struct succession){.command = migrated ? old->command : &header->command,
                                      .parked = migrated ? old->parked : &header->parked,
                                      .parked_pid = keeper->worker};
    /* Neither parked nor dead: it has taken the command back, and what we copied is no longer true. */
    if (LOAD_ACQUIRE(succession->command) != ARENA_PARK)
        return migrated || !succession_worker_died() ? -ECANCELED : 0;
    keeper->trial_until_ms = migrated ? 0 : clock_mono_ms() + TRIAL_MS;
    if (migrated)
        log_write(LOG_LEVEL_WARN, "arena_migrated", "slot=%u from=%u to=%d", keeper->slot,
                  old->version, ARENA_VERSION);
    return 1;
}

void keeper_resume(uint32_t slot)
{
    struct keeper keeper;
    struct succession succession;
    memset(&keeper, 0, sizeof keeper);
    int rc = inherit(&keeper, slot);
    if (rc == 0)
        rc = prepare_succession(&keeper, &succession);
    if (rc < 0)
        fail_to_resume(&keeper, rc);
    slim_share_relocations();
    if (rc > 0) {
        keeper.succession = &succession;
    } else { /* the way back: the worker has crashed */
        struct obituary death = {.status = death_status(&keeper)};
        keeper.died_by_signal = obituary_signal(&death);
        (void)waitpid(keeper.worker, NULL, WNOHANG);
        show_renewed(&keeper, -ENOEXEC);
    }
    watch_for_ever(&keeper);
}
