/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include <errno.h>

static const struct stat_group counter_group = {.name = "counters"};
static const struct stat_group reason_group = {.name = "reasons"};

enum { SUM = STAT_LOCAL, TOTAL = STAT_LOCAL | STAT_TOTAL }; /* Prometheus adds up by itself */

static const struct stat_column columns[] = {
    {"software", "version", "version of the running program", STAT_TEXT, 0, NULL},
    {"config_path", "configuration", "file", STAT_TEXT, 0, NULL},
    {"state", "state", "what the master does", STAT_TEXT, 0, NULL},
    {"up", "up", "1: the master runs and shows life", STAT_BOOL, STAT_WIDE, NULL},
    {"pid", "master", "PID of the master", STAT_COUNT, STAT_LOCAL, NULL},
    {"start_time_ms", "started", "when the master started, since the epoch", STAT_TIME, 0, NULL},
    {"uptime_ms", "uptime", "since the master started", STAT_MS, STAT_LOCAL, NULL},
    {"silent_ms", "silent", "since the master last showed life", STAT_MS, STAT_WIDE, NULL},
    {"generation", "generation", "configuration that is published", STAT_COUNT, 0, NULL},
    {"reloads", "reloads", "configurations published since the start", STAT_COUNT, STAT_TOTAL,
     NULL},
    {"reloads_failed", "reloads failed", "configurations refused", STAT_COUNT, STAT_TOTAL, NULL},
    {"upgrades", "upgrades", "binary upgrades done", STAT_COUNT, STAT_TOTAL, NULL},
    {"upgrades_failed", "upgrades failed", "binary upgrades refused or rolled back", STAT_COUNT,
     STAT_TOTAL, NULL},
    {"tickets_changed", "ticket keys", "keys of session tickets published since the start",
     STAT_COUNT, STAT_TOTAL, NULL},
    {"workers", "workers", "workers meant to run", STAT_COUNT, 0, NULL},
    {"workers_running", "workers running", "workers that serve", STAT_COUNT, SUM, NULL},
    {"crashes", "crashes", "workers that died by themselves", STAT_COUNT, TOTAL, NULL},
    {"tunnels_open", "tunnels", "open now", STAT_COUNT, SUM, NULL},
    {"clients_open", "clients", "connections open now that are no tunnels", STAT_COUNT, SUM, NULL},
    {"requests_open", "requests", "in flight now", STAT_COUNT, SUM, NULL},
    {"backend_idle", "kept", "idle connections to backends", STAT_COUNT, SUM, NULL},
    {"chunks_used", "chunks", "of the arenas in use now", STAT_COUNT, SUM, NULL},
    {"rx_bytes", "rx bytes", "from clients in tunnels, live ones included", STAT_BYTES, TOTAL,
     NULL},
    {"tx_bytes", "tx bytes", "to clients in tunnels, live ones included", STAT_BYTES, TOTAL, NULL},
    {"rx_frames", "rx frames", "from clients in tunnels, live ones included", STAT_COUNT, TOTAL,
     NULL},
    {"tx_frames", "tx frames", "to clients in tunnels, live ones included", STAT_COUNT, TOTAL,
     NULL},
    {"consistent", "exact", "no tunnel closed while the sums were taken", STAT_BOOL,
     STAT_LOCAL | STAT_WIDE, NULL},
#define X(id, word, doc) {word, word, doc, STAT_COUNT, TOTAL, &counter_group},
    COUNTER_TABLE(X)
#undef X
#define X(id, word, doc) {word, word, doc, STAT_COUNT, TOTAL, &reason_group},
        REASON_TABLE(X)
#undef X
};

/* Sums over all workers. */
struct totals {
    uint64_t running, crashes, tunnels, clients, requests, idle, chunks;
    struct stat_traffic traffic;
    uint64_t counters[COUNTER_COUNT];
    uint64_t reasons[REASON_COUNT];
    bool consistent;
};

static void add_worker(struct totals *sum, const struct stat_worker *worker)
{
    const struct board_slot *slot = &worker->slot;
    sum->running += slot->state == SLOT_RUNNING || slot->state == SLOT_DRAINING;
    sum->crashes += slot->crashes;
    sum->tunnels += slot->tunnels_open;
    sum->clients += slot->clients_open;
    sum->requests += slot->requests_open;
    sum->idle += slot->backend_idle;
    sum->chunks += slot->chunks_used;
    sum->consistent &= worker->consistent;
    for (int i = 0; i < 2; i++) {
        sum->traffic.bytes[i] += worker->traffic.bytes[i];
        sum->traffic.frames[i] += worker->traffic.frames[i];
    }
    for (uint32_t i = 0; i < COUNTER_COUNT; i++)
        sum->counters[i] += slot->counters[i];
    for (uint32_t i = 0; i < REASON_COUNT; i++)
        sum->reasons[i] += slot->reasons[i];
}

static const char *state_word(uint32_t state)
{
    static const char *const words[] = {"starting", "running", "stopping", "stopped"};
    return state < ARRAY_LEN(words) ? words[state] : "?";
}

static void add_master(const struct stat_view *view, struct stat_report *report,
                       struct stat_table *table)
{
    const struct board_header *header = &view->header;
    uint64_t started = header->started_real_ms;
    bool up = view->master == STAT_MASTER_RUNNING;
    stat_table_text(report, table, header->software);
    stat_table_text(report, table, header->config_path);
    stat_table_text(report, table, state_word(header->state));
    stat_table_number(report, table, up);
    stat_table_number(report, table, header->master_pid > 0 ? (uint64_t)header->master_pid : 0);
    stat_table_number(report, table, started);
    if (up && view->real_ms >= started)
        stat_table_number(report, table, view->real_ms - started);
    else
        stat_table_unknown(report, table);
    stat_table_number(report, table, view->silent_ms);
    stat_table_number(report, table, header->generation);
    stat_table_number(report, table, header->reloads);
    stat_table_number(report, table, header->reloads_failed);
    stat_table_number(report, table, header->upgrades);
    stat_table_number(report, table, header->upgrades_failed);
    stat_table_number(report, table, header->tickets_changed);
    stat_table_number(report, table, header->workers);
}

int stat_overview(const struct stat_view *view, const struct stat_sums *sums,
                  struct stat_report *report)
{
    struct totals sum = {.consistent = true};
    struct stat_table *table =
        stat_report_table(report, "overview", columns, ARRAY_LEN(columns), STAT_RECORD);
    table->prefix = "holdfast_master_";
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (sums->workers[i].present)
            add_worker(&sum, &sums->workers[i]);
    }
    add_master(view, report, table);
    const uint64_t figures[] = {
        sum.running,
        sum.crashes,
        sum.tunnels,
        sum.clients,
        sum.requests,
        sum.idle,
        sum.chunks,
        sum.traffic.bytes[0],
        sum.traffic.bytes[1],
        sum.traffic.frames[0],
        sum.traffic.frames[1],
        sum.consistent,
    };
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        stat_table_number(report, table, figures[i]);
    stat_table_numbers(report, table, sum.counters, stat_view_counters(view), COUNTER_COUNT);
    stat_table_numbers(report, table, sum.reasons, stat_view_reasons(view), REASON_COUNT);
    return report->no_memory ? -ENOMEM : 0;
}
