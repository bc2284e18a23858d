/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which server of an upstream takes a request. Reads the board, takes no lock, never blocks.
 * balance.c is the order of things, balance_usable.c says who may be chosen, balance_choose.c and
 * balance_hash.c are the policies, balance_place.c counts the request in, balance_slow.c is slow start.
 */
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
    uint64_t *bits; /* three bits a server, see balance_parts.h: inline_bits or heap */
    uint64_t inline_bits[3];
    uint32_t tries;  /* servers handed out so far */
    uint32_t walked; /* points of the ring looked at, as nginx counts its tries */
    uint32_t point;  /* next point of the ring */
    bool hashed;     /* `point` is set */
    bool fell_back;  /* the ring's walk is over: round robin */
    bool slow_noted; /* slow start has counted it among the upstream's requests */
    bool panic;      /* the last choice ignored ejections: too many servers are ejected */
};

/* Begin; returns 0 or -ENOMEM. `_fini` frees what `_init` took. */
int balance_init(struct balance_pick *pick, const struct image_upstream *upstream) MUST_CHECK;
void balance_fini(struct balance_pick *pick);

/* What is asked of balance_next. All borrowed for the call. */
struct balance_ask {
    const struct board *board;
    const struct image *image;
    struct balancer *balancer;
    const struct image_upstream *upstream;
    struct slice key;    /* used with hash only; empty: round robin */
    struct slice sticky; /* value of the client's sticky cookie; empty: none */
    uint32_t slot;       /* the worker's */
    uint64_t now_ms;     /* monotonic */
};

/*
 * The next server to try: *out is an index into the upstream's run of servers. Servers that are down,
 * draining, ejected, failing their checks, full, or were tried are passed over, and backups as long as
 * a primary one is left. Hash walks the ring exactly as nginx 1.22: point by point, after more than 20
 * points by round robin; with max_load by distinct servers, as long as it takes.
 * On 0 the request is counted in `conns` of the server's cell: balance_leave counts it out.
 * A sticky cookie goes before all that, also to a server that drains, starts slowly or is a backup; not to
 * one whose tunnels are being closed.
 * Returns 0, -EBUSY (all that could take it are full: it may be asked again, from the key's own place on
 * the ring), or -ENOENT (no server is left).
 */
int balance_next(struct balance_pick *pick, const struct balance_ask *ask,
                 uint32_t *out) MUST_CHECK;

/* A request, or a tunnel, that balance_next has counted in `slot` leaves this backend. */
void balance_leave(const struct board *board, uint32_t slot, uint32_t backend);

#endif
