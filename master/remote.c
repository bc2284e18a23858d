/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/remote.h"

#include "master/conf.h"
#include "master/pidfile.h"
#include "master/process.h"
#include "master/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct verb {
    const char *word;
    int signal;
    bool waits; /* until the master has ended */
};

static const struct verb verbs[] = {
    {"stop", SIGTERM, true},     {"quit", SIGQUIT, true},
    {"reload", SIGHUP, false},   {"reopen", SIGUSR1, false},
    {"upgrade", SIGUSR2, false}, {"recycle", 0, false}, /* SIGNALS_RECYCLE, which is no constant */
};

static const struct verb *find_verb(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].word, word) == 0)
            return &verbs[i];
    }
    return NULL;
}

/* A pidfd of the master, or -errno after a message. */
static int find_master(const char *pid_file)
{
    int32_t pid = pidfile_read(pid_file);
    if (pid == -ENOENT)
        fprintf(stderr, "holdfast: not running: there is no PID file %s\n", pid_file);
    else if (pid == -EINVAL)
        fprintf(stderr, "holdfast: the PID file %s holds no PID\n", pid_file);
    else if (pid < 0)
        fprintf(stderr, "holdfast: cannot read the PID file %s: %s\n", pid_file, strerror(-pid));
    if (pid < 0)
        return pid;
    /* The pidfd first: what is checked is what will be signalled. */
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0 && process_is_named(pid, PROCESS_MASTER))
        return fd;
    if (fd >= 0)
        close(fd);
    fprintf(stderr, "holdfast: not running: PID %d of %s is gone or another program\n", pid,
            pid_file);
    return -ESRCH;
}

static int send_and_wait(int pidfd, const struct verb *verb)
{
    int number = verb->signal ? verb->signal : SIGNALS_RECYCLE;
    if (syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0) {
        int error = -errno;
        fprintf(stderr, "holdfast: cannot signal the master: %s\n", strerror(-error));
        return error;
    }
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    while (verb->waits && poll(&ended, 1, -1) < 0 && errno == EINTR)
        continue;
    return 0;
}

int remote_signal(const char *conf_path, const char *word)
{
    const struct verb *verb = find_verb(word);
    if (!verb) {
        fprintf(stderr,
                "holdfast: -s %s: it is stop, quit, reload, reopen, upgrade, recycle, drain:, "
                "undrain:, "
                "close: or close-server:\n",
                word);
        return -EINVAL;
    }
    struct conf *conf = NULL;
    int error = conf_load_alone(&conf, conf_path, stderr);
    if (error)
        return error;
    int pidfd = find_master(conf->pid_file);
    conf_free(&conf);
    if (pidfd < 0)
        return pidfd;
    error = send_and_wait(pidfd, verb);
    close(pidfd);
    return error;
}
