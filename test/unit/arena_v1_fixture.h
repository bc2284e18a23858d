/* SPDX-License-Identifier: Apache-2.0 */
/* An arena of layout version 1, made as the program that wrote it made it. */
#ifndef TEST_UNIT_ARENA_V1_FIXTURE_H
#define TEST_UNIT_ARENA_V1_FIXTURE_H

#include "shm/arena.h"
#include "shm/arena_v1.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct arena_v1 {
    struct arena_v1_header *header;
    struct arena_v1_tunnel *tunnels;
    uint8_t *chunks;
    int fd;
};

static inline uint64_t arena_v1_align(uint64_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

static inline uint8_t *arena_v1_chunk(const struct arena_v1 *arena, uint32_t chunk)
{
    return arena->chunks + (size_t)chunk * 16384;
}

static inline void arena_v1_init(struct arena_v1 *arena, uint32_t slot, uint32_t tunnels_max)
{
    uint32_t chunks_max = tunnels_max < 256 ? 256 : tunnels_max > 8192 ? 8192 : tunnels_max;
    uint64_t chunks_off = arena_v1_align(sizeof(struct arena_v1_header));
    uint64_t tunnels_off = chunks_off + chunks_max * 16384ull;
    uint64_t size = arena_v1_align(tunnels_off + tunnels_max * 128ull);
    arena->fd = memfd_create("arena-v1", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(arena->fd, (off_t)size), 0);
    uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);
    ck_assert_ptr_ne(base, MAP_FAILED);
    arena->header = (struct arena_v1_header *)base;
    arena->chunks = base + chunks_off;
    arena->tunnels = (struct arena_v1_tunnel *)(base + tunnels_off);
    *arena->header = (struct arena_v1_header){
        .magic = ARENA_MAGIC,
        .version = 1,
        .slot = slot,
        .size = size,
        .tunnels_max = tunnels_max,
        .chunks_max = chunks_max,
        .chunks_off = chunks_off,
        .tunnels_off = tunnels_off,
        .command = ARENA_PARK,
        .parked = 1,
        .go = 1,
        .op.scratch = 1,
    };
}

static inline void arena_v1_fini(struct arena_v1 *arena)
{
    munmap(arena->header, arena->header->size);
    close(arena->fd);
}

/* `n` bytes that wait in `chunk` from `head` on: taken from the source, not by the destination. */
static inline void arena_v1_stage(const struct arena_v1 *arena, struct arena_v1_dir *dir,
                                  uint32_t chunk, uint32_t head, const void *bytes, uint32_t n)
{
    dir->chunk = (uint16_t)chunk;
    dir->head = (uint16_t)head;
    dir->rx = dir->tx + n;
    dir->flags |= ARENA_V1_BLOCKED;
    memcpy(arena_v1_chunk(arena, chunk) + head, bytes, n);
}

#endif
