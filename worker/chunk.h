/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of the arena: ARENA_CHUNK_SIZE bytes for what is in transit. Three are the journal's own, the
 * others a tunnel's for as long as a receiver takes nothing, or a record is not whole. Number 0 is none.
 */
#ifndef WORKER_CHUNK_H
#define WORKER_CHUNK_H

#include "common/compiler.h"

#include <stdint.h>

struct worker;

/*
 * On start: `used`, a byte for each, marks those of tunnels. The list of free ones is made anew, and the
 * journal gets its own, if a dead worker's are not. Returns 0 or -ENOMEM.
 */
int chunk_init(struct worker *w, uint8_t *used) MUST_CHECK;

/* 0 when none is free. Freed ones beyond the first few give their memory back. */
uint32_t chunk_take(struct worker *w);
void chunk_free(struct worker *w, uint32_t chunk);

/* One of the journal's own has become a tunnel's, and gets a successor. */
void chunk_give(struct worker *w, uint32_t *own);

/* For how long it has been a tunnel's, in milliseconds. */
uint32_t chunk_held_ms(const struct worker *w, uint32_t chunk);

#endif
