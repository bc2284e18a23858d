/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include <errno.h>

static const struct stat_group counter_group = {.name = "counters"};
static const struct stat_group reason_group = {
    .name = "reasons",
    .metric = "holdfast_ended",
    .label = "reason",
    .doc = "requests and tunnels ended, by reason",
};

static const struct stat_column columns[] = {
    {"worker", "worker", "worker slot", STAT_COUNT, STAT_KEY, NULL},
    {"state", "state", "what it does", STAT_TEXT, 0, NULL},
    {"worker_pid", "pid", "PID of the worker", STAT_COUNT, STAT_LOCAL, NULL},
    {"keeper_pid", "keeper", "PID of its keeper", STAT_COUNT, STAT_LOCAL | STAT_WIDE, NULL},
    {"start_time_ms", "started", "when the worker started, since the epoch", STAT_TIME, STAT_WIDE,
     NULL},
    {"uptime_ms", "up", "how long the worker has run", STAT_MS, STAT_LOCAL, NULL},
    {"beat_age_ms", "beat", "how long ago the worker last showed life", STAT_MS, 0, NULL},
    {"generation", "conf", "configuration it uses for new requests", STAT_COUNT, 0, NULL},
    {"starts", "starts", "workers started in this slot", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"crashes", "crashes", "workers of this slot that died by themselves", STAT_COUNT, STAT_TOTAL,
     NULL},
    {"throttled", "throttled", "starts put off because workers died young", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"last_status", "status", "wait status of the last worker that died", STAT_COUNT,
     STAT_LOCAL | STAT_WIDE, NULL},
    {"died_time_ms", "died", "when the last worker died, since the epoch", STAT_TIME,
     STAT_LOCAL | STAT_WIDE, NULL},
    {"tunnels_open", "tunnels", "tunnels open now", STAT_COUNT, 0, NULL},
    {"clients_open", "clients", "client connections open now that are no tunnels", STAT_COUNT, 0,
     NULL},
    {"requests_open", "requests", "requests in flight now", STAT_COUNT, 0, NULL},
    {"backend_idle", "kept", "kept idle connections to backends", STAT_COUNT, 0, NULL},
    {"chunks_used", "chunks", "chunks of the arena in use now", STAT_COUNT, 0, NULL},
    {"rx_bytes", "rx", "bytes from clients in tunnels, live ones included", STAT_BYTES, STAT_TOTAL,
     NULL},
    {"tx_bytes", "tx", "bytes to clients in tunnels, live ones included", STAT_BYTES, STAT_TOTAL,
     NULL},
    {"rx_frames", "rx frames", "frames from clients in tunnels, live ones included", STAT_COUNT,
     STAT_TOTAL, NULL},
    {"tx_frames", "tx frames", "frames to clients in tunnels, live ones included", STAT_COUNT,
     STAT_TOTAL, NULL},
    {"consistent", "exact", "1: no tunnel closed while the sums were taken", STAT_BOOL,
     STAT_LOCAL | STAT_WIDE, NULL},
    {"last_words", "last words", "of an assertion that failed", STAT_TEXT, STAT_WIDE, NULL},
#define X(id, word, doc) {word, word, doc, STAT_COUNT, STAT_TOTAL | STAT_WIDE, &counter_group},
    COUNTER_TABLE(X)
#undef X
#define X(id, word, doc) {word, word, doc, STAT_COUNT, STAT_TOTAL | STAT_WIDE, &reason_group},
        REASON_TABLE(X)
#undef X
};

static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

/* The order is that of columns[]. */
static void add_row(const struct stat_view *view, uint32_t i, const struct stat_worker *worker,
                    struct stat_report *report, struct stat_table *table)
{
    const struct board_slot *slot = &worker->slot;
    const uint64_t died = slot->died_real_ms;
    const bool lives = slot->worker_pid > 0;
    const uint64_t figures[] = {slot->generation, slot->starts, slot->crashes, slot->throttled,
                                slot->last_status};
    const uint64_t gauges[] = {slot->tunnels_open,        slot->clients_open,
                               slot->requests_open,       slot->backend_idle,
                               slot->chunks_used,         worker->traffic.bytes[0],
                               worker->traffic.bytes[1],  worker->traffic.frames[0],
                               worker->traffic.frames[1], worker->consistent};
    stat_table_number(report, table, i);
    stat_table_text(report, table, stat_view_slot_state(slot->state));
    stat_table_number(report, table, lives ? (uint64_t)slot->worker_pid : 0);
    stat_table_number(report, table, slot->keeper_pid > 0 ? (uint64_t)slot->keeper_pid : 0);
    stat_table_number(report, table, slot->started_real_ms);
    if (lives)
        stat_table_number(report, table, since(view->real_ms, slot->started_real_ms));
    else
        stat_table_unknown(report, table);
    stat_table_number(report, table, since(view->mono_ms, slot->beat_ms));
    for (size_t k = 0; k < ARRAY_LEN(figures); k++)
        stat_table_number(report, table, figures[k]);
    if (died != 0)
        stat_table_number(report, table, died);
    else
        stat_table_unknown(report, table);
    for (size_t k = 0; k < ARRAY_LEN(gauges); k++)
        stat_table_number(report, table, gauges[k]);
    stat_table_text(report, table, slot->last_words);
    stat_table_numbers(report, table, slot->counters, stat_view_counters(view), COUNTER_COUNT);
    stat_table_numbers(report, table, slot->reasons, stat_view_reasons(view), REASON_COUNT);
}

int stat_workers(const struct stat_view *view, const struct stat_sums *sums,
                 struct stat_report *report)
{
    struct stat_table *table =
        stat_report_table(report, "workers", columns, ARRAY_LEN(columns), STAT_ROWS);
    table->prefix = "holdfast_";
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (sums->workers[i].present)
            add_row(view, i, &sums->workers[i], report, table);
    }
    return report->no_memory ? -ENOMEM : 0;
}
