/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting a request in at a server, exactly where it has a limit (worker/balance_parts.h).
 *
 * `conns` of a cell is its worker's alone; the limit is one of the sum over all. So a worker announces
 * first and verifies then: it raises its own count, makes that visible (a sequentially consistent fence),
 * and reads the sum. If the sum is over the limit it lowers its count again, and the request is not in.
 *
 * Never exceeded: suppose that more than max_conns were in at some moment, and look at the one of them whose
 * announcement comes last in the order of the fences. All the others were announced before, and
 * stayed announced until that moment, so each is contained in whatever value of its cell this one
 * read after its fence: it read a sum over the limit, and would not have gone in.
 *
 * Death: a worker that dies leaves its count as it was, which is never less than what it holds, for a
 * request is counted before it connects and a tunnel takes over the count of its request. The others
 * may find a server fuller than it is, for the milliseconds until the successor has counted the
 * tunnels (worker/adopt.c, which stores each cell once: never a value below the truth).
 *
 * Two workers that race for the last place may both see the sum over the limit and go back. So one who
 * has gone back looks again, and announces again while there is room, each slot after a pause of its
 * own. Whoever looks last finds the others gone back, or in.
 */
#include "shm/passive.h"
#include "worker/balance_parts.h"

enum { RACES_MAX = 64 };

static void add(struct board_cell *cell, uint32_t n)
{
    STORE_RELAXED(&cell->conns, cell->conns + n);
}

static void wait_a_little(uint32_t slot, uint32_t race)
{
    for (uint32_t i = 0; i < 8 * (slot + 1) * (race + 1); i++)
        COMMIT_FENCE(); /* or the compiler would drop the loop */
}

static bool has_bound(const struct balance_round *round)
{
    const struct image_upstream *upstream = round->ask->upstream;
    return upstream->policy == BALANCE_HASH && upstream->max_load != 0;
}

/* Over a limit, now that it is counted? The slots are looked up again: one may be new. */
static bool is_over(struct balance_round *round, uint32_t i)
{
    const struct image_server *server = balance_server(round, i);
    round->slots = board_slots_started(round->ask->board);
    uint32_t conns = board_backend_conns_in(round->ask->board, server->backend, round->slots);
    if (server->max_conns != 0 && conns > server->max_conns)
        return true;
    return has_bound(round) && conns > balance_bound(round, i, 0);
}

static bool count_in(struct balance_round *round, uint32_t i)
{
    const struct balance_ask *ask = round->ask;
    struct board_cell *cell = board_cell(ask->board, ask->slot, balance_server(round, i)->backend);
    if (balance_server(round, i)->max_conns == 0 && !has_bound(round)) {
        add(cell, 1);
        return true;
    }
    for (uint32_t race = 0; race < RACES_MAX; race++) {
        add(cell, 1);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!is_over(round, i))
            return true;
        add(cell, UINT32_MAX);
        wait_a_little(ask->slot, race);
        if (!balance_usable(round, i) || !balance_has_room(round, i))
            break;
    }
    round->full = true;
    return false;
}

bool balance_take(struct balance_round *round, uint32_t i)
{
    const struct balance_ask *ask = round->ask;
    const struct image_server *server = balance_server(round, i);
    const struct passive_limits limits = {server->max_fails, server->fail_timeout_ms};
    struct board_backend *backend = board_backend(ask->board, server->backend);
    if (!count_in(round, i))
        return false;
    if (passive_state(backend, limits, ask->now_ms) == PASSIVE_PROBE &&
        !passive_probe(backend, limits, ask->now_ms) && round->panic <= 0) {
        balance_leave(ask->board, ask->slot, server->backend);
        return false;
    }
    if (server->slow_start_ms != 0)
        balance_slow_taken(round, i);
    return true;
}

void balance_leave(const struct board *board, uint32_t slot, uint32_t backend)
{
    add(board_cell(board, slot, backend), UINT32_MAX);
}
