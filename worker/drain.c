/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/drain.h"

#include "worker/guard.h"
#include "worker/tunnel.h"

enum { AT_A_TIME = 500 };

static bool is_over(const struct worker *w, uint32_t backend)
{
    uint64_t until_ms = LOAD_RELAXED(&board_backend(w->board, backend)->drain_until_ms);
    return until_ms != 0 && w->mono_ms >= until_ms;
}

/* Does one of our tunnels stand on such a server? Asked of the counts: seldom is the answer yes. */
static bool is_due(const struct worker *w)
{
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX && board_backend(w->board, i)->upstream[0]; i++) {
        if (LOAD_RELAXED(&board_cell(w->board, w->slot, i)->tunnels) != 0 && is_over(w, i))
            return true;
    }
    return false;
}

void drain_run(struct worker *w)
{
    uint32_t closed = 0;
    if (!is_due(w))
        return;
    for (uint32_t i = 0; i < w->tunnels_used && closed < AT_A_TIME; i++) {
        const struct arena_tunnel *t = &w->tunnels[i];
        if (t->state != TUNNEL_OPEN || t->backend >= BOARD_BACKENDS_MAX || !is_over(w, t->backend))
            continue;
        guard_close(w, i, REASON_DRAINED);
        closed++;
    }
}
