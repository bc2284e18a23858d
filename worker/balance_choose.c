/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that need no ring (worker/balance_parts.h). */
#include "worker/balance_parts.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t conns_of(struct balance_round *round, const struct image_server *server)
{
    return board_backend_conns_in(round->ask->board, server->backend, balance_slots(round));
}

/* Has this one fewer connections for its weight? -1 fewer, 0 as many, 1 more. */
static int compare_load(uint64_t conns, uint32_t weight, uint64_t best_conns, uint32_t best_weight)
{
    uint64_t mine = conns * best_weight;
    uint64_t best = best_conns * weight;
    return mine < best ? -1 : mine > best;
}

/* Smooth weighted round robin: everyone gains its weight, the highest wins and pays the sum. */
int balance_round_robin(struct balance_round *round, const uint8_t *eligible, uint32_t *out)
{
    int64_t total = 0;
    int64_t *best_current = NULL;
    for (uint32_t i = 0; i < round->ask->upstream->servers.count; i++) {
        if ((eligible && !eligible[i]) || !balance_usable(round, i))
            continue;
        uint32_t weight = balance_server(round, i)->weight;
        int64_t *current = &round->ask->balancer->current[round->first + i];
        *current += weight;
        total += weight;
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
int balance_least_conn(struct balance_round *round, uint32_t *out)
{
    uint32_t count = round->ask->upstream->servers.count;
    uint8_t *equal = calloc(count, 1);
    uint64_t best_conns = 0;
    uint32_t best_weight = 0;
    if (!equal)
        return balance_round_robin(round, NULL, out);
    for (uint32_t i = 0; i < count; i++) {
        const struct image_server *server = balance_server(round, i);
        if (!balance_usable(round, i))
            continue;
        uint64_t conns = conns_of(round, server);
        int order =
            best_weight == 0 ? -1 : compare_load(conns, server->weight, best_conns, best_weight);
        if (order < 0) {
            memset(equal, 0, i);
            best_conns = conns;
            best_weight = server->weight;
        }
        equal[i] = order <= 0;
    }
    int rc = balance_round_robin(round, equal, out);
    free(equal);
    /* Those that were best may have been filled up by other workers since. */
    return rc < 0 && best_weight != 0 ? balance_round_robin(round, NULL, out) : rc;
}

/* xorshift64: enough to spread load. */
static uint64_t draw(struct balancer *balancer)
{
    uint64_t x = balancer->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    balancer->random = x;
    return x;
}

/* One of the usable servers but `other`, by weight; UINT32_MAX if there is none. */
static uint32_t draw_server(struct balance_round *round, uint32_t other)
{
    uint32_t count = round->ask->upstream->servers.count;
    uint32_t found = UINT32_MAX;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i == other || !balance_usable(round, i))
            continue;
        uint32_t weight = balance_server(round, i)->weight;
        total += weight;
        /* Keeps each with the chance weight / total, in one pass. */
        if (draw(round->ask->balancer) % total < weight)
            found = i;
    }
    return found;
}

/* The power of two choices: of two drawn servers the one with fewer connections for its weight. */
int balance_random_two(struct balance_round *round, uint32_t *out)
{
    uint32_t a = draw_server(round, UINT32_MAX);
    if (a == UINT32_MAX)
        return -ENOENT;
    uint32_t b = draw_server(round, a);
    *out = a;
    if (b == UINT32_MAX)
        return 0;
    const struct image_server *first = balance_server(round, a);
    const struct image_server *second = balance_server(round, b);
    if (compare_load(conns_of(round, second), second->weight, conns_of(round, first),
                     first->weight) < 0)
        *out = b;
    return 0;
}
