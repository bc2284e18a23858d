/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of a worker slot: forked by the master, tiny, blocked on its worker's pidfd. It clones
 * the worker with CLONE_FILES and without CLONE_VM, so that every socket outlives the worker, and
 * clones a successor first when one dies. It allocates nothing and, once set up, owns no descriptor
 * outside the fixed numbers of shm/arena.h.
 */
#ifndef MASTER_KEEPER_H
#define MASTER_KEEPER_H

#include "common/compiler.h"
#include "common/log.h"
#include "master/privileges.h"
#include "shm/board.h"

#include <stdbool.h>
#include <stdint.h>

/* What a keeper starts from. All borrowed from the forked master's memory. */
struct keeper_start {
    const struct board *board; /* mapped writable */
    const char *board_name;
    uint32_t slot;
    uint32_t tunnels_max;
    int control; /* the slot's end of its control socket */
    int error_log;
    enum log_level log_level;
    bool detached;        /* standard error is nobody's: the master is a daemon */
    uint64_t descriptors; /* size of the table: RLIMIT_NOFILE */
    const struct privileges *privileges;
};

/*
 * Run the keeper in a process that was just forked; every signal that the master uses is expected
 * to be blocked. Closes all descriptors but those of `start`.
 * Exits with 0 when its worker ended because it was told to, with 1 when it could not be set up.
 */
NORETURN void keeper_main(const struct keeper_start *start);

/*
 * Go on as the keeper of a slot in a program that its keeper has exec'ed: everything is found at the
 * fixed descriptor numbers. Commits if a worker is parked. Exits with 1 if it cannot take over.
 */
NORETURN void keeper_resume(uint32_t slot);

#endif
