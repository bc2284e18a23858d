/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/succession.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    PARK_SLACK_MS = 500, /* beyond the requests' time: a turn of the loop, a flush of the log */
    LOOK_MS = 5,         /* how often we look whether the worker lives */
    LEAVE_MS = 2000,     /* a parked worker that does not leave is killed */
};

static bool worker_died(int patience_ms)
{
    struct pollfd worker = {.fd = FD_WORKER_PID, .events = POLLIN};
    return poll(&worker, 1, patience_ms) == 1 && worker.revents & POLLIN;
}

bool succession_worker_died(void)
{
    return worker_died(0);
}

static bool change_command(uint32_t *command, uint32_t from, uint32_t to)
{
    bool changed =
        __atomic_compare_exchange_n(command, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    (void)syscall(SYS_futex, command, FUTEX_WAKE, 1, NULL, NULL, 0);
    return changed;
}

void succession_undo(struct arena_header *header)
{
    (void)change_command(&header->command, ARENA_PARK, ARENA_RUN);
}

int succession_park(struct arena_header *header, uint32_t timeout_ms)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t until_ms = now_ms + timeout_ms + PARK_SLACK_MS;
    uint64_t one = 1;
    struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
    header->park_by_ms = now_ms + timeout_ms;
    if (!change_command(&header->command, ARENA_RUN, ARENA_PARK))
        return -EBUSY;
    ssize_t ignored = write(FD_WAKE, &one, sizeof one);
    (void)ignored;
    while (LOAD_ACQUIRE(&header->parked) == 0) {
        int error = worker_died(0) ? -ESRCH : clock_mono_ms() > until_ms ? -ETIMEDOUT : 0;
        if (error) {
            succession_undo(header);
            return error;
        }
        (void)syscall(SYS_futex, &header->parked, FUTEX_WAIT, 0, &look, NULL, 0);
    }
    return 0;
}

/* What runs now becomes the way back. */
static void keep_program(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    if (fd < 0)
        return;
    if (dup2(fd, FD_PROGRAM) < 0)
        (void)dup2(FD_RESERVE, FD_PROGRAM);
    close(fd);
}

static int run(int program, const char *path, uint32_t slot)
{
    char number[16];
    snprintf(number, sizeof number, "%u", slot);
    char *arguments[] = {(char *)"holdfast", (char *)"--keeper", number, NULL};
    if (path)
        execve(path, arguments, environ);
    else
        syscall(SYS_execveat, program, "", arguments, environ, AT_EMPTY_PATH);
    return -errno;
}

int succession_exec(const char *program, uint32_t slot)
{
    keep_program();
    return run(-1, program, slot);
}

int succession_exec_former(uint32_t slot)
{
    return run(FD_PROGRAM, NULL, slot);
}

int succession_commit(const struct succession *s)
{
    if (!change_command(s->command, ARENA_PARK, ARENA_EXIT))
        return -ECANCELED;
    if (!worker_died(LEAVE_MS)) {
        (void)kill(s->parked_pid, SIGKILL);
        (void)worker_died(-1);
    }
    return 0;
}

bool succession_claim(const struct succession *s)
{
    if (!change_command(s->command, ARENA_PARK, ARENA_EXIT) &&
        LOAD_ACQUIRE(s->command) != ARENA_EXIT)
        return false;
    /* FD_WORKER_PID may be our own by now, or nothing: the keeper died while it placed it. */
    struct pollfd parked = {.fd = (int)syscall(SYS_pidfd_open, s->parked_pid, 0), .events = POLLIN};
    if (parked.fd >= 0) {
        (void)poll(&parked, 1, LEAVE_MS);
        close(parked.fd);
    }
    return true;
}

void succession_end(const struct succession *s)
{
    if (LOAD_ACQUIRE(s->command) != ARENA_EXIT)
        return;
    STORE_RELEASE(s->parked, 0);
    (void)change_command(s->command, ARENA_EXIT, ARENA_RUN);
}
