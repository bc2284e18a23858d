/* SPDX-License-Identifier: Apache-2.0 */
#include "master/pause.h"

#include "master/slots.h"

void pause_accepting(struct master *master)
{
    bool accepting = master->phase == MASTER_STARTING || master->phase == MASTER_RUNNING;
    if (master->paused || !accepting)
        return;
    log_write(LOG_LEVEL_INFO, "paused", "listeners=%u", master->listeners.count);
    board_event(&master->board, MASTER_EVENT_WRITER, "paused");
    master->paused = true;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct master_slot *s = &master->slots[i];
        if (i < master->workers)
            s->mode = SLOT_MODE_PAUSED; /* one that waits for its start, too */
        if (s->running && s->mode == SLOT_MODE_PAUSED)
            slots_want(master, i, SLOT_MODE_PAUSED);
        else if (s->drain_ms != 0)
            slots_want(master, i, SLOT_MODE_DRAIN);
    }
}
