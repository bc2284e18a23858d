/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers may be chosen at all (worker/balance_parts.h). */
#include "shm/passive.h"
#include "worker/balance_parts.h"

const struct image_server *balance_server(const struct balance_round *round, uint32_t i)
{
    return image_upstream_server(round->ask->image, round->ask->upstream, i);
}

uint64_t balance_slots(struct balance_round *round)
{
    if (round->slots == 0)
        round->slots = board_slots_started(round->ask->board);
    return round->slots;
}

static struct board_backend *backend_of(const struct balance_round *round,
                                        const struct image_server *server)
{
    return board_backend(round->ask->board, server->backend);
}

static enum passive_state passive_of(const struct balance_round *round,
                                     const struct image_server *server)
{
    const struct passive_limits limits = {server->max_fails, server->fail_timeout_ms};
    return passive_state(backend_of(round, server), limits, round->ask->now_ms);
}

bool balance_drains(const struct balance_round *round, const struct image_server *server)
{
    return (server->flags | LOAD_RELAXED(&backend_of(round, server)->flags)) & BACKEND_DRAINS;
}

bool balance_panic(struct balance_round *round)
{
    const struct image_upstream *upstream = round->ask->upstream;
    uint32_t ejected = 0, meant = 0;
    if (round->panic >= 0)
        return round->panic;
    for (uint32_t i = 0; i < upstream->servers.count; i++) {
        const struct image_server *server = balance_server(round, i);
        if (server->flags & BACKEND_DOWN || balance_drains(round, server))
            continue;
        meant++;
        ejected += passive_of(round, server) != PASSIVE_IN;
    }
    round->panic = ejected * 100ull > (uint64_t)meant * upstream->max_ejected;
    return round->panic;
}

/*
 * A server that drains has the clients that a cookie brings back, until its tunnels are being closed: those
 * that would come back then would be closed again, and more and more often.
 */
static bool is_closing(const struct balance_round *round, const struct board_backend *backend)
{
    uint64_t until_ms = LOAD_RELAXED(&backend->drain_until_ms);
    return until_ms != 0 &&
           round->ask->now_ms + LOAD_RELAXED(&backend->drain_spread_ms) >= until_ms;
}

/* Meant to serve, and well, limits left out. */
static bool in_force(struct balance_round *round, uint32_t i)
{
    const struct image_server *server = balance_server(round, i);
    bool backup = server->flags & BACKEND_BACKUP;
    bool in_role = backup == round->backups && !balance_drains(round, server);
    bool named = round->named && !is_closing(round, backend_of(round, server));
    if (server->flags & BACKEND_DOWN || !(in_role || named) ||
        balance_bit(round->pick, BALANCE_TRIED, i) || balance_bit(round->pick, BALANCE_SKIPPED, i))
        return false;
    if (LOAD_RELAXED(&backend_of(round, server)->health) == BACKEND_FAILING)
        return false;
    return passive_of(round, server) != PASSIVE_OUT || balance_panic(round);
}

bool balance_usable(struct balance_round *round, uint32_t i)
{
    const struct image_server *server = balance_server(round, i);
    if (!in_force(round, i))
        return false;
    if (server->slow_start_ms != 0 && !round->ignore_slow && balance_slow_holds(round, i)) {
        round->slowed = true;
        return false;
    }
    if (server->max_conns != 0 &&
        board_backend_conns_in(round->ask->board, server->backend, balance_slots(round)) >=
            server->max_conns) {
        round->full = true;
        return false;
    }
    return true;
}
