/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { LOG_FILE_MODE = 0640 };

/* Not blocking: for a pipe that nobody reads, or whose reader has stopped, nobody is to wait. */
static int open_one(const char *path, FILE *errors)
{
    int fd;
    if (strcmp(path, "stderr") == 0)
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    else if (strcmp(path, "stdout") == 0)
        fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    else
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                  LOG_FILE_MODE);
    if (fd >= 0)
        return fd;
    int error = -errno;
    fprintf(errors, "holdfast: cannot open the log %s: %s\n", path,
            error == -ENXIO ? "it is a pipe that nobody reads, or a socket" : strerror(-error));
    return error;
}

int logs_open(struct master_logs *logs, const struct conf *conf, FILE *errors)
{
    *logs = (struct master_logs){.error = -1, .access = -1};
    int fd = open_one(conf->error_log.path, errors);
    if (fd < 0)
        return fd;
    logs->error = fd;
    if (!conf->access_log.path)
        return 0;
    fd = open_one(conf->access_log.path, errors);
    if (fd < 0) {
        logs_close(logs);
        return fd;
    }
    logs->access = fd;
    return 0;
}

void logs_close(struct master_logs *logs)
{
    if (logs->error >= 0)
        close(logs->error);
    if (logs->access >= 0)
        close(logs->access);
    *logs = (struct master_logs){.error = -1, .access = -1};
}

void logs_use(struct master *master, struct master_logs *logs)
{
    log_set_fd(logs->error);
    log_set_level(master->conf->error_log.level);
    logs_close(&master->logs);
    master->logs = *logs;
    *logs = (struct master_logs){.error = -1, .access = -1};
}
