/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/balance_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

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
    /* Workers that draw alike would send everybody to the same two. Not for secrets: any bytes do. */
    if (getrandom(&balancer->random, sizeof balancer->random, GRND_NONBLOCK) < 0)
        balancer->random = (uintptr_t)balancer;
    balancer->random |= 1; /* never zero, where the generator would stay */
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

/* ---- a request's bits ---- */

static uint32_t words_for(uint32_t servers)
{
    return (servers + 63) / 64;
}

int balance_init(struct balance_pick *pick, const struct image_upstream *upstream)
{
    uint32_t words = words_for(upstream->servers.count);
    *pick = (struct balance_pick){0};
    if (words > 1) {
        pick->bits = calloc((size_t)words * BALANCE_BITS, sizeof *pick->bits);
        return pick->bits ? 0 : -ENOMEM;
    }
    return 0;
}

void balance_fini(struct balance_pick *pick)
{
    free(pick->bits);
    pick->bits = NULL;
}

/* The struct may have moved since _init, so the inline words are found anew each time. */
static uint64_t *word_of(struct balance_pick *pick, enum balance_bit bit, uint32_t server)
{
    if (!pick->bits)
        return &pick->inline_bits[bit];
    return &pick->bits[server / 64 * BALANCE_BITS + bit];
}

bool balance_bit(struct balance_pick *pick, enum balance_bit bit, uint32_t server)
{
    return *word_of(pick, bit, server) >> (server % 64) & 1;
}

void balance_bit_set(struct balance_pick *pick, enum balance_bit bit, uint32_t server)
{
    *word_of(pick, bit, server) |= 1ull << (server % 64);
}

void balance_bits_clear(struct balance_pick *pick, enum balance_bit bit, uint32_t servers)
{
    for (uint32_t i = 0; i < servers; i += 64)
        *word_of(pick, bit, i) = 0;
}

/* ---- the order of things ---- */

static int by_policy(struct balance_round *round, uint32_t *out)
{
    const struct image_upstream *upstream = round->ask->upstream;
    struct balance_pick *pick = round->pick;
    /* As in nginx a single server, or an empty key, has no use for the ring. Backups stand on none. */
    bool hash = upstream->policy == BALANCE_HASH && !round->backups && round->ask->key.n > 0 &&
                upstream->primaries > 1;
    if (hash && upstream->max_load != 0) {
        int rc = balance_hash_bounded(round, out);
        if (rc != -ESTALE)
            return rc;
    } else if (hash && !pick->fell_back) {
        if (balance_hash(round, out) == 0)
            return 0;
        pick->fell_back = true;
    }
    switch (upstream->policy) {
    case BALANCE_LEAST_CONN: return balance_least_conn(round, out);
    case BALANCE_RANDOM_TWO: return balance_random_two(round, out);
    default: return balance_round_robin(round, NULL, out);
    }
}

/* Choose until one is ours. Ends: whoever is not to be had is skipped from then on. */
static int choose(struct balance_round *round, uint32_t *out)
{
    int rc;
    while ((rc = by_policy(round, out)) == 0) {
        if (balance_take(round, *out))
            return 0;
        balance_bit_set(round->pick, BALANCE_SKIPPED, *out);
    }
    return rc;
}

/* The server that the client's cookie names. Returns 0 or -ENOENT: none, or it is not to be had. */
static int choose_named(struct balance_round *round, uint32_t *out)
{
    const struct balance_ask *ask = round->ask;
    int rc = -ENOENT;
    round->named = true;
    round->ignore_slow = true; /* it has waited for this client, not for anybody */
    for (uint32_t i = 0; i < ask->upstream->servers.count && rc < 0; i++) {
        if (slice_eq(image_slice(ask->image, balance_server(round, i)->sticky), ask->sticky) &&
            balance_usable(round, i) && balance_take(round, i)) {
            *out = i;
            rc = 0;
        }
    }
    round->named = false;
    round->ignore_slow = false;
    return rc;
}

int balance_next(struct balance_pick *pick, const struct balance_ask *ask, uint32_t *out)
{
    const struct image_upstream *upstream = ask->upstream;
    if (upstream->servers.count == 0)
        return -ENOENT; /* its names are not resolved yet */
    struct balance_round round = {
        .pick = pick,
        .ask = ask,
        .panic = -1,
    };
    round.first =
        (uint32_t)(image_upstream_server(ask->image, upstream, 0) - image_server(ask->image, 0));
    balance_bits_clear(pick, BALANCE_SKIPPED, upstream->servers.count);
    if (upstream->slow_start && !pick->slow_noted)
        balance_slow_note(ask);
    pick->slow_noted = true;
    int rc = ask->sticky.n > 0 && pick->tries == 0 ? choose_named(&round, out) : -ENOENT;
    if (rc < 0)
        rc = choose(&round, out);
    if (rc < 0 && round.slowed) {
        round.ignore_slow = true; /* better slowly started than not served */
        rc = choose(&round, out);
    }
    if (rc < 0 && upstream->primaries < upstream->servers.count) {
        round.backups = true;
        rc = choose(&round, out);
    }
    /* It ends, too, though nobody has to ask for an ejected server any more. */
    bool shown = LOAD_RELAXED(&board_upstream(ask->board, upstream->board_upstream)->panic);
    pick->panic = (shown && balance_panic(&round)) || round.panic > 0;
    if (rc < 0 && !round.full)
        return -ENOENT;
    if (rc < 0) {
        pick->hashed = false;
        pick->fell_back = false;
        pick->walked = 0;
        return -EBUSY;
    }
    balance_bit_set(pick, BALANCE_TRIED, *out);
    pick->tries++;
    return 0;
}
