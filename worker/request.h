/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: from its head to the end of its answer, or to the tunnel it becomes. Lives on the heap
 * and dies with the worker. request.c is its life, dispatch.c finds it a server, exchange.c moves its
 * bytes, forward.c writes heads, upgrade.c makes it a tunnel.
 */
#ifndef WORKER_REQUEST_H
#define WORKER_REQUEST_H

#include "common/http_head.h"
#include "shm/image.h"
#include "worker/backend.h"
#include "worker/balance.h"
#include "worker/body.h"
#include "worker/client.h"

enum request_state {
    REQUEST_HEAD,     /* its head is arriving */
    REQUEST_QUEUED,   /* all servers are full: waits in worker/queue.c, at most queue_timeout */
    REQUEST_WAITING,  /* for its turn, by a timer; counted in at its server or not yet */
    REQUEST_CONNECT,  /* waits for a connection to a server */
    REQUEST_EXCHANGE, /* request and answer are on their way */
    REQUEST_ANSWERED, /* the whole answer is in the client's buffer */
};

/* What a timer of a request waits for. */
enum request_wait {
    WAIT_NOTHING,
    WAIT_BODY,    /* body_timeout: bytes from the client */
    WAIT_CLIENT,  /* send_timeout: room at the client */
    WAIT_CONNECT, /* connect_timeout */
    WAIT_BACKEND, /* send_timeout: room at the backend */
    WAIT_ANSWER,  /* response_timeout: bytes from the backend */
    WAIT_TURN,    /* handshakes come at a pace: its turn */
};

struct request {
    struct client *client;
    struct backend *backend; /* NULL before and after */
    struct image *image;     /* its own reference, as are balancer and tls */
    struct balancer *balancer;
    struct tls_contexts *tls; /* NULL: the image has no use for TLS */
    const struct image_site *site;
    const struct image_route *route;
    const struct image_upstream *upstream;
    const struct image_server *server; /* chosen last */
    struct balance_pick pick;
    struct buf head_buf;                 /* the request's head: fields point into it */
    struct slice groups[PATTERN_GROUPS]; /* of its route's regular expression; in names */
    const struct addr *remote; /* whose request it is: the connection's peer, or `forwarded` */
    struct addr forwarded;
    struct http_head head;
    struct http_head answer;
    struct body up;      /* the request's body: client to backend */
    struct body down;    /* the answer's body: backend to client */
    char *names;         /* heap: host, then normalised path */
    struct slice host;   /* lower case, without port; in names */
    struct slice uri;    /* normalised path; in names */
    uint64_t started_ms; /* monotonic */
    uint64_t tried_ms;   /* monotonic: when the first server was tried */
    uint64_t queued_ns;  /* monotonic: since when it waits in the queue */
    struct request *queue_next;
    struct request *queue_prev;
    uint64_t tunnel;     /* id of the tunnel it became */
    uint32_t interim;    /* 1xx answers relayed */
    uint16_t status;     /* of the answer that the client gets, 0: none yet */
    uint8_t state;       /* enum request_state */
    uint8_t client_wait; /* enum request_wait */
    uint8_t backend_wait;
    uint8_t reason;             /* enum reason, once decided */
    bool upgrade;               /* a valid handshake on a route that allows it */
    bool head_built;            /* for this server */
    bool body_begun;            /* body bytes have gone to a server: no other one can be tried */
    bool answer_begun;          /* bytes of an answer are in the client's buffer */
    bool keep_client;           /* the client's connection may carry another request */
    bool counted;               /* in conns of its server's cell */
    bool fixed;                 /* its route answers by itself */
    bool gauged;                /* in the gauges of tunnels (shm/board_gauge.h) */
    bool turn_taken;            /* at its server */
    uint32_t client_gauge;      /* where its client is counted; 0: nowhere */
    uint32_t retry_s;           /* of Retry-After, 0: the usual */
    struct http_field fields[]; /* fields_max for the head, as many for the answer */
};

/* A request begins to arrive. Borrows the client. NULL: no memory. */
struct request *request_new(struct client *client);

/* Free it, with its backend connection and without a word; accepts NULL, nulls the pointer. */
void request_drop(struct request **request);

/*
 * Parse what has arrived in the client's buffer. True when the head is whole or refused: then
 * request_start goes on. False: more is needed.
 */
bool request_read_head(struct request *request);
void request_start(struct request *request);

/* Move what can be moved. The request may be gone afterwards, and its client closed. */
void request_run(struct request *request);

/* A timer of its client's or its backend's connection is due. Likewise. */
void request_client_timer(struct request *request);
void request_backend_timer(struct request *request);

/* Answer by ourselves and end it. Nothing of an answer may have been written. Likewise. */
void request_refuse(struct request *request, uint16_t status, enum reason reason);

/* The answer is complete or impossible: log, count, give the client back. Frees the request. */
void request_finish(struct request *request, enum reason reason);

/* End it by closing the client's connection without (the rest of) an answer. Frees the request. */
void request_abort(struct request *request, enum reason reason);

/* ---- between the files of this object ---- */

/* Its access log line; request_finish and request_abort write it themselves. */
void request_log(struct request *request);

/* What the variables of templates stand for. */
struct template_vars;
void request_vars(const struct request *request, struct template_vars *vars);

/* dispatch.c: choose a server and connect, or refuse when there is none left. */
void dispatch_first(struct request *request);
/* A server has been chosen, and its turn there has come. */
void dispatch_chosen(struct request *request);
/* It waits in the queue: false if it still has to. Else it runs on, or is over: touch it no more. */
bool dispatch_queued(struct request *request) MUST_CHECK;
/* The chosen server failed with this reason: try another one, or answer 502 or 504. */
void dispatch_failed(struct request *request, enum reason reason);
/* Let go of the server: count it out, close its connection or keep it. */
void dispatch_release(struct request *request, bool keep);

/* exchange.c */
void exchange_run(struct request *request);
void exchange_arm_timers(struct request *request, bool client_moved, bool backend_moved);

/* forward.c: heads written anew. Return 0 or -ENOSPC (does not fit: `out` is as it was). */
int forward_request(struct request *request, struct buf *out) MUST_CHECK;
int forward_answer(struct request *request, struct buf *out, bool chunked, bool close) MUST_CHECK;
int forward_interim(struct request *request, struct buf *out) MUST_CHECK;
int forward_switching(struct request *request, struct buf *out) MUST_CHECK;
int forward_refusal(struct request *request, struct buf *out, uint16_t status,
                    bool close) MUST_CHECK;

/* upgrade.c: a 101 has arrived whole (`len` bytes of the backend's buffer). Ends the request. */
void upgrade_answered(struct request *request, uint32_t len);

#endif
