/* SPDX-License-Identifier: Apache-2.0 */
#include "master/loop.h"

#include "common/clock.h"
#include "master/certificates.h"
#include "master/checker.h"
#include "master/handover.h"
#include "master/listen.h"
#include "master/operate.h"
#include "master/reap.h"
#include "master/reload.h"
#include "master/rotate.h"
#include "master/signals.h"
#include "master/slots.h"
#include "master/spawn.h"
#include "master/start.h"
#include "master/stop.h"
#include "master/upgrade.h"

#include <poll.h>

enum {
    IMPATIENT_MS = 3000, /* what is unsettled for longer is looked at less often */
    SLOW_TICK_MS = 100,
};

static void beat(struct master *master, uint64_t now_ms)
{
    STORE_RELEASE(&master->board.header->beat_ms, now_ms);
}

static bool some_slot_is_due(const struct master *master)
{
    for (uint32_t i = 0; i < master->workers; i++) {
        if (!master->slots[i].running)
            return true;
    }
    return false;
}

/* Everything that may have changed since the last turn. Returns true if something is unsettled. */
static bool look_after_all(struct master *master)
{
    uint64_t now_ms = clock_mono_ms();
    beat(master, now_ms);
    reap_children(master);
    bool undecided = reap_check_slots(master, now_ms);
    reload_step(master, now_ms);
    rotate_step(master, now_ms);
    certificates_step(master, now_ms);
    spawn_missing(master, now_ms);
    checker_step(master, now_ms);
    operate_step(master, now_ms);
    bool leaving = slots_drain_due(master, now_ms);
    slots_tell(master, now_ms);
    bool renewing = upgrade_step(master, now_ms);
    renewing |= handover_settle(master);
    bool closing = listen_close_unwanted(master, now_ms);
    start_step(master, now_ms);
    if (master->phase == MASTER_QUITTING)
        return undecided || closing || !slots_all_applied(master);
    return undecided || closing || leaving || renewing || master->phase != MASTER_RUNNING ||
           master->reload_wanted || master->names_changed || !slots_all_applied(master) ||
           some_slot_is_due(master);
}

static int tick_ms(bool unsettled, uint64_t since_ms)
{
    if (!unsettled)
        return MASTER_BEAT_MS;
    return master_since(clock_mono_ms(), since_ms) < IMPATIENT_MS ? MASTER_TICK_MS : SLOW_TICK_MS;
}

void loop_run(struct master *master)
{
    uint64_t unsettled_ms = 0;
    for (;;) {
        bool unsettled = look_after_all(master);
        if (!unsettled)
            unsettled_ms = 0;
        else if (unsettled_ms == 0)
            unsettled_ms = clock_mono_ms();
        bool ending = master->phase == MASTER_QUITTING || master->phase == MASTER_STOPPING;
        if (ending && stop_step(master, clock_mono_ms()))
            return;
        struct pollfd fds[2 + OPERATE_FDS] = {{.fd = master->signals, .events = POLLIN},
                                              {.fd = master->checker.control, .events = POLLIN}};
        uint32_t count = 2 + operate_watch(&master->operate, fds + 2);
        if (poll(fds, count, tick_ms(unsettled, unsettled_ms)) > 0)
            signals_handle(master);
    }
}
