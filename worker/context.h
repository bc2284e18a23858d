/* SPDX-License-Identifier: Apache-2.0 */
/* All that one worker process owns: there are no globals. Private memory; dies with the worker. */
#ifndef WORKER_CONTEXT_H
#define WORKER_CONTEXT_H

#include "common/log.h"
#include "shm/arena.h"
#include "shm/board.h"
#include "shm/image.h"
#include "shm/vault.h"
#include "worker/access_log.h"
#include "worker/buf.h"
#include "worker/date.h"
#include "worker/starved.h"
#include "worker/timer.h"
#include "worker/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct client;
struct backend;
struct conn;
struct balancer;
struct request_queue;
struct tls_contexts;
struct tls_engine;
struct tls_resume;

/*
 * What an event is about, in epoll_event.data.u64: tag in the top byte. For connections the
 * descriptor and a generation, for tunnels the record, its generation and the side: a stale event
 * meets another generation and is dropped.
 */
enum event_tag {
    EVENT_LISTENER = 1,
    EVENT_CONTROL,
    EVENT_KEEPER,
    EVENT_WAKE,
    EVENT_CONN,
    EVENT_TUNNEL,
};

/* Idle connections to the backends of one upstream. */
struct kept_list {
    struct backend *newest;
    struct backend *oldest;
    uint32_t count;
};

struct worker {
    const struct worker_start *start;
    struct board *board;
    struct arena *arena;
    struct arena_tunnel *tunnels; /* = arena->tunnels */
    struct board_slot *me;
    uint32_t slot;

    /* Time of this loop turn. */
    uint64_t mono_ms;
    uint64_t real_ms;
    uint32_t now_ms; /* mono_ms mod 2^32 */
    struct date date;

    struct image *image;           /* for new requests; NULL before the first control message */
    struct rules_place *rules;     /* by route of `image`: where its rules are (rules.c) */
    struct balancer *balancer;     /* round-robin state for `image` */
    struct tls_contexts *tls;      /* made of `image` */
    struct tls_engine *tls_engine; /* ciphers of all TLS connections; made when first needed */
    struct tls_resume *resume;     /* sessions with backends; likewise */
    struct vault vault;
    uint32_t mode;                     /* enum slot_mode */
    bool watched[ARENA_LISTENERS_MAX]; /* listeners by place: in the epoll set */
    bool watching;                     /* plain listeners are */
    bool watching_full;                /* TLS listeners are not: handshakes wait for their turn */
    bool listeners_changed;            /* look at each of them anew */
    bool fd_pressure;                  /* accepting is put off until descriptors are free */
    bool master_gone;
    bool parking; /* the keeper wants us to stop at a safe point */
    bool looking; /* parking, or a request waits in a queue: a turn every few milliseconds */

    /*
     * Connections outside tunnels have places: small numbers that are used again at once, so that
     * memory is touched for as many as are open at a time, not for every descriptor there ever was.
     * Timers: id = tunnel index, or tunnels_max + place.
     */
    struct conn **conns; /* by place */
    uint32_t *free_places;
    uint32_t free_place_count;
    uint32_t places_used; /* places below this one have been used */
    uint32_t fd_max;      /* descriptors are < fd_max */
    uint32_t conn_gen;
    struct timer_wheel timers;
    struct conn *graveyard;   /* closed in this turn, freed after the batch */
    struct client *idle_head; /* clients between requests, oldest first */
    struct client *idle_tail;
    struct kept_list kept[BOARD_UPSTREAMS_MAX]; /* by upstream on the board */
    struct request_queue *queues;               /* likewise; NULL before the first one waits */
    uint32_t queue_waiting;                     /* requests in them */
    uint32_t source_next;                       /* round robin over source addresses */

    /* Handshakes with clients: so many are under way, the others wait their turn. */
    uint32_t shaking;
    uint32_t shake_begun;   /* in this loop turn */
    uint32_t shake_waiting; /* in the list below */
    struct client *shake_head;
    struct client *shake_tail;
    struct client *shake_oldest; /* of those under way, by when they began */
    struct client *shake_newest;

    struct buf_pool pool;

    /* Free lists and the ready list; rebuilt from the arena by one scan. */
    uint32_t *free_sides; /* entries of the vault */
    uint32_t free_side_count;
    uint32_t sides_used; /* entries below this one have been used */
    struct starved_ring starved;
    uint32_t *free_tunnels;
    uint32_t free_tunnel_count;
    uint16_t *free_chunks;
    uint32_t free_chunk_count;
    uint32_t *chunk_ms; /* by chunk: when it became a tunnel's, monotonic mod 2^32 */
    uint32_t *ready;    /* tunnel << 1 | direction */
    uint32_t ready_count;
    uint32_t waves_seen;   /* board_header.wave_serial when tunnels were last looked at for it */
    uint32_t tunnels_used; /* records below this one have been used */
    uint32_t tunnels_reserved; /* and below this one have memory on the board */

    uint64_t accepted_before; /* COUNTER_ACCEPTED a second ago */
    uint64_t storm;           /* most clients in a second since memory was last given back */

    struct access_log access_log;
    struct log_limit limit_backend; /* rate limits of log lines that peers can trigger */
    struct log_limit limit_client;
    struct log_limit limit_local;
};

static inline void worker_count(struct worker *w, enum counter counter)
{
    STORE_RELAXED(&w->me->counters[counter], w->me->counters[counter] + 1);
}

static inline void worker_add(struct worker *w, enum counter counter, uint64_t n)
{
    STORE_RELAXED(&w->me->counters[counter], w->me->counters[counter] + n);
}

static inline void worker_ended(struct worker *w, enum reason reason)
{
    STORE_RELAXED(&w->me->reasons[reason], w->me->reasons[reason] + 1);
}

/* May connections outside tunnels stay open for another request? */
static inline bool worker_keeps_clients(const struct worker *w)
{
    return w->mode == SLOT_MODE_RUN && !w->parking;
}

/* `parking` or `queue_waiting` has changed. One flag for both, so that a turn has one look at it. */
static inline void worker_set_looking(struct worker *w)
{
    w->looking = w->parking || w->queue_waiting > 0;
}

/* Is there anything that keeps a draining worker alive? */
static inline bool worker_busy(const struct worker *w)
{
    return w->me->tunnels_open > 0 || w->me->clients_open > 0;
}

#endif
