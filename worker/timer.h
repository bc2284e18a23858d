/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers of one worker: a hashed wheel over small numbers ("ids") instead of objects, so that a
 * tunnel pays 12 bytes and a successor can rebuild it by one scan. Setting, clearing and expiring are
 * O(1); a timer farther away than one turn of the wheel is looked at once a turn.
 */
#ifndef WORKER_TIMER_H
#define WORKER_TIMER_H

#include "common/compiler.h"

#include <stdint.h>

enum {
    TIMER_TICK_MS = 32,
    TIMER_SLOTS = 4096, /* one turn: 131 s */
};

/* Zeroed memory is an unarmed timer, so that untouched pages stay untouched. */
struct timer_node {
    uint32_t next;   /* 0: last; else id + 1 */
    uint32_t prev;   /* 0: not armed; 1: first of its slot; else id + 2 */
    uint32_t due_ms; /* monotonic mod 2^32 */
};

struct timer_wheel {
    struct timer_node *nodes;
    uint32_t capacity;
    uint32_t tick;   /* ticks up to and including this one are done; mod 2^32, past 2^27 */
    uint32_t cursor; /* id + 1 of the node that expiry looks at next */
    uint32_t slots[TIMER_SLOTS];         /* id + 1 of the first node, 0: empty */
    uint64_t occupied[TIMER_SLOTS / 64]; /* one bit a slot that is not empty */
};

/* Make a wheel for ids < capacity. Memory is reserved, not touched. Returns 0 or -errno. */
int timer_init(struct timer_wheel *wheel, uint32_t capacity, uint32_t now_ms) MUST_CHECK;

/* Arm or re-arm: due in `delay_ms` from `now_ms`, rounded up to a tick. At most 24 days. */
void timer_set(struct timer_wheel *wheel, uint32_t id, uint32_t now_ms, uint32_t delay_ms);

/* Disarm; nothing happens if it is not armed. */
void timer_clear(struct timer_wheel *wheel, uint32_t id);

/*
 * Call `expired` for every timer that is due; it is disarmed before. The callback may set and clear
 * any timer.
 */
typedef void timer_expired(void *context, uint32_t id);
void timer_run(struct timer_wheel *wheel, uint32_t now_ms, timer_expired *expired, void *context);

/* Milliseconds until timer_run may have work, at most `limit_ms`. */
uint32_t timer_wait(const struct timer_wheel *wheel, uint32_t now_ms, uint32_t limit_ms);

#endif
