/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a keeper becomes a new program without losing a descriptor: its worker parks, the keeper execs,
 * the new program clones a worker and commits, the parked worker leaves, the new one adopts. Until the
 * commit the parked worker holds a table of its own and goes on if anything fails. Keeper, but for
 * succession_claim and succession_end.
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

/* Has the process behind FD_WORKER_PID ended? Does not block. */
bool succession_worker_died(void) MUST_CHECK;

/* Let the parked worker go on. Does nothing after a commit. */
void succession_undo(struct arena_header *header);

/* exec `program` as the keeper of a slot. Returns -errno if it cannot be run. */
int succession_exec(const char *program, uint32_t slot) MUST_CHECK;

/* exec the program that ran before, from FD_PROGRAM. Returns -errno. */
int succession_exec_former(uint32_t slot) MUST_CHECK;

/*
 * The words of the arena that the parked worker maps, which may be of an older layout, and its PID.
 * From the commit on its table is gone: so the new program clones its worker before, and whichever of
 * keeper and new worker is left alive brings the succession to its end.
 */
struct succession {
    uint32_t *command;
    uint32_t *parked;
    int32_t parked_pid;
};

/*
 * The new keeper, after it has cloned: commit, and wait until the parked worker has left, so that its
 * table does not hold sockets open. Returns 0, or -ECANCELED (the worker took it back: exit).
 */
int succession_commit(const struct succession *s) MUST_CHECK;

/*
 * The new worker, when its keeper died before it let it go: commit in its place, or find that it has.
 * Waits like succession_commit. Returns false if the parked worker took it back: exit.
 */
bool succession_claim(const struct succession *s) MUST_CHECK;

/* Both, once the new worker may go: the next succession can begin. Does no harm twice. */
void succession_end(const struct succession *s);

#endif
