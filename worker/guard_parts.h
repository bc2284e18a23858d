/* SPDX-License-Identifier: Apache-2.0 */
/* Between guard.c, guard_close.c, guard_time.c and guard_walk.c. */
#ifndef WORKER_GUARD_PARTS_H
#define WORKER_GUARD_PARTS_H

#include "worker/guard.h"
#include "worker/rules.h"

enum {
    CLOSE_GOING_AWAY = 1001, /* RFC 6455 7.4.1 */
    CLOSE_PROTOCOL_ERROR = 1002,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_SERVER_TROUBLE = 1011, /* to a client whose server broke a rule, or is gone */
};

static inline bool guard_in_use(const struct arena_tunnel *t)
{
    return t->dir[0].care & CARE_GUARD;
}

static inline struct arena_guard *guard_of(const struct worker *w, uint32_t tunnel)
{
    return &w->arena->guards[tunnel];
}

static inline struct arena_meter *guard_meter(const struct worker *w, uint32_t tunnel)
{
    return &w->arena->meters[tunnel];
}

/* Do limits or checks hold for this direction? */
static inline bool guard_limits(const struct worker *w, const struct arena_tunnel *t, uint32_t d)
{
    return rules_of(w, t)->flags & (uint32_t)RULES_LIMITS_0 << d;
}

/*
 * Is a Close of ours to be said to that side? Not before its phase has begun: who finds one that is only
 * wanted begins the phase anew, and what has been answered by then would be taken for the end's own.
 */
static inline bool guard_says_close(const struct arena_guard *g, uint32_t side)
{
    return g->say[side] == SAY_WANTED && g->phase != GUARD_OPEN;
}

/* Let a tunnel have a guard, if it has none yet. */
void guard_use(struct worker *w, uint32_t tunnel);

/* Which directions' frames are looked at from now on: one store each, between two steps. */
void guard_set_care(struct worker *w, uint32_t tunnel);

/* Directions in which something of ours may go now are run, by the ready list. */
void guard_wake(struct worker *w, uint32_t tunnel);

/* A phase of a close begins: the last store of what begins it. */
void guard_enter(struct arena_guard *g, enum guard_phase phase, uint32_t now_ms);

/* Nobody answers there any more: the other side is told. False: the tunnel is gone. */
bool guard_give_up(struct worker *w, uint32_t tunnel, uint32_t side);

/* Has the source's own Close gone to the destination? The answer to ours has not. */
bool guard_passed_close(const struct arena_tunnel *t, uint32_t d);

/*
 * May a Close still go to that side? Not behind a FIN or the Close of the other end, nor amid what is no
 * frame.
 */
bool guard_can_tell(const struct worker *w, uint32_t tunnel, uint32_t side);

/*
 * Close both sides because one of them broke a rule: it gets `code`. Part of a step. The caller has cut
 * the direction before if the destination stands at a frame boundary.
 */
void guard_refuse(struct worker *w, uint32_t tunnel, uint32_t side, uint16_t code,
                  enum reason reason, uint32_t now_ms);

#endif
