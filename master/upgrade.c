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
    TRIAL_MS = 10000,        /* for a program on trial */
    TRIES_MAX = 3,           /* for a slot in which somebody dies meanwhile */
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

static void count_failure(struct master *master)
{
    STORE_RELAXED(&master->board.header->upgrades_failed,
                  master->board.header->upgrades_failed + 1);
}

/* `pid` or -errno: a program that could not even be started has failed its trial. */
static void begin_trial(struct master_renewal *r, int pid)
{
    r->trial = pid > 0 ? pid : 0;
    r->trial_status = pid > 0 ? 0 : -1;
    r->begun_ms = clock_mono_ms();
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
    begin_trial(r, trial_begin(master->program, master->conf_path));
}

void upgrade_go_back(struct master *master)
{
    count_failure(master);
    master->renewal = (struct master_renewal){
        .kind = RENEW_GO_BACK, .stage = RENEW_SLOTS, .end = BOARD_SLOTS_MAX};
    say(master, LOG_LEVEL_ERROR, "upgrade_failed", ENOEXEC);
}

bool upgrade_note_exit(struct master *master, int32_t pid, int status)
{
    struct master_renewal *r = &master->renewal;
    if (r->trial != pid)
        return false;
    r->trial = 0;
    r->trial_status = status;
    return true;
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

/* Slots up to `end` have the new program: they go back to the one they had. */
static void fail(struct master *master, int error, uint32_t end)
{
    struct master_renewal *r = &master->renewal;
    say(master, LOG_LEVEL_ERROR, "upgrade_failed", error);
    count_failure(master);
    bool back = r->kind == RENEW_UPGRADE && end > 0;
    *r = (struct master_renewal){
        .kind = back ? RENEW_GO_BACK : RENEW_NOTHING, .stage = RENEW_SLOTS, .end = end};
}

static void finish(struct master *master)
{
    struct master_renewal *r = &master->renewal;
    say(master, LOG_LEVEL_INFO, "renewed", 0);
    if (r->kind == RENEW_UPGRADE) {
        r->stage = RENEW_REHEARSAL;
        begin_trial(r, handover_rehearse(master));
    } else {
        *r = (struct master_renewal){.kind = RENEW_NOTHING};
    }
}

/* The program on trial has said yes or no; in its time, or it was killed. */
static void judge(struct master *master)
{
    struct master_renewal *r = &master->renewal;
    if (r->stage == RENEW_REHEARSAL) {
        int error = r->trial_status == 0 ? handover_exec(master) : -ENOEXEC;
        fail(master, -error, BOARD_SLOTS_MAX);
    } else if (r->trial_status == 0) {
        r->stage = RENEW_SLOTS;
        say(master, LOG_LEVEL_INFO, "renewing", 0);
    } else {
        count_failure(master);
        say(master, LOG_LEVEL_ERROR, "upgrade_refused", ENOEXEC);
        r->kind = RENEW_NOTHING;
    }
}

static void await_trial(struct master *master, uint64_t now_ms)
{
    struct master_renewal *r = &master->renewal;
    if (r->trial == 0)
        judge(master);
    else if (master_since(now_ms, r->begun_ms) > TRIAL_MS || master->phase != MASTER_RUNNING)
        trial_kill(r->trial);
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

static void next_slot(struct master_renewal *r)
{
    r->slot++;
    r->told = false;
    r->served_ms = 0;
    r->tries = 0;
}

/* The worker while it was to park, or the keeper on the way: nobody is to blame. */
static bool somebody_died(int error)
{
    return error == -ESRCH || error == -ECANCELED;
}

bool upgrade_step(struct master *master, uint64_t now_ms)
{
    struct master_renewal *r = &master->renewal;
    if (r->kind == RENEW_NOTHING || (master->phase != MASTER_RUNNING && r->trial == 0))
        return false;
    if (r->stage != RENEW_SLOTS) {
        await_trial(master, now_ms);
        return true;
    }
    while (!past_end(r) && !master->slots[r->slot].running)
        next_slot(r);
    if (past_end(r)) {
        finish(master);
        return true;
    }
    tell(master, now_ms);
    const struct board_slot *shown = board_slot(&master->board, r->slot);
    if (r->served_ms == 0 && LOAD_ACQUIRE(&shown->renewed_seq) == shown->renew_seq)
        r->served_ms = now_ms;
    int state = slot_state(master, now_ms);
    if (state < 0 && somebody_died(state) && ++r->tries < TRIES_MAX) {
        r->told = false; /* it has a worker and a keeper again: once more */
        r->served_ms = 0;
    } else if (state < 0) {
        /* Out of time with the new program: it did start there, and is not what serves. */
        bool has_it = state == -ETIMEDOUT && r->served_ms != 0;
        fail(master, -state, r->slot + has_it);
    } else if (state > 0) {
        next_slot(r);
    }
    return true;
}
