/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a tunnel by Close frames (worker/guard.h): who is told, and when it is over. */
#include "worker/crash_point.h"
#include "worker/guard_parts.h"
#include "worker/tunnel.h"

/* To a side that cannot be told there is nothing to wait for. */
static void want(struct worker *w, uint32_t tunnel, uint32_t side, uint16_t code)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->say[side] != SAY_NONE)
        return;
    if (guard_can_tell(w, tunnel, side)) {
        g->code[side] = code;
        COMMIT_FENCE();
        g->say[side] = SAY_WANTED;
    } else {
        g->answered |= (uint8_t)(1u << side);
    }
}

static void count_closing(struct worker *w, uint32_t tunnel)
{
    struct arena_guard *g = guard_of(w, tunnel);
    struct board_cell *cell = board_cell(w->board, w->slot, w->tunnels[tunnel].backend);
    if (g->counted || g->phase == GUARD_OPEN)
        return;
    g->counted = 1;
    CRASH_POINT(guard_counted); /* adoption counts anew, by `counted` */
    STORE_RELAXED(&cell->closing, cell->closing + 1);
}

bool guard_is_counted(const struct worker *w, uint32_t tunnel)
{
    return guard_in_use(&w->tunnels[tunnel]) && guard_of(w, tunnel)->counted;
}

void guard_forget(struct worker *w, uint32_t tunnel)
{
    struct arena_guard *g = guard_of(w, tunnel);
    struct board_cell *cell = board_cell(w->board, w->slot, w->tunnels[tunnel].backend);
    if (!guard_in_use(&w->tunnels[tunnel]) || !g->counted)
        return;
    STORE_RELAXED(&cell->closing, cell->closing - 1);
    CRASH_POINT(guard_counted); /* likewise */
    g->counted = 0;
}

void guard_enter(struct arena_guard *g, enum guard_phase phase, uint32_t now_ms)
{
    g->arm = 1;
    g->phase_ms = now_ms;
    /* Death before this: nothing has begun, and what wanted it is due at once again. */
    CRASH_POINT(guard_phase);
    COMMIT_FENCE();
    g->phase = (uint8_t)phase;
}

void guard_refuse(struct worker *w, uint32_t tunnel, uint32_t side, uint16_t code,
                  enum reason reason, uint32_t now_ms)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->phase != GUARD_OPEN)
        return;
    g->reason = (uint8_t)reason;
    want(w, tunnel, side, code);
    want(w, tunnel, !side, side == 1 ? CLOSE_SERVER_TROUBLE : CLOSE_GOING_AWAY);
    guard_enter(g, GUARD_LAST, now_ms);
}

/* The ends are closing by themselves: one's Close was passed on. They get their time. */
static bool closing_already(const struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    return (t->track[0].flags | t->track[1].flags) & WS_SAW_CLOSE;
}

void guard_close(struct worker *w, uint32_t tunnel, enum reason reason)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct arena_rules *rules = rules_of(w, t);
    if (t->state != TUNNEL_OPEN)
        return;
    bool tell = guard_can_tell(w, tunnel, 0) || guard_can_tell(w, tunnel, 1);
    if (rules->close_timeout_ms == 0 || (!tell && !closing_already(w, tunnel))) {
        tunnel_close(w, tunnel, reason, false);
        return;
    }
    guard_use(w, tunnel);
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->phase != GUARD_OPEN)
        return;
    g->reason = (uint8_t)reason;
    if (closing_already(w, tunnel)) {
        guard_enter(g, GUARD_LAST, w->now_ms);
    } else {
        want(w, tunnel, 0, rules->close_code != 0 ? rules->close_code : (uint16_t)CLOSE_GOING_AWAY);
        if (g->say[0] == SAY_NONE)
            want(w, tunnel, 1, CLOSE_GOING_AWAY);
        CRASH_POINT(guard_wanted);
        guard_enter(g, g->say[0] == SAY_NONE ? GUARD_LAST : GUARD_TELL, w->now_ms);
    }
    count_closing(w, tunnel);
    guard_set_care(w, tunnel);
    guard_wake(w, tunnel);
    tunnel_arm(w, tunnel);
}

/* Nobody answers there any more: the other side is told. False: the tunnel is gone. */
bool guard_give_up(struct worker *w, uint32_t tunnel, uint32_t side)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (rules_of(w, &w->tunnels[tunnel])->close_timeout_ms == 0 ||
        !guard_can_tell(w, tunnel, !side)) {
        tunnel_close(w, tunnel, REASON_PEER_DEAD, false);
        return false;
    }
    /* Death before the phase begins: guard_begin_anew forgets what follows, and the peer is asked again. */
    g->reason = REASON_PEER_DEAD;
    g->answered |= (uint8_t)(1u << side);
    g->ping[side] = PING_NONE;
    want(w, tunnel, !side, side == 1 ? CLOSE_SERVER_TROUBLE : CLOSE_GOING_AWAY);
    guard_enter(g, GUARD_LAST, w->now_ms);
    return true;
}

bool guard_source_ended(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_guard *g = guard_of(w, tunnel);
    /* In a tunnel that is being closed our Close goes there instead. */
    bool passes = g->phase == GUARD_OPEN && !((g->cut | g->deaf) >> d & 1);
    if (g->held_len[d] > 0 && passes) {
        g->spill |= (uint8_t)(1u << d);
        return true;
    }
    if (g->phase == GUARD_OPEN)
        return false;
    g->answered |= (uint8_t)(1u << d);
    if (!closing_already(w, tunnel) || g->say[d] == SAY_DONE)
        want(w, tunnel, !d, CLOSE_GOING_AWAY);
    return guard_has_words(w, tunnel, d);
}

static bool is_done(const struct arena_tunnel *t, const struct arena_guard *g, uint32_t side)
{
    /* Its own Close, that it sent before it was told, will do, if it was not what it is refused for. */
    bool closed =
        g->say[side] == SAY_DONE && t->track[side].flags & WS_SAW_CLOSE && !(g->cut >> side & 1);
    bool silent = closed || g->answered >> side & 1 || t->dir[side].flags & DIR_EOF;
    return silent && g->say[side] != SAY_WANTED;
}

/* What can be told to a side no more. If its stream ended amid a frame, there is no answer to wait for. */
static void give_up_words(struct worker *w, uint32_t tunnel)
{
    struct arena_guard *g = guard_of(w, tunnel);
    for (uint32_t side = 0; side < 2; side++) {
        if (g->say[side] != SAY_WANTED || guard_can_tell(w, tunnel, side))
            continue;
        if (!guard_passed_close(&w->tunnels[tunnel], !side))
            g->answered |= (uint8_t)(1u << side);
        /* Death before this: a successor finds that it cannot be told, too, and does both again. */
        COMMIT_FENCE();
        g->say[side] = SAY_NONE;
    }
}

/* The client is told first, so that nothing that it has sent is lost; by its answer the backend is. */
static void next_phase(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->phase == GUARD_TELL && closing_already(w, tunnel) && g->say[0] == SAY_WANTED) {
        /* An end was faster. Death behind this: the client has its time to answer, though it needs none. */
        g->say[0] = SAY_NONE;
        guard_enter(g, GUARD_LAST, w->now_ms);
    }
    give_up_words(w, tunnel);
    if (g->phase == GUARD_TELL && g->say[0] != SAY_WANTED)
        guard_enter(g, GUARD_ECHO, w->now_ms);
    if (g->phase == GUARD_ECHO && (g->answered & 1 || t->dir[0].flags & DIR_EOF)) {
        /* Death may have come between the client's own Close and this: the backend has heard that one. */
        if (!guard_passed_close(t, 0))
            want(w, tunnel, 1, CLOSE_GOING_AWAY);
        guard_enter(g, GUARD_LAST, w->now_ms);
    }
}

bool guard_advance(struct worker *w, uint32_t tunnel, enum reason *reason)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    if (!guard_in_use(t))
        return false;
    CRASH_POINT(guard_stepped);
    if (g->phase != GUARD_OPEN) {
        count_closing(w, tunnel);
        next_phase(w, tunnel);
        bool at_once = rules_of(w, t)->close_timeout_ms == 0;
        if (at_once || (is_done(t, g, 0) && is_done(t, g, 1))) {
            *reason = (enum reason)g->reason;
            return true;
        }
    }
    guard_set_care(w, tunnel);
    guard_wake(w, tunnel);
    if (g->arm) {
        g->arm = 0;
        tunnel_arm(w, tunnel);
    }
    return false;
}
