/* SPDX-License-Identifier: Apache-2.0 */
/* A guard's life, and what there is to say (worker/guard.h). */
#include "worker/guard.h"

#include "worker/crash_point.h"
#include "worker/guard_parts.h"
#include "worker/meter.h"
#include "worker/tunnel.h"

#include <string.h>

/* ---- its life ---- */

void guard_use(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    if (guard_in_use(t))
        return;
    memset(g, 0, sizeof *g);
    for (uint32_t side = 0; side < 2; side++)
        g->pong_ms[side] = t->heard_ms[side];
    /* Death before this store: it is nobody's, and filled again by who needs it next. */
    CRASH_POINT(guard_filled);
    COMMIT_FENCE();
    t->dir[0].care |= CARE_GUARD;
}

static void measure(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (t->dir[0].care & CARE_METER)
        return;
    meter_init(guard_meter(w, tunnel), w->now_ms);
    CRASH_POINT(guard_filled);
    COMMIT_FENCE();
    t->dir[0].care |= CARE_METER;
}

static bool must_walk(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_guard *g = guard_of(w, tunnel);
    if (guard_limits(w, t, d))
        return true;
    return guard_in_use(t) && (g->phase != GUARD_OPEN || g->ping[d] == PING_SENT ||
                               g->ping[!d] == PING_WANTED || g->held_len[d] > 0);
}

/* In one store a direction; both between two steps. */
void guard_set_care(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    for (uint32_t d = 0; d < 2; d++) {
        uint8_t care = (uint8_t)(t->dir[d].care & ~CARE_WALK);
        if (must_walk(w, tunnel, d))
            care |= CARE_WALK;
        if (t->dir[d].care != care) {
            t->dir[d].care = care;
            CRASH_POINT(guard_cared);
        }
    }
}

void guard_open(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    if (!guard_limits(w, t, 0) && !guard_limits(w, t, 1))
        return;
    guard_use(w, tunnel);
    measure(w, tunnel);
    guard_set_care(w, tunnel);
}

/* Nobody waits for a rate any more: what is to be read next may be the answer to a Close. */
static void end_pauses(struct worker *w, uint32_t tunnel)
{
    struct arena_meter *meter = guard_meter(w, tunnel);
    if (!(w->tunnels[tunnel].dir[0].care & CARE_METER) || meter->paused == 0)
        return;
    for (uint32_t d = 0; d < 2; d++) {
        if (meter->paused >> d & 1)
            tunnel_mark_ready(w, tunnel, d); /* its events have passed meanwhile */
    }
    /* Death before this: the successor does it again. After it: the marks are there. */
    COMMIT_FENCE();
    meter->paused = 0;
}

/* Directions in which a frame of ours may go now are run, by the ready list. */
void guard_wake(struct worker *w, uint32_t tunnel)
{
    for (uint32_t d = 0; d < 2; d++) {
        if (guard_has_words(w, tunnel, d))
            tunnel_mark_ready(w, tunnel, d);
    }
    if (guard_is_closing(w, tunnel))
        end_pauses(w, tunnel);
}

/* While they are not measured, their sums do not follow: one that is old would be taken for a new one's. */
static void forget_messages(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    for (uint32_t d = 0; d < 2 && t->dir[0].care & CARE_METER; d++) {
        if (!guard_limits(w, t, d) || rules_of(w, t)->limits.max_message == 0)
            guard_meter(w, tunnel)->message[d] = 0;
    }
}

void guard_begin_anew(struct worker *w, uint32_t tunnel)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (!guard_in_use(&w->tunnels[tunnel]) || g->phase != GUARD_OPEN)
        return;
    for (uint32_t side = 0; side < 2; side++)
        g->say[side] = SAY_NONE;
    g->answered = 0;
}

void guard_look_after(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (!guard_in_use(t))
        guard_open(w, tunnel);
    if (!guard_in_use(t))
        return;
    if (guard_limits(w, t, 0) || guard_limits(w, t, 1))
        measure(w, tunnel);
    forget_messages(w, tunnel);
    guard_set_care(w, tunnel);
    guard_wake(w, tunnel);
}

bool guard_is_closing(const struct worker *w, uint32_t tunnel)
{
    return guard_in_use(&w->tunnels[tunnel]) && guard_of(w, tunnel)->phase != GUARD_OPEN;
}

enum reason guard_reason(const struct worker *w, uint32_t tunnel, enum reason reason)
{
    const struct arena_guard *g = guard_of(w, tunnel);
    return guard_is_closing(w, tunnel) && g->reason < REASON_COUNT ? (enum reason)g->reason
                                                                   : reason;
}

uint32_t guard_extra(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    return guard_in_use(&w->tunnels[tunnel]) ? guard_of(w, tunnel)->extra[d] : 0;
}

bool guard_holds(const struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_guard *g = guard_of(w, tunnel);
    bool walks = (t->dir[0].care | t->dir[1].care) & (CARE_WALK | CARE_METER);
    if (!guard_in_use(t))
        return !walks;
    for (uint32_t i = 0; i < 2; i++) {
        if (g->ping[i] > PING_SENT || g->say[i] > SAY_DONE || g->held_len[i] > WS_HELD_MAX)
            return false;
    }
    return g->phase <= GUARD_LAST && g->reason < REASON_COUNT;
}

/* ---- what there is to say ---- */

/* Has the source's own Close gone to the destination? The answer to ours has not. */
bool guard_passed_close(const struct arena_tunnel *t, uint32_t d)
{
    return (t->track[d].flags & (WS_SAW_CLOSE | WS_TAKEN)) == WS_SAW_CLOSE;
}

bool guard_can_tell(const struct worker *w, uint32_t tunnel, uint32_t side)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    uint32_t d = !side;
    if (t->dir[d].flags & (DIR_EOF | DIR_SHUT))
        return false;
    if (guard_passed_close(t, d))
        return false;
    bool cut = guard_in_use(t) && guard_of(w, tunnel)->cut >> d & 1;
    return cut || t->track[d].flags & WS_TAKEN || !(t->track[d].flags & WS_BROKEN);
}

bool guard_has_words(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_guard *g = guard_of(w, tunnel);
    if (!guard_in_use(t) || t->dir[d].flags & (DIR_EOF | DIR_SHUT | DIR_BLOCKED))
        return false;
    if (g->spill >> d & 1)
        return true;
    bool wanted = guard_says_close(g, !d) || (g->ping[!d] == PING_WANTED && g->say[!d] == SAY_NONE);
    if (!wanted || !guard_can_tell(w, tunnel, !d))
        return false;
    /* Nothing of the source passes on any more: what follows its answer may be anything. */
    if (g->cut >> d & 1 || t->track[d].flags & WS_TAKEN)
        return true;
    return !(t->track[d].flags & WS_BROKEN) && ws_track_at_boundary(&t->track[d]);
}
