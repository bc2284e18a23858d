/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena's layout version 1, frozen: what shm/arena_migrate.c reads and nobody writes any more.
 * Meanings are those of shm/arena.h where nothing else is said. Not part of a layout, and the same in
 * all versions: the numbers of enum slot_fd, tunnel_state, arena_command and slot_mode, and what the
 * epoll set says about a tunnel (worker/context.h), because the set outlives the program.
 */
#ifndef SHM_ARENA_V1_H
#define SHM_ARENA_V1_H

#include <stdint.h>
#include <sys/epoll.h>

enum {
    ARENA_V1_VERSION = 1,
    ARENA_V1_EVENTS = 128,
    ARENA_V1_CHUNK_SIZE = 16384,
    ARENA_V1_LISTENERS_MAX = 32,
    ARENA_V1_CHUNKS_MIN = 256, /* chunks_max is tunnels_max within these bounds */
    ARENA_V1_CHUNKS_MAX = 8192,
    ARENA_V1_TUNNELS_MAX = 1 << 26,
    ARENA_V1_ALIGN = 4096, /* of chunks_off, tunnels_off and the size */
};

/* Bits of arena_v1_dir.flags. */
enum {
    ARENA_V1_EOF = 1 << 0,
    ARENA_V1_SHUT = 1 << 1,
    ARENA_V1_BLOCKED = 1 << 2,
    ARENA_V1_HANGUP = 1 << 3,
    ARENA_V1_READY = 1 << 4,
    ARENA_V1_FLAGS = 0x1f,
};

struct arena_v1_dir {
    uint32_t rx;
    uint32_t tx;
    uint16_t chunk; /* 0 if, and only if, rx == tx while the tunnel is open and no step in flight */
    uint16_t head;  /* where in the chunk the first pending byte stands */
    uint32_t flags; /* ARENA_V1_* */
};

/* struct ws_track, as it was. */
struct arena_v1_track {
    uint64_t left;
    uint32_t frames;
    uint8_t need;
    uint8_t head;
    uint8_t first;
    uint8_t flags; /* WS_*: three bits */
};

/* No strikes, and no word on how a close is meant: see abort in shm/arena.h. */
struct arena_v1_tunnel {
    int32_t fd[2];
    uint8_t state;
    uint8_t reason;
    uint16_t gen;
    uint32_t backend;
    struct arena_v1_dir dir[2];
    uint32_t active_ms;
    uint32_t blocked_ms[2];
    uint16_t send_s; /* send_timeout in seconds, 0: none */
    uint16_t head_len;

    struct arena_v1_track track[2];
    uint32_t idle_ms;
    uint32_t cookie[2];
    uint32_t src_off[2];
    uint32_t dst_off[2];
    uint32_t pad;
};
_Static_assert(sizeof(struct arena_v1_tunnel) == 128, "frozen");

struct arena_v1_op {
    uint32_t cur; /* 0: no step in flight */
    uint32_t base;
    uint32_t scratch;
    uint32_t pad;
    struct arena_v1_track track;
};
_Static_assert(sizeof(struct arena_v1_op) == 32, "frozen");

struct arena_v1_listener {
    uint32_t id;
    uint32_t index;
};

/* Behind it, each at the next page: chunks, then tunnels, then the end. No bitmap of descriptors. */
struct arena_v1_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot;
    uint64_t size;
    uint32_t tunnels_max;
    uint32_t chunks_max;
    uint32_t tunnels_high; /* records from here on were never used */
    uint32_t mode;
    uint64_t chunks_off;
    uint64_t tunnels_off;
    uint64_t applied_seq;
    uint64_t renewed_seq;
    uint32_t command;
    uint32_t parked;
    uint32_t go;
    uint32_t pad;
    struct arena_v1_listener listeners[ARENA_V1_LISTENERS_MAX];
    struct arena_v1_op op;
    struct epoll_event events[ARENA_V1_EVENTS];
};
_Static_assert(sizeof(struct arena_v1_header) == 88 + 256 + 32 + 128 * sizeof(struct epoll_event),
               "frozen");

#endif
