/* SPDX-License-Identifier: Apache-2.0 */
/* Consistent hashing: nginx's walk, and the one with bounded load (worker/balance_parts.h). */
#include "common/ketama.h"
#include "shm/bound.h"
#include "shm/ring.h"
#include "worker/balance_parts.h"

#include <errno.h>

enum { LOOKS_MAX = 16 };

/* The server of this upstream that a point of the ring means; false: none (a ring is gossip). */
static bool server_at(const struct balance_round *round, const struct ring *ring, uint32_t point,
                      uint32_t *out)
{
    const struct balancer *balancer = round->ask->balancer;
    uint32_t backend = LOAD_RELAXED(&ring->points[point].server);
    if (backend >= balancer->map_count || balancer->server_of[backend] == 0)
        return false;
    *out = balancer->server_of[backend] - 1 - round->first;
    return *out < round->ask->upstream->servers.count;
}

static int find_ring(const struct balance_round *round, struct ring *ring)
{
    const struct balance_ask *ask = round->ask;
    if (ring_find(ask->board, ask->upstream->board_upstream, ask->image->header->generation, ring) <
            0 ||
        ring->count == 0)
        return -ESTALE;
    return 0;
}

static int if_valid(const struct balance_round *round, const struct ring *ring)
{
    const struct balance_ask *ask = round->ask;
    return ring_still_valid(ask->board, ask->upstream->board_upstream, ring) ? 0 : -ESTALE;
}

/*
 * Exactly nginx: the walk goes by points, not servers, so neighbouring points of one dead server cost
 * a try each, and a retry goes on at the point where the last one was found.
 */
int balance_hash(struct balance_round *round, uint32_t *out)
{
    struct balance_pick *pick = round->pick;
    struct ring ring;
    if (find_ring(round, &ring) < 0)
        return -ESTALE;
    if (!pick->hashed) {
        pick->point = ketama_find(ring.points, ring.count, ketama_hash(round->ask->key));
        pick->hashed = true;
    }
    while (pick->walked <= KETAMA_TRIES) {
        uint32_t server;
        if (server_at(round, &ring, pick->point % ring.count, &server) &&
            balance_usable(round, server)) {
            *out = server;
            return if_valid(round, &ring);
        }
        pick->point++;
        pick->walked++;
    }
    return -ENOENT;
}

/*
 * Among those that could take one more: who is at its max_conns, or held back by slow start, is left out
 * with what it has. So the bounds of the others add up to more than they have, and one has room.
 */
uint32_t balance_bound(struct balance_round *round, uint32_t i, uint32_t coming)
{
    const struct image_upstream *upstream = round->ask->upstream;
    uint64_t conns = coming, weights = 0;
    for (uint32_t j = 0; j < upstream->servers.count; j++) {
        const struct image_server *server = balance_server(round, j);
        if (j != i && !balance_usable(round, j))
            continue;
        conns += board_backend_conns_in(round->ask->board, server->backend, balance_slots(round));
        weights += server->weight;
    }
    return bound_of(conns, balance_server(round, i)->weight, weights, upstream->max_load);
}

bool balance_has_room(struct balance_round *round, uint32_t i)
{
    const struct image_upstream *upstream = round->ask->upstream;
    if (upstream->policy != BALANCE_HASH || upstream->max_load == 0)
        return true;
    uint32_t conns = board_backend_conns_in(round->ask->board, balance_server(round, i)->backend,
                                            balance_slots(round));
    return conns < balance_bound(round, i, 1);
}

/* Walk the ring once. Returns 0, or -ENOENT: *crowded if a server was usable, but had no room. */
static int walk_servers(struct balance_round *round, const struct ring *ring, bool *crowded,
                        uint32_t *out)
{
    uint32_t at = ketama_find(ring->points, ring->count, ketama_hash(round->ask->key));
    uint32_t left = round->ask->upstream->primaries;
    balance_bits_clear(round->pick, BALANCE_SEEN, round->ask->upstream->servers.count);
    for (uint32_t walked = 0; walked < ring->count && left > 0; walked++) {
        uint32_t server;
        uint32_t point = at;
        at = at + 1 == ring->count ? 0 : at + 1;
        if (!server_at(round, ring, point, &server) ||
            balance_bit(round->pick, BALANCE_SEEN, server))
            continue;
        balance_bit_set(round->pick, BALANCE_SEEN, server);
        left--;
        if (!balance_usable(round, server))
            continue;
        *out = server;
        if (balance_has_room(round, server))
            return 0;
        *crowded = true;
    }
    return -ENOENT;
}

/*
 * The first server in the order of the ring that is below its bound. By servers, not points, and without
 * an end to the tries: all workers look at the same counts, so they agree on where the overflow goes.
 * One of the usable ones always has room; when none seems to, counts have moved while we read them.
 */
int balance_hash_bounded(struct balance_round *round, uint32_t *out)
{
    struct ring ring;
    bool crowded = false;
    int rc = -ENOENT;
    if (find_ring(round, &ring) < 0)
        return -ESTALE;
    for (uint32_t look = 0; look < LOOKS_MAX && (look == 0 || crowded) && rc < 0; look++) {
        crowded = false;
        rc = walk_servers(round, &ring, &crowded, out);
    }
    round->full = round->full || (rc < 0 && crowded);
    return if_valid(round, &ring) < 0 ? -ESTALE : rc;
}
