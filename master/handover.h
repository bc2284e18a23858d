/* SPDX-License-Identifier: Apache-2.0 */
/* The master execs a new program in place: same PID, same children, same sockets. Master only. */
#ifndef MASTER_HANDOVER_H
#define MASTER_HANDOVER_H

#include "master/master.h"

/*
 * Let a child exec master->program and do all that handover_resume does up to where it would change
 * anything. Does not block. Returns its PID, or -errno; its exit status is 0 if all went well.
 */
int handover_rehearse(const struct master *master) MUST_CHECK;

/*
 * Write down what the master knows and exec master->program. Does not return on success; else -errno
 * and nothing has changed. The new program comes back by itself if it fails: see way_back.h.
 */
int handover_exec(struct master *master) MUST_CHECK;

/*
 * The new program: read what the old one wrote to `fd`, load the configuration and go on; the caller
 * then runs the loop. `master` is start_init'ed. Returns 0 or -errno after a message on standard error.
 */
int handover_resume(struct master *master, int fd) MUST_CHECK;

/*
 * Call it every turn: once the new program serves, with its own image, it is not left any more.
 * Returns true until then.
 */
bool handover_settle(struct master *master);

#endif
