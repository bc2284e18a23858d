/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of worker/balance*.c: requests that ask for servers of a configuration's first upstream. */
#ifndef TEST_UNIT_BALANCE_FIXTURE_H
#define TEST_UNIT_BALANCE_FIXTURE_H

#include "test/unit/worker_fixture.h"
#include "worker/balance.h"

enum { SERVERS_MAX = 200, SLOT = 9 };

static struct worker_fixture fixture;
static struct balancer *balancer;
static const struct image_upstream *upstream;
static uint64_t now_ms = 1000000;

static inline void setup(void)
{
    worker_fixture_init(&fixture);
    balancer = NULL;
    board_slot(&fixture.board, SLOT)->starts = 1;
}

static inline void teardown(void)
{
    balance_release(&balancer);
    worker_fixture_fini(&fixture);
}

/* A configuration of `text`; its first upstream is the one to choose from. */
static inline void load(const char *text)
{
    balance_release(&balancer);
    worker_fixture_load(&fixture, text);
    balancer = balance_new(fixture.image);
    ck_assert_ptr_nonnull(balancer);
    upstream = image_upstream(fixture.image, 0);
}

static inline struct balance_ask ask_for(struct slice key)
{
    return (struct balance_ask){
        .board = &fixture.board,
        .image = fixture.image,
        .balancer = balancer,
        .upstream = upstream,
        .key = key,
        .slot = SLOT,
        .now_ms = now_ms,
    };
}

/* The next server; the request stays counted in there. */
static inline int stay_for(struct balance_pick *pick, struct slice key)
{
    uint32_t out = UINT32_MAX;
    struct balance_ask ask = ask_for(key);
    int rc = balance_next(pick, &ask, &out);
    if (rc == 0 && out >= upstream->servers.count)
        ck_abort_msg("server %u of %u", out, upstream->servers.count);
    return rc < 0 ? rc : (int)out;
}

static inline uint32_t backend_of(uint32_t server)
{
    return image_upstream_server(fixture.image, upstream, server)->backend;
}

/* Likewise, but it leaves at once. */
static inline int next_for(struct balance_pick *pick, struct slice key)
{
    int server = stay_for(pick, key);
    if (server >= 0)
        balance_leave(&fixture.board, SLOT, backend_of((uint32_t)server));
    return server;
}

/* The server of a request that needs one only. */
static inline int one_for(struct slice key)
{
    struct balance_pick pick;
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    int server = next_for(&pick, key);
    balance_fini(&pick);
    return server;
}

/* The servers of `count` requests, as letters. */
static inline void expect_order(const char *wanted)
{
    char order[256] = "";
    for (size_t i = 0; i < strlen(wanted); i++) {
        int server = one_for(SLICE(""));
        order[i] = server < 0 ? '-' : (char)('a' + server);
    }
    ck_assert_str_eq(order, wanted);
}

static inline void set_conns(uint32_t slot, uint32_t server, uint32_t conns)
{
    uint32_t backend = backend_of(server);
    board_slot(&fixture.board, slot)->starts = 1;
    board_cell(&fixture.board, slot, backend)->conns = conns;
}

#define SERVER(address, more) "{ address = \"" address "\"; " more " }"

#endif
