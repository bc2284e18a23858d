/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wave.h"

#include "worker/guard.h"
#include "worker/rules.h"
#include "worker/tunnel.h"

enum {
    FAR_MS = 1 << 30,     /* farther away is looked at again then: timers do not go so far */
    CLOCK_STEP_MS = 1000, /* of the real clock; less is drift, or sleep between two looks */
    SHED_LATE_MS = 10000, /* who was spared at its turn for so long stays */
};

/* What is asked about one tunnel, and the earliest end found so far. */
struct ask {
    const struct worker *w;
    uint32_t tunnel;
    uint32_t turn; /* of 2^32 */
    uint64_t age_ms;
    uint64_t opened_real_ms;
    uint64_t due_ms; /* monotonic; UINT64_MAX: none */
    enum reason reason;
};

static void propose(struct ask *ask, uint64_t due_ms, enum reason reason)
{
    if (due_ms < ask->due_ms) {
        ask->due_ms = due_ms;
        ask->reason = reason;
    }
}

/* The turn in a window; of one that was opened amid it, in what is left of it. */
static uint64_t turn_in(const struct ask *ask, uint64_t from_ms, uint64_t for_ms)
{
    uint64_t end_ms = from_ms + for_ms;
    /* Older than the machine: its clock was set since. */
    uint64_t opened_ms = ask->w->mono_ms > ask->age_ms ? ask->w->mono_ms - ask->age_ms : 0;
    if (opened_ms > from_ms) {
        from_ms = opened_ms;
        for_ms = end_ms > opened_ms ? end_ms - opened_ms : 0;
    }
    return from_ms + (for_ms * ask->turn >> 32);
}

static void ask_age(struct ask *ask, const struct arena_rules *rules)
{
    uint32_t max_ms = rules->max_age_ms;
    if (max_ms == 0)
        return;
    uint32_t spread_ms = rules->max_age_spread_ms < max_ms ? rules->max_age_spread_ms : max_ms;
    uint64_t limit_ms = max_ms - ((uint64_t)spread_ms * ask->turn >> 32);
    uint64_t left_ms = limit_ms > ask->age_ms ? limit_ms - ask->age_ms : 0;
    propose(ask, ask->w->mono_ms + left_ms, REASON_MAX_AGE);
}

static void ask_drain(struct ask *ask, const struct board_backend *backend)
{
    uint64_t until_ms = LOAD_RELAXED(&backend->drain_until_ms);
    uint32_t spread_ms = LOAD_RELAXED(&backend->drain_spread_ms);
    if (until_ms != 0 && until_ms > spread_ms)
        propose(ask, turn_in(ask, until_ms - spread_ms, spread_ms), REASON_DRAINED);
}

/* Its turn has come, but its server has no more than its share, or had for long since. */
static bool is_spared(const struct ask *ask, const struct board_wave *wave, uint64_t due_ms)
{
    const struct worker *w = ask->w;
    if (wave->floor == 0 || due_ms > w->mono_ms)
        return false;
    return w->mono_ms - due_ms > SHED_LATE_MS ||
           board_backend_tunnels(w->board, w->tunnels[ask->tunnel].backend) <= wave->floor;
}

static void ask_wave(struct ask *ask, const struct board_wave *shown)
{
    struct board_wave wave;
    if (!board_wave_read(shown, &wave))
        return;
    if (wave.opened_before_real_ms != 0 && ask->opened_real_ms >= wave.opened_before_real_ms)
        return;
    if (wave.share != BOARD_WAVE_ALL &&
        board_wave_pick(ask->w->board, ask->w->slot, ask->tunnel) >= wave.share)
        return;
    uint64_t due_ms = turn_in(ask, wave.from_ms, wave.for_ms);
    uint32_t reason = wave.mark & 0xff;
    if (!is_spared(ask, &wave, due_ms) && reason < REASON_COUNT)
        propose(ask, due_ms, (enum reason)reason);
}

uint32_t wave_left(const struct worker *w, uint32_t tunnel, enum reason *reason)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    struct ask ask = {.w = w,
                      .tunnel = tunnel,
                      .turn = board_wave_turn(w->board, w->slot, tunnel),
                      .opened_real_ms = pub->opened_real_ms,
                      .due_ms = UINT64_MAX};
    if (guard_is_closing(w, tunnel))
        return UINT32_MAX;
    if (w->real_ms > pub->opened_real_ms)
        ask.age_ms = w->real_ms - pub->opened_real_ms;
    ask_age(&ask, rules_of(w, t));
    ask_wave(&ask, &w->board->header->quit);
    if (t->backend < BOARD_BACKENDS_MAX) {
        const struct board_backend *backend = board_backend(w->board, t->backend);
        ask_drain(&ask, backend);
        ask_wave(&ask, &backend->wave);
    }
    if (ask.due_ms == UINT64_MAX)
        return UINT32_MAX;
    *reason = ask.reason;
    uint64_t left_ms = ask.due_ms > w->mono_ms ? ask.due_ms - w->mono_ms : 0;
    return left_ms < FAR_MS ? (uint32_t)left_ms : (uint32_t)FAR_MS;
}

void wave_look_at_clock(struct worker *w, uint64_t ahead_ms)
{
    int64_t step_ms = (int64_t)(w->real_ms - w->mono_ms - ahead_ms);
    if (ahead_ms == 0 || (step_ms <= CLOCK_STEP_MS && step_ms >= -CLOCK_STEP_MS))
        return;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        struct board_tunnel *pub = board_tunnel(w->board, w->slot, i);
        /* Death amid it: some have the age that the clock says. */
        if (step_ms >= 0 || pub->opened_real_ms >= (uint64_t)-step_ms)
            STORE_RELAXED(&pub->opened_real_ms, pub->opened_real_ms + (uint64_t)step_ms);
        else
            STORE_RELAXED(&pub->opened_real_ms, 0u);
    }
}

/* Those that an operator has named, if they are ours: once more does no harm, a number does not come again so soon. */
static void close_named(struct worker *w)
{
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++) {
        uint64_t id = LOAD_RELAXED(&w->board->header->close_ids[i]);
        struct board_tunnel_place place = board_tunnel_place(id);
        uint32_t tunnel = place.tunnel;
        if (place.slot != w->slot || tunnel >= w->tunnels_used)
            continue;
        if (w->tunnels[tunnel].state == TUNNEL_OPEN &&
            board_tunnel(w->board, w->slot, tunnel)->id == id && !guard_is_closing(w, tunnel))
            guard_close(w, tunnel, REASON_CLOSED_BY_OPERATOR);
    }
}

void wave_look(struct worker *w)
{
    enum reason reason;
    uint32_t serial = LOAD_ACQUIRE(&w->board->header->wave_serial);
    if (serial == w->waves_seen)
        return;
    w->waves_seen = serial;
    close_named(w);
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        if (w->tunnels[i].state == TUNNEL_OPEN && wave_left(w, i, &reason) != UINT32_MAX)
            tunnel_arm(w, i);
    }
}
