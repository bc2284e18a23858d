/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP or UNIX connection before it becomes part of a tunnel: descriptor, buffers, edge-triggered
 * readiness. Clients and backends embed it as their first member.
 */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include "worker/context.h"

enum conn_kind { CONN_CLIENT, CONN_BACKEND };

struct conn {
    struct worker *w;
    struct conn *next_dead; /* in the graveyard */
    int fd;                 /* -1: closed, or handed to a tunnel */
    uint32_t place;         /* in the worker's table; its timer's number, too */
    uint32_t gen;
    uint32_t rx;          /* bytes read since birth, mod 2^32: what the kernel counts, too */
    uint32_t tx;          /* bytes written since birth */
    uint8_t kind;         /* enum conn_kind */
    bool readable;        /* the last read was not short */
    bool writable;        /* the last write was not short */
    bool hangup;          /* the peer has sent FIN: read to the end */
    bool eof;             /* the end was read */
    bool unix_socket;     /* of which the kernel keeps no counts */
    int error;            /* errno of a broken connection, 0: none */
    struct conn_tls *tls; /* worker/conn_tls.h; NULL: plain */
    struct buf in;
    struct buf out;
};

/*
 * Put a new descriptor into the epoll set and the table. Takes `fd` on success only.
 * `conn` is the caller's, zeroed. Returns 0 or -errno.
 */
int conn_open(struct worker *w, struct conn *conn, int fd, enum conn_kind kind) MUST_CHECK;

/*
 * A descriptor is about to be made: if we die before conn_open has it, a successor looks for it.
 * conn_no_fd: none was made.
 */
void conn_expect_fd(struct worker *w);
void conn_no_fd(struct worker *w);

/* Note in the arena that a descriptor belongs to the heap, and dies with the worker, or does not. */
void conn_mark_fd(struct worker *w, int fd, bool used);

/* Release buffers, timer and table entry and close the descriptor; with RST if `abort`. */
void conn_close(struct conn *conn, bool abort);

/* Take the descriptor out of the table (it stays in the epoll set) and return it. */
int conn_detach(struct conn *conn);

/* Free the object (malloc'ed, of which `conn` is the first member) after this loop turn. */
void conn_bury(struct conn *conn);
void conn_free_dead(struct worker *w);

/* The connection for an event or a timer; NULL when stale. */
struct conn *conn_by_event(struct worker *w, uint64_t data);
struct conn *conn_by_timer(struct worker *w, uint32_t id);

/*
 * There is more to do than a loop turn has time for: what the connection is ready for is told again
 * in the next one.
 */
void conn_yield(struct conn *conn);

/* Take over what an event says. */
void conn_note_events(struct conn *conn, uint32_t events);

/*
 * Read into `in`, at most until it holds `limit` bytes. Sets eof and error.
 * Returns true if bytes arrived.
 */
bool conn_fill(struct conn *conn, uint32_t limit);

/* Write from `out`. Sets error. Returns true if bytes left. */
bool conn_flush(struct conn *conn);

/* Forget what has not been written: nobody will take it. */
void conn_drop_out(struct conn *conn);

/* Nothing more will be written: say so (TLS: close_notify), and send FIN. */
void conn_shutdown(struct conn *conn);

/* The one timer of a connection. */
void conn_timer_set(struct conn *conn, uint32_t delay_ms);
void conn_timer_clear(struct conn *conn);

#endif
