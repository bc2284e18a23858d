/* SPDX-License-Identifier: Apache-2.0 */
/* What is due in a guarded tunnel (worker/guard.h): pings, pauses, the phases of a close. */
#include "worker/crash_point.h"
#include "worker/guard_parts.h"
#include "worker/position.h"
#include "worker/tunnel.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

static uint32_t left_of(uint32_t whole_ms, uint32_t since_ms, uint32_t now_ms)
{
    uint32_t passed = now_ms - since_ms;
    return passed >= whole_ms ? 0 : whole_ms - passed;
}

static uint32_t later(uint32_t a, uint32_t b, uint32_t now_ms)
{
    return now_ms - a < now_ms - b ? a : b;
}

/* Behind its Close or FIN it may send no pong (RFC 6455 5.5.1). */
static bool can_answer(const struct arena_tunnel *t, uint32_t side)
{
    return !(t->dir[side].flags & DIR_EOF) && !(t->track[side].flags & WS_SAW_CLOSE);
}

/* Until that side is to be asked, or has not answered for too long. */
static uint32_t ping_left(const struct worker *w, uint32_t tunnel, uint32_t side)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_rules *rules = rules_of(w, t);
    const struct arena_guard *g = guard_in_use(t) ? guard_of(w, tunnel) : NULL;
    uint32_t heard = t->heard_ms[side];
    if (!can_answer(t, side))
        return UINT32_MAX;
    /* Whom a reload has left out owes no answer any more, and a close has times of its own. */
    if (rules->ping_interval_ms == 0 || (side == 1 && !(rules->flags & RULES_PING_BACKEND)) ||
        (g && g->phase != GUARD_OPEN))
        return UINT32_MAX;
    if (g && g->ping[side] != PING_NONE) {
        uint32_t since = later(g->asked_ms[side], heard, w->now_ms);
        return left_of(rules->ping_timeout_ms, since, w->now_ms);
    }
    if (!guard_can_tell(w, tunnel, side))
        return UINT32_MAX;
    uint32_t since = g ? later(g->pong_ms[side], heard, w->now_ms) : heard;
    return left_of(rules->ping_interval_ms, since, w->now_ms);
}

static uint32_t phase_left(const struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_guard *g = guard_of(w, tunnel);
    uint32_t whole = rules_of(w, t)->close_timeout_ms;
    if (!guard_in_use(t) || g->phase == GUARD_OPEN)
        return UINT32_MAX;
    return left_of(g->phase == GUARD_ECHO ? whole / 2 : whole, g->phase_ms, w->now_ms);
}

static uint32_t pause_left(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    const struct arena_meter *meter = guard_meter(w, tunnel);
    if (!(w->tunnels[tunnel].dir[0].care & CARE_METER) || !(meter->paused >> d & 1))
        return UINT32_MAX;
    uint32_t left = meter->paused_ms[d] - w->now_ms;
    return left > INT32_MAX ? 0 : left;
}

bool guard_is_paused(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    uint32_t left = pause_left(w, tunnel, d);
    return left != UINT32_MAX && left > 0;
}

uint32_t guard_left(const struct worker *w, uint32_t tunnel)
{
    uint32_t left = phase_left(w, tunnel);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t ping = ping_left(w, tunnel, i);
        uint32_t pause = pause_left(w, tunnel, i);
        left = ping < left ? ping : left;
        left = pause < left ? pause : left;
    }
    return left;
}

/* Else its pong may be there, behind what the other end or a rate keeps from being read. */
static bool is_read(const struct worker *w, uint32_t tunnel, uint32_t side)
{
    return !(w->tunnels[tunnel].dir[side].flags & (DIR_BLOCKED | DIR_STARVED)) &&
           pause_left(w, tunnel, side) == UINT32_MAX;
}

/* A side's kernel has not acknowledged all of what was sent: a ping at the end of it is not there yet. */
static bool look_behind(struct worker *w, uint32_t tunnel, uint32_t side)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    uint32_t before = pub->acked[side];
    int unacked = 0;
    if (position_acked(t->fd[side], &pub->acked[side]) < 0 ||
        ioctl(t->fd[side], SIOCOUTQ, &unacked) < 0)
        return false;
    uint8_t bit = (uint8_t)(1u << side);
    g->behind = (uint8_t)(unacked > 0 ? g->behind | bit : g->behind & ~bit);
    return pub->acked[side] != before;
}

/* It takes what was sent before the ping: slow is not dead. */
static bool is_slow(struct worker *w, uint32_t tunnel, uint32_t side)
{
    return guard_of(w, tunnel)->behind >> side & 1 && look_behind(w, tunnel, side);
}

/* False: the tunnel is gone. */
static bool ping_due(struct worker *w, uint32_t tunnel, uint32_t side)
{
    if (ping_left(w, tunnel, side) > 0)
        return true;
    guard_use(w, tunnel);
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->ping[side] == PING_SENT && is_read(w, tunnel, side) && !is_slow(w, tunnel, side))
        return guard_give_up(w, tunnel, side);
    if (g->ping[side] == PING_NONE)
        (void)look_behind(w, tunnel, side);
    /* One that finds no frame boundary for so long says nothing about the peer: it goes on waiting. */
    g->asked_ms[side] = w->now_ms;
    if (g->ping[side] == PING_NONE)
        g->ping[side] = PING_WANTED;
    CRASH_POINT(guard_asked);
    return true;
}

/* False: the tunnel is gone. */
static bool phase_due(struct worker *w, uint32_t tunnel)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (phase_left(w, tunnel) > 0)
        return true;
    if (g->phase == GUARD_LAST || (g->phase == GUARD_TELL && !guard_can_tell(w, tunnel, 1))) {
        tunnel_close(w, tunnel, (enum reason)g->reason, false);
        return false;
    }
    /* The client does not answer, or has not even been told: it may be still, while the backend is. */
    if (g->phase == GUARD_TELL)
        guard_enter(g, GUARD_ECHO, w->now_ms);
    g->answered |= 1;
    return true; /* next_phase does the rest */
}

bool guard_due(struct worker *w, uint32_t tunnel)
{
    enum reason reason;
    struct arena_meter *meter = guard_meter(w, tunnel);
    if (!phase_due(w, tunnel))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        if (!ping_due(w, tunnel, i))
            return false;
        if (pause_left(w, tunnel, i) == 0) {
            w->tunnels[tunnel].heard_ms[i] = w->now_ms; /* it was not silent, but unread */
            tunnel_mark_ready(w, tunnel, i);            /* its events have passed meanwhile */
            /* Death before this: the successor's timer does it again. After it: the mark is there. */
            COMMIT_FENCE();
            meter->paused &= (uint8_t) ~(1u << i);
        }
    }
    if (guard_advance(w, tunnel, &reason)) {
        tunnel_close(w, tunnel, reason, false);
        return false;
    }
    return true;
}
