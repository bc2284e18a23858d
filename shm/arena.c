/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/arena.h"

#include "shm/memfd.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Chunks are sparse memory, used only by directions that are blocked right now; beyond the maximum
 * a worker reads by peeking. So this bounds what slow receivers can pin in one worker: 256 MiB.
 */
enum {
    CHUNKS_MIN = 256,
    CHUNKS_MAX = 8192,
    TUNNELS_MAX = 1 << 26, /* op.cur has 27 bits for the tunnel's number */
    PAGE = 4096,
};

_Static_assert(CHUNKS_MAX <= UINT16_MAX, "arena_dir.chunk has 16 bits");

static uint64_t page_align(uint64_t bytes)
{
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/* Offsets, sizes and counts: one place, so that creating and checking agree. */
static void lay_out(struct arena_header *header, uint32_t tunnels_max)
{
    uint32_t chunks_max = tunnels_max;
    if (chunks_max < CHUNKS_MIN)
        chunks_max = CHUNKS_MIN;
    if (chunks_max > CHUNKS_MAX)
        chunks_max = CHUNKS_MAX;
    header->tunnels_max = tunnels_max;
    header->chunks_max = chunks_max;
    header->tunnels_off = page_align(sizeof *header);
    header->guards_off =
        page_align(header->tunnels_off + (uint64_t)tunnels_max * sizeof(struct arena_tunnel));
    header->meters_off =
        page_align(header->guards_off + (uint64_t)tunnels_max * sizeof(struct arena_guard));
    header->rules_off =
        page_align(header->meters_off + (uint64_t)tunnels_max * sizeof(struct arena_meter));
    header->fds_off =
        page_align(header->rules_off + (uint64_t)ARENA_RULES_MAX * sizeof(struct arena_rules));
    header->chunks_off = page_align(header->fds_off + ARENA_FDS_MAX / 8);
    header->size = header->chunks_off + (uint64_t)chunks_max * ARENA_CHUNK_SIZE;
}

static void point_into(struct arena *arena, void *base)
{
    arena->header = base;
    arena->tunnels = (struct arena_tunnel *)((uint8_t *)base + arena->header->tunnels_off);
    arena->guards = (struct arena_guard *)((uint8_t *)base + arena->header->guards_off);
    arena->meters = (struct arena_meter *)((uint8_t *)base + arena->header->meters_off);
    arena->rules = (struct arena_rules *)((uint8_t *)base + arena->header->rules_off);
    arena->fds = (uint64_t *)((uint8_t *)base + arena->header->fds_off);
    arena->chunks = (uint8_t *)base + arena->header->chunks_off;
}

int arena_create(struct arena *arena, uint32_t slot, uint32_t tunnels_max, int *fd)
{
    *arena = (struct arena){0};
    *fd = -1;
    if (tunnels_max == 0 || tunnels_max > TUNNELS_MAX)
        return -EINVAL;
    struct arena_header plan = {0};
    lay_out(&plan, tunnels_max);
    int memfd = memfd_make("holdfast-arena", plan.size);
    if (memfd < 0)
        return memfd;
    struct arena_header *header = memfd_map(memfd, plan.size);
    if (!header) {
        int error = -errno;
        close(memfd);
        return error;
    }
    /* All of it is zero: every record is TUNNEL_FREE, no operation is in flight, no page is used. */
    lay_out(header, tunnels_max);
    header->slot = slot;
    header->version = ARENA_VERSION;
    STORE_RELEASE(&header->magic, ARENA_MAGIC);
    point_into(arena, header);
    *fd = memfd;
    return 0;
}

static bool layout_fits(const struct arena_header *header, uint64_t size)
{
    struct arena_header plan = {0};
    if (header->tunnels_max == 0 || header->tunnels_max > TUNNELS_MAX)
        return false;
    lay_out(&plan, header->tunnels_max);
    return plan.chunks_max == header->chunks_max && plan.tunnels_off == header->tunnels_off &&
           plan.guards_off == header->guards_off && plan.meters_off == header->meters_off &&
           plan.rules_off == header->rules_off && plan.fds_off == header->fds_off &&
           plan.chunks_off == header->chunks_off && plan.size == header->size && plan.size == size;
}

int arena_attach(struct arena *arena, int fd)
{
    *arena = (struct arena){0};
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct arena_header))
        return -EPROTO;
    uint64_t size = (uint64_t)st.st_size;
    struct arena_header *header = memfd_map(fd, size);
    if (!header)
        return -errno;
    int error = 0;
    if (LOAD_ACQUIRE(&header->magic) != ARENA_MAGIC)
        error = -EPROTO;
    else if (header->version != ARENA_VERSION)
        error = -EPROTONOSUPPORT;
    else if (!layout_fits(header, size))
        error = -EPROTO;
    if (error) {
        munmap(header, size);
        return error;
    }
    point_into(arena, header);
    return 0;
}
