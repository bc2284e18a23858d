/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena: a memfd of one worker slot, mapped by its keeper and its workers, one after the other.
 * It holds all that a successor needs to go on with the tunnels of a dead worker. Written by worker i
 * only (K: by its keeper). Offsets and descriptor numbers, no pointers. The order of stores is the
 * product: see worker/relay.c.
 */
#ifndef SHM_ARENA_H
#define SHM_ARENA_H

#include "common/compiler.h"
#include "common/ws_frame.h"
#include "shm/arena_guard.h"
#include "shm/arena_rules.h"

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define ARENA_MAGIC 0x616e6572416c4855ull
enum {
    /* magic and version stand first in every layout; the one before is in shm/arena_v2.h */
    ARENA_VERSION = 3,
    ARENA_VERSION_READ_MIN = 2, /* oldest layout that a successor can take over */
    ARENA_EVENTS = 256,
    ARENA_CHUNK_SIZE = 32768, /* bounds one read; 16 KB costs 256 KiB messages 8 % more CPU */
    ARENA_LISTENERS_MAX = 64,
    ARENA_FDS_MAX = 1 << 21, /* highest descriptor limit that is used; sparse: a bit each */
};

/*
 * Descriptor numbers of a slot. Infrastructure has fixed numbers, so that a successor finds it and so
 * that no number is ever closed twice; everything else is >= FD_DYNAMIC.
 */
enum slot_fd {
    FD_ARENA = 3,
    FD_VAULT = 4,
    FD_EPOLL = 5,
    FD_CONTROL = 6,    /* the slot's end of the control socket to the master */
    FD_KEEPER_PID = 7, /* pidfd of the keeper, watched by the worker */
    FD_WORKER_PID = 8, /* pidfd of the worker, watched by the keeper */
    FD_IMAGE = 9,      /* configuration in use */
    FD_ERROR_LOG = 10,
    FD_ACCESS_LOG = 11,
    FD_RESERVE = 12,   /* /dev/null: fills places that are given up */
    FD_BOARD = 14,     /* the board, for a program that the keeper execs */
    FD_PROGRAM = 15,   /* the program that ran before the newest: the way back */
    FD_KEYS = 16,      /* private keys of FD_IMAGE's certificates (shm/keys.h) */
    FD_TICKETS = 17,   /* keys of session tickets (shm/tickets.h) */
    FD_WAKE = 13,      /* eventfd by which the keeper wakes its worker to look at `command` */
    FD_LISTENERS = 32, /* + index into arena_header.listeners */
    FD_DYNAMIC = 96,   /* = FD_LISTENERS + ARENA_LISTENERS_MAX: connections */
};

enum tunnel_state { TUNNEL_FREE, TUNNEL_OPEN, TUNNEL_CLOSING };

/* Bits of arena_dir.flags. */
enum {
    DIR_EOF = 1 << 0,     /* the source has sent its FIN and everything before it was read */
    DIR_SHUT = 1 << 1,    /* the FIN was passed on to the destination */
    DIR_HANGUP = 1 << 2,  /* EPOLLRDHUP was seen: the next short read is not the last */
    DIR_READY = 1 << 3,   /* more to read without a further event: it is on the ready list */
    DIR_BLOCKED = 1 << 4, /* the destination takes no more: pending bytes are in the chunk */
    DIR_RESUME = 1 << 5,  /* no longer blocked: the source's events passed meanwhile, so it is to be
                             read to the end of what it has, by a successor, too */
    DIR_EXACT = 1 << 6,   /* of both directions: a side keeps no counts, see worker/exact.h */
    DIR_STARVED = 1 << 7, /* OP_MADE: waits for a free chunk; a successor runs it */
};

/*
 * One direction of a tunnel. Direction 0 reads the client and writes the backend, 1 the other way:
 * direction d reads fd[d] and writes fd[!d]. Positions count this tunnel's bytes mod 2^32. They begin
 * at 0, those of direction 1 at minus the length of the 101's head: what is counted as the tunnel's
 * is then rx itself.
 */
struct arena_dir {
    uint32_t rx;    /* bytes taken from the source */
    uint32_t tx;    /* bytes the destination's socket took; rx - tx are pending, in the chunk */
    uint32_t base;  /* stream position of the chunk's first byte */
    uint16_t chunk; /* chunk with the pending bytes, 0: none */
    uint8_t flags;  /* DIR_* */
    uint8_t care;   /* CARE_* */
};

/* One tunnel: two cache lines, the first is all that a message touches besides the tracker. */
struct arena_tunnel {
    uint8_t state;  /* enum tunnel_state */
    uint8_t reason; /* enum reason, once CLOSING */
    uint16_t gen;   /* counts the record's tunnels: a stale event meets another number */
    int32_t fd[2];  /* [0] client, [1] backend; -1: closed */
    struct arena_dir dir[2];
    uint32_t heard_ms[2];   /* per direction, monotonic mod 2^32: last byte of its source */
    uint32_t blocked_ms[2]; /* per direction: when it became blocked or last moved since */
    uint16_t rules;         /* index of what holds for it (shm/arena_rules.h) */
    uint16_t backend;       /* index on the board */

    struct ws_track track[2] ALIGNED(CACHE_LINE);
    uint32_t cookie[2];  /* low half of SO_COOKIE, for verification */
    uint32_t src_off[2]; /* consumed(fd[d]) = dir[d].rx + src_off[d], mod 2^32 */
    uint32_t dst_off[2]; /* written(fd[!d]) = dir[d].tx + dst_off[d], mod 2^32 */
    uint32_t tls;        /* index of its entries in the vault << 2 | 1 << side for each side that is
                            TLS; 0: plain */
    uint16_t strike_s;   /* when the last strike was, mod 2^16 */
    uint8_t strikes;     /* workers that crashed while handling this tunnel */
    uint8_t abort;       /* close with RST, also by a successor */
};
_Static_assert(sizeof(struct arena_tunnel) == 128, "two cache lines");

/*
 * OP_FD: a descriptor is being made (accept, socket) and may not be in the bitmap yet. OP_END: a
 * close_notify is being sent. OP_MADE: what is sent is made of what is read (worker/relay_made.c).
 */
enum op_kind { OP_NONE, OP_RELAY, OP_FLUSH, OP_PEEK, OP_OPEN, OP_CLOSE, OP_FD, OP_END, OP_MADE };

/* What the worker is doing right now to one tunnel: one cache line, the journal. */
struct arena_op {
    uint32_t cur;          /* kind << 28 | tunnel << 1 | direction; 0: nothing in flight */
    uint32_t base;         /* stream position of the scratch chunk's first byte */
    uint32_t scratch;      /* chunk that is read into */
    uint32_t out;          /* a second chunk of its own: what TLS makes of the first */
    struct ws_track track; /* the direction's tracker before the bytes in flight */
    uint64_t saved;        /* OP_CLOSE: the counter of `step` before it is changed */
    uint32_t step;         /* OP_CLOSE: how far its sums have been moved to the counters */
    uint32_t src_off;      /* the direction's src_off before the bytes in flight */
    uint8_t spare[16];
};
_Static_assert(sizeof(struct arena_op) == CACHE_LINE, "one cache line");

/*
 * How a keeper that is about to exec gets its worker out of the way, and back if that fails: both
 * sides change `command` by compare-and-swap only, so that exactly one of commit and abort happens.
 */
enum arena_command {
    ARENA_RUN = 0,  /* W serves */
    ARENA_PARK = 1, /* K: W is to finish its requests, stop at a safe point and set `parked` */
    ARENA_EXIT =
        2, /* K: commit: the new program has the descriptors, the parked worker must exit */
};

enum slot_mode {
    SLOT_MODE_RUN = 0,    /* accept and serve */
    SLOT_MODE_PAUSED = 1, /* WINCH: serve what is open, accept nothing */
    SLOT_MODE_DRAIN = 2,  /* QUIT or slot leaving: accept nothing, end when the last tunnel ends */
    SLOT_MODE_STOP = 3,   /* end now */
};

/* A listening socket of the slot, at descriptor FD_LISTENERS + index. */
struct arena_listener {
    uint32_t id;    /* the master's number for the socket; 0: place is free */
    uint32_t index; /* of the listener in the image: says how to treat its connections */
};

struct arena_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot; /* index on the board */
    uint64_t size; /* bytes of the arena */
    uint32_t tunnels_max;
    uint32_t chunks_max; /* chunk 0 is never used */
    uint64_t tunnels_off;
    uint64_t guards_off;
    uint64_t meters_off;
    uint64_t rules_off;
    uint64_t chunks_off;
    uint64_t fds_off; /* bitmap of ARENA_FDS_MAX bits: descriptors of the worker's heap objects */
    uint32_t rules_used;  /* entries of rules below this one have been used; 0: none */
    uint32_t mode;        /* enum slot_mode, as last applied */
    uint32_t go;          /* K: futex word: the worker waits for it before it does anything */
    uint64_t applied_seq; /* control message last applied */
    uint32_t command;     /* K, W: enum arena_command; futex word of a parked worker */
    uint32_t parked;      /* W: 1 while it is parked; futex word of a waiting keeper */
    uint64_t renewed_seq; /* K: board_slot.renew_seq that was tried last */
    uint64_t park_by_ms;  /* K: monotonic: requests that are not done by then are given up */
    struct arena_listener listeners[ARENA_LISTENERS_MAX];
    struct arena_op op ALIGNED(CACHE_LINE);
    struct epoll_event events[ARENA_EVENTS]; /* epoll_wait writes here; .events = 0 once handled */
    /* Of DIR_EXACT: the kernel writes msg_len; all else in them is of no meaning to another process. */
    struct mmsghdr received ALIGNED(CACHE_LINE);
    struct mmsghdr sent;
};
_Static_assert(sizeof(struct arena_header) <= 4096, "the records begin at the next page");

struct arena {
    struct arena_header *header;
    struct arena_tunnel *tunnels;
    struct arena_guard *guards; /* by tunnel, as the next one */
    struct arena_meter *meters;
    struct arena_rules *rules; /* ARENA_RULES_MAX */
    uint8_t *chunks;
    uint64_t *fds; /* connections that are not tunnels: they die with the worker that made them */
};

/*
 * Make the arena of a slot as a memfd: sealed against resizing, kept out of core dumps, mapped.
 * Master's child, before it becomes the keeper. On 0 the caller owns *fd and the mapping.
 */
int arena_create(struct arena *arena, uint32_t slot, uint32_t tunnels_max, int *fd) MUST_CHECK;

/* Map an existing arena and check its layout. Returns 0, -EPROTO, -EPROTONOSUPPORT or -errno. */
int arena_attach(struct arena *arena, int fd) MUST_CHECK;

static inline uint8_t *arena_chunk(const struct arena *arena, uint32_t chunk)
{
    return arena->chunks + (size_t)chunk * ARENA_CHUNK_SIZE;
}

#endif
