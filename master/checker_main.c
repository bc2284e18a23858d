/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's process (master/checker.h): its loop around checker_targets.c. */
#define _GNU_SOURCE 1
#include "common/clock.h"
#include "common/log.h"
#include "common/sha1.h"
#include "master/checker.h"
#include "master/checker_names.h"
#include "master/checker_targets.h"
#include "master/checker_tls.h"
#include "master/process.h"
#include "shm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    CONTROL = 3, /* our own descriptors: everything else that was the master's is closed */
    ERROR_LOG = 4,
    EVENTS_MAX = 64,
    BEAT_MS = 1000,
};
#define CONTROL_EVENT UINT64_MAX

/* The master's descriptors, listening sockets among them, must not live on in us. */
static int arrange_descriptors(const struct checker_start *start)
{
    /* Out of the way first: either may stand on the other's number. */
    int control = fcntl(start->control, F_DUPFD_CLOEXEC, ERROR_LOG + 1);
    int error_log = start->error_log >= 0 ? fcntl(start->error_log, F_DUPFD_CLOEXEC, ERROR_LOG + 1)
                                          : dup(STDERR_FILENO);
    if (control < 0 || error_log < 0 || dup3(control, CONTROL, O_CLOEXEC) < 0 ||
        dup3(error_log, ERROR_LOG, O_CLOEXEC) < 0 || close_range(ERROR_LOG + 1, ~0u, 0) < 0)
        return -errno;
    return 0;
}

/* Our own signals only: the master's are blocked, and its group's are not for us. */
static int become(const struct checker_start *start)
{
    sigset_t none;
    process_set_name(PROCESS_CHECKER);
    (void)setsid();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        return -errno;
    int error = arrange_descriptors(start);
    if (error)
        return error;
    log_init(ERROR_LOG, start->log_level, "checker");
    error = privileges_drop(start->privileges);
    return error ? error : sha1_init();
}

static int open_epoll(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = CONTROL_EVENT};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, CONTROL, &event) < 0)
        return -errno;
    return epoll;
}

/* What it works on. */
struct work {
    struct checker_targets targets;
    struct checker_names *names;
};

static void apply(struct work *work, const struct control_message *message,
                  const struct control_fds *fds)
{
    struct image *image = NULL;
    struct checker_tls_contexts *tls = NULL;
    (void)!dup3(fds->error_log, ERROR_LOG, O_CLOEXEC);
    close(fds->error_log);
    log_set_level((enum log_level)message->log_level);
    int error = image_open(&image, fds->image);
    close(fds->image);
    if (!error)
        error = checker_tls_contexts_new(&tls, image, fds->keys);
    if (fds->keys >= 0)
        close(fds->keys);
    if (!error)
        error = checker_names_use(work->names, image);
    if (!error)
        error = checker_targets_use(&work->targets, image, tls);
    if (error) {
        checker_tls_contexts_free(&tls);
        image_release(&image);
        log_write(LOG_LEVEL_ERROR, "image_refused", "error=%d", -error);
    }
}

/* Everything that the master has sent. Returns false when there is nothing (more) to do. */
static bool read_control(struct work *work)
{
    struct control_message message;
    struct control_fds fds;
    int error;
    while ((error = control_receive(CONTROL, &message, &fds)) != -EAGAIN) {
        if (error == -EPROTO) { /* without descriptors, say; only a successor is sent it again */
            log_write(LOG_LEVEL_ERROR, "configuration_lost", "error=%d", -error);
            _exit(1);
        }
        if (error) /* the master has gone, or wants us to */
            return false;
        apply(work, &message, &fds);
    }
    return work->targets.count > 0 || checker_names_count(work->names) > 0;
}

static int begin(struct work *work, const struct checker_start *start)
{
    int error = become(start);
    if (error)
        return error;
    work->targets.board = start->board;
    work->targets.epoll = open_epoll();
    if (work->targets.epoll < 0)
        return work->targets.epoll;
    work->names = checker_names_new(work->targets.epoll, CONTROL);
    return work->names ? 0 : -ENOMEM;
}

static void handle(struct work *work, const struct epoll_event *event)
{
    if (event->data.u64 & CHECKER_NAMES_EVENT)
        checker_names_event(work->names, event->data.u64, event->events);
    else
        checker_targets_event(&work->targets, event->data.u64, event->events);
}

/* Show that we live, and do what is due. Returns the milliseconds until the next time, at most. */
static int run(struct work *work)
{
    STORE_RELAXED(&work->targets.board->header->checker_beat_ms, (uint32_t)clock_mono_ms());
    int check_ms = checker_targets_run(&work->targets);
    int name_ms = checker_names_run(work->names);
    int wait_ms = name_ms < check_ms ? name_ms : check_ms;
    return wait_ms < BEAT_MS ? wait_ms : BEAT_MS;
}

NORETURN void checker_main(const struct checker_start *start)
{
    struct work work = {.names = NULL};
    struct epoll_event events[EVENTS_MAX];
    int error = begin(&work, start);
    if (error) {
        log_write(LOG_LEVEL_ERROR, "checker_failed", "error=%d", -error);
        _exit(1);
    }
    for (;;) {
        int n = epoll_wait(work.targets.epoll, events, EVENTS_MAX, run(&work));
        bool told = false;
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 == CONTROL_EVENT)
                told = true; /* afterwards: it changes what the other events are about */
            else
                handle(&work, &events[i]);
        }
        if (told && !read_control(&work))
            _exit(0);
    }
}
