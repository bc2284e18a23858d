/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board.h"

#include "common/clock.h"

#include <stdarg.h>
#include <stdio.h>

/*
 * The writer's newest sequence number. Looked up each time, for a successor has no other memory of
 * it than the board, and events are rare.
 */
static uint64_t newest_seq(const struct board *board, uint32_t writer)
{
    uint64_t newest = 0;
    for (uint32_t i = 0; i < BOARD_EVENTS_PER_WRITER; i++) {
        uint64_t seq = LOAD_RELAXED(&board_event_at(board, writer, i)->seq);
        if (seq > newest)
            newest = seq;
    }
    return newest;
}

void board_event(const struct board *board, uint32_t writer, const char *fmt, ...)
{
    uint64_t seq = newest_seq(board, writer) + 1;
    struct board_event *event =
        board_event_at(board, writer, (uint32_t)(seq % BOARD_EVENTS_PER_WRITER));

    /* Dead from here on to the release: readers see an entry that was never used, and skip it. */
    STORE_RELAXED(&event->seq, 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    event->at_real_ms = clock_real_ms();
    va_list args;
    va_start(args, fmt);
    vsnprintf(event->text, sizeof event->text, fmt, args);
    va_end(args);
    STORE_RELEASE(&event->seq, seq);
}
