/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consistent hashing exactly as nginx 1.22 `hash KEY consistent`: CRC-32, 160 points for each unit of
 * weight, points chained per server. Same servers, same keys: same choice, on every host.
 */
#ifndef COMMON_KETAMA_H
#define COMMON_KETAMA_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

enum { KETAMA_POINTS_PER_WEIGHT = 160, KETAMA_TRIES = 20 };

/* One point of a ring; a ring is an array of them, ascending by hash, no hash twice. */
struct ketama_point {
    uint32_t hash;
    uint32_t server; /* the caller's number for the server */
};

/*
 * Append the points of one server to points[*count..]; the caller provides weight * 160 of room.
 * `text` is the server's address as written in the configuration ("10.0.0.1:8080", "unix:/x"):
 * that text, not the resolved address, is what nginx hashes.
 */
void ketama_add(struct ketama_point *points, uint32_t *count, struct slice text, uint32_t weight,
                uint32_t server);

/*
 * Sort ascending. Of equal hashes the point of the lowest `server` stays: so number the servers in
 * the order of the file, and every host keeps the one that nginx (a stable sort) keeps. In place.
 * Returns the number of points that stay.
 */
uint32_t ketama_sort(struct ketama_point *points, uint32_t count);

/* CRC-32 of a key, as nginx hashes it. */
uint32_t ketama_hash(struct slice key);

/* Index of the first point with hash >= `hash`, 0 past the end. count must be > 0. */
uint32_t ketama_find(const struct ketama_point *points, uint32_t count, uint32_t hash);

#endif
