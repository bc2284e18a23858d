/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include "shm/bound.h"
#include "shm/ring.h"
#include "shm/stat_fitness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIND_TRIES = 5 };

static const struct stat_column ring_columns[] = {
    {"upstream", "upstream", "name of the upstream", STAT_TEXT, 0, NULL},
    {"hash_key", "hash_key", "template of its keys", STAT_TEXT, 0, NULL},
    {"max_load", "max_load", "hundredths of its fair share that a server may have; 0: no bound",
     STAT_COUNT, 0, NULL},
    {"generation", "generation", "configuration that the ring belongs to", STAT_COUNT, 0, NULL},
    {"points", "points", "points of the ring", STAT_COUNT, 0, NULL},
    {"key", "key", "the key that was asked for", STAT_TEXT, 0, NULL},
    {"crc", "crc", "CRC-32 of the key, in hex", STAT_TEXT, 0, NULL},
    {"point", "point", "index of the first point at or behind it", STAT_COUNT, 0, NULL},
    {"point_hash", "point hash", "where that point stands, in hex", STAT_TEXT, 0, NULL},
    {"owner", "owner", "server of that point", STAT_TEXT, 0, NULL},
    {"tries", "tries", "points, with max_load servers, passed over: out of use, or full",
     STAT_COUNT, 0, NULL},
    {"server", "goes to", "server that the key goes to; none: round robin decides", STAT_TEXT, 0,
     NULL},
};

static const struct stat_column order_columns[] = {
    {"rank", "rank", "order in which the ring names its servers, from the key on", STAT_COUNT, 0,
     NULL},
    {"server", "server", "address as written", STAT_TEXT, 0, NULL},
    {"index", "index", "place on the board", STAT_COUNT, STAT_WIDE, NULL},
    {"weight", "weight", "weight", STAT_COUNT, 0, NULL},
    {"down", "down", "configured as down", STAT_BOOL, 0, NULL},
    {"state", "state", "up, down, draining, failing, ejected, starting", STAT_TEXT, 0, NULL},
    {"health", "health", "what health checks say", STAT_TEXT, STAT_WIDE, NULL},
    {"conns", "conns", "tunnels and requests in flight now", STAT_COUNT, 0, NULL},
    {"bound", "bound", "most conns that it may have now by max_load and max_conns", STAT_COUNT, 0,
     NULL},
};

/* What a search found; the ring may be overwritten at any time, so everything is copied. */
struct answer {
    uint32_t upstream;
    struct board_upstream about;
    uint32_t generation, points, crc, point, point_hash, owner;
    uint32_t tries;
    bool placed;     /* `server` is known */
    uint32_t server; /* backend index that the key goes to */
    uint32_t *order;
    uint32_t order_count;
};

/* The upstream that was asked for, or the only one that hashes. */
static int find_upstream(const struct stat_view *view, const struct stat_args *args,
                         struct answer *answer, char *why)
{
    struct board_upstream entry;
    uint32_t hashing = 0;
    for (uint32_t i = 0; i < view->upstream_count; i++) {
        if (!stat_view_upstream(view, i, &entry) || entry.used < view->header.generation)
            continue;
        bool meant =
            args->upstream ? strcmp(entry.name, args->upstream) == 0 : entry.policy == BALANCE_HASH;
        if (!meant)
            continue;
        answer->upstream = i;
        answer->about = entry;
        hashing++;
    }
    if (hashing == 0)
        snprintf(why, STAT_WHY_SIZE,
                 args->upstream ? "there is no upstream '%s'" : "no upstream balances by hash%s",
                 args->upstream ? args->upstream : "");
    else if (hashing > 1)
        snprintf(why, STAT_WHY_SIZE,
                 "%" PRIu32 " upstreams balance by hash: name one before the key", hashing);
    else if (answer->about.policy != BALANCE_HASH)
        snprintf(why, STAT_WHY_SIZE, "upstream '%s' does not balance by hash: it is %s",
                 answer->about.name, stat_view_policy(answer->about.policy));
    else
        return 0;
    return hashing > 1 ? -EINVAL : -ENOENT;
}

static bool in_force(const struct stat_view *view, const struct answer *answer, uint32_t index,
                     struct board_backend *backend)
{
    return stat_view_backend(view, index, backend) &&
           stat_fitness_in_force(view, backend, answer->about.panic != 0);
}

/* The most connections that a server may have at this moment; UINT32_MAX: no limit. */
static uint32_t bound(const struct stat_view *view, const struct answer *answer, uint32_t index)
{
    struct board_backend backend, other;
    uint64_t conns = 1, weights = 0;
    if (!stat_view_backend(view, index, &backend))
        return 0;
    uint32_t max = backend.max_conns != 0 ? backend.max_conns : UINT32_MAX;
    if (answer->about.max_load == 0)
        return max;
    for (uint32_t i = 0; i < answer->order_count; i++) {
        uint32_t open = board_backend_conns(view->board, answer->order[i]);
        if (!in_force(view, answer, answer->order[i], &other) ||
            (answer->order[i] != index && other.max_conns != 0 && open >= other.max_conns))
            continue; /* as worker/balance_hash.c does */
        conns += open;
        weights += other.weight;
    }
    uint32_t by_load = bound_of(conns, backend.weight, weights, answer->about.max_load);
    return by_load < max ? by_load : max;
}

/* Would a worker's first try take this server? */
static bool is_taken(const struct stat_view *view, const struct answer *answer, uint32_t index)
{
    struct board_backend backend;
    return in_force(view, answer, index, &backend) &&
           board_backend_conns(view->board, index) < bound(view, answer, index);
}

/* As a worker does for its first try: by points like nginx, with max_load by distinct servers. */
static void walk(const struct stat_view *view, const struct ring *ring, struct answer *answer)
{
    bool by_server = answer->about.max_load != 0;
    uint32_t tries_max = by_server ? answer->order_count : KETAMA_TRIES + 1;
    answer->placed = false;
    for (answer->tries = 0; answer->tries < tries_max; answer->tries++) {
        uint64_t at = ((uint64_t)answer->point + answer->tries) % ring->count;
        uint32_t server =
            by_server ? answer->order[answer->tries] : LOAD_RELAXED(&ring->points[at].server);
        if (is_taken(view, answer, server)) {
            answer->placed = true;
            answer->server = server;
            return;
        }
    }
}

static int search(const struct stat_view *view, struct slice key, struct answer *answer)
{
    struct ring ring;
    for (int tries = 0; tries < FIND_TRIES; tries++) {
        uint32_t generation = LOAD_ACQUIRE(&view->board->header->generation);
        if (ring_find(view->board, answer->upstream, generation, &ring) < 0)
            continue;
        answer->generation = generation;
        answer->points = ring.count;
        answer->crc = ketama_hash(key);
        answer->point = ketama_find(ring.points, ring.count, answer->crc);
        answer->point_hash = LOAD_RELAXED(&ring.points[answer->point].hash);
        answer->owner = LOAD_RELAXED(&ring.points[answer->point].server);
        answer->order_count = ring_order(&ring, key, answer->order, BOARD_BACKENDS_MAX);
        walk(view, &ring, answer);
        if (ring_still_valid(view->board, answer->upstream, &ring))
            return 0;
    }
    return -ESTALE;
}

static void add_server(const struct stat_view *view, uint32_t index, struct stat_report *report,
                       struct stat_table *table)
{
    struct board_backend backend;
    if (stat_view_backend(view, index, &backend))
        stat_table_text(report, table, backend.server);
    else
        stat_table_unknown(report, table);
}

static void add_key(const struct stat_args *args, struct stat_report *report,
                    struct stat_table *table)
{
    char text[2 * STAT_KEY_MAX + 3] = "0x";
    /* Bytes that no text can hold are shown in hex, all of them. */
    if (memchr(args->key, '\0', args->key_len)) {
        for (uint32_t i = 0; i < args->key_len; i++)
            snprintf(text + 2 + (size_t)2 * i, 3, "%02x", args->key[i]);
    } else {
        memcpy(text, args->key, args->key_len);
        text[args->key_len] = '\0';
    }
    stat_table_text(report, table, text);
}

/* The order is that of ring_columns[]. */
static void add_ring(const struct stat_view *view, const struct stat_args *args,
                     const struct answer *answer, struct stat_report *report)
{
    char hex[16];
    struct stat_table *table =
        stat_report_table(report, "ring", ring_columns, ARRAY_LEN(ring_columns), STAT_RECORD);
    stat_table_text(report, table, answer->about.name);
    stat_table_text(report, table, answer->about.hash_key);
    stat_table_number(report, table, answer->about.max_load);
    stat_table_number(report, table, answer->generation);
    stat_table_number(report, table, answer->points);
    add_key(args, report, table);
    snprintf(hex, sizeof hex, "%08" PRIx32, answer->crc);
    stat_table_text(report, table, hex);
    stat_table_number(report, table, answer->point);
    snprintf(hex, sizeof hex, "%08" PRIx32, answer->point_hash);
    stat_table_text(report, table, hex);
    add_server(view, answer->owner, report, table);
    stat_table_number(report, table, answer->tries);
    if (answer->placed)
        add_server(view, answer->server, report, table);
    else
        stat_table_unknown(report, table);
}

/* The order is that of order_columns[]. */
static void add_order(const struct stat_view *view, const struct answer *answer,
                      struct stat_report *report)
{
    struct board_backend backend;
    struct stat_table *table =
        stat_report_table(report, "order", order_columns, ARRAY_LEN(order_columns), STAT_ROWS);
    for (uint32_t i = 0; i < answer->order_count; i++) {
        if (!stat_view_backend(view, answer->order[i], &backend))
            continue;
        stat_table_number(report, table, i + 1);
        stat_table_text(report, table, backend.server);
        stat_table_number(report, table, answer->order[i]);
        stat_table_number(report, table, backend.weight);
        stat_table_number(report, table, (backend.flags & BACKEND_DOWN) != 0);
        stat_table_text(report, table, stat_fitness_state(view, &backend));
        stat_table_text(report, table, stat_view_health(backend.health));
        stat_table_number(report, table, board_backend_conns(view->board, answer->order[i]));
        uint32_t most = bound(view, answer, answer->order[i]);
        if (most != UINT32_MAX)
            stat_table_number(report, table, most);
        else
            stat_table_unknown(report, table);
    }
}

int stat_ring(const struct stat_view *view, const struct stat_args *args,
              struct stat_report *report, char why[STAT_WHY_SIZE])
{
    struct answer answer = {0};
    int rc = find_upstream(view, args, &answer, why);
    if (rc < 0)
        return rc;
    answer.order = malloc(BOARD_BACKENDS_MAX * sizeof *answer.order);
    if (!answer.order)
        return -ENOMEM;
    rc = search(view, (struct slice){(const char *)args->key, args->key_len}, &answer);
    if (rc == 0) {
        add_ring(view, args, &answer, report);
        add_order(view, &answer, report);
        rc = report->no_memory ? -ENOMEM : 0;
    } else {
        snprintf(why, STAT_WHY_SIZE,
                 "the ring of '%s' is not there, or is being replaced: try again",
                 answer.about.name);
    }
    free(answer.order);
    return rc;
}
