/* SPDX-License-Identifier: Apache-2.0 */
/* The part of worker/guard.h that a successor does again: what comes of it depends on the journal only. */
#include "common/clock.h"
#include "common/siphash.h"
#include "worker/care.h"
#include "worker/crash_point.h"
#include "worker/guard_parts.h"
#include "worker/meter.h"
#include "worker/tunnel.h"

#include <string.h>

/* ---- the journal ---- */

void guard_save(struct worker *w, uint32_t tunnel)
{
    w->vault.header->op.guard = *guard_of(w, tunnel);
    if (w->tunnels[tunnel].dir[0].care & CARE_METER)
        w->vault.header->op.meter = *guard_meter(w, tunnel);
}

void guard_restore(struct worker *w, uint32_t tunnel)
{
    *guard_of(w, tunnel) = w->vault.header->op.guard;
    if (w->tunnels[tunnel].dir[0].care & CARE_METER)
        *guard_meter(w, tunnel) = w->vault.header->op.meter;
}

/* ---- our frames ---- */

static uint64_t secret_of(const struct worker *w, uint32_t tunnel, uint32_t side, uint32_t number)
{
    uint64_t what[2] = {tunnel_id(w, tunnel), (uint64_t)side << 32 | number};
    struct slice bytes = {(const char *)what, sizeof what};
    return siphash(w->board->header->hash_key, bytes);
}

/* What only somebody who got the ping can send back. */
static void payload_of(const struct worker *w, uint32_t tunnel, uint32_t side, uint32_t number,
                       uint8_t out[WS_PONG_PAYLOAD])
{
    uint64_t payload = secret_of(w, tunnel, side, number);
    memcpy(out, &payload, WS_PONG_PAYLOAD);
}

/* To a backend we are the client: masked, with a key that nobody can foresee (RFC 6455 5.3). */
static uint32_t frame(const struct worker *w, uint32_t tunnel, uint32_t side, uint8_t opcode,
                      const uint8_t *payload, uint32_t n, uint8_t *out)
{
    uint8_t mask[4];
    uint64_t key = secret_of(w, tunnel, 2, guard_of(w, tunnel)->pings[1] << 4 | opcode);
    memcpy(mask, &key, sizeof mask);
    return ws_control_frame(opcode, payload, n, side == 1 ? mask : NULL, out);
}

/* Of our own accord we give the reason that the route has; to who broke a rule the code says it. */
static struct slice close_text(const struct worker *w, uint32_t tunnel, uint32_t side)
{
    const struct arena_rules *rules = rules_of(w, &w->tunnels[tunnel]);
    const struct arena_guard *g = guard_of(w, tunnel);
    uint16_t usual = rules->close_code != 0 ? rules->close_code : CLOSE_GOING_AWAY;
    if (side != 0 || g->cut != 0 || g->code[0] != usual)
        return (struct slice){NULL, 0};
    return (struct slice){(const char *)rules->close_reason, rules->close_reason_len};
}

static uint32_t words_for(const struct worker *w, uint32_t tunnel, uint32_t side, bool *last,
                          uint8_t out[WS_WORDS_MAX])
{
    const struct arena_guard *g = guard_of(w, tunnel);
    uint8_t payload[WS_CONTROL_MAX];
    *last = guard_says_close(g, side);
    if (*last) {
        uint32_t n = ws_close_payload(g->code[side], close_text(w, tunnel, side), payload);
        return frame(w, tunnel, side, WS_CLOSE, payload, n, out);
    }
    if (g->ping[side] != PING_WANTED || g->say[side] != SAY_NONE)
        return 0;
    payload_of(w, tunnel, side, g->pings[side] + 1, payload);
    return frame(w, tunnel, side, WS_PING, payload, WS_PONG_PAYLOAD, out);
}

/* They are on their way to that side. */
static void said(struct worker *w, uint32_t tunnel, bool last, const struct guard_walk *walk)
{
    struct arena_guard *g = guard_of(w, tunnel);
    uint32_t side = !walk->d;
    CRASH_POINT(guard_said);
    if (last) {
        g->say[side] = SAY_DONE;
        return;
    }
    g->ping[side] = PING_SENT;
    g->pings[side]++;
    g->asked_ms[side] = walk->now_ms;
    g->asked_us[side] = walk->again ? 0 : (uint32_t)(clock_mono_ns() / 1000);
    struct board_care *care = walk->again ? NULL : care_of(w, tunnel);
    if (!care)
        return;
    STORE_RELAXED(&care->pinged_ms, w->mono_ms);
    STORE_RELAXED(&care->pings, care->pings + 1);
}

/* A limit was met. What is shown is gossip: a death amid it may leave it one short. */
static void show_hit(struct worker *w, uint32_t tunnel, const struct guard_walk *walk)
{
    struct board_care *care = walk->again ? NULL : care_of(w, tunnel);
    if (care)
        STORE_RELAXED(&care->limits_hit, care->limits_hit + 1);
}

/* ---- what the source sends ---- */

static void pong_came(struct worker *w, uint32_t tunnel, const struct guard_walk *walk)
{
    struct arena_guard *g = guard_of(w, tunnel);
    uint32_t side = walk->d;
    g->ping[side] = PING_NONE;
    CRASH_POINT(guard_pong);
    g->arm = 1;
    g->pong_ms[side] = walk->now_ms;
    if (side != 0 || walk->again || g->asked_us[0] == 0)
        return;
    uint32_t rtt_us = (uint32_t)(clock_mono_ns() / 1000) - g->asked_us[0];
    STORE_RELAXED(&board_tunnel(w->board, w->slot, tunnel)->rtt_us, rtt_us > 0 ? rtt_us : 1u);
}

static uint32_t checks(const struct arena_tunnel *t, const struct arena_rules *rules, uint32_t d)
{
    uint32_t flags = d == 0 ? (uint32_t)WS_FROM_CLIENT : 0;
    if (rules->flags & RULES_CHECK_FRAMES)
        flags |= WS_CHECK;
    if (t->dir[0].care & CARE_RSV1)
        flags |= WS_ALLOW_RSV1;
    if (t->dir[0].care & CARE_RSV_ANY)
        flags |= WS_ALLOW_RSV;
    return flags;
}

/* Is the source over a rate? Nothing of what has come is lost: it waits with what is to come. */
static void charge(struct worker *w, uint32_t tunnel, const struct ws_walk *found,
                   const struct guard_walk *walk)
{
    struct arena_meter *meter = guard_meter(w, tunnel);
    struct meter_load load = {{found->messages, walk->n, found->controls}};
    uint32_t wait_ms;
    enum meter_verdict verdict = meter_charge(meter, rules_of(w, &w->tunnels[tunnel]), walk->d,
                                              &load, walk->now_ms, &wait_ms);
    if (verdict != METER_FINE)
        show_hit(w, tunnel, walk);
    switch (verdict) {
    case METER_FINE: break;
    case METER_WAIT:
        meter->paused |= (uint8_t)(1u << walk->d);
        guard_of(w, tunnel)->arm = 1;
        meter->paused_ms[walk->d] = walk->now_ms + wait_ms;
        break;
    case METER_OVER:
        /* A frame that has begun to pass goes on to its end: a Close cannot stand inside. */
        if (ws_track_at_boundary(&w->tunnels[tunnel].track[walk->d]))
            guard_of(w, tunnel)->cut |= (uint8_t)(1u << walk->d);
        guard_refuse(w, tunnel, walk->d, CLOSE_POLICY, REASON_RATE_LIMIT, walk->now_ms);
        break;
    }
}

static void judge(struct worker *w, uint32_t tunnel, enum ws_verdict verdict,
                  const struct guard_walk *walk)
{
    struct arena_guard *g = guard_of(w, tunnel);
    struct ws_track *track = &w->tunnels[tunnel].track[walk->d];
    bool bad = verdict == WS_BAD_FRAME;
    enum reason reason = bad                       ? REASON_BAD_FRAME
                         : verdict == WS_BIG_FRAME ? REASON_BIG_FRAME
                                                   : REASON_BIG_MESSAGE;
    show_hit(w, tunnel, walk);
    g->cut |=
        (uint8_t)(1u << walk->d); /* nothing of the frame, nor of any later one, was passed on */
    guard_refuse(w, tunnel, walk->d, bad ? CLOSE_PROTOCOL_ERROR : CLOSE_TOO_BIG, reason,
                 walk->now_ms);
    if (!(track->flags & WS_BROKEN))
        return;
    /* Where its next frame would begin nobody knows. */
    g->deaf |= (uint8_t)(1u << walk->d);
    *track = (struct ws_track){.frames = track->frames,
                               .flags = track->flags & (WS_SAW_CLOSE | WS_TAKEN)};
    g->held_len[walk->d] = 0;
}

/* Frame by frame. */
static uint32_t pass_on(struct worker *w, uint32_t tunnel, struct guard_walk *walk,
                        const uint8_t *words, uint32_t words_len, bool last, uint8_t *to)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    const struct arena_rules *rules = rules_of(w, t);
    uint32_t from = walk->d;
    uint32_t side = !walk->d;
    bool limits = guard_limits(w, t, from) && t->dir[0].care & CARE_METER && g->phase == GUARD_OPEN;
    uint8_t pong[WS_PONG_PAYLOAD];
    bool cut = g->say[side] == SAY_DONE || g->cut >> from & 1;
    struct ws_walk found = {
        .flags = (limits ? checks(t, rules, from) : 0) | (cut ? (uint32_t)WS_DROP : 0) |
                 (g->say[from] == SAY_DONE ? (uint32_t)WS_TAKE_CLOSE : 0) |
                 /* Who answers ours though it has said its own would say two (RFC 6455 5.5.1). */
                 (g->phase != GUARD_OPEN ? (uint32_t)WS_ENDS_AT_CLOSE : 0) |
                 (last ? (uint32_t)WS_WORDS_LAST : 0),
        .words = words,
        .words_len = words_len,
        .max_frame = limits ? rules->limits.max_frame : 0,
        .max_message = limits ? rules->limits.max_message : 0,
        .track = &t->track[from],
        .held = g->held[from],
        .held_len = &g->held_len[from],
        .message = limits ? &guard_meter(w, tunnel)->message[from] : NULL,
    };
    if (g->ping[from] == PING_SENT) {
        payload_of(w, tunnel, from, g->pings[from], pong);
        found.pong = pong;
    }
    ws_walk(&found, walk->in, walk->n, to);
    walk->heard = found.out - (found.said ? words_len : 0);
    if (found.said)
        said(w, tunnel, last, walk);
    if (found.pong_came) {
        pong_came(w, tunnel, walk);
        walk->heard += rules->flags & RULES_PONG_IS_LIFE;
    }
    if (found.verdict != WS_FINE)
        judge(w, tunnel, found.verdict, walk);
    else if (limits && walk->n > 0)
        charge(w, tunnel, &found, walk);
    return found.out;
}

/* The beginning of a frame that never became one: no byte of the source is lost. */
static uint32_t spill(struct worker *w, uint32_t tunnel, uint32_t d, uint8_t *to)
{
    struct arena_guard *g = guard_of(w, tunnel);
    uint32_t n = g->held_len[d];
    memcpy(to, g->held[d], n);
    ws_track_feed(&w->tunnels[tunnel].track[d], g->held[d], n);
    g->held_len[d] = 0;
    g->spill &= (uint8_t) ~(1u << d);
    return n;
}

void guard_walk(struct worker *w, uint32_t tunnel, struct guard_walk *walk, uint8_t *to)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_guard *g = guard_of(w, tunnel);
    uint8_t words[WS_WORDS_MAX];
    bool last;
    uint32_t len = words_for(w, tunnel, !walk->d, &last, words);
    walk->out = g->spill >> walk->d & 1 ? spill(w, tunnel, walk->d, to) : 0;
    /* Nothing of the source is under way to the destination: no frame to wait for the end of. */
    if (len > 0 && g->cut >> walk->d & 1) {
        memcpy(to + walk->out, words, len);
        said(w, tunnel, last, walk);
        walk->out += len;
        len = 0;
    }
    if (g->deaf >> walk->d & 1)
        walk->heard = 0;
    else
        walk->out += pass_on(w, tunnel, walk, words, len, last && len > 0, to + walk->out);
    if (t->track[walk->d].flags & WS_SAW_CLOSE && g->say[walk->d] == SAY_DONE)
        g->answered |= (uint8_t)(1u << walk->d);
    if (walk->counts_out)
        g->extra[walk->d] += walk->out - walk->n;
}
