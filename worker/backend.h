/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to backends: opened for a request, kept for the next one, never reused after an upgrade. */
#ifndef WORKER_BACKEND_H
#define WORKER_BACKEND_H

#include "worker/conn.h"

struct request;

enum backend_state {
    BACKEND_CONNECTING, /* connect is under way; connect_timeout, the request's */
    BACKEND_SHAKING,    /* connected, TLS handshake; still the connect_timeout */
    BACKEND_BUSY,       /* carries a request, which has the timer */
    BACKEND_KEPT,       /* idle, in its upstream's list; closed by any event or after KEPT_MS */
    BACKEND_CLOSED,     /* waits for the end of the loop turn */
};

struct backend {
    struct conn conn;           /* first: events find it by that */
    struct request *request;    /* NULL while KEPT */
    struct backend *kept_newer; /* in the upstream's list while KEPT */
    struct backend *kept_older;
    uint32_t index;     /* backend on the board */
    uint32_t upstream;  /* upstream on the board: its keepalive limits how many are kept */
    uint32_t tx_before; /* conn.tx when the current request began */
    uint8_t state;      /* enum backend_state */
    bool reused;        /* has served a request before this one */
};

/*
 * Open a connection to a server of an upstream, from its source addresses if it has any.
 * On 0 *out is CONNECTING or BUSY (connected at once) and belongs to `request`.
 * Returns 0, -EADDRNOTAVAIL (no local port left, on any source address), -EMFILE or -ENFILE (no
 * descriptor left), or -errno of connect.
 */
int backend_connect(struct request *request, const struct image_upstream *upstream,
                    const struct image_server *server, struct backend **out) MUST_CHECK;

/*
 * Take a kept connection to this server for `request`; NULL if there is none. Those on which something
 * has come unasked are closed.
 */
struct backend *backend_take_kept(struct request *request, const struct image_server *server);

/*
 * The request is answered: keep the connection, at most `limit` for the upstream, or close it. None
 * is kept that another configuration than the one in force has made.
 */
void backend_keep(struct backend *backend, uint32_t limit);

/* Close and bury; with RST if `abort`. */
void backend_close(struct backend *backend, bool abort);

/* The descriptor has become part of a tunnel: bury the rest. */
void backend_became_tunnel(struct backend *backend);

/* Close all kept ones (the worker drains, or has another configuration). */
void backend_close_kept(struct worker *w);

void backend_event(struct backend *backend, uint32_t events);
void backend_timer(struct backend *backend);

#endif
