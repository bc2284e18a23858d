/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/balance.h"

#include "common/ketama.h"
#include "shm/ring.h"

#include <errno.h>
#include <stdlib.h>

struct balancer {
    uint32_t references;
    uint32_t server_count;
    uint32_t map_count;
    uint32_t *server_of; /* by backend index on the board: 1 + server index in the image, 0: none */
    int64_t current[];   /* smooth weighted round robin: one value a server of the image */
};

static int map_backends(struct balancer *balancer, const struct image *image)
{
    for (uint32_t i = 0; i < balancer->server_count; i++) {
        uint32_t backend = image_server(image, i)->backend;
        if (backend >= balancer->map_count)
            balancer->map_count = backend + 1;
    }
    balancer->server_of = calloc(balancer->map_count + 1, sizeof *balancer->server_of);
    if (!balancer->server_of)
        return -ENOMEM;
    for (uint32_t i = 0; i < balancer->server_count; i++)
        balancer->server_of[image_server(image, i)->backend] = i + 1;
    return 0;
}

struct balancer *balance_new(const struct image *image)
{
    uint32_t count = image->header->servers.count;
    struct balancer *balancer = calloc(1, sizeof *balancer + count * sizeof balancer->current[0]);
    if (!balancer)
        return NULL;
    balancer->references = 1;
    balancer->server_count = count;
    if (map_backends(balancer, image) < 0)
        balance_release(&balancer);
    return balancer;
}

struct balancer *balance_acquire(struct balancer *balancer)
{
    balancer->references++;
    return balancer;
}

void balance_release(struct balancer **balancer)
{
    if (*balancer && --(*balancer)->references == 0) {
        free((*balancer)->server_of);
        free(*balancer);
    }
    *balancer = NULL;
}

int balance_init(struct balance_pick *pick, const struct image_upstream *upstream)
{
    uint32_t words = (upstream->servers.count + 63) / 64;
    *pick = (struct balance_pick){0};
    if (words > 1) {
        pick->tried = calloc(words, sizeof *pick->tried);
        return pick->tried ? 0 : -ENOMEM;
    }
    return 0;
}

void balance_fini(struct balance_pick *pick)
{
    free(pick->tried);
    pick->tried = NULL;
}

/* The struct may have moved since _init, so the inline word is found anew each time. */
static uint64_t *tried_word(struct balance_pick *pick, uint32_t server)
{
    return pick->tried ? &pick->tried[server / 64] : &pick->tried_inline;
}

static bool usable(struct balance_pick *pick, const struct image_server *server, uint32_t i)
{
    return !(server->flags & BACKEND_DOWN) && !(*tried_word(pick, i) & 1ull << (i % 64));
}

/* May server i be preferred over the best so far by least_conn's measure? -1 better, 0 equal, 1 worse. */
static int compare_load(uint64_t conns, uint32_t weight, uint64_t best_conns, uint32_t best_weight)
{
    uint64_t mine = conns * best_weight;
    uint64_t best = best_conns * weight;
    return mine < best ? -1 : mine > best;
}

/*
 * Smooth weighted round robin over the usable servers for which eligible[] (NULL: all) is set:
 * everyone gains its weight, the highest wins and pays the sum.
 */
static int pick_round_robin(struct balance_pick *pick, const struct image *image,
                            struct balancer *balancer, const struct image_upstream *upstream,
                            const uint8_t *eligible, uint32_t *out)
{
    int64_t total = 0;
    int64_t *best_current = NULL;
    uint32_t first = (uint32_t)(image_upstream_server(image, upstream, 0) - image_server(image, 0));
    for (uint32_t i = 0; i < upstream->servers.count; i++) {
        const struct image_server *server = image_upstream_server(image, upstream, i);
        if (!usable(pick, server, i) || (eligible && !eligible[i]))
            continue;
        int64_t *current = &balancer->current[first + i];
        *current += server->weight;
        total += server->weight;
        if (!best_current || *current > *best_current) {
            best_current = current;
            *out = i;
        }
    }
    if (!best_current)
        return -ENOENT;
    *best_current -= total;
    return 0;
}

/* Fewest live connections for its weight; among equals round robin, as nginx. */
static int pick_least_conn(struct balance_pick *pick, const struct board *board,
                           const struct image *image, struct balancer *balancer,
                           const struct image_upstream *upstream, uint32_t *out)
{
    uint8_t *equal = calloc(upstream->servers.count, 1);
    uint64_t best_conns = 0;
    uint32_t best_weight = 0;
    if (!equal)
        return pick_round_robin(pick, image, balancer, upstream, NULL, out);
    for (uint32_t i = 0; i < upstream->servers.count; i++) {
        const struct image_server *server = image_upstream_server(image, upstream, i);
        if (!usable(pick, server, i))
            continue;
        uint64_t conns = board_backend_conns(board, server->backend);
        int order =
            best_weight == 0 ? -1 : compare_load(conns, server->weight, best_conns, best_weight);
        if (order < 0) {
            memset(equal, 0, i);
            best_conns = conns;
            best_weight = server->weight;
        }
        equal[i] = order <= 0;
    }
    int rc = pick_round_robin(pick, image, balancer, upstream, equal, out);
    free(equal);
    return rc;
}

/* The server of this upstream that a point of the ring means; false: none (a ring is gossip). */
static bool server_by_backend(const struct image *image, const struct balancer *balancer,
                              const struct image_upstream *upstream, uint32_t backend,
                              uint32_t *out)
{
    if (backend >= balancer->map_count || balancer->server_of[backend] == 0)
        return false;
    uint32_t first = (uint32_t)(image_upstream_server(image, upstream, 0) - image_server(image, 0));
    *out = balancer->server_of[backend] - 1 - first;
    return *out < upstream->servers.count;
}

static int pick_by_hash(struct balance_pick *pick, const struct board *board,
                        const struct image *image, const struct balancer *balancer,
                        const struct image_upstream *upstream, struct slice key, uint32_t *out)
{
    struct ring ring;
    if (ring_find(board, upstream->board_upstream, image->header->generation, &ring) < 0 ||
        ring.count == 0)
        return -ESTALE;
    if (!pick->hashed) {
        pick->point = ketama_find(ring.points, ring.count, ketama_hash(key));
        pick->hashed = true;
    }
    while (pick->walked <= KETAMA_TRIES) {
        uint32_t backend = ring.points[pick->point % ring.count].server;
        uint32_t server;
        if (server_by_backend(image, balancer, upstream, backend, &server) &&
            usable(pick, image_upstream_server(image, upstream, server), server)) {
            *out = server;
            return ring_still_valid(board, upstream->board_upstream, &ring) ? 0 : -ESTALE;
        }
        pick->point++;
        pick->walked++;
    }
    return -ENOENT;
}

int balance_next(struct balance_pick *pick, const struct board *board, const struct image *image,
                 struct balancer *balancer, const struct image_upstream *upstream, struct slice key,
                 uint32_t *out)
{
    int rc = -ENOENT;
    bool hash = upstream->policy == BALANCE_HASH && key.n > 0 && upstream->servers.count > 1 &&
                !pick->fell_back;
    if (upstream->servers.count == 0)
        return -ENOENT;
    if (hash) {
        rc = pick_by_hash(pick, board, image, balancer, upstream, key, out);
        pick->fell_back = rc < 0;
    }
    if (rc < 0 && upstream->policy == BALANCE_LEAST_CONN)
        rc = pick_least_conn(pick, board, image, balancer, upstream, out);
    else if (rc < 0)
        rc = pick_round_robin(pick, image, balancer, upstream, NULL, out);
    if (rc < 0)
        return rc;
    *tried_word(pick, *out) |= 1ull << (*out % 64);
    pick->tries++;
    return 0;
}
