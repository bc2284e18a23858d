/* SPDX-License-Identifier: Apache-2.0 */
/* The master execs a new program in place: same PID, same children, same sockets. Master only. */
#ifndef MASTER_HANDOVER_H
#define MASTER_HANDOVER_H

#include "master/master.h"

/*
 * Write down what the master knows and exec master->program. Does not return on success; else -errno
 * and nothing has changed.
 */
int handover_exec(struct master *master) MUST_CHECK;

/*
 * The new program: read what the old one wrote to `fd`, load the configuration and go on; the caller
 * then runs the loop. `master` is start_init'ed. Returns 0 or -errno after a message on standard error.
 */
int handover_resume(struct master *master, int fd) MUST_CHECK;

#endif
