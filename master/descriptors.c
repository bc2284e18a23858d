/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/descriptors.h"

#include "shm/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fill_fixed_numbers(int null)
{
    for (int number = STDERR_FILENO + 1; number < FD_DYNAMIC; number++) {
        if (dup2(null, number) < 0)
            return -errno;
    }
    return 0;
}

static int silence_stdio(int null, bool detached)
{
    int last = detached ? STDERR_FILENO : STDOUT_FILENO;
    for (int number = STDIN_FILENO; number <= last; number++) {
        if (dup2(null, number) < 0)
            return -errno;
    }
    return 0;
}

int descriptors_grow(uint64_t limit)
{
    int last = (int)limit - 1;
    if (last < FD_DYNAMIC)
        return -EMFILE;
    if (dup2(FD_RESERVE, last) < 0)
        return -errno;
    close(last);
    return 0;
}

int descriptors_arrange(int control, int error_log, bool detached, uint64_t limit)
{
    /* First out of the way: either may stand at a number that belongs to something else. */
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return -errno;
    null = fcntl(null, F_DUPFD, FD_DYNAMIC);
    control = fcntl(control, F_DUPFD, FD_DYNAMIC);
    error_log = fcntl(error_log, F_DUPFD, FD_DYNAMIC);
    if (null < 0 || control < 0 || error_log < 0)
        return -errno;
    int error = fill_fixed_numbers(null);
    if (error)
        return error;
    if (dup2(control, FD_CONTROL) < 0 || dup2(error_log, FD_ERROR_LOG) < 0)
        return -errno;
    error = silence_stdio(null, detached);
    if (error)
        return error;
    if (close_range(FD_DYNAMIC, ~0u, 0) < 0)
        return -errno;
    return descriptors_grow(limit);
}

int descriptors_place(int fd, int number)
{
    int error = dup2(fd, number) < 0 ? -errno : 0;
    close(fd);
    return error;
}

int descriptors_place_pidfd(int32_t pid, int number)
{
    close(number);
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd == number) /* a pidfd is born close-on-exec, but it must cross into a new program */
        return fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
    if (fd >= 0)
        return descriptors_place(fd, number);
    int error = -errno;
    /* Standard input is /dev/null in every keeper and worker. */
    if (dup2(STDIN_FILENO, number) < 0)
        return -errno;
    return error;
}
