/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-ring: what it costs to find a key's server on a consistent-hash ring of N servers, in
 * nanoseconds, hash of the key included. Prints a line of JSON for each N.
 */
#include "common/clock.h"
#include "common/compiler.h"
#include "common/ketama.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 4096, LOOKUPS = 1 << 20, KEY_MAX = 24 };

/* A ring of `servers` servers of weight 1, as in a configuration of that size. */
static struct ketama_point *make_ring(uint32_t servers, uint32_t *count)
{
    struct ketama_point *points =
        malloc((size_t)servers * KETAMA_POINTS_PER_WEIGHT * sizeof *points);
    ASSERT(points != NULL);
    *count = 0;
    for (uint32_t i = 0; i < servers; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.%u.%u.%u:9000", i >> 16, i >> 8 & 255, i & 255);
        ketama_add(points, count, slice_of(text), 1, i);
    }
    *count = ketama_sort(points, *count);
    return points;
}

/* Nanoseconds of one look-up. *sum keeps the compiler from leaving it out. */
static double look_up(const struct ketama_point *points, uint32_t count, uint64_t *sum)
{
    static char keys[KEYS][KEY_MAX];
    static uint32_t lengths[KEYS];
    for (uint32_t i = 0; i < KEYS; i++)
        lengths[i] =
            (uint32_t)snprintf(keys[i], KEY_MAX, "192.%u.%u.%u", i & 255, i >> 8, i * 7919 & 255);
    uint64_t begin_ns = clock_mono_ns();
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        struct slice key = {keys[i % KEYS], lengths[i % KEYS]};
        *sum += points[ketama_find(points, count, ketama_hash(key))].server;
    }
    return (double)(clock_mono_ns() - begin_ns) / LOOKUPS;
}

int main(int argc, char **argv)
{
    uint64_t sum = 0;
    for (int i = 1; i < argc; i++) {
        uint32_t servers = (uint32_t)strtoul(argv[i], NULL, 10);
        uint32_t count;
        if (servers == 0 || servers > 100000) {
            fprintf(stderr, "usage: bench-ring SERVERS...\n");
            return 2;
        }
        struct ketama_point *points = make_ring(servers, &count);
        double ns = look_up(points, count, &sum);
        printf("{\"servers\":%" PRIu32 ",\"points\":%" PRIu32 ",\"ns\":%.1f}\n", servers, count,
               ns);
        free(points);
    }
    return sum > 0 || argc < 2 ? 0 : 1;
}
