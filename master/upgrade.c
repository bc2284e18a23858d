/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/upgrade.h"

#include "common/clock.h"
#include "master/handover.h"
#include "master/notify.h"
#include "master/process.h"
#include "master/trial.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
    SIGNAL_AGAIN_MS = 100,   /* a keeper that was replaced meanwhile has lost its signal */
    SLOT_PATIENCE_MS = 5000, /* for one slot, beyond upgrade_timeout */
    PROVEN_MS = 300,         /* a slot must have served so long before the next one follows */
};

static const char *const words[] = {
    [RENEW_RECYCLE] = "recycle", [RENEW_UPGRADE] = "upgrade", [RENEW_GO_BACK] = "roll_back"};

static void say(struct master *master, enum log_level level, const char *what, int error)
{
    const char *word = words[master->renewal.kind];
    log_write(level, what, "kind=%s slot=%u program=%s error=\"%s\"", word, master->renewal.slot,
              master->program, error ? strerror(error) : "none");
    board_event(&master->board, MASTER_EVENT_WRITER, "%s kind=%s slot=%u", what, word,
                master->renewal.slot);
}

void upgrade_ask(struct master *master, enum upgrade_kind kind)
{
    struct master_renewal *r = &master->renewal;
    if (master->phase != MASTER_RUNNING || r->kind != RENEW_NOTHING) {
        log_write(LOG_LEVEL_WARN, "upgrade_ignored", "reason=%s",
                  r->kind != RENEW_NOTHING ? "under_way" : "not_running");
        return;
    }
    *r = (struct master_renewal){.kind = kind == UPGRADE_PROGRAM ? RENEW_UPGRADE : RENEW_RECYCLE};
    if (kind == UPGRADE_PROGRAM) {
        int error = trial_run(master->program, master->conf_path);
        if (error) {
            STORE_RELAXED(&master->board.header->upgrades_failed,
                          master->board.header->upgrades_failed + 1);
            say(master, LOG_LEVEL_ERROR, "upgrade_refused", -error);
            r->kind = RENEW_NOTHING;
            return;
        }
    }
    say(master, LOG_LEVEL_INFO, "renewing", 0);
}

/* Tell a slot's keeper; again from time to time, because a keeper may die with the signal. */
static void tell(struct master *master, uint64_t now_ms)
{
    struct master_renewal *r = &master->renewal;
    struct board_slot *shown = board_slot(&master->board, r->slot);
    if (!r->told) {
        r->told = true;
        r->begun_ms = now_ms;
        STORE_RELAXED(&shown->renew_former, r->kind == RENEW_GO_BACK);
        STORE_RELEASE(&shown->renew_seq, shown->renew_seq + 1);
    } else if (master_since(now_ms, r->told_ms) < SIGNAL_AGAIN_MS) {
        return;
    }
    r->told_ms = now_ms;
    (void)process_signal(LOAD_ACQUIRE(&shown->keeper_pid), PROCESS_KEEPER, SIGUSR2);
}

static void fail(struct master *master, int error)
{
    struct master_renewal *r = &master->renewal;
    uint32_t reached = r->slot;
    say(master, LOG_LEVEL_ERROR, "upgrade_failed", error);
    STORE_RELAXED(&master->board.header->upgrades_failed,
                  master->board.header->upgrades_failed + 1);
    /* Slots below have the new program already: they go back to the one they had. */
    bool back = r->kind == RENEW_UPGRADE && reached > 0;
    *r = (struct master_renewal){.kind = back ? RENEW_GO_BACK : RENEW_NOTHING, .end = reached};
}

static void finish(struct master *master)
{
    struct master_renewal *r = &master->renewal;
    say(master, LOG_LEVEL_INFO, "renewed", 0);
    enum renew_kind kind = r->kind;
    *r = (struct master_renewal){.kind = RENEW_NOTHING};
    if (kind != RENEW_UPGRADE)
        return;
    int error = handover_exec(master);
    log_write(LOG_LEVEL_ERROR, "upgrade_failed", "slot=master program=%s error=\"%s\"",
              master->program, strerror(-error));
}

/* Is the slot done? 0: not yet; 1: yes; else -errno: it failed. */
static int slot_state(const struct master *master, uint64_t now_ms)
{
    const struct master_renewal *r = &master->renewal;
    const struct board_slot *shown = board_slot(&master->board, r->slot);
    uint64_t limit_ms = SLOT_PATIENCE_MS + master->board.header->upgrade_timeout_ms;
    bool tried = LOAD_ACQUIRE(&shown->renewed_seq) == shown->renew_seq;
    if (tried && shown->renew_error != 0)
        return -shown->renew_error;
    if (master_since(now_ms, r->begun_ms) > limit_ms)
        return -ETIMEDOUT;
    uint32_t state = LOAD_RELAXED(&shown->state);
    if (!tried || (state != SLOT_RUNNING && state != SLOT_DRAINING))
        return 0;
    return r->served_ms != 0 && master_since(now_ms, r->served_ms) >= PROVEN_MS;
}

static bool past_end(const struct master_renewal *r)
{
    return r->slot >= BOARD_SLOTS_MAX || (r->kind == RENEW_GO_BACK && r->slot >= r->end);
}

bool upgrade_step(struct master *master, uint64_t now_ms)
{
    struct master_renewal *r = &master->renewal;
    if (r->kind == RENEW_NOTHING || master->phase != MASTER_RUNNING)
        return false;
    while (!past_end(r) && !master->slots[r->slot].running) {
        r->slot++;
        r->told = false;
    }
    if (past_end(r)) {
        finish(master);
        return true;
    }
    tell(master, now_ms);
    const struct board_slot *shown = board_slot(&master->board, r->slot);
    if (r->served_ms == 0 && LOAD_ACQUIRE(&shown->renewed_seq) == shown->renew_seq)
        r->served_ms = now_ms;
    int state = slot_state(master, now_ms);
    if (state < 0) {
        fail(master, -state);
    } else if (state > 0) {
        r->slot++;
        r->told = false;
        r->served_ms = 0;
    }
    return true;
}
