/* SPDX-License-Identifier: Apache-2.0 */
/* -d: go into the background, and tell the shell how it went. */
#ifndef MASTER_DAEMON_H
#define MASTER_DAEMON_H

#include "common/compiler.h"

/*
 * Fork twice with a session of its own between. Returns in the daemon only, with the descriptor for
 * daemon_ready. The process that was called waits until the daemon is ready or has failed, and exits
 * with that status. Standard error stays open until daemon_ready, for messages.
 * Returns the descriptor or -errno (nothing was forked, or only a child that has ended).
 */
int daemon_detach(void) MUST_CHECK;

/*
 * The daemon serves: the waiting process exits with 0. Closes and sets *ready_fd to -1; standard
 * input, output and error become /dev/null. Does nothing when *ready_fd is -1.
 */
void daemon_ready(int *ready_fd);

#endif
