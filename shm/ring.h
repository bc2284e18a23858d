/* SPDX-License-Identifier: Apache-2.0 */
/* Consistent-hash rings on the board: built and published by the master, searched by everybody. */
#ifndef SHM_RING_H
#define SHM_RING_H

#include "shm/board.h"

#include <stdbool.h>

/* A ring as found; valid until the board's second next generation. */
struct ring {
    const struct ketama_point *points;
    uint32_t count;
    uint32_t generation;
};

/* One server for ring_publish. */
struct ring_server {
    struct slice text; /* address as written: what nginx hashes */
    uint32_t weight;
    uint32_t backend; /* index on the board */
};

/*
 * Master: build the rings of one generation. ring_begin empties the half that `generation` will use
 * (its previous ring was two generations old); ring_publish builds one upstream's ring behind the
 * ones before it and publishes it. `down` servers are included by the caller: they keep their points.
 * ring_publish returns 0, -ENOSPC (area full), -ENOMEM, or -EINVAL (no server with weight, or
 * generation 0).
 */
struct ring_writer {
    const struct board *board;
    uint32_t generation;
    uint32_t used; /* points used in this half */
};
void ring_begin(struct ring_writer *writer, const struct board *board, uint32_t generation);
int ring_publish(struct ring_writer *writer, uint32_t upstream, const struct ring_server *servers,
                 uint32_t server_count) MUST_CHECK;

/*
 * Find the ring of an upstream (index on the board) in one generation. Any process; no lock.
 * Returns 0, or -ESTALE if that generation's ring is not there (any more). A ring found has a point.
 */
int ring_find(const struct board *board, uint32_t upstream, uint32_t generation,
              struct ring *out) MUST_CHECK;

/* True while the ring has not been overwritten: ask after the search. */
bool ring_still_valid(const struct board *board, uint32_t upstream, const struct ring *ring);

/*
 * The distinct backends for a key, in the order the ring gives them; at most `max` into out[].
 * Returns how many. For observers and the bounded walk; workers walk points as nginx does.
 */
uint32_t ring_order(const struct ring *ring, struct slice key, uint32_t *out, uint32_t max);

#endif
