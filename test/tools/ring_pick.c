/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring-pick: which server a consistent hash gives each key, as `hash KEY consistent` of nginx chooses.
 * Reads lines, `server TEXT WEIGHT DOWN` (DOWN is 0 or 1), then `key BYTES`; prints for each key the
 * server's text, or `-`, and how many points were passed over. For tests beside a real nginx.
 */
#include "common/ketama.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct server {
    char *text;
    uint32_t weight;
    bool down;
    int64_t current; /* smooth weighted round robin */
};

struct pool {
    struct server *servers;
    uint32_t count;
    struct ketama_point *points;
    uint32_t point_count;
};

static void die(const char *why, const char *what)
{
    fprintf(stderr, "ring-pick: %s: %s\n", why, what);
    exit(1);
}

static void *grow(void *at, size_t size)
{
    void *grown = realloc(at, size);
    if (!grown)
        die("no memory", "give up");
    return grown;
}

static void add_server(struct pool *pool, const char *line)
{
    char text[256];
    uint32_t weight;
    int down;
    if (sscanf(line, "server %255s %" SCNu32 " %d", text, &weight, &down) != 3 || weight == 0 ||
        weight > 10000)
        die("not a server", line);
    pool->servers = grow(pool->servers, (pool->count + 1) * sizeof *pool->servers);
    pool->servers[pool->count++] = (struct server){strdup(text), weight, down != 0, 0};
}

static void build_ring(struct pool *pool)
{
    uint64_t weight = 0;
    for (uint32_t i = 0; i < pool->count; i++)
        weight += pool->servers[i].weight;
    if (weight == 0)
        die("no server", "before the first key");
    pool->points = grow(NULL, weight * KETAMA_POINTS_PER_WEIGHT * sizeof *pool->points);
    for (uint32_t i = 0; i < pool->count; i++)
        ketama_add(pool->points, &pool->point_count, slice_of(pool->servers[i].text),
                   pool->servers[i].weight, i);
    pool->point_count = ketama_sort(pool->points, pool->point_count);
}

/* What nginx falls back to: everyone gains its weight, the highest pays the sum. */
static const struct server *round_robin(struct pool *pool)
{
    struct server *best = NULL;
    int64_t total = 0;
    for (uint32_t i = 0; i < pool->count; i++) {
        struct server *server = &pool->servers[i];
        if (server->down)
            continue;
        server->current += server->weight;
        total += server->weight;
        if (!best || server->current > best->current)
            best = server;
    }
    if (best)
        best->current -= total;
    return best;
}

/* Walks points, not servers; nginx gives the ring up when more than KETAMA_TRIES were passed over. */
static const struct server *pick(struct pool *pool, struct slice key, uint32_t *tries)
{
    *tries = 0;
    if (pool->count == 1 || key.n == 0)
        return round_robin(pool);
    uint32_t at = ketama_find(pool->points, pool->point_count, ketama_hash(key));
    while (*tries <= KETAMA_TRIES) {
        const struct server *server =
            &pool->servers[pool->points[(at + *tries) % pool->point_count].server];
        if (!server->down)
            return server;
        ++*tries;
    }
    return round_robin(pool);
}

int main(void)
{
    struct pool pool = {0};
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "server ", 7) == 0 && !pool.points) {
            add_server(&pool, line);
            continue;
        }
        if (strncmp(line, "key ", 4) != 0)
            die("neither a server nor a key", line);
        if (!pool.points)
            build_ring(&pool);
        uint32_t tries;
        const struct server *server = pick(&pool, slice_of(line + 4), &tries);
        printf("%s %" PRIu32 "\n", server ? server->text : "-", tries);
    }
    for (uint32_t i = 0; i < pool.count; i++)
        free(pool.servers[i].text);
    free(pool.servers);
    free(pool.points);
    return fflush(stdout) == 0 ? 0 : 1;
}
