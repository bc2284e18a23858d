/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The process in the foreground: one byte means ready, end of file that the daemon has died. */
static NORETURN void wait_for_daemon(int fd, pid_t child)
{
    char byte;
    ssize_t n;
    (void)waitpid(child, NULL, 0);
    do {
        n = read(fd, &byte, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(EXIT_SUCCESS);
    fprintf(stderr, "holdfast: not started\n");
    _exit(EXIT_FAILURE);
}

int daemon_detach(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        int error = -errno;
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (child > 0) {
        close(ends[1]);
        wait_for_daemon(ends[0], child);
    }
    close(ends[0]);
    (void)setsid();
    child = fork();
    if (child != 0) /* the leader of the session ends: the daemon can never get a terminal */
        _exit(child < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    return ends[1];
}

void daemon_ready(int *ready_fd)
{
    if (*ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        (void)!dup2(null, fd);
    if (null >= 0)
        close(null);
    ssize_t ignored = write(*ready_fd, "", 1);
    (void)ignored;
    close(*ready_fd);
    *ready_fd = -1;
}
