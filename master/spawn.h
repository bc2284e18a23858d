/* SPDX-License-Identifier: Apache-2.0 */
/* Fork the keeper of a slot. Master only. */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include "master/master.h"

/*
 * Fork a keeper for a slot that does not run, with a new arena and a new control socket, and have
 * the slot's state sent to it. The child gives back what the master's memory holds, so that it is
 * tiny. Returns 0 or -errno (no memory, no process).
 */
int spawn_keeper(struct master *master, uint32_t slot) MUST_CHECK;

/* Fork for every slot that is meant to run, does not, and has waited long enough. Every turn. */
void spawn_missing(struct master *master, uint64_t now_ms);

#endif
