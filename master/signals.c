/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/signals.h"

#include "master/pause.h"
#include "master/reload.h"
#include "master/reopen.h"
#include "master/stop.h"
#include "master/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

int signals_open(void)
{
    static const int handled[] = {SIGTERM, SIGINT,   SIGQUIT, SIGHUP,
                                  SIGUSR1, SIGWINCH, SIGCHLD, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNALS_RECYCLE);
    for (size_t i = 0; i < ARRAY_LEN(handled); i++)
        sigaddset(&set, handled[i]);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored by whoever started us, it would hide how children ended */
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
        return -errno;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

static void handle(struct master *master, uint32_t number)
{
    switch (number) {
    case SIGTERM:
    case SIGINT: stop_now(master); break;
    case SIGQUIT: stop_gracefully(master); break;
    case SIGHUP: reload_ask(master); break;
    case SIGUSR1: reopen_logs(master); break;
    case SIGWINCH: pause_accepting(master); break;
    case SIGUSR2: upgrade_ask(master, UPGRADE_PROGRAM); break;
    default: /* SIGCHLD only ends the wait: the loop reaps in every turn */
        if ((int)number == SIGNALS_RECYCLE)
            upgrade_ask(master, UPGRADE_RECYCLE);
        break;
    }
}

void signals_handle(struct master *master)
{
    struct signalfd_siginfo info;
    while (read(master->signals, &info, sizeof info) == (ssize_t)sizeof info)
        handle(master, info.ssi_signo);
}
