/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_timer.h"

static struct ws_load_conn **slot_of(struct ws_load *load, uint64_t at_ms)
{
    return &load->timers[at_ms % WS_LOAD_TIMER_SLOTS];
}

void ws_load_timer_clear(struct ws_load *load, struct ws_load_conn *conn)
{
    if (conn->timer_ms == 0)
        return;
    if (conn->timer_prev)
        conn->timer_prev->timer_next = conn->timer_next;
    else
        *slot_of(load, conn->timer_ms) = conn->timer_next;
    if (conn->timer_next)
        conn->timer_next->timer_prev = conn->timer_prev;
    conn->timer_prev = conn->timer_next = NULL;
    conn->timer_ms = 0;
}

void ws_load_timer_set(struct ws_load *load, struct ws_load_conn *conn, uint64_t at_ms)
{
    ws_load_timer_clear(load, conn);
    if (at_ms <= load->timer_tick_ms)
        at_ms = load->timer_tick_ms + 1;
    struct ws_load_conn **slot = slot_of(load, at_ms);
    conn->timer_ms = at_ms;
    conn->timer_next = *slot;
    if (conn->timer_next)
        conn->timer_next->timer_prev = conn;
    *slot = conn;
}

/* Those of one slot that are due; others wait for a later turn of the wheel. */
static void run_slot(struct ws_load *load, ws_load_timer_due *due)
{
    struct ws_load_conn *conn = *slot_of(load, load->timer_tick_ms);
    while (conn) {
        if (conn->timer_ms > load->timer_tick_ms) {
            conn = conn->timer_next;
            continue;
        }
        ws_load_timer_clear(load, conn);
        due(load, conn);
        /* It may have changed any list: begin again; what is left is not due or was not looked at. */
        conn = *slot_of(load, load->timer_tick_ms);
    }
}

void ws_load_timer_run(struct ws_load *load, ws_load_timer_due *due)
{
    while (load->timer_tick_ms < load->now_ms) {
        load->timer_tick_ms++;
        run_slot(load, due);
    }
}

int ws_load_timer_wait(const struct ws_load *load, int limit)
{
    for (int i = 1; i <= limit; i++) {
        if (load->timers[(load->timer_tick_ms + (uint64_t)i) % WS_LOAD_TIMER_SLOTS])
            return i;
    }
    return limit;
}
