/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directions of TLS tunnels that wait for chunks: slow receivers and halves of records hold them. Each is
 * run in the order of waiting; and if one waits for long, who has held a chunk for longest must go.
 */
#ifndef WORKER_STARVED_H
#define WORKER_STARVED_H

#include <stdint.h>

struct worker;

/* Chunks that a step may need: scratch, output and rest of the input may each become the tunnel's. */
enum { STARVED_CHUNKS_A_STEP = 3 };

struct starved {
    uint32_t entry;    /* tunnel << 1 | direction */
    uint32_t since_ms; /* monotonic mod 2^32 */
};

/* A ring with room for both directions of each tunnel. */
struct starved_ring {
    struct starved *waiting;
    uint32_t first;
    uint32_t count;
};

/* On start. Returns 0 or -ENOMEM. */
int starved_init(struct worker *w);

/* A direction waits for free chunks; starved_feed, once a turn, runs it when there are some. */
void starved_add(struct worker *w, uint32_t tunnel, uint32_t d);
void starved_feed(struct worker *w);

/*
 * Once a second. If the first has waited for 2 s, tunnels that have held a chunk for 5 s end (held_memory),
 * those that did for longest first: others would wait for as long as they like.
 */
void starved_relieve(struct worker *w);

#endif
