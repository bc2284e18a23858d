/* SPDX-License-Identifier: Apache-2.0 */
/* Which server gets a request, and what happens when it fails (worker/request.h). */
#include "worker/admit.h"
#include "worker/queue.h"
#include "worker/request.h"
#include "worker/template.h"
#include "worker/verdict.h"

#include <errno.h>
#include <string.h>

enum { KEY_MAX = 2048 }; /* bytes of a hash key that count */

static struct board_cell *cell_of(struct request *r)
{
    struct worker *w = r->client->conn.w;
    return board_cell(w->board, w->slot, r->server->backend);
}

static void drop_backend(struct request *r, bool keep)
{
    struct backend *backend = r->backend;
    r->backend = NULL;
    if (!backend)
        return;
    if (keep)
        backend_keep(backend, r->upstream->keepalive);
    else
        backend_close(backend, false);
}

void dispatch_release(struct request *r, bool keep)
{
    drop_backend(r, keep);
    /* After the close: the server never has a connection more than are counted. */
    if (r->counted)
        balance_leave(r->client->conn.w->board, r->client->conn.w->slot, r->server->backend);
    r->counted = false;
}

/* What failed here, when no other server can help. */
static void give_up(struct request *r, enum reason reason)
{
    bool timeout = reason == REASON_CONNECT_TIMEOUT || reason == REASON_RESPONSE_TIMEOUT ||
                   reason == REASON_SEND_TIMEOUT;
    bool ours = reason == REASON_NO_PORTS || reason == REASON_NO_DESCRIPTORS ||
                reason == REASON_NO_MEMORY || reason == REASON_NO_BACKEND ||
                reason == REASON_BACKENDS_FULL;
    if (r->answer_begun)
        request_abort(r, reason);
    else
        request_refuse(r, timeout ? 504 : ours ? 503 : 502, reason);
}

static enum reason reason_of_connect(struct request *r, int error)
{
    struct worker *w = r->client->conn.w;
    char name[VERDICT_NAME_MAX];
    switch (error) {
    case -EADDRNOTAVAIL:
        worker_count(w, COUNTER_NO_PORTS);
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "no_ports",
                    "backend=%s advice=\"all local ports to it are in use: give the upstream more "
                    "addresses with source = [ ... ], or widen net.ipv4.ip_local_port_range\"",
                    verdict_name(r, name));
        return REASON_NO_PORTS;
    case -EMFILE:
    case -ENFILE:
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "no_descriptors", "limit=%u", w->fd_max);
        return REASON_NO_DESCRIPTORS;
    case -ENOMEM: return REASON_NO_MEMORY;
    default: return REASON_CONNECT_FAILED;
    }
}

static bool has_ended(enum reason reason)
{
    return reason == REASON_BACKEND_CLOSED || reason == REASON_BACKEND_RESET;
}

/*
 * A kept connection that ended before a byte of the answer: the server may close it at any time, also
 * while we send. That says nothing about the server.
 */
static bool was_stale(const struct request *r, enum reason reason)
{
    return r->backend->reused && r->interim == 0 && buf_len(&r->backend->conn.in) == 0 &&
           has_ended(reason);
}

/*
 * Does the failure tell what the next request is to expect? Not that of a stale connection; nor one that a
 * client can bring about: a body too long, or too slow, for the server, which ends the connection before it has
 * all of it, or an answer over the limits because it has the client's long target in it.
 */
static bool tells_of_server(const struct request *r, enum reason reason)
{
    if (r->answer.fields && r->answer.over_limit)
        return false;
    return !r->backend || !has_ended(reason) || (r->up.done && !was_stale(r, reason));
}

/* The server has failed: count it, and tell the other workers. Not for what was our own fault, or nobody's. */
static void count_failure(struct request *r, enum reason reason, int error)
{
    struct worker *w = r->client->conn.w;
    struct board_cell *cell = cell_of(r);
    char name[VERDICT_NAME_MAX];
    if (reason == REASON_CONNECT_FAILED || reason == REASON_CONNECT_TIMEOUT) {
        STORE_RELAXED(&cell->connects_failed, cell->connects_failed + 1);
        worker_count(w, COUNTER_BACKEND_CONNECT_FAILED);
    } else if (reason != REASON_BAD_UPGRADE) { /* has a counter, and a line, of its own */
        STORE_RELAXED(&cell->failures, cell->failures + 1);
    }
    log_limited(&w->limit_backend, LOG_LEVEL_WARN, "backend_failed",
                "reason=%s backend=%s error=\"%s\"", reason_word(reason), verdict_name(r, name),
                error != 0 ? strerror(error) : "none");
    if (reason != REASON_NO_MEMORY && tells_of_server(r, reason))
        verdict_failed(r, reason);
}

/* Key of the upstream's hash for this request; empty: round robin. */
static struct slice hash_key(struct request *r, char buffer[KEY_MAX])
{
    struct template_vars vars;
    if (r->upstream->policy != BALANCE_HASH)
        return SLICE("");
    request_vars(r, &vars);
    int len = template_eval(r->image, r->upstream->hash_key, &vars, buffer, KEY_MAX);
    /* A key too long to hold is a client's trick: it may have round robin. */
    return (struct slice){buffer, len < 0 ? 0 : (size_t)len};
}

static struct slice sticky_value(const struct request *r)
{
    if (r->upstream->sticky_cookie.len == 0)
        return SLICE("");
    return template_cookie(&r->head, r->head_buf.data,
                           image_slice(r->image, r->upstream->sticky_cookie));
}

/* Do `tries` and retry_timeout allow another server? */
static bool may_try(const struct request *r)
{
    const struct image_upstream *upstream = r->upstream;
    if (r->pick.tries == 0)
        return true;
    if (upstream->tries != 0 && r->pick.tries >= upstream->tries)
        return false;
    return upstream->retry_timeout_ms == 0 ||
           r->client->conn.w->mono_ms - r->tried_ms < upstream->retry_timeout_ms;
}

/* Choose the next server, and count the request in there. Returns 0, -EBUSY or -ENOENT. */
static int choose(struct request *r)
{
    struct worker *w = r->client->conn.w;
    char key[KEY_MAX];
    uint32_t index = 0;
    if (!may_try(r))
        return -ENOENT;
    const struct balance_ask ask = {
        .board = w->board,
        .image = r->image,
        .balancer = r->balancer,
        .upstream = r->upstream,
        .key = hash_key(r, key),
        .sticky = sticky_value(r),
        .slot = w->slot,
        .now_ms = w->mono_ms,
    };
    int rc = balance_next(&r->pick, &ask, &index);
    verdict_panic(r);
    if (rc < 0)
        return rc;
    r->server = image_upstream_server(r->image, r->upstream, index);
    r->counted = true;
    if (r->pick.tries == 1)
        r->tried_ms = w->mono_ms;
    else
        worker_count(w, COUNTER_RETRIES);
    return 0;
}

/*
 * Give the request to the chosen server, on a kept connection if there is one and `kept` allows it.
 * On 0 it runs on, or is over by now: touch it no more. Else the reason's errno.
 */
static int try_server(struct request *r, bool kept)
{
    if (!admit_to_server(r))
        return 0;
    r->head_built = false;
    r->answer.fields = NULL; /* an answer that another server began is forgotten */
    /* An upgrade gets a connection of its own: nothing that went before can confuse it. */
    if (kept && !r->upgrade && r->upstream->proxy_protocol == PROXY_PROTOCOL_OFF)
        r->backend = backend_take_kept(r, r->server);
    int rc = 0;
    if (!r->backend)
        rc = backend_connect(r, r->upstream, r->server, &r->backend);
    if (rc < 0)
        return rc;
    struct board_cell *cell = cell_of(r);
    STORE_RELAXED(&cell->requests, cell->requests + 1);
    r->state = REQUEST_CONNECT;
    exchange_arm_timers(r, true, true);
    request_run(r);
    return 0;
}

/*
 * Go on from what a choice came to (`rc`): try servers until one takes the connection (or will tell
 * later), wait in the queue if all are full, or give up. `kept`: a kept connection will do.
 */
static void go_on(struct request *r, int rc, enum reason reason, bool kept)
{
    for (; rc == 0; rc = choose(r), kept = true) {
        rc = try_server(r, kept);
        if (rc == 0)
            return;
        dispatch_release(r, false);
        reason = reason_of_connect(r, rc);
        if (reason != REASON_CONNECT_FAILED) {
            give_up(r, reason); /* our own shortage: another server would not help */
            return;
        }
        count_failure(r, reason, -rc);
    }
    if (rc == -EBUSY && queue_enter(r) == 0) {
        exchange_arm_timers(r, false, false); /* none: the queue has a time of its own */
        return;
    }
    give_up(r, rc == -EBUSY ? REASON_BACKENDS_FULL : reason);
}

void dispatch_first(struct request *r)
{
    go_on(r, queue_is_waiting(r) ? -EBUSY : choose(r), REASON_NO_BACKEND, true);
}

void dispatch_chosen(struct request *r)
{
    go_on(r, 0, REASON_NO_BACKEND, true);
}

bool dispatch_queued(struct request *r)
{
    int rc = choose(r);
    if (rc == -EBUSY)
        return false;
    queue_leave(r);
    go_on(r, rc, REASON_NO_BACKEND, true);
    return true;
}

/*
 * May a further server get it? Always while nothing was sent; after that only what may be repeated
 * (RFC 9110 9.2.2) and whose body we still have.
 */
static bool may_retry(const struct request *r)
{
    bool sent = r->backend && r->backend->conn.tx != r->backend->tx_before;
    if (r->answer_begun || r->body_begun)
        return false;
    return !sent || http_method_idempotent(r->head.method);
}

void dispatch_failed(struct request *r, enum reason reason)
{
    bool retry = may_retry(r);
    bool again = retry && was_stale(r, reason);
    if (!again)
        count_failure(r, reason, r->backend->conn.error);
    if (again) { /* the same server, on a new connection: it stays counted in there */
        drop_backend(r, false);
        go_on(r, 0, reason, false);
        return;
    }
    dispatch_release(r, false);
    if (retry)
        go_on(r, choose(r), reason, true);
    else
        give_up(r, reason);
}
