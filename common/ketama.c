/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ketama.h"

#include <stdlib.h>
#include <zlib.h>

/* What nginx hashes of a server: host and port apart, as its configuration parser splits them. */
static void split_host_port(struct slice text, struct slice *host, struct slice *port)
{
    if (text.n >= 5 && slice_ieq((struct slice){text.p, 5}, SLICE("unix:"))) {
        *host = (struct slice){text.p + 5, text.n - 5};
        *port = (struct slice){text.p, 0};
        return;
    }
    size_t at = text.n;
    while (at > 0 && text.p[at - 1] >= '0' && text.p[at - 1] <= '9')
        at--;
    if (at > 0 && text.p[at - 1] == ':') {
        *host = (struct slice){text.p, at - 1};
        *port = (struct slice){text.p + at, text.n - at};
        return;
    }
    *host = text;
    *port = (struct slice){text.p, 0};
}

static uint32_t crc(uint32_t state, const void *bytes, size_t n)
{
    /* zlib's crc32 takes a null pointer as "begin anew": an empty slice must not reach it. */
    return n == 0 ? state : (uint32_t)crc32_z(state, bytes, n);
}

void ketama_add(struct ketama_point *points, uint32_t *count, struct slice text, uint32_t weight,
                uint32_t server)
{
    struct slice host, port;
    split_host_port(text, &host, &port);
    uint32_t base = crc(0, host.p, host.n);
    base = crc(base, "", 1); /* the zero byte between them stands there without a port, too */
    base = crc(base, port.p, port.n);

    uint32_t hash = 0;
    for (uint64_t left = (uint64_t)weight * KETAMA_POINTS_PER_WEIGHT; left > 0; left--) {
        const uint8_t previous[4] = {(uint8_t)hash, (uint8_t)(hash >> 8), (uint8_t)(hash >> 16),
                                     (uint8_t)(hash >> 24)};
        hash = crc(base, previous, sizeof previous);
        points[(*count)++] = (struct ketama_point){hash, server};
    }
}

static int compare_points(const void *left, const void *right)
{
    const struct ketama_point *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->server < b->server ? -1 : a->server > b->server;
}

uint32_t ketama_sort(struct ketama_point *points, uint32_t count)
{
    if (count == 0)
        return 0;
    qsort(points, count, sizeof *points, compare_points);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < count; i++) {
        if (points[i].hash != points[kept - 1].hash)
            points[kept++] = points[i];
    }
    return kept;
}

uint32_t ketama_hash(struct slice key)
{
    return crc(0, key.p, key.n);
}

uint32_t ketama_find(const struct ketama_point *points, uint32_t count, uint32_t hash)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (points[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low == count ? 0 : low;
}
