/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/reap.h"

#include "master/bury.h"
#include "master/checker.h"
#include "master/process.h"
#include "master/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A worker may have cloned a keeper and died before either stands on the board, or be a new one that has
 * not come to run yet on a busy machine: look twice.
 */
enum { GONE_FOR_SURE_MS = 100 };

static void note_keeper(struct master *master, int32_t pid, int status)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct master_slot *s = &master->slots[i];
        if (!s->running || s->keeper != pid)
            continue;
        s->keeper = 0;
        s->keeper_status = status;
        if (WIFSIGNALED(status))
            log_write(LOG_LEVEL_ERROR, "keeper_died", "slot=%u pid=%d signal=%d", i, pid,
                      WTERMSIG(status));
        return;
    }
}

void reap_children(struct master *master)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        master->childless = pid < 0 && errno == ECHILD;
        if (pid <= 0)
            return;
        if (!upgrade_note_exit(master, (int32_t)pid, status) &&
            !checker_reaped(master, (int32_t)pid, status))
            note_keeper(master, (int32_t)pid, status);
    }
}

/* A slot that is meant to run is due again, after a pause if it keeps dying. */
static void make_due(struct master *master, uint32_t slot, uint64_t now_ms)
{
    struct master_slot *s = &master->slots[slot];
    uint32_t wait_ms =
        throttle_pause_ms(&s->throttle, master_since(now_ms, s->started_ms), s->keeper_status);
    s->start_at_ms = now_ms + wait_ms;
}

/* Keeper and worker are gone, and with them every descriptor the slot had. */
static void end_slot(struct master *master, uint32_t slot, uint64_t now_ms)
{
    struct master_slot *s = &master->slots[slot];
    uint32_t lost = bury_slot(&master->board, slot);
    close(s->control);
    s->control = -1;
    s->running = false;
    s->gone_ms = 0;
    s->keeper = 0;
    s->drain_ms = 0;
    if (slot >= master->workers || (s->mode != SLOT_MODE_RUN && s->mode != SLOT_MODE_PAUSED)) {
        log_write(LOG_LEVEL_INFO, "slot_ended", "slot=%u tunnels_lost=%u", slot, lost);
        s->mode = SLOT_MODE_STOP;
        return;
    }
    log_write(LOG_LEVEL_ERROR, "slot_lost", "slot=%u tunnels_lost=%u", slot, lost);
    board_event(&master->board, MASTER_EVENT_WRITER, "slot_lost slot=%u tunnels_lost=%u", slot,
                lost);
    make_due(master, slot, now_ms);
}

static bool keeper_lives(const struct master_slot *slot)
{
    return slot->keeper > 0 &&
           (process_is_child(slot->keeper) || process_is_ours(slot->keeper, PROCESS_KEEPER));
}

/* Returns true while the slot's fate is open: look again soon. */
static bool check_slot(struct master *master, uint32_t slot, uint64_t now_ms)
{
    struct master_slot *s = &master->slots[slot];
    const struct board_slot *shown = board_slot(&master->board, slot);
    if (keeper_lives(s)) {
        s->gone_ms = 0;
        return false;
    }
    int32_t keeper = LOAD_ACQUIRE(&shown->keeper_pid);
    int32_t worker = LOAD_ACQUIRE(&shown->worker_pid);
    if (process_is_ours(keeper, PROCESS_KEEPER)) {
        log_write(LOG_LEVEL_INFO, "keeper_followed", "slot=%u pid=%d", slot, keeper);
        s->keeper = keeper;
        s->gone_ms = 0;
        return false;
    }
    if (process_is_ours(worker, PROCESS_WORKER)) {
        s->gone_ms = 0;
        return true; /* it will clone a keeper */
    }
    if (s->gone_ms == 0)
        s->gone_ms = now_ms;
    bool said_goodbye = keeper == 0 && worker == 0;
    if (!said_goodbye && master_since(now_ms, s->gone_ms) < GONE_FOR_SURE_MS)
        return true;
    end_slot(master, slot, now_ms);
    return false;
}

bool reap_check_slots(struct master *master, uint64_t now_ms)
{
    bool undecided = false;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (master->slots[i].running)
            undecided |= check_slot(master, i, now_ms);
    }
    return undecided;
}
