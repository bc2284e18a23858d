/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/timer.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int timer_init(struct timer_wheel *wheel, uint32_t capacity, uint32_t now_ms)
{
    memset(wheel, 0, sizeof *wheel);
    void *nodes = mmap(NULL, (size_t)capacity * sizeof(struct timer_node), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (nodes == MAP_FAILED)
        return -errno;
    wheel->nodes = nodes;
    wheel->capacity = capacity;
    wheel->tick = now_ms / TIMER_TICK_MS;
    return 0;
}

static uint32_t slot_of(uint32_t due_ms)
{
    return due_ms / TIMER_TICK_MS % TIMER_SLOTS;
}

/*
 * Milliseconds since the last done tick began. Ticks are counted on past 2^27, where milliseconds
 * wrap, so they are only ever compared as milliseconds mod 2^32.
 */
static int32_t since_done(const struct timer_wheel *wheel, uint32_t at_ms)
{
    return (int32_t)(at_ms - wheel->tick * TIMER_TICK_MS);
}

void timer_clear(struct timer_wheel *wheel, uint32_t id)
{
    ASSERT(id < wheel->capacity);
    struct timer_node *node = &wheel->nodes[id];
    if (node->prev == 0)
        return;
    if (wheel->cursor == id + 1)
        wheel->cursor = node->next;
    if (node->prev == 1) {
        uint32_t slot = slot_of(node->due_ms);
        wheel->slots[slot] = node->next;
        if (node->next == 0)
            wheel->occupied[slot / 64] &= ~(1ull << (slot % 64));
    } else {
        wheel->nodes[node->prev - 2].next = node->next;
    }
    if (node->next != 0)
        wheel->nodes[node->next - 1].prev = node->prev;
    node->prev = 0;
    node->next = 0;
}

void timer_set(struct timer_wheel *wheel, uint32_t id, uint32_t now_ms, uint32_t delay_ms)
{
    ASSERT(id < wheel->capacity);
    timer_clear(wheel, id);
    struct timer_node *node = &wheel->nodes[id];
    /* A tick that is done is not looked at again for a whole turn: never land there. */
    uint32_t due = now_ms + delay_ms + TIMER_TICK_MS - 1;
    if (delay_ms < TIMER_TICK_MS && since_done(wheel, due) < (int32_t)TIMER_TICK_MS)
        due = (wheel->tick + 1) * TIMER_TICK_MS;
    uint32_t slot = slot_of(due);
    node->due_ms = due;
    node->prev = 1;
    node->next = wheel->slots[slot];
    if (node->next != 0)
        wheel->nodes[node->next - 1].prev = id + 2;
    wheel->slots[slot] = id + 1;
    wheel->occupied[slot / 64] |= 1ull << (slot % 64);
}

static void run_slot(struct timer_wheel *wheel, uint32_t slot, uint32_t now_ms,
                     timer_expired *expired, void *context)
{
    wheel->cursor = wheel->slots[slot];
    while (wheel->cursor != 0) {
        uint32_t id = wheel->cursor - 1;
        wheel->cursor = wheel->nodes[id].next;
        if ((int32_t)(wheel->nodes[id].due_ms - (now_ms | (TIMER_TICK_MS - 1))) > 0)
            continue; /* of a later turn */
        timer_clear(wheel, id);
        expired(context, id);
    }
}

void timer_run(struct timer_wheel *wheel, uint32_t now_ms, timer_expired *expired, void *context)
{
    int32_t since_ms = since_done(wheel, now_ms);
    if (since_ms < (int32_t)TIMER_TICK_MS)
        return;
    uint32_t behind = (uint32_t)since_ms / TIMER_TICK_MS;
    if (behind > TIMER_SLOTS) { /* we slept for more than a turn */
        wheel->tick += behind - TIMER_SLOTS;
        behind = TIMER_SLOTS;
    }
    while (behind-- > 0) {
        wheel->tick++;
        uint32_t slot = wheel->tick % TIMER_SLOTS;
        if (wheel->slots[slot] != 0)
            run_slot(wheel, slot, now_ms, expired, context);
    }
}

uint32_t timer_wait(const struct timer_wheel *wheel, uint32_t now_ms, uint32_t limit_ms)
{
    uint32_t ticks = limit_ms / TIMER_TICK_MS + 1;
    for (uint32_t i = 1; i <= ticks; i++) {
        uint32_t slot = (wheel->tick + i) % TIMER_SLOTS;
        if (wheel->occupied[slot / 64] == 0 && slot % 64 == 0) {
            i += 63;
            continue;
        }
        if (!(wheel->occupied[slot / 64] & 1ull << (slot % 64)))
            continue;
        uint32_t at_ms = (wheel->tick + i) * TIMER_TICK_MS;
        int32_t wait = (int32_t)(at_ms - now_ms);
        return wait < 0 ? 0 : (uint32_t)wait < limit_ms ? (uint32_t)wait : limit_ms;
    }
    return limit_ms;
}
