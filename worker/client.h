/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection outside tunnels. It carries one request after the other; the request is an
 * object of its own (worker/request.h), because HTTP/2 will carry many.
 */
#ifndef WORKER_CLIENT_H
#define WORKER_CLIENT_H

#include "common/addr.h"
#include "worker/conn.h"

struct request;

enum client_state {
    CLIENT_PROXY, /* a PROXY protocol header is to come first; header_timeout */
    CLIENT_TLS,   /* TLS handshake, or its turn for one has not come; handshake_timeout */
    CLIENT_IDLE,  /* between requests; keepalive_timeout (first: header_timeout). Bytes are buffered
                    only while the next of many requests sent at once waits for its turn */
    CLIENT_HEAD,  /* a head is arriving; header_timeout */
    CLIENT_REQUEST, /* a request runs and has the timer */
    CLIENT_FLUSH,   /* our own answer goes out; then IDLE, within keepalive_timeout, if it is to be
                       kept, else LINGER, within LINGER_MS */
    CLIENT_LINGER,  /* FIN sent; what still arrives is read and dropped, so that the client sees our
                       answer instead of a reset (RFC 9112 9.6); ends with its FIN or LINGER_MS */
    CLIENT_CLOSED,  /* waits for the end of the loop turn */
};

struct client {
    struct conn conn; /* first: events find it by that */
    struct addr address;
    struct request *request;  /* NULL between requests */
    struct client *idle_next; /* in the worker's list while IDLE */
    struct client *idle_prev;
    uint32_t requests; /* served on this connection */
    uint32_t ready_ms; /* when it came, or PROXY header and TLS handshake were done: it may ask */
    uint32_t lingered; /* bytes dropped in LINGER */
    uint16_t port;     /* of the listener */
    uint8_t state;     /* enum client_state */
    bool idle_listed;
    bool keep;                 /* in FLUSH: it may ask again afterwards */
    bool tls;                  /* came by a TLS listener */
    bool shaking;              /* in the worker's list of handshakes under way */
    bool shake_waits;          /* in that of those whose turn has not come */
    struct client *shake_next; /* in whichever it is */
    struct client *shake_prev;
    uint32_t shake_begun_ms;
};

/*
 * A connection was accepted at this listener of the image (NULL: one that the newest configuration no
 * longer has). Takes `fd` on success. Returns 0, -EACCES (a PROXY listener does not trust the peer, which
 * was said) or -errno.
 */
int client_open(struct worker *w, int fd, const struct addr *address,
                const struct image_listener *listener) MUST_CHECK;

/* Does a handshake wait for nothing but the next loop turn? */
bool client_shake_is_due(const struct worker *w);

/* Give turns to handshakes that wait: free ones, and those of clients who take too long. Once a loop turn. */
void client_shake_next(struct worker *w);

/* An event or a timer; `events` as epoll gives them. */
void client_event(struct client *client, uint32_t events);
void client_timer(struct client *client);

/*
 * The request is over and its answer is in conn.out or sent. With `keep` the next one is read once it
 * is sent, else the connection is flushed, lingers and is closed.
 */
void client_request_done(struct client *client, bool keep);

/*
 * Read on if the client is between requests and bytes wait (pipelining). Called at the end of every
 * event and timer that may have ended a request: a loop, so that no client chooses our stack's depth, and
 * one that ends, so that none takes the time of all.
 */
void client_continue(struct client *client);

/* Close now; with RST if `abort`. The request, if any, must be gone. */
void client_close(struct client *client, bool abort);

/* The descriptor has become part of a tunnel: bury the rest. */
void client_became_tunnel(struct client *client);

/*
 * Descriptors are short: close the oldest clients between requests, at most `count`, but none whose next
 * request has arrived unread, and none that came in the last second and has not asked yet.
 */
void client_close_oldest(struct worker *w, uint32_t count);

/*
 * No more requests are wanted: close all clients between them, but none whose next request has arrived
 * unread, who is amid a TLS handshake, or who came just now and has not asked yet: who asks and sees an
 * end instead of an answer cannot know what became of its request. To be called again for the latter.
 */
void client_close_idle(struct worker *w);

#endif
