/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include "shm/passive.h"
#include "shm/stat_fitness.h"

#include <errno.h>

static const struct stat_column columns[] = {
    {"upstream", "upstream", "name of the upstream", STAT_TEXT, STAT_KEY, NULL},
    {"server", "server", "address as written", STAT_TEXT, STAT_KEY, NULL},
    {"index", "index", "place on the board", STAT_COUNT, STAT_LOCAL | STAT_WIDE, NULL},
    {"configured", "conf", "the configuration in force names it", STAT_BOOL, 0, NULL},
    {"weight", "weight", "weight", STAT_COUNT, 0, NULL},
    {"down", "down", "configured as down", STAT_BOOL, 0, NULL},
    {"backup", "backup", "configured as backup", STAT_BOOL, STAT_WIDE, NULL},
    {"drain", "drain", "gets no new connections", STAT_BOOL, STAT_WIDE, NULL},
    {"state", "state",
     "up, down, draining, failing (its checks), ejected (by its requests), starting (slowly)",
     STAT_TEXT, 0, NULL},
    {"state_since_ms", "since", "when its state last changed by itself, since the epoch", STAT_TIME,
     STAT_LOCAL, NULL},
    {"state_reason", "reason", "what put it into its state", STAT_TEXT, 0, NULL},
    {"health", "health", "what health checks say", STAT_TEXT, STAT_WIDE, NULL},
    {"healthy", "healthy", "0: health checks fail", STAT_BOOL, STAT_WIDE, NULL},
    {"health_since_ms", "checked since", "when the health last changed, since the epoch", STAT_TIME,
     STAT_LOCAL | STAT_WIDE, NULL},
    {"checks", "checks", "health checks made", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"checks_failed", "bad checks", "of these, how many were bad", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"check_streak", "streak", "checks in a row that ended like the last one", STAT_COUNT,
     STAT_WIDE, NULL},
    {"check_latency_us", "check us", "how long the last check took, in microseconds", STAT_COUNT, 0,
     NULL},
    {"check_time_ms", "checked", "when the last check ended, since the epoch", STAT_TIME,
     STAT_LOCAL | STAT_WIDE, NULL},
    {"check_reason", "check", "what the last check found", STAT_TEXT, STAT_WIDE, NULL},
    {"ejected", "ejected", "failed requests have ejected it", STAT_BOOL, STAT_WIDE, NULL},
    {"fails", "fails", "failed requests in a row", STAT_COUNT, 0, NULL},
    {"ejections", "ejections", "times that failed requests ejected it", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"passive_reason", "ejected for", "what the request that ejected it last failed by", STAT_TEXT,
     STAT_WIDE, NULL},
    {"passive_since_ms", "ejected since", "when it was last ejected or taken back, since the epoch",
     STAT_TIME, STAT_LOCAL | STAT_WIDE, NULL},
    {"slow_start_percent", "slow %", "part of its share of new requests that it gets by slow start",
     STAT_COUNT, STAT_LOCAL, NULL},
    {"max_conns", "max", "most conns it may have; 0: no limit", STAT_COUNT, STAT_WIDE, NULL},
    {"conns", "conns", "tunnels and requests in flight now", STAT_COUNT, 0, NULL},
    {"tunnels", "tunnels", "tunnels open now", STAT_COUNT, 0, NULL},
    {"closing", "closing", "of these, how many are being closed", STAT_COUNT, STAT_WIDE, NULL},
    {"connections_opened", "connects", "connections opened", STAT_COUNT, STAT_TOTAL, NULL},
    {"connections_failed", "failed", "connects refused or timed out", STAT_COUNT, STAT_TOTAL, NULL},
    {"requests", "requests", "requests and handshakes sent", STAT_COUNT, STAT_TOTAL, NULL},
    {"failures", "failures", "timeouts, malformed answers, closed too early", STAT_COUNT,
     STAT_TOTAL, NULL},
    {"bad_upgrades", "bad 101", "101 answers refused", STAT_COUNT, STAT_TOTAL, NULL},
    {"tunnels_opened", "opened", "tunnels opened", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"tunnels_closed", "closed", "tunnels closed", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"rx_bytes", "rx", "bytes from clients in tunnels, live ones included", STAT_BYTES, STAT_TOTAL,
     NULL},
    {"tx_bytes", "tx", "bytes to clients in tunnels, live ones included", STAT_BYTES, STAT_TOTAL,
     NULL},
    {"rx_frames", "rx frames", "frames from clients in tunnels, live ones included", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"tx_frames", "tx frames", "frames to clients in tunnels, live ones included", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"status_none", "none", "requests without an answer's status", STAT_COUNT,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"status_1xx", "1xx", "answers with status 1xx", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"status_2xx", "2xx", "answers with status 2xx", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"status_3xx", "3xx", "answers with status 3xx", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"status_4xx", "4xx", "answers with status 4xx", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
    {"status_5xx", "5xx", "answers with status 5xx", STAT_COUNT, STAT_TOTAL | STAT_WIDE, NULL},
};

static const struct stat_column upstream_columns[] = {
    {"upstream", "upstream", "name", STAT_TEXT, STAT_KEY, NULL},
    {"balance", "balance", "how a server is chosen", STAT_TEXT, 0, NULL},
    {"servers", "servers", "servers configured", STAT_COUNT, 0, NULL},
    {"panic", "panic", "more are ejected than max_ejected: ejections are ignored", STAT_BOOL, 0,
     NULL},
    {"queue_waiting", "waiting", "requests that wait for a server with room", STAT_COUNT, 0, NULL},
    {"queue_oldest_ms", "oldest", "how long the oldest of them has waited", STAT_MS, 0, NULL},
    {"queue_entered", "queued", "requests that had to wait", STAT_COUNT, STAT_TOTAL, NULL},
    {"queue_waited_ms", "waited", "how long all of them together waited", STAT_MS,
     STAT_TOTAL | STAT_WIDE, NULL},
    {"queue_timeouts", "timeouts", "requests refused after queue_timeout", STAT_COUNT, STAT_TOTAL,
     NULL},
    {"queue_refused", "refused", "requests refused because the queue was full", STAT_COUNT,
     STAT_TOTAL, NULL},
};

static const struct stat_column share_columns[] = {
    {"upstream", "upstream", "name of the upstream", STAT_TEXT, STAT_KEY, NULL},
    {"server", "server", "address as written", STAT_TEXT, STAT_KEY, NULL},
    {"worker", "worker", "worker slot", STAT_COUNT, STAT_KEY, NULL},
    {"conns", "conns", "tunnels and requests in flight now", STAT_COUNT, 0, NULL},
    {"tunnels", "tunnels", "tunnels open now", STAT_COUNT, 0, NULL},
};

/* Who holds what: a row for each worker that has something open at a server. Not for Prometheus. */
static void add_shares(const struct stat_view *view, struct stat_report *report)
{
    struct board_backend backend;
    struct board_cell cell;
    struct stat_table *table =
        stat_report_table(report, "shares", share_columns, ARRAY_LEN(share_columns), STAT_ROWS);
    for (uint32_t i = 0; i < view->backend_count; i++) {
        if (!stat_view_backend(view, i, &backend))
            continue;
        for (uint64_t slots = board_slots_started(view->board); slots != 0; slots &= slots - 1) {
            uint32_t slot = (uint32_t)__builtin_ctzll(slots);
            stat_view_cell(view, slot, i, &cell);
            if (cell.conns == 0)
                continue;
            stat_table_text(report, table, backend.upstream);
            stat_table_text(report, table, backend.server);
            stat_table_number(report, table, slot);
            stat_table_number(report, table, cell.conns);
            stat_table_number(report, table, cell.tunnels);
        }
    }
}

static struct board_queue sum_queues(const struct stat_view *view, uint32_t upstream)
{
    struct board_queue sum = {0}, queue;
    for (uint64_t slots = board_slots_started(view->board); slots != 0; slots &= slots - 1) {
        stat_view_queue(view, (uint32_t)__builtin_ctzll(slots), upstream, &queue);
        sum.waiting += queue.waiting;
        sum.queued += queue.queued;
        sum.waited_ms += queue.waited_ms;
        sum.timeouts += queue.timeouts;
        sum.refused += queue.refused;
        if (queue.oldest_ns != 0 && (sum.oldest_ns == 0 || queue.oldest_ns < sum.oldest_ns))
            sum.oldest_ns = queue.oldest_ns;
    }
    return sum;
}

/* The order is that of upstream_columns[]. */
static void add_upstream(const struct stat_view *view, uint32_t index,
                         const struct board_upstream *upstream, struct stat_report *report,
                         struct stat_table *table)
{
    const struct board_queue queue = sum_queues(view, index);
    uint64_t oldest_ms = queue.oldest_ns / 1000000;
    const uint64_t figures[] = {queue.queued, queue.waited_ms, queue.timeouts, queue.refused};
    stat_table_text(report, table, upstream->name);
    stat_table_text(report, table, stat_view_policy(upstream->policy));
    stat_table_number(report, table, upstream->servers);
    stat_table_number(report, table, upstream->panic);
    stat_table_number(report, table, queue.waiting);
    stat_table_number(report, table,
                      oldest_ms != 0 && view->mono_ms > oldest_ms ? view->mono_ms - oldest_ms : 0);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        stat_table_number(report, table, figures[i]);
}

static void add_upstreams(const struct stat_view *view, struct stat_report *report)
{
    struct board_upstream upstream;
    struct stat_table *table = stat_report_table(report, "upstreams", upstream_columns,
                                                 ARRAY_LEN(upstream_columns), STAT_ROWS);
    table->prefix = "holdfast_upstream_";
    for (uint32_t i = 0; i < view->upstream_count; i++) {
        if (stat_view_upstream(view, i, &upstream) && upstream.used >= view->header.generation)
            add_upstream(view, i, &upstream, report, table);
    }
}

/*
 * What put it into its state: the last check, the failed request, or the configuration. "" for a
 * server that nothing ails.
 */
static const char *reason_of(const struct stat_view *view, const struct board_backend *backend,
                             const struct board_check *check)
{
    if (backend->flags & BACKEND_DOWN)
        return "configured";
    if (backend->health == BACKEND_FAILING)
        return check->reason;
    if (stat_fitness_ejected(view, backend))
        return reason_word(backend->passive_reason);
    if (backend->flags & BACKEND_TOLD_DRAIN)
        return "operator";
    return backend->flags & BACKEND_DRAIN ? "configured" : "";
}

/* Its health, from checks. The order is that of columns[]. */
static void add_check(const struct stat_view *view, uint32_t index, struct stat_report *report,
                      struct stat_table *table)
{
    struct board_check check;
    stat_view_check(view, index, &check);
    const uint64_t figures[] = {check.checks, check.failed, check.streak};
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        stat_table_number(report, table, figures[i]);
    if (check.checked_real_ms == 0) {
        for (int i = 0; i < 3; i++)
            stat_table_unknown(report, table);
        return;
    }
    stat_table_number(report, table, check.latency_us);
    stat_table_number(report, table, check.checked_real_ms);
    stat_table_text(report, table, check.reason);
}

/* Its health, from failed requests. The order is that of columns[]. */
static void add_passive(const struct stat_view *view, const struct board_backend *backend,
                        uint64_t ejections, struct stat_report *report, struct stat_table *table)
{
    stat_table_number(report, table, stat_fitness_ejected(view, backend));
    stat_table_number(report, table, passive_fails(backend));
    stat_table_number(report, table, ejections);
    if (ejections != 0)
        stat_table_text(report, table, reason_word(backend->passive_reason));
    else
        stat_table_unknown(report, table);
    if (backend->passive_real_ms != 0)
        stat_table_number(report, table, backend->passive_real_ms);
    else
        stat_table_unknown(report, table);
    stat_table_number(report, table, stat_fitness_slow_percent(view, backend));
    stat_table_number(report, table, backend->max_conns);
}

/* Its state. The order is that of columns[]. */
static void add_state(const struct stat_view *view, uint32_t index,
                      const struct board_backend *backend, struct stat_report *report,
                      struct stat_table *table)
{
    struct board_check check;
    uint64_t since_ms = stat_fitness_since(view, backend);
    stat_view_check(view, index, &check);
    stat_table_text(report, table, stat_fitness_state(view, backend));
    if (since_ms != 0)
        stat_table_number(report, table, since_ms);
    else
        stat_table_unknown(report, table);
    stat_table_text(report, table, reason_of(view, backend, &check));
}

/* The order is that of columns[]. */
static void add_row(const struct stat_view *view, uint32_t index,
                    const struct board_backend *backend, const struct board_cell *cell,
                    struct stat_report *report, struct stat_table *table)
{
    const uint64_t about[] = {
        index,
        backend->used >= view->header.generation,
        backend->weight,
        (backend->flags & BACKEND_DOWN) != 0,
        (backend->flags & BACKEND_BACKUP) != 0,
        (backend->flags & BACKEND_DRAINS) != 0,
    };
    const uint64_t figures[] = {
        cell->conns,           cell->tunnels,        cell->closing,  cell->connects,
        cell->connects_failed, cell->requests,       cell->failures, cell->bad_upgrades,
        cell->tunnels_opened,  cell->tunnels_closed, cell->rx_bytes, cell->tx_bytes,
        cell->rx_frames,       cell->tx_frames,
    };
    stat_table_text(report, table, backend->upstream);
    stat_table_text(report, table, backend->server);
    for (size_t i = 0; i < ARRAY_LEN(about); i++)
        stat_table_number(report, table, about[i]);
    add_state(view, index, backend, report, table);
    stat_table_text(report, table, stat_view_health(backend->health));
    stat_table_number(report, table, backend->health != BACKEND_FAILING);
    if (backend->since_real_ms != 0)
        stat_table_number(report, table, backend->since_real_ms);
    else
        stat_table_unknown(report, table);
    add_check(view, index, report, table);
    add_passive(view, backend, cell->ejections, report, table);
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        stat_table_number(report, table, figures[i]);
    for (size_t i = 0; i < ARRAY_LEN(cell->status); i++)
        stat_table_number(report, table, cell->status[i]);
}

int stat_backends(const struct stat_view *view, const struct stat_sums *sums,
                  struct stat_report *report)
{
    struct board_backend backend;
    struct stat_table *table =
        stat_report_table(report, "backends", columns, ARRAY_LEN(columns), STAT_ROWS);
    table->prefix = "holdfast_backend_";
    for (uint32_t i = 0; i < sums->backend_count; i++) {
        if (stat_view_backend(view, i, &backend))
            add_row(view, i, &backend, &sums->backends[i], report, table);
    }
    add_upstreams(view, report);
    add_shares(view, report);
    return report->no_memory ? -ENOMEM : 0;
}
