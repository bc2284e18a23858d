/* SPDX-License-Identifier: Apache-2.0 */
/* The part of worker/guard.h between steps: who is asked, who is told, when it is over. */
#include "worker/guard.h"

#include "worker/crash_point.h"
#include "worker/guard_parts.h"
#include "worker/meter.h"
#include "worker/position.h"
#include "worker/tunnel.h"

#include <linux/sockios.h>
#include <string.h>
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

/* ---- its life ---- */

static void use(struct worker *w, uint32_t tunnel)
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
static void set_care(struct worker *w, uint32_t tunnel)
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
    use(w, tunnel);
    measure(w, tunnel);
    set_care(w, tunnel);
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
static void wake(struct worker *w, uint32_t tunnel)
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
    set_care(w, tunnel);
    wake(w, tunnel);
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
static bool passed_close(const struct arena_tunnel *t, uint32_t d)
{
    return (t->track[d].flags & (WS_SAW_CLOSE | WS_TAKEN)) == WS_SAW_CLOSE;
}

bool guard_can_tell(const struct worker *w, uint32_t tunnel, uint32_t side)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    uint32_t d = !side;
    if (t->dir[d].flags & (DIR_EOF | DIR_SHUT))
        return false;
    if (passed_close(t, d))
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

/* ---- a close ---- */

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

static void enter(struct arena_guard *g, enum guard_phase phase, uint32_t now_ms)
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
    enter(g, GUARD_LAST, now_ms);
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
    use(w, tunnel);
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->phase != GUARD_OPEN)
        return;
    g->reason = (uint8_t)reason;
    if (closing_already(w, tunnel)) {
        enter(g, GUARD_LAST, w->now_ms);
    } else {
        want(w, tunnel, 0, rules->close_code != 0 ? rules->close_code : (uint16_t)CLOSE_GOING_AWAY);
        if (g->say[0] == SAY_NONE)
            want(w, tunnel, 1, CLOSE_GOING_AWAY);
        CRASH_POINT(guard_wanted);
        enter(g, g->say[0] == SAY_NONE ? GUARD_LAST : GUARD_TELL, w->now_ms);
    }
    count_closing(w, tunnel);
    set_care(w, tunnel);
    wake(w, tunnel);
    tunnel_arm(w, tunnel);
}

/* Nobody answers there any more: the other side is told. False: the tunnel is gone. */
static bool give_up(struct worker *w, uint32_t tunnel, uint32_t side)
{
    struct arena_guard *g = guard_of(w, tunnel);
    if (rules_of(w, &w->tunnels[tunnel])->close_timeout_ms == 0 ||
        !guard_can_tell(w, tunnel, !side)) {
        tunnel_close(w, tunnel, REASON_PEER_DEAD, false);
        return false;
    }
    g->reason = REASON_PEER_DEAD;
    g->answered |= (uint8_t)(1u << side);
    g->ping[side] = PING_NONE;
    want(w, tunnel, !side, side == 1 ? CLOSE_SERVER_TROUBLE : CLOSE_GOING_AWAY);
    enter(g, GUARD_LAST, w->now_ms);
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
        g->say[side] = SAY_NONE;
        if (!passed_close(&w->tunnels[tunnel], !side))
            g->answered |= (uint8_t)(1u << side);
    }
}

/* The client is told first, so that nothing that it has sent is lost; by its answer the backend is. */
static void next_phase(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->phase == GUARD_TELL && closing_already(w, tunnel) && g->say[0] == SAY_WANTED) {
        g->say[0] = SAY_NONE; /* an end was faster */
        enter(g, GUARD_LAST, w->now_ms);
    }
    give_up_words(w, tunnel);
    if (g->phase == GUARD_TELL && g->say[0] != SAY_WANTED)
        enter(g, GUARD_ECHO, w->now_ms);
    if (g->phase == GUARD_ECHO && (g->answered & 1 || t->dir[0].flags & DIR_EOF)) {
        want(w, tunnel, 1, CLOSE_GOING_AWAY);
        enter(g, GUARD_LAST, w->now_ms);
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
    set_care(w, tunnel);
    wake(w, tunnel);
    if (g->arm) {
        g->arm = 0;
        tunnel_arm(w, tunnel);
    }
    return false;
}

/* ---- time ---- */

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
    use(w, tunnel);
    struct arena_guard *g = guard_of(w, tunnel);
    if (g->ping[side] == PING_SENT && is_read(w, tunnel, side) && !is_slow(w, tunnel, side))
        return give_up(w, tunnel, side);
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
        enter(g, GUARD_ECHO, w->now_ms);
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
