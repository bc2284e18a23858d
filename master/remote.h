/* SPDX-License-Identifier: Apache-2.0 */
/* -s: signal or ask the master that runs, found by what the configuration names. */
#ifndef MASTER_REMOTE_H
#define MASTER_REMOTE_H

#include "common/compiler.h"

/*
 * stop, quit, reload, reopen, upgrade or recycle; stop and quit return when the master has ended. Whatever is wrong is
 * said on standard error. Returns 0 or -errno: -EINVAL (no such word, bad configuration), -ENOENT (no
 * PID file), -ESRCH (no master runs), -EPERM (not ours to signal).
 */
int remote_signal(const char *conf_path, const char *word) MUST_CHECK;

/*
 * drain:UPSTREAM/SERVER and the like (master/operate.h): ask the master by its control socket. What it
 * answers is printed, what is wrong is said on standard error. Returns 0 or -errno.
 */
int remote_order(const char *conf_path, const char *order) MUST_CHECK;

#endif
