/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/ring.h"

#include <errno.h>
#include <stdlib.h>

void ring_begin(struct ring_writer *writer, const struct board *board, uint32_t generation)
{
    *writer = (struct ring_writer){.board = board, .generation = generation};
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        struct board_upstream *upstream = board_upstream(board, i);
        if (upstream->name[0] == '\0')
            break; /* never used, nor anything behind it */
        STORE_RELAXED(&upstream->ring[generation & 1].generation, 0);
    }
    /* Whoever reads a point that is written from now on finds the generation gone afterwards. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

int ring_publish(struct ring_writer *writer, uint32_t upstream, const struct ring_server *servers,
                 uint32_t server_count)
{
    uint32_t half = writer->generation & 1;
    uint64_t room = BOARD_RING_POINTS_MAX - writer->used;
    uint64_t weight = 0;
    for (uint32_t i = 0; i < server_count; i++)
        weight += servers[i].weight;
    if (weight == 0 || writer->generation == 0)
        return -EINVAL;
    if (weight > room / KETAMA_POINTS_PER_WEIGHT)
        return -ENOSPC;

    /* Built on the heap: workers can write the board, and what we sort and index by must be ours. */
    struct ketama_point *points = malloc(weight * KETAMA_POINTS_PER_WEIGHT * sizeof *points);
    if (!points)
        return -ENOMEM;
    uint32_t count = 0;
    /* Numbered by place first: that is what decides between equal points, as in nginx. */
    for (uint32_t i = 0; i < server_count; i++)
        ketama_add(points, &count, servers[i].text, servers[i].weight, i);
    count = ketama_sort(points, count);
    for (uint32_t i = 0; i < count; i++)
        points[i].server = servers[points[i].server].backend;
    memcpy(board_ring_area(writer->board, half) + writer->used, points, count * sizeof *points);
    free(points);

    struct board_upstream *entry = board_upstream(writer->board, upstream);
    entry->ring[half].first = writer->used;
    entry->ring[half].count = count;
    writer->used += count;
    STORE_RELEASE(&entry->ring[half].generation, writer->generation);
    return 0;
}

int ring_find(const struct board *board, uint32_t upstream, uint32_t generation, struct ring *out)
{
    uint32_t half = generation & 1;
    const struct board_upstream *entry = board_upstream(board, upstream);
    if (generation == 0 || LOAD_ACQUIRE(&entry->ring[half].generation) != generation)
        return -ESTALE;
    uint32_t first = LOAD_RELAXED(&entry->ring[half].first);
    uint32_t count = LOAD_RELAXED(&entry->ring[half].count);
    if (count == 0 || first >= BOARD_RING_POINTS_MAX || count > BOARD_RING_POINTS_MAX - first)
        return -ESTALE; /* gossip: overwritten meanwhile, or corrupt */
    *out = (struct ring){board_ring_area(board, half) + first, count, generation};
    return 0;
}

bool ring_still_valid(const struct board *board, uint32_t upstream, const struct ring *ring)
{
    const struct board_upstream *entry = board_upstream(board, upstream);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return LOAD_RELAXED(&entry->ring[ring->generation & 1].generation) == ring->generation;
}

uint32_t ring_order(const struct ring *ring, struct slice key, uint32_t *out, uint32_t max)
{
    uint8_t seen[BOARD_BACKENDS_MAX / 8] = {0};
    uint32_t found = 0;
    if (ring->count == 0)
        return 0;
    uint32_t at = ketama_find(ring->points, ring->count, ketama_hash(key));
    for (uint32_t i = 0; i < ring->count && found < max; i++) {
        uint32_t backend = LOAD_RELAXED(&ring->points[at].server);
        at = at + 1 == ring->count ? 0 : at + 1;
        if (backend >= BOARD_BACKENDS_MAX || (seen[backend / 8] & 1u << (backend % 8)))
            continue;
        seen[backend / 8] |= (uint8_t)(1u << (backend % 8));
        out[found++] = backend;
    }
    return found;
}
