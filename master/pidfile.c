/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/pidfile.h"

#include "master/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PID_FILE_MODE = 0644 };

int32_t pidfile_read(const char *path)
{
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return -EINVAL;
    text[n] = '\0';
    char *end;
    errno = 0;
    long pid = strtol(text, &end, 10);
    if (errno || end == text || (*end != '\n' && *end != '\0') || pid < 1 || pid > INT32_MAX)
        return -EINVAL;
    return (int32_t)pid;
}

/* Somebody who reads meanwhile finds the old file or the new one, never half of it. */
static int replace(const char *path, const char *text, size_t length)
{
    char temporary[PATH_MAX];
    struct stat st;
    /* "/dev/null", of one who wants no PID file, must be there for all others. */
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -ENODEV;
    int n = snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof temporary)
        return -ENAMETOOLONG;
    (void)unlink(temporary); /* of one with our PID that was killed here, in a container, say */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, PID_FILE_MODE);
    if (fd < 0)
        return -errno;
    int error = 0;
    ssize_t written = write(fd, text, length);
    if (written != (ssize_t)length)
        error = written < 0 ? -errno : -ENOSPC;
    close(fd);
    if (!error && rename(temporary, path) < 0)
        error = -errno;
    if (error)
        (void)unlink(temporary);
    return error;
}

int pidfile_write(const char *path, int32_t *owner)
{
    char text[32];
    int32_t other = pidfile_read(path);
    *owner = 0;
    if (other > 0 && other != (int32_t)getpid() && process_is_named(other, PROCESS_MASTER)) {
        *owner = other;
        return -EEXIST;
    }
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    return replace(path, text, (size_t)n);
}

void pidfile_remove(const char *path)
{
    if (pidfile_read(path) == (int32_t)getpid())
        (void)unlink(path);
}
