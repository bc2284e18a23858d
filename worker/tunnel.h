/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels: a record in the arena and a public one on the board, no heap. Opened by a verified 101,
 * relayed by worker/relay.c, closed here with a reason.
 */
#ifndef WORKER_TUNNEL_H
#define WORKER_TUNNEL_H

#include "worker/context.h"

/* A side that is TLS: what its connection held. All borrowed. */
struct tunnel_side_tls {
    const struct tls_session *session; /* NULL: the side is plain */
    struct slice plain;                /* content behind held[] */
    struct slice wire_in;              /* read and not opened */
    struct slice wire_out;             /* sealed and not sent */
    uint32_t burst;                    /* worker/tls_burst.h */
};

/* Everything a tunnel is opened from. Descriptors are taken on success. */
struct tunnel_opening {
    int fd[2];      /* client, backend; in the epoll set already */
    uint32_t rx[2]; /* bytes read from fd[d] since its birth, mod 2^32 */
    uint32_t tx[2]; /* bytes written to fd[d] since its birth */
    struct slice
        held[2];       /* [0] client bytes behind the request; [1] the 101 head and what followed */
    uint32_t head_len; /* bytes of held[1] that are the 101 answer's head */
    bool exact;        /* a side is a UNIX socket: worker/exact.h */
    struct tunnel_side_tls tls[2];
    const struct addr *client;
    uint32_t client_gauge; /* where its client is counted (shm/board_gauge.h); 0: nowhere */
    uint16_t rules;        /* of its route (worker/rules.h) */
    uint8_t care;          /* CARE_RSV*: what extensions make of reserved bits */
    uint32_t site;         /* index on the board */
    uint32_t backend;      /* index on the board */
};

/* Where a tunnel is counted (shm/board_gauge.h); TUNNEL_NO_GAUGE stands for nowhere. */
enum { TUNNEL_GAUGES = 4 };
#define TUNNEL_NO_GAUGE UINT32_MAX
void tunnel_gauges(const struct worker *w, uint32_t tunnel, uint32_t gauges[TUNNEL_GAUGES]);

/* True if a tunnel could be opened now: a record and the chunks it begins with are free. */
bool tunnel_room(const struct worker *w);

/*
 * Commit a tunnel and begin to relay. *id is its public id. The request's count in `conns` of the
 * backend's cell becomes the tunnel's: at no moment is there none, or one too many. Returns 0, -ENOBUFS (no record or chunk),
 * -EMSGSIZE (held bytes do not fit a chunk) or -errno; then nothing was taken.
 */
int tunnel_open(struct worker *w, const struct tunnel_opening *opening, uint64_t *id) MUST_CHECK;

/* Its id on the board and in logs. */
uint64_t tunnel_id(const struct worker *w, uint32_t tunnel);

/* Close both sides: FIN, or RST if `abort`. Moves its sums to the counters, logs, frees the record. */
void tunnel_close(struct worker *w, uint32_t tunnel, enum reason reason, bool abort);

/* Both directions have ended in order: close it with the reason that its Close frames and FINs give. */
void tunnel_close_ended(struct worker *w, uint32_t tunnel);

/*
 * For records found CLOSING: name it in the op, from the first step; then the rest. Without _begin_ a
 * close that a dead worker had begun goes on at the step it had reached.
 */
void tunnel_begin_close(struct worker *w, uint32_t tunnel);
void tunnel_finish_close(struct worker *w, uint32_t tunnel);

/* An epoll event of a tunnel's side; stale ones are dropped. */
void tunnel_event(struct worker *w, uint64_t data, uint32_t events);

/* Its timer is due: idle_timeout, send_timeout, or the end of its time (worker/wave.h). */
void tunnel_timer(struct worker *w, uint32_t tunnel);

/*
 * A direction has become blocked, or has moved: its send_timeout begins anew. Looks at what the
 * receiver has acknowledged: with big socket buffers it may take bytes for long before there is room.
 */
void tunnel_note_blocked(struct worker *w, uint32_t tunnel, uint32_t d);

/* Arm the timer for the earliest of these. */
void tunnel_arm(struct worker *w, uint32_t tunnel);

/* Relay what is on the ready list: directions with more to read than one turn may take. */
void tunnel_run_ready(struct worker *w);
void tunnel_mark_ready(struct worker *w, uint32_t tunnel, uint32_t d);

/* epoll data of a side; used by adoption, too. */
uint64_t tunnel_event_data(const struct arena_tunnel *record, uint32_t tunnel, uint32_t side);

/* Rebuild free lists from the records: on start. Then `closing` records must be finished. */
int tunnel_init(struct worker *w) MUST_CHECK;

/*
 * Chunks: 0 when none is free. Freed ones beyond the first few give their memory back. _give: one of the
 * journal's own has become a tunnel's, and gets a successor.
 */
uint32_t tunnel_chunk_take(struct worker *w);
void tunnel_chunk_give(struct worker *w, uint32_t *own);
void tunnel_chunk_free(struct worker *w, uint32_t chunk);

#endif
