/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena's layout version 2, frozen: what shm/arena_migrate.c reads and nobody writes any more.
 * Meanings are those of shm/arena.h where nothing else is said. Not part of a layout, and the same in
 * all versions: the numbers of enum slot_fd, tunnel_state, arena_command and slot_mode, and what the
 * epoll set says about a tunnel (worker/context.h), because the set outlives the program.
 */
#ifndef SHM_ARENA_V2_H
#define SHM_ARENA_V2_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

enum {
    ARENA_V2_VERSION = 2,
    ARENA_V2_EVENTS = 256,
    ARENA_V2_CHUNK_SIZE = 32768,
    ARENA_V2_LISTENERS_MAX = 64,
    ARENA_V2_FDS_MAX = 1 << 21,
    ARENA_V2_CHUNKS_MIN = 256, /* chunks_max is tunnels_max within these bounds */
    ARENA_V2_CHUNKS_MAX = 8192,
    ARENA_V2_TUNNELS_MAX = 1 << 26,
    ARENA_V2_ALIGN = 4096, /* of tunnels_off, fds_off and chunks_off */
    ARENA_V2_LINE = 64,    /* alignment of the op record, and so of the header's size */
};

/* Bits of arena_v2_dir.flags. */
enum {
    ARENA_V2_EOF = 1 << 0,
    ARENA_V2_SHUT = 1 << 1,
    ARENA_V2_HANGUP = 1 << 2,
    ARENA_V2_READY = 1 << 3,
    ARENA_V2_BLOCKED = 1 << 4,
    ARENA_V2_RESUME = 1 << 5,
    ARENA_V2_FLAGS = 0x3f,
};

struct arena_v2_dir {
    uint32_t rx;
    uint32_t tx;
    uint32_t base;
    uint16_t chunk;
    uint8_t flags; /* ARENA_V2_* */
    uint8_t pad;
};

/* struct ws_track, as it was. */
struct arena_v2_track {
    uint64_t left;
    uint32_t frames;
    uint8_t need;
    uint8_t head;
    uint8_t first;
    uint8_t flags; /* WS_*: three bits */
};

/* No TLS. Positions of direction 1 begin at 0 with the head of the 101, which is not counted. */
struct arena_v2_tunnel {
    uint8_t state;
    uint8_t reason;
    uint16_t gen;
    int32_t fd[2];
    struct arena_v2_dir dir[2];
    uint32_t active_ms;
    uint32_t blocked_ms[2];
    uint32_t idle_ms;
    uint16_t send_100ms;
    uint16_t head_len; /* bytes of the 101 answer's head */

    struct arena_v2_track track[2];
    uint32_t cookie[2];
    uint32_t src_off[2];
    uint32_t dst_off[2];
    uint32_t backend;
    uint16_t strike_s;
    uint8_t strikes;
    uint8_t abort;
};
_Static_assert(sizeof(struct arena_v2_tunnel) == 128, "frozen");

struct arena_v2_op {
    uint32_t cur; /* 0: no step in flight */
    uint32_t base;
    uint32_t scratch;
    uint32_t pad;
    struct arena_v2_track track;
    uint64_t saved;
    uint32_t step;
    uint8_t spare[20];
};
_Static_assert(sizeof(struct arena_v2_op) == 64, "frozen");

struct arena_v2_listener {
    uint32_t id;
    uint32_t index;
};

/* Behind it, each at the next page: tunnels, the bitmap of descriptors, chunks to the end. */
struct arena_v2_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot;
    uint64_t size;
    uint32_t tunnels_max;
    uint32_t chunks_max;
    uint64_t tunnels_off;
    uint64_t chunks_off;
    uint64_t fds_off;
    uint32_t mode;
    uint32_t go;
    uint64_t applied_seq;
    uint32_t command;
    uint32_t parked;
    uint64_t renewed_seq;
    uint64_t park_by_ms;
    struct arena_v2_listener listeners[ARENA_V2_LISTENERS_MAX];
    uint8_t pad[32];
    struct arena_v2_op op; /* at a cache line */
    struct epoll_event events[ARENA_V2_EVENTS];
};
_Static_assert(offsetof(struct arena_v2_header, op) % ARENA_V2_LINE == 0, "frozen");
_Static_assert(sizeof(struct arena_v2_header) == 640 + 64 + 256 * sizeof(struct epoll_event),
               "frozen");

#endif
