/* SPDX-License-Identifier: Apache-2.0 */
/* Which server of an upstream takes a request. Reads the board, takes no lock, never blocks. */
#ifndef WORKER_BALANCE_H
#define WORKER_BALANCE_H

#include "common/slice.h"
#include "shm/board.h"
#include "shm/image.h"

#include <stdbool.h>

/*
 * What one worker remembers for one image: smooth weighted round-robin state, and which server a
 * point of a ring means. Counted: a request keeps the one of the image it began with.
 */
struct balancer;
struct balancer *balance_new(const struct image *image); /* NULL: no memory */
struct balancer *balance_acquire(struct balancer *balancer);
void balance_release(struct balancer **balancer); /* nulls; accepts NULL */

/* One request's way through the servers of its upstream. */
struct balance_pick {
    uint64_t *tried; /* bit per server of the upstream; tried_inline or heap */
    uint64_t tried_inline;
    uint32_t tries;  /* servers handed out so far */
    uint32_t walked; /* points of the ring looked at, as nginx counts its tries */
    uint32_t point;  /* next point of the ring */
    bool hashed;     /* `point` is set */
    bool fell_back;  /* the ring's walk is over: round robin */
};

/* Begin; returns 0 or -ENOMEM. `_fini` frees what `_init` took. */
int balance_init(struct balance_pick *pick, const struct image_upstream *upstream) MUST_CHECK;
void balance_fini(struct balance_pick *pick);

/*
 * The next server to try: an index into the upstream's run of servers. `key` is used with hash only;
 * an empty one means round robin. Walks the ring exactly as nginx 1.22: point by point, past servers
 * that are down or were tried, after more than 20 points by round robin.
 * Returns 0, or -ENOENT when no server is left.
 */
int balance_next(struct balance_pick *pick, const struct board *board, const struct image *image,
                 struct balancer *balancer, const struct image_upstream *upstream, struct slice key,
                 uint32_t *out) MUST_CHECK;

#endif
