/* SPDX-License-Identifier: Apache-2.0 */
/* What is told about a worker that died by itself: on the board at once, in the log afterwards. */
#ifndef MASTER_OBITUARY_H
#define MASTER_OBITUARY_H

#include "common/log.h"
#include "shm/board.h"

#include <stdint.h>

enum {
    OBITUARY_UNKNOWN = -1,
    OBITUARY_WRITER_SLOT = 2, /* board.h: events of slot i are written by writer 2 + i */
};

struct obituary {
    uint32_t slot;
    int32_t pid;
    int status; /* wait status, OBITUARY_UNKNOWN if it was nobody's child that we could ask */
    uint64_t lived_ms;
    char words[BOARD_LAST_WORDS]; /* filled by obituary_show: of an ASSERT, "" without one */
};

/*
 * Count the death in its slot, add an event, and take the last words before a successor writes its
 * own. Keeper, while no worker of the slot runs.
 */
void obituary_show(struct obituary *obituary, const struct board *board);

/* One line in the error log. May block on the log: call it after the successor was started. */
void obituary_log(const struct obituary *obituary, struct log_limit *limit);

/*
 * The signal for worker_start.died_by_signal: 0 if it ended by exit; WORKER_DIED_UNKNOWN if
 * nobody knows: then the successor checks all it finds.
 */
int obituary_signal(const struct obituary *obituary);

#endif
