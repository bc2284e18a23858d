/* SPDX-License-Identifier: Apache-2.0 */
/* The board's tables of names: backends, upstreams and sites keep their index across reloads. */
#include "shm/board.h"

#include "common/ketama.h"
#include "shm/board_gauge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* What the three kinds of entry have in common. */
struct entry {
    uint32_t *used;
    char *name[2]; /* [1] is NULL where one name is the key */
    size_t size[2];
};

struct kind {
    uint32_t max;
    struct entry (*at)(const struct board *board, uint32_t index);
    bool (*busy)(const struct board *board, uint32_t index);  /* somebody still counts on it */
    void (*clear)(const struct board *board, uint32_t index); /* all but `used` and names */
};

/* The key in the form in which it stands on the board. */
struct key {
    char text[2][BOARD_SERVER_MAX];
};

static void fit(char *out, size_t size, struct slice name)
{
    char tail[10];
    size_t n = name.n < size ? name.n : size - sizeof tail;
    memset(out, 0, size);
    memcpy(out, name.p, n);
    if (n < name.n) {
        snprintf(tail, sizeof tail, "~%08x", ketama_hash(name));
        memcpy(out + n, tail, sizeof tail);
    }
}

static bool has_key(const struct entry *entry, const struct key *key)
{
    return strcmp(entry->name[0], key->text[0]) == 0 &&
           (!entry->name[1] || strcmp(entry->name[1], key->text[1]) == 0);
}

/*
 * The first byte of the first name never becomes NUL once it was set: readers and find_place take a
 * NUL there for the end of the table, also if we die between any two of these stores.
 */
static void set_names(const struct entry *entry, const struct key *key)
{
    if (entry->name[1])
        memcpy(entry->name[1], key->text[1], entry->size[1]);
    memcpy(entry->name[0] + 1, key->text[0] + 1, entry->size[0] - 1);
    STORE_RELAXED(entry->name[0], key->text[0][0]);
}

/*
 * The index of the entry with this key if there is one (*found), else of a place for it: a free one
 * before one that may be taken over. -ENOSPC if there is none.
 */
static int find_place(const struct board *board, const struct kind *kind, uint32_t generation,
                      const struct key *key, bool *found)
{
    int free_at = -ENOSPC, old_at = -ENOSPC;
    *found = false;
    for (uint32_t i = 0; i < kind->max; i++) {
        const struct entry entry = kind->at(board, i);
        uint32_t used = *entry.used;
        if (used == 0) {
            if (free_at < 0)
                free_at = (int)i;
            if (entry.name[0][0] == '\0')
                break; /* never used, and nothing behind it ever was */
            continue;
        }
        if (has_key(&entry, key)) {
            *found = true;
            return (int)i;
        }
        if (old_at < 0 && used < generation && generation - used > 1 && !kind->busy(board, i))
            old_at = (int)i;
    }
    return free_at >= 0 ? free_at : old_at;
}

static int enter(const struct board *board, const struct kind *kind, uint32_t generation,
                 const struct key *key)
{
    bool found;
    if (generation == 0 || key->text[0][0] == '\0')
        return -EINVAL;
    int at = find_place(board, kind, generation, key, &found);
    if (at < 0)
        return at;
    const struct entry entry = kind->at(board, (uint32_t)at);
    if (!found) {
        /* Unpublish before the key changes: a reader that sees `used` change drops what it read. */
        STORE_RELAXED(entry.used, 0);
        __atomic_thread_fence(__ATOMIC_RELEASE);
        set_names(&entry, key);
        kind->clear(board, (uint32_t)at);
    }
    STORE_RELEASE(entry.used, generation);
    return at;
}

static struct entry backend_at(const struct board *board, uint32_t index)
{
    struct board_backend *backend = board_backend(board, index);
    return (struct entry){&backend->used,
                          {backend->upstream, backend->server},
                          {sizeof backend->upstream, sizeof backend->server}};
}

static bool backend_busy(const struct board *board, uint32_t index)
{
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        if (LOAD_RELAXED(&board_slot(board, slot)->starts) == 0)
            continue;
        const struct board_cell *cell = board_cell(board, slot, index);
        if (LOAD_RELAXED(&cell->conns) != 0 || LOAD_RELAXED(&cell->tunnels) != 0)
            return true;
    }
    return false;
}

static void backend_clear(const struct board *board, uint32_t index)
{
    struct board_backend *backend = board_backend(board, index);
    backend->weight = 0;
    backend->flags = 0;
    backend->health = BACKEND_UNCHECKED;
    backend->since_real_ms = 0;
    backend->max_conns = 0;
    backend->max_fails = 0;
    backend->fail_timeout_ms = 0;
    backend->slow_start_ms = 0;
    backend->passive = 0;
    backend->passive_real_ms = 0;
    backend->recovered_ms = 0;
    backend->passive_reason = 0;
    backend->drain_timeout_ms = 0;
    backend->drain_until_ms = 0;
    backend->drain_spread_ms = 0;
    board_wave_set(&backend->wave, NULL);
    memset(board_check(board, index), 0, sizeof(struct board_check));
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        if (LOAD_RELAXED(&board_slot(board, slot)->starts) != 0)
            memset(board_cell(board, slot, index), 0, sizeof(struct board_cell));
    }
}

int board_backend_register(const struct board *board, uint32_t generation, struct slice upstream,
                           struct slice server)
{
    static const struct kind kind = {BOARD_BACKENDS_MAX, backend_at, backend_busy, backend_clear};
    struct key key;
    fit(key.text[0], BOARD_NAME_MAX, upstream);
    fit(key.text[1], BOARD_SERVER_MAX, server);
    return server.n == 0 ? -EINVAL : enter(board, &kind, generation, &key);
}

static struct entry upstream_at(const struct board *board, uint32_t index)
{
    struct board_upstream *upstream = board_upstream(board, index);
    return (struct entry){&upstream->used, {upstream->name, NULL}, {sizeof upstream->name, 0}};
}

/* Images of its generation are gone by now, but for those of requests that still wait; tunnels count. */
static bool upstream_busy(const struct board *board, uint32_t index)
{
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        if (LOAD_RELAXED(&board_slot(board, slot)->starts) != 0 &&
            LOAD_RELAXED(&board_queue(board, slot, index)->waiting) != 0)
            return true;
    }
    return board_gauge_sum(board, GAUGE_UPSTREAMS + index) != 0;
}

static void upstream_clear(const struct board *board, uint32_t index)
{
    struct board_upstream *upstream = board_upstream(board, index);
    STORE_RELEASE(&upstream->ring[0].generation, 0);
    STORE_RELEASE(&upstream->ring[1].generation, 0);
    upstream->policy = 0;
    upstream->servers = 0;
    upstream->panic = 0;
    upstream->max_load = 0;
    upstream->max_ejected = 0;
    upstream->shed = 0;
    upstream->shed_rate = 0;
    memset(upstream->hash_key, 0, sizeof upstream->hash_key);
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        if (LOAD_RELAXED(&board_slot(board, slot)->starts) != 0)
            memset(board_queue(board, slot, index), 0, sizeof(struct board_queue));
    }
}

int board_upstream_register(const struct board *board, uint32_t generation, struct slice name)
{
    static const struct kind kind = {BOARD_UPSTREAMS_MAX, upstream_at, upstream_busy,
                                     upstream_clear};
    struct key key;
    fit(key.text[0], BOARD_NAME_MAX, name);
    return enter(board, &kind, generation, &key);
}

static struct entry site_at(const struct board *board, uint32_t index)
{
    struct board_site *site = board_site(board, index);
    return (struct entry){&site->used, {site->name, NULL}, {sizeof site->name, 0}};
}

/* A live tunnel shows the site it came in by, however old. Asked only when the table is full. */
static bool site_busy(const struct board *board, uint32_t index)
{
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        uint32_t high = LOAD_RELAXED(&board_slot(board, slot)->tunnels_high);
        for (uint32_t i = 0; i < high && i < board->tunnels_max; i++) {
            const struct board_tunnel *tunnel = board_tunnel(board, slot, i);
            if (LOAD_ACQUIRE(&tunnel->id) != 0 && LOAD_RELAXED(&tunnel->site) == index)
                return true;
        }
    }
    return false;
}

static void site_clear(const struct board *board, uint32_t index)
{
    (void)board;
    (void)index;
}

int board_site_register(const struct board *board, uint32_t generation, struct slice name)
{
    static const struct kind kind = {BOARD_SITES_MAX, site_at, site_busy, site_clear};
    struct key key;
    fit(key.text[0], BOARD_NAME_MAX, name);
    return enter(board, &kind, generation, &key);
}
