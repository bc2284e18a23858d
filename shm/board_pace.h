/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast handshakes come in: in all, for each server, of each client; over all workers. An area of the
 * board. Every pace is one 64-bit word, "when could the next one come at the agreed pace" (the
 * generic cell rate algorithm), moved on by compare-and-swap: no part of it belongs to a process, so
 * nobody's death can leave it wrong; at worst a handshake that died with its worker was paid for.
 *
 * Times are monotonic microseconds, which all processes of a host share.
 */
#ifndef SHM_BOARD_PACE_H
#define SHM_BOARD_PACE_H

#include "common/compiler.h"
#include "shm/board.h"

#include <stdint.h>

/* An agreed pace. */
struct pace {
    uint64_t interval_us; /* between two; 0: no limit */
    uint64_t burst_us;    /* so much may come early: (burst - 1) * interval_us */
    uint64_t queue_us;    /* who comes earlier still may wait for so long */
};

struct board_pace {
    uint64_t next_us;  /* W*: when the next one is in time */
    uint64_t retry_us; /* W*: until when those who were refused have been told to stay away */
};

enum {
    PACE_ALL = 0,
    PACE_BACKENDS = 1, /* + index of the backend on the board */
    PACE_COUNT = PACE_BACKENDS + BOARD_BACKENDS_MAX,
    PACE_BUCKETS = 16384,
    PACE_WAYS = 8,
};

/*
 * Clients: 24 bits of hash, then 40 bits of time in units of 64 us (that wrap after two years; an entry
 * says a time near now, or nothing). 0: free. An entry whose time has passed may be
 * given to another client without loss. Two with the same bucket and the same 24 bits share a pace:
 * one in two million pairs, and nobody can choose them without the board's key.
 */
struct board_pace_bucket {
    uint64_t entries[PACE_WAYS];
};
_Static_assert(sizeof(struct board_pace_bucket) == CACHE_LINE, "one cache line");

struct board_paces {
    struct board_pace paces[PACE_COUNT];
    struct board_pace_bucket clients[PACE_BUCKETS] ALIGNED(CACHE_LINE);
};

/* The area; for its own file and for tests. */
struct board_paces *board_paces(const struct board *board);

/*
 * One more comes now. Returns 0 (in time) or the microseconds that it has to wait for its turn, which
 * is taken, or -EBUSY: it may not wait so long, and nothing was taken. Any worker.
 */
int64_t board_pace_take(const struct board *board, uint32_t index, const struct pace *pace,
                        uint64_t now_us) MUST_CHECK;

/*
 * When may one who was refused come again? Each is given a turn behind all those before, so that they
 * come back at the agreed pace: the more were refused, the later. Microseconds from now, at most
 * two minutes.
 */
uint64_t board_pace_retry(const struct board *board, uint32_t index, const struct pace *pace,
                          uint64_t now_us);

/*
 * One more handshake of the client with this hash. Returns 0 (in time), the microseconds after which it
 * would be, or -ENOSPC: no place to note it, and it should be let in.
 */
int64_t board_pace_take_client(const struct board *board, uint64_t hash, const struct pace *pace,
                               uint64_t now_us) MUST_CHECK;

#endif
