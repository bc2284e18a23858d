/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slow start: a server that has come back gets its share of new requests by and by, counted, so that it is
 * not trampled by all who wait for it, nor by least_conn, to which it looks empty (worker/balance_parts.h).
 *
 * Of the requests that its upstream gets per second, its fair share by weight grows from nothing to all
 * of it over slow_start. The sum of that, for an even stream of requests: seen * share * elapsed / (2 *
 * slow_start). Each worker counts what it has seen and sent there in cells of its own, stamped with the
 * recovery they count from, so that nothing has to be reset by anybody.
 */
#include "worker/balance_parts.h"

/* Milliseconds since it came back while it starts slowly; false: it does not. */
static bool is_starting(const struct balance_ask *ask, const struct image_server *server,
                        uint64_t *recovered_ms, uint64_t *elapsed_ms)
{
    *recovered_ms = LOAD_RELAXED(&board_backend(ask->board, server->backend)->recovered_ms);
    /* Another process's clock may be ahead of ours. */
    *elapsed_ms = ask->now_ms > *recovered_ms ? ask->now_ms - *recovered_ms : 0;
    return *recovered_ms != 0 && *elapsed_ms < server->slow_start_ms;
}

/* Our cell of this server, its counts standing for this recovery. */
static struct board_cell *own_cell(const struct balance_ask *ask, const struct image_server *server,
                                   uint64_t recovered_ms)
{
    struct board_cell *cell = board_cell(ask->board, ask->slot, server->backend);
    if (cell->slow_since != recovered_ms) {
        STORE_RELAXED(&cell->slow_since, 0);
        __atomic_thread_fence(__ATOMIC_RELEASE); /* whoever adds up meanwhile leaves us out */
        STORE_RELAXED(&cell->slow_seen, 0);
        STORE_RELAXED(&cell->slow_taken, 0);
        STORE_RELEASE(&cell->slow_since, recovered_ms);
    }
    return cell;
}

void balance_slow_note(const struct balance_ask *ask)
{
    uint64_t recovered_ms, elapsed_ms;
    for (uint32_t i = 0; i < ask->upstream->servers.count; i++) {
        const struct image_server *server = image_upstream_server(ask->image, ask->upstream, i);
        if (server->slow_start_ms == 0 || !is_starting(ask, server, &recovered_ms, &elapsed_ms))
            continue;
        struct board_cell *cell = own_cell(ask, server, recovered_ms);
        STORE_RELAXED(&cell->slow_seen, cell->slow_seen + 1);
    }
}

static uint64_t weights_of(const struct balance_round *round)
{
    uint64_t weights = 0;
    for (uint32_t i = 0; i < round->ask->upstream->servers.count; i++) {
        const struct image_server *server = balance_server(round, i);
        bool backup = server->flags & BACKEND_BACKUP;
        if (backup == round->backups && !(server->flags & BACKEND_DOWN) &&
            !balance_drains(round, server))
            weights += server->weight;
    }
    return weights;
}

bool balance_slow_holds(struct balance_round *round, uint32_t i)
{
    const struct balance_ask *ask = round->ask;
    const struct image_server *server = balance_server(round, i);
    uint64_t recovered_ms, elapsed_ms, seen = 0, taken = 0;
    if (!is_starting(ask, server, &recovered_ms, &elapsed_ms))
        return false;
    for (uint64_t slots = balance_slots(round); slots != 0; slots &= slots - 1) {
        const struct board_cell *cell =
            board_cell(ask->board, (uint32_t)__builtin_ctzll(slots), server->backend);
        if (LOAD_ACQUIRE(&cell->slow_since) != recovered_ms)
            continue;
        seen += LOAD_RELAXED(&cell->slow_seen);
        taken += LOAD_RELAXED(&cell->slow_taken);
    }
    return taken >
           seen * server->weight * elapsed_ms / (weights_of(round) * 2 * server->slow_start_ms);
}

void balance_slow_taken(const struct balance_round *round, uint32_t i)
{
    const struct image_server *server = balance_server(round, i);
    uint64_t recovered_ms, elapsed_ms;
    if (!is_starting(round->ask, server, &recovered_ms, &elapsed_ms))
        return;
    struct board_cell *cell = own_cell(round->ask, server, recovered_ms);
    STORE_RELAXED(&cell->slow_taken, cell->slow_taken + 1);
}
