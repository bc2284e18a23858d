/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "worker/chunk.h"

#include "worker/context.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Free chunks below this number keep their memory; above it they give it back to the kernel. */
enum { CHUNKS_KEPT = 64 };

uint32_t chunk_take(struct worker *w)
{
    if (w->free_chunk_count == 0)
        return 0;
    STORE_RELAXED(&w->me->chunks_used, w->me->chunks_used + 1);
    uint32_t chunk = w->free_chunks[--w->free_chunk_count];
    w->chunk_ms[chunk] = w->now_ms;
    return chunk;
}

void chunk_give(struct worker *w, uint32_t *own)
{
    w->chunk_ms[*own] = w->now_ms;
    *own = chunk_take(w);
}

void chunk_free(struct worker *w, uint32_t chunk)
{
    w->free_chunks[w->free_chunk_count++] = (uint16_t)chunk;
    STORE_RELAXED(&w->me->chunks_used, w->me->chunks_used - 1);
    if (chunk >= CHUNKS_KEPT)
        madvise(arena_chunk(w->arena, chunk), ARENA_CHUNK_SIZE, MADV_REMOVE);
}

uint32_t chunk_held_ms(const struct worker *w, uint32_t chunk)
{
    return w->now_ms - w->chunk_ms[chunk];
}

/* ---- start ---- */

/* A chunk of the op's own may have become a direction's in the last step of a dead worker. */
static void keep_own(const struct arena_header *header, uint8_t *used, uint32_t *chunk)
{
    if (*chunk >= header->chunks_max || used[*chunk])
        *chunk = 0;
    used[*chunk] = 1;
}

static void list_free(struct worker *w, const uint8_t *used)
{
    const struct arena_header *header = w->arena->header;
    for (uint32_t i = header->chunks_max; i > 0; i--) {
        w->chunk_ms[i - 1] = w->now_ms; /* as if anew */
        if (!used[i - 1])
            w->free_chunks[w->free_chunk_count++] = (uint16_t)(i - 1);
    }
    STORE_RELAXED(&w->me->chunks_used, header->chunks_max - 1 - w->free_chunk_count);
}

int chunk_init(struct worker *w, uint8_t *used)
{
    struct arena_header *header = w->arena->header;
    uint32_t *own[] = {&header->op.scratch, &header->op.out, &w->vault.header->op.rest};
    w->free_chunks = malloc(header->chunks_max * sizeof *w->free_chunks);
    w->chunk_ms = malloc(header->chunks_max * sizeof *w->chunk_ms);
    if (!w->free_chunks || !w->chunk_ms)
        return -ENOMEM;
    used[0] = 1;
    for (uint32_t i = 0; i < ARRAY_LEN(own); i++)
        keep_own(header, used, own[i]);
    list_free(w, used);
    for (uint32_t i = 0; i < ARRAY_LEN(own); i++) {
        if (*own[i] == 0)
            *own[i] = chunk_take(w);
    }
    return 0;
}
