/* SPDX-License-Identifier: Apache-2.0 */
/* -s: signal the master that runs, found by the PID file that the configuration names. */
#ifndef MASTER_REMOTE_H
#define MASTER_REMOTE_H

#include "common/compiler.h"

/*
 * stop, quit, reload, reopen, upgrade or recycle; stop and quit return when the master has ended. Whatever is wrong is
 * said on standard error. Returns 0 or -errno: -EINVAL (no such word, bad configuration), -ENOENT (no
 * PID file), -ESRCH (no master runs), -EPERM (not ours to signal).
 */
int remote_signal(const char *conf_path, const char *word) MUST_CHECK;

#endif
