/* SPDX-License-Identifier: Apache-2.0 */
/* An arena of layout version 2, made as the program that wrote it made it. */
#ifndef TEST_UNIT_ARENA_V2_FIXTURE_H
#define TEST_UNIT_ARENA_V2_FIXTURE_H

#include "shm/arena.h"
#include "shm/arena_v2.h"

#include <check.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct arena_v2 {
    struct arena_v2_header *header;
    struct arena_v2_tunnel *tunnels;
    uint8_t *chunks;
    uint64_t *fds;
    int fd;
};

static inline uint64_t arena_v2_align(uint64_t bytes)
{
    return (bytes + 4095) / 4096 * 4096;
}

static inline uint8_t *arena_v2_chunk(const struct arena_v2 *arena, uint32_t chunk)
{
    return arena->chunks + (size_t)chunk * 32768;
}

static inline void arena_v2_init(struct arena_v2 *arena, uint32_t slot, uint32_t tunnels_max)
{
    uint32_t chunks_max = tunnels_max < 256 ? 256 : tunnels_max > 8192 ? 8192 : tunnels_max;
    uint64_t tunnels_off = arena_v2_align(sizeof(struct arena_v2_header));
    uint64_t fds_off = arena_v2_align(tunnels_off + tunnels_max * 128ull);
    uint64_t chunks_off = fds_off + 262144;
    uint64_t size = chunks_off + chunks_max * 32768ull;
    arena->fd = memfd_create("arena-v2", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(arena->fd, (off_t)size), 0);
    uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0);
    ck_assert_ptr_ne(base, MAP_FAILED);
    arena->header = (struct arena_v2_header *)base;
    arena->chunks = base + chunks_off;
    arena->tunnels = (struct arena_v2_tunnel *)(base + tunnels_off);
    arena->fds = (uint64_t *)(base + fds_off);
    *arena->header = (struct arena_v2_header){
        .magic = ARENA_MAGIC,
        .version = 2,
        .slot = slot,
        .size = size,
        .tunnels_max = tunnels_max,
        .chunks_max = chunks_max,
        .tunnels_off = tunnels_off,
        .chunks_off = chunks_off,
        .fds_off = fds_off,
        .command = ARENA_PARK,
        .parked = 1,
        .go = 1,
        .op.scratch = 1,
    };
}

static inline void arena_v2_fini(struct arena_v2 *arena)
{
    munmap(arena->header, arena->header->size);
    close(arena->fd);
}

/* `n` bytes that wait in `chunk` from `at` on: taken from the source, not by the destination. */
static inline void arena_v2_stage(const struct arena_v2 *arena, struct arena_v2_dir *dir,
                                  uint32_t chunk, uint32_t at, const void *bytes, uint32_t n)
{
    dir->chunk = (uint16_t)chunk;
    dir->base = dir->tx - at;
    dir->rx = dir->tx + n;
    dir->flags |= ARENA_V2_BLOCKED;
    memcpy(arena_v2_chunk(arena, chunk) + at, bytes, n);
}

#endif
