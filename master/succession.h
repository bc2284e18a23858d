/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a keeper becomes a new program without losing a descriptor: its worker parks, the keeper execs,
 * the new program commits, the parked worker leaves, a worker of the new program adopts. Until the
 * commit the parked worker holds a table of its own and goes on if anything fails. Keeper only.
 */
#ifndef MASTER_SUCCESSION_H
#define MASTER_SUCCESSION_H

#include "common/compiler.h"
#include "shm/arena.h"
#include "shm/board.h"

#include <stdbool.h>

/*
 * Ask the worker to park and wait until it has; its requests may take `timeout_ms`. Blocks so long.
 * Returns 0, -ESRCH (the worker died meanwhile: adopt first) or -ETIMEDOUT; then nothing has changed.
 */
int succession_park(struct arena_header *header, uint32_t timeout_ms) MUST_CHECK;

/* Let the parked worker go on. Does nothing after a commit. */
void succession_undo(struct arena_header *header);

/* exec `program` as the keeper of a slot. Returns -errno if it cannot be run. */
int succession_exec(const char *program, uint32_t slot) MUST_CHECK;

/* exec the program that ran before, from FD_PROGRAM. Returns -errno. */
int succession_exec_former(uint32_t slot) MUST_CHECK;

/*
 * The new program, before it clones: commit, and wait until the parked worker has left, so that its
 * table does not hold sockets open. `command` and `parked` are the words of the arena that the worker
 * maps, which may be of an older layout. Returns 0, or -ECANCELED (the worker took it back: exit).
 */
int succession_commit(uint32_t *command, uint32_t *parked, int32_t worker) MUST_CHECK;

#endif
