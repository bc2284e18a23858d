/* SPDX-License-Identifier: Apache-2.0 */
/* When something is due in a tunnel without an event: one timer for all there is (worker/tunnel.h). */
#include "worker/guard.h"
#include "worker/position.h"
#include "worker/rules.h"
#include "worker/tunnel.h"
#include "worker/wave.h"

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* All that follow: milliseconds, 0: due, UINT32_MAX: never. */
static uint32_t idle_left(const struct worker *w, const struct arena_tunnel *t)
{
    uint32_t whole = rules_of(w, t)->idle_ms;
    uint32_t idle = min(w->now_ms - t->heard_ms[0], w->now_ms - t->heard_ms[1]);
    if (whole == 0)
        return UINT32_MAX;
    return idle >= whole ? 0 : whole - idle;
}

static uint32_t swave_left(const struct worker *w, const struct arena_tunnel *t)
{
    uint32_t whole = rules_of(w, t)->send_ms;
    uint32_t left = UINT32_MAX;
    for (uint32_t d = 0; d < 2; d++) {
        if (whole == 0 || !(t->dir[d].flags & DIR_BLOCKED))
            continue;
        uint32_t stuck = w->now_ms - t->blocked_ms[d];
        left = min(left, stuck >= whole ? 0 : whole - stuck);
    }
    return left;
}

void tunnel_arm(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    enum reason reason;
    uint32_t left = min(min(idle_left(w, t), swave_left(w, t)),
                        min(guard_left(w, tunnel), wave_left(w, tunnel, &reason)));
    if (left != UINT32_MAX)
        timer_set(&w->timers, tunnel, w->now_ms, left);
    else
        timer_clear(&w->timers, tunnel);
}

void tunnel_note_blocked(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    t->blocked_ms[d] = w->now_ms;
    if (rules_of(w, t)->send_ms == 0)
        return;
    if (position_acked(t->fd[!d], &board_tunnel(w->board, w->slot, tunnel)->acked[!d]) < 0)
        return; /* the next send says what is wrong */
    tunnel_arm(w, tunnel);
}

/* True if the receiver of a direction whose time is up has taken bytes meanwhile. */
static bool receiver_moved(struct worker *w, uint32_t tunnel, uint32_t d)
{
    uint32_t before = board_tunnel(w->board, w->slot, tunnel)->acked[!d];
    tunnel_note_blocked(w, tunnel, d);
    return board_tunnel(w->board, w->slot, tunnel)->acked[!d] != before;
}

static bool stuck(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    uint32_t send_ms = rules_of(w, t)->send_ms;
    for (uint32_t d = 0; d < 2 && send_ms != 0; d++) {
        bool due = t->dir[d].flags & DIR_BLOCKED && w->now_ms - t->blocked_ms[d] >= send_ms;
        if (due && !receiver_moved(w, tunnel, d))
            return true;
    }
    return false;
}

void tunnel_timer(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    enum reason reason = REASON_DONE;
    if (t->state != TUNNEL_OPEN)
        return;
    /* Traffic does not touch the timer: it only moves heard_ms, and here we look how far. */
    if (guard_left(w, tunnel) == 0 && !guard_due(w, tunnel))
        return;
    if (swave_left(w, t) == 0 && stuck(w, tunnel))
        tunnel_close(w, tunnel, guard_reason(w, tunnel, REASON_SEND_TIMEOUT), true);
    else if (idle_left(w, t) == 0)
        tunnel_close(w, tunnel, guard_reason(w, tunnel, REASON_IDLE_TIMEOUT), false);
    else if (wave_left(w, tunnel, &reason) == 0)
        guard_close(w, tunnel, reason); /* arms it for what follows */
    else
        tunnel_arm(w, tunnel);
}
