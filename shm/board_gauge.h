/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many tunnels, and handshakes on their way to one, there are: in all, of a site, to an upstream, of
 * a client; over all workers, and exactly where there is a limit. An area of the board.
 *
 * Each worker slot has a count of its own for every gauge (single writer); a limit is one on the sum. A
 * worker raises its own count first, makes that visible by a sequentially consistent fence, and then reads the
 * sum. Over the limit it lowers its count again and is not in.
 *
 * Never exceeded: suppose that more than `limit` were in at some moment, and look at the one of them
 * whose fence came last. The others had been counted before it and stayed counted, so the sum that it
 * read held them all and itself: it was over the limit, and this one would not have gone in.
 * Two that race for the last place may both find the sum over the limit; both look again, after
 * pauses of different length.
 *
 * Death: a count is raised before what it counts exists, and lowered after that is gone. So one that a
 * killed worker leaves behind is never too low: too many may be refused for the few milliseconds until
 * its successor has counted the tunnels that live on (board_gauge_restore). That stores every count
 * once, never a value below the truth on the way, so nobody can slip in between.
 *
 * Clients are too many to have a gauge each: they have places in a table, by a 63-bit hash of who they
 * are, in buckets of seven. A place whose counts are all 0 may be given to another client. For that
 * its bucket is locked (compare-and-swap of the slot's number), the place is marked as closing, and
 * then its counts are read; whoever enters raises his count first and looks at the place's key then.
 * Between a store and a load on either side stands such a fence, so at least one of the two sees the other: either
 * the taker finds the count and puts the key back, or the one who enters finds the key changed, lowers
 * his count and searches anew. A holder of the lock that is killed leaves its number in the lock: its
 * successor takes the mark off the places of that bucket, and the lock, too. The key is whole at all times, so no
 * client loses its count. When all seven are in use a client is let in without being counted, and the caller
 * counts that; while the lock is a dead worker's, or one's that does not run, it is refused.
 */
#ifndef SHM_BOARD_GAUGE_H
#define SHM_BOARD_GAUGE_H

#include "common/compiler.h"
#include "shm/board.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    GAUGE_BUCKETS = 16384,
    GAUGE_WAYS = 7,
    GAUGE_ALL = 0,
    GAUGE_SITES = 1,                                       /* + index of the site on the board */
    GAUGE_UPSTREAMS = GAUGE_SITES + BOARD_SITES_MAX,       /* + index of the upstream */
    GAUGE_CLIENTS = GAUGE_UPSTREAMS + BOARD_UPSTREAMS_MAX, /* + place of the client */
    GAUGE_COUNT = GAUGE_CLIENTS + GAUGE_BUCKETS * GAUGE_WAYS,
};

/* The highest bit of a key: somebody wants to give the place to another client. */
#define GAUGE_CLOSING (UINT64_C(1) << 63)

struct board_gauge_bucket {
    uint32_t lock; /* W*: 1 + slot of who changes keys here; 0: nobody */
    uint32_t pad;
    uint64_t keys[GAUGE_WAYS]; /* W, under the lock; 0: free */
};
_Static_assert(sizeof(struct board_gauge_bucket) == CACHE_LINE, "one cache line");

struct board_gauges {
    uint32_t clients_seen; /* M, W*: 1 once clients may have places: else readers skip them */
    uint32_t pad[15];
    uint32_t locking[BOARD_SLOTS_MAX]; /* W: 1 + bucket that it locks or has locked; 0: none */
    struct board_gauge_bucket buckets[GAUGE_BUCKETS];
    uint32_t counts[BOARD_SLOTS_MAX][GAUGE_COUNT]; /* W */
};

/* The area; for its own file, for adoption and for tests. */
struct board_gauges *board_gauges(const struct board *board);

/* The sum over all slots that ever started a worker. Any reader. */
uint32_t board_gauge_sum(const struct board *board, uint32_t gauge);

/*
 * Worker `slot` counts one in; limit 0: there is none. Returns false, and nothing is counted, if the
 * limit is reached. Never blocks; at most some microseconds when workers race for the last place.
 */
bool board_gauge_enter(const struct board *board, uint32_t slot, uint32_t gauge,
                       uint32_t limit) MUST_CHECK;

/* Worker `slot` counts one out that it, or its predecessor, had counted in. */
void board_gauge_leave(const struct board *board, uint32_t slot, uint32_t gauge);

/*
 * The same for the client with this hash; limit > 0. On 0 *gauge is what to leave. Returns -EBUSY (the limit is
 * reached, or nobody can tell just now) or -ENOSPC (no place for it: it is not counted, and *gauge is 0).
 */
int board_gauge_enter_client(const struct board *board, uint32_t slot, uint64_t hash,
                             uint32_t limit, uint32_t *gauge) MUST_CHECK;

/*
 * Worker `slot` on adoption, or the master for one that has none any more: its counts are these
 * (GAUGE_COUNT of them; NULL: nothing), and no lock is its own.
 */
void board_gauge_restore(const struct board *board, uint32_t slot, const uint32_t *counts);

#endif
