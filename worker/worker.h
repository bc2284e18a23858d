/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: what the keeper clones. The only header of this directory that the master may include. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "shm/arena.h"
#include "shm/board.h"

enum { WORKER_DIED_UNKNOWN = -1 };

/* What a worker starts from. All mapped memory and descriptors are the slot's, set up by the keeper. */
struct worker_start {
    struct board *board;
    struct arena *arena;
    uint32_t slot;
    int died_by_signal; /* 0: first of its slot, or its predecessor ended by itself; else the signal, or
                           WORKER_DIED_UNKNOWN: nobody could ask */
    /*
     * Clone a new keeper with the same descriptor table: called by the worker when its keeper died.
     * Returns the new keeper's PID in the worker, or -errno. In the keeper, which has a copy of the
     * worker's memory, it calls `disown` with `worker`, and does not return.
     */
    int (*respawn_keeper)(void *context, void (*disown)(void *worker), void *worker);
    void *context;
};

enum worker_exit {
    WORKER_EXIT_DONE = 0,   /* ended because the master said so: not to be replaced */
    WORKER_EXIT_PARKED = 3, /* parked, and told to make room for a successor (ARENA_EXIT) */
};

/*
 * Run the worker of a slot: applies control messages, accepts, serves, and ends by _exit:
 * WORKER_EXIT_DONE after SLOT_MODE_STOP, or SLOT_MODE_DRAIN when nothing is open any more.
 * Expects: privileges dropped, RLIMIT_NOFILE set, signals blocked or ignored as in the keeper,
 * FD_* of arena.h in place (FD_IMAGE, logs and listeners only after the first control message).
 */
NORETURN void worker_main(const struct worker_start *start);

#endif
