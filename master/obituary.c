/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/obituary.h"

#include "common/clock.h"

#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* "exit status=3", "signal signal=SEGV": the reason as it stands in the log and among the events. */
static void describe(int status, char *out, size_t size)
{
    if (status == OBITUARY_UNKNOWN) {
        snprintf(out, size, "unknown");
    } else if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(out, size, "signal signal=%s", name ? name : "?");
    } else {
        snprintf(out, size, "exit status=%d", WEXITSTATUS(status));
    }
}

/*
 * Last words are those of an abort; what else stands there is older. They are printed in quotes:
 * nothing that a damaged worker left there may break out of them.
 */
static void take_words(struct obituary *obituary, const char *words)
{
    obituary->words[0] = '\0';
    if (obituary->status == OBITUARY_UNKNOWN || !WIFSIGNALED(obituary->status) ||
        WTERMSIG(obituary->status) != SIGABRT)
        return;
    memcpy(obituary->words, words, sizeof obituary->words);
    obituary->words[sizeof obituary->words - 1] = '\0';
    for (char *c = obituary->words; *c; c++) {
        if (*c < ' ' || *c > '~' || *c == '"')
            *c = '\'';
    }
}

void obituary_show(struct obituary *obituary, const struct board *board)
{
    struct board_slot *slot = board_slot(board, obituary->slot);
    char reason[48];
    take_words(obituary, slot->last_words);
    STORE_RELAXED(&slot->crashes, slot->crashes + 1);
    STORE_RELAXED(&slot->last_status,
                  obituary->status == OBITUARY_UNKNOWN ? SIGKILL : (uint32_t)obituary->status);
    STORE_RELAXED(&slot->died_real_ms, clock_real_ms());
    describe(obituary->status, reason, sizeof reason);
    board_event(board, OBITUARY_WRITER_SLOT + obituary->slot,
                "worker_died slot=%u pid=%d reason=%s", obituary->slot, obituary->pid, reason);
}

void obituary_log(const struct obituary *obituary, struct log_limit *limit)
{
    char reason[48];
    describe(obituary->status, reason, sizeof reason);
    if (obituary->words[0])
        log_limited(limit, LOG_LEVEL_ERROR, "worker_died",
                    "slot=%u pid=%d lived_ms=%llu reason=%s words=\"%s\"", obituary->slot,
                    obituary->pid, (unsigned long long)obituary->lived_ms, reason, obituary->words);
    else
        log_limited(limit, LOG_LEVEL_ERROR, "worker_died", "slot=%u pid=%d lived_ms=%llu reason=%s",
                    obituary->slot, obituary->pid, (unsigned long long)obituary->lived_ms, reason);
}

int obituary_signal(const struct obituary *obituary)
{
    if (obituary->status == OBITUARY_UNKNOWN)
        return WORKER_DIED_UNKNOWN;
    return WIFSIGNALED(obituary->status) ? WTERMSIG(obituary->status) : 0;
}
