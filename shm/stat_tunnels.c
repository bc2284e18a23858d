/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include "common/addr.h"
#include "shm/vault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct stat_column columns[] = {
    {"id", "id", "number of the tunnel, in hex, as in the logs", STAT_TEXT, STAT_KEY, NULL},
    {"worker", "worker", "worker slot", STAT_COUNT, 0, NULL},
    {"client", "client", "address and port of the client", STAT_TEXT, 0, NULL},
    {"client_ip", "ip", "address of the client", STAT_TEXT, STAT_WIDE, NULL},
    {"client_port", "port", "port of the client", STAT_COUNT, STAT_WIDE, NULL},
    {"site", "site", "site it came in by", STAT_TEXT, 0, NULL},
    {"upstream", "upstream", "name of the upstream", STAT_TEXT, 0, NULL},
    {"backend", "backend", "server of the upstream, as written", STAT_TEXT, 0, NULL},
    {"opened_time_ms", "opened", "when it was opened, since the epoch", STAT_TIME, STAT_WIDE, NULL},
    {"age_ms", "age", "since it was opened", STAT_MS, 0, NULL},
    {"idle_ms", "idle", "since the last byte either way", STAT_MS, 0, NULL},
    {"rx_bytes", "rx", "bytes from the client", STAT_BYTES, STAT_TOTAL, NULL},
    {"tx_bytes", "tx", "bytes to the client", STAT_BYTES, STAT_TOTAL, NULL},
    {"rx_frames", "rx frames", "whole frames from the client", STAT_COUNT, STAT_TOTAL, NULL},
    {"tx_frames", "tx frames", "whole frames to the client", STAT_COUNT, STAT_TOTAL, NULL},
    {"rx_rate", "rx/s", "bytes a second from the client, since it was opened", STAT_BYTES,
     STAT_LOCAL, NULL},
    {"tx_rate", "tx/s", "bytes a second to the client, likewise", STAT_BYTES, STAT_LOCAL, NULL},
    {"rx_frame_rate", "rx fr/s", "frames a second from the client, likewise", STAT_RATE, STAT_LOCAL,
     NULL},
    {"tx_frame_rate", "tx fr/s", "frames a second to the client, likewise", STAT_RATE, STAT_LOCAL,
     NULL},
    {"rtt_us", "rtt us", "round trip of our last ping, in microseconds", STAT_COUNT, 0, NULL},
    {"ping_ms", "ping", "since our last ping, to the client or the server", STAT_MS, 0, NULL},
    {"pings", "pings", "pings that we have sent", STAT_COUNT, STAT_WIDE | STAT_TOTAL, NULL},
    {"limits_hit", "limits", "times that a limit of the route was met", STAT_COUNT, STAT_TOTAL,
     NULL},
    {"tls", "tls", "version and cipher between client and proxy; - in the clear", STAT_TEXT, 0,
     NULL},
};

/* A tunnel that passed the filters, by place: its record is read again when it is shown. */
struct place {
    uint64_t measure; /* what is sorted by */
    uint32_t slot;
    uint32_t index;
};

struct places {
    struct place *at;
    size_t count, room;
};

static uint64_t since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

/* So much in a second, on the average of its life. */
static uint64_t rate_of(const struct stat_view *view, const struct board_tunnel *tunnel,
                        uint64_t sum)
{
    uint64_t age_ms = since(view->real_ms, tunnel->opened_real_ms);
    return (uint64_t)((double)sum * 1000 / (double)(age_ms > 0 ? age_ms : 1));
}

/* A copy of a tunnel's record, and where it stands. */
struct found {
    struct board_tunnel tunnel;
    uint32_t slot;
    uint32_t index;
};

static uint64_t limits_of(const struct stat_view *view, const struct found *found)
{
    struct board_care care;
    bool has = stat_view_care(view, found->slot, found->index, &found->tunnel, &care);
    return has ? care.limits_hit : 0;
}

static uint64_t measure(const struct stat_view *view, enum stat_sort sort,
                        const struct found *found)
{
    const struct board_tunnel *tunnel = &found->tunnel;
    switch (sort) {
    case STAT_SORT_AGE: return since(view->real_ms, tunnel->opened_real_ms);
    case STAT_SORT_IDLE: return since(view->mono_ms, tunnel->active_ms);
    case STAT_SORT_RX: return tunnel->bytes[0];
    case STAT_SORT_TX: return tunnel->bytes[1];
    case STAT_SORT_BYTES: return tunnel->bytes[0] + tunnel->bytes[1];
    case STAT_SORT_FRAMES: return tunnel->frames[0] + tunnel->frames[1];
    case STAT_SORT_RATE: return rate_of(view, tunnel, tunnel->bytes[0] + tunnel->bytes[1]);
    case STAT_SORT_RTT: return tunnel->rtt_us;
    case STAT_SORT_LIMITS: return limits_of(view, found);
    default: return 0;
    }
}

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

/* "chat", "10.0.0.1:80" or "chat/10.0.0.1:80". */
static bool is_backend(const struct board_backend *backend, const char *wanted)
{
    size_t n = strlen(backend->upstream);
    return strcmp(wanted, backend->upstream) == 0 || strcmp(wanted, backend->server) == 0 ||
           (strncmp(wanted, backend->upstream, n) == 0 && wanted[n] == '/' &&
            strcmp(wanted + n + 1, backend->server) == 0);
}

static bool wanted(const struct stat_view *view, const struct stat_args *args,
                   const struct board_tunnel *tunnel)
{
    struct board_backend backend;
    struct board_site site;
    if (args->by_client && !same_bits(tunnel->client_ip, args->client_ip, args->client_bits))
        return false;
    if (args->idle_over_ms > 0 && since(view->mono_ms, tunnel->active_ms) <= args->idle_over_ms)
        return false;
    if (args->site &&
        (!stat_view_site(view, tunnel->site, &site) || strcmp(site.name, args->site) != 0))
        return false;
    return !args->backend || (stat_view_backend(view, tunnel->backend, &backend) &&
                              is_backend(&backend, args->backend));
}

static int add_place(struct places *places, struct place place)
{
    if (places->count == places->room) {
        size_t room = places->room ? places->room * 2 : 256;
        struct place *grown = realloc(places->at, room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        places->at = grown;
        places->room = room;
    }
    places->at[places->count++] = place;
    return 0;
}

static int find_all(const struct stat_view *view, const struct stat_args *args,
                    struct places *places)
{
    struct board_slot slot;
    struct found found;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if ((args->worker >= 0 && i != args->worker) || !stat_view_slot(view, i, &slot))
            continue;
        uint32_t high = stat_view_tunnels_high(view, &slot);
        for (uint32_t k = 0; k < high; k++) {
            found.slot = i;
            found.index = k;
            if (!stat_view_tunnel(view, i, k, &found.tunnel) || !wanted(view, args, &found.tunnel))
                continue;
            /* Unsorted, the first ones are all that is wanted. */
            if (args->limit > 0 && !args->sort && !args->reverse && places->count >= args->limit)
                return 0;
            if (add_place(places, (struct place){measure(view, args->sort, &found), i, k}) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

/* The greatest first; equal ones as they stand on the board. */
static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->measure != b->measure)
        return a->measure > b->measure ? -1 : 1;
    if (a->slot != b->slot)
        return a->slot < b->slot ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void add_client(const struct board_tunnel *tunnel, struct stat_report *report,
                       struct stat_table *table)
{
    static const uint8_t nobody[16] = {0};
    char text[ADDR_TEXT_MAX], host[ADDR_TEXT_MAX];
    struct addr addr = {.len = sizeof addr.u.in6};
    if (memcmp(tunnel->client_ip, nobody, sizeof nobody) == 0) {
        stat_table_text(report, table, "unix:");
        stat_table_unknown(report, table);
        stat_table_unknown(report, table);
        return;
    }
    addr.u.in6.sin6_family = AF_INET6;
    addr.u.in6.sin6_port = htons(tunnel->client_port);
    memcpy(&addr.u.in6.sin6_addr, tunnel->client_ip, sizeof tunnel->client_ip);
    addr_unmap(&addr);
    addr_print(&addr, text);
    addr_print_host(&addr, host);
    stat_table_text(report, table, text);
    stat_table_text(report, table, host);
    stat_table_number(report, table, tunnel->client_port);
}

static void add_tls(const struct board_tunnel *tunnel, struct stat_report *report,
                    struct stat_table *table)
{
    static const char *const suites[] = {"?", "AES128-GCM", "AES256-GCM", "CHACHA20"};
    char text[32];
    uint32_t version = tunnel->tls & 0xf, suite = tunnel->tls >> 4;
    if (version == TLS_PLAIN) {
        stat_table_unknown(report, table);
        return;
    }
    if (suite == TLS_SUITE_NONE) /* as a program before wrote it */
        suite = tunnel->flags & 0xf;
    suite = suite < ARRAY_LEN(suites) ? suite : 0;
    snprintf(text, sizeof text, "1.%u %s", version % 10u, suites[suite]);
    stat_table_text(report, table, text);
}

static void add_or_unknown(struct stat_report *report, struct stat_table *table, uint64_t number,
                           bool known)
{
    if (known)
        stat_table_number(report, table, number);
    else
        stat_table_unknown(report, table);
}

/* Pings and limits. The order is that of columns[]. */
static void add_care(const struct stat_view *view, const struct found *found,
                     struct stat_report *report, struct stat_table *table)
{
    struct board_care care = {0};
    (void)stat_view_care(view, found->slot, found->index, &found->tunnel, &care);
    add_or_unknown(report, table, found->tunnel.rtt_us, found->tunnel.rtt_us != 0);
    add_or_unknown(report, table, since(view->mono_ms, care.pinged_ms), care.pinged_ms != 0);
    stat_table_number(report, table, care.pings);
    stat_table_number(report, table, care.limits_hit);
}

/* The order is that of columns[]. */
static void add_row(const struct stat_view *view, const struct found *found,
                    struct stat_report *report, struct stat_table *table)
{
    const struct board_tunnel *tunnel = &found->tunnel;
    struct board_backend backend;
    struct board_site site;
    char id[20];
    snprintf(id, sizeof id, "%" PRIx64, tunnel->id);
    stat_table_text(report, table, id);
    stat_table_number(report, table, found->slot);
    add_client(tunnel, report, table);
    if (stat_view_site(view, tunnel->site, &site))
        stat_table_text(report, table, site.name);
    else
        stat_table_unknown(report, table);
    if (stat_view_backend(view, tunnel->backend, &backend)) {
        stat_table_text(report, table, backend.upstream);
        stat_table_text(report, table, backend.server);
    } else {
        stat_table_unknown(report, table);
        stat_table_unknown(report, table);
    }
    stat_table_number(report, table, tunnel->opened_real_ms);
    stat_table_number(report, table, since(view->real_ms, tunnel->opened_real_ms));
    stat_table_number(report, table, since(view->mono_ms, tunnel->active_ms));
    stat_table_number(report, table, tunnel->bytes[0]);
    stat_table_number(report, table, tunnel->bytes[1]);
    stat_table_number(report, table, tunnel->frames[0]);
    stat_table_number(report, table, tunnel->frames[1]);
    for (uint32_t d = 0; d < 2; d++)
        stat_table_number(report, table, rate_of(view, tunnel, tunnel->bytes[d]));
    for (uint32_t d = 0; d < 2; d++)
        stat_table_number(report, table, rate_of(view, tunnel, tunnel->frames[d] * 1000));
    add_care(view, found, report, table);
    add_tls(tunnel, report, table);
}

static void add_rows(const struct stat_view *view, const struct stat_args *args,
                     struct places *places, struct stat_report *report, struct stat_table *table)
{
    struct found found;
    uint64_t shown = 0;
    if (args->sort && places->count > 0)
        qsort(places->at, places->count, sizeof *places->at, compare_places);
    for (size_t i = 0; i < places->count; i++) {
        const struct place *place = &places->at[args->reverse ? places->count - 1 - i : i];
        if (args->limit > 0 && shown == args->limit)
            break;
        /* It may have closed, or another one stand there now. */
        found.slot = place->slot;
        found.index = place->index;
        if (!stat_view_tunnel(view, place->slot, place->index, &found.tunnel) ||
            !wanted(view, args, &found.tunnel))
            continue;
        add_row(view, &found, report, table);
        shown++;
    }
}

int stat_tunnels(const struct stat_view *view, const struct stat_args *args,
                 struct stat_report *report)
{
    struct places places = {NULL, 0, 0};
    struct stat_table *table =
        stat_report_table(report, "tunnels", columns, ARRAY_LEN(columns), STAT_ROWS);
    int rc = find_all(view, args, &places);
    if (rc == 0)
        add_rows(view, args, &places, report, table);
    free(places.at);
    return rc < 0 || report->no_memory ? -ENOMEM : 0;
}
