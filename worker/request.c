/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/request.h"

#include "common/uri.h"
#include "common/ws_handshake.h"
#include "worker/admit.h"
#include "worker/queue.h"
#include "worker/remote.h"
#include "worker/route.h"
#include "worker/template.h"
#include "worker/tls_context.h"

#include <errno.h>
#include <stdlib.h>

/* ---- life ---- */

struct request *request_new(struct client *client)
{
    struct worker *w = client->conn.w;
    const struct http_limits *limits = &w->image->header->front.head;
    /* The fields are many and few are used: the parser fills each before anybody reads it. */
    struct request *r = malloc(sizeof *r + 2ull * limits->fields_max * sizeof r->fields[0]);
    if (!r)
        return NULL;
    memset(r, 0, sizeof *r);
    r->client = client;
    r->remote = &client->address;
    r->image = image_acquire(w->image);
    r->balancer = balance_acquire(w->balancer);
    r->tls = w->tls ? tls_contexts_acquire(w->tls) : NULL;
    r->started_ms = w->mono_ms;
    STORE_RELAXED(&w->me->requests_open, w->me->requests_open + 1);
    http_request_init(&r->head, r->fields, *limits);
    return r;
}

void request_drop(struct request **request)
{
    struct request *r = *request;
    *request = NULL;
    if (!r)
        return;
    struct worker *w = r->client->conn.w;
    queue_leave(r);
    dispatch_release(r, false);
    admit_leave(r);
    STORE_RELAXED(&w->me->requests_open, w->me->requests_open - 1);
    buf_release(&w->pool, &r->head_buf);
    balance_fini(&r->pick);
    balance_release(&r->balancer);
    tls_contexts_release(&r->tls);
    image_release(&r->image);
    free(r->names);
    free(r);
}

static struct slice field_or_empty(const struct request *r, enum http_field_id id)
{
    const struct http_field *field = http_head_find(&r->head, id);
    return field ? http_field_value(r->head_buf.data, field) : (struct slice){NULL, 0};
}

void request_log(struct request *r)
{
    struct worker *w = r->client->conn.w;
    if (!access_log_wanted(&w->access_log))
        return;
    bool parsed = r->head_buf.data != NULL;
    struct access_request line = {
        .client = r->remote,
        .ended_real_ms = w->real_ms,
        .duration_ms = w->mono_ms - r->started_ms,
        .body_in = r->up.passed,
        .body_out = r->down.passed,
        .tunnel = r->tunnel,
        .status = r->status,
        .tries = r->pick.tries,
        .minor = r->head.minor,
        .reason = reason_word(r->reason),
    };
    if (parsed) {
        line.method = http_head_method(&r->head, r->head_buf.data);
        line.target = (struct slice){r->head_buf.data + r->head.target, r->head.target_len};
        line.host = (struct slice){r->head_buf.data + r->head.authority, r->head.authority_len};
        line.referer = field_or_empty(r, HTTP_FIELD_REFERER);
        line.user_agent = field_or_empty(r, HTTP_FIELD_USER_AGENT);
    }
    if (r->site)
        line.site = image_slice(r->image, r->site->name);
    if (r->upstream)
        line.upstream = image_slice(r->image, r->upstream->name);
    if (r->server)
        line.server = image_slice(r->image, r->server->text);
    access_log_request(&w->access_log, &line);
}

void request_finish(struct request *r, enum reason reason)
{
    struct client *client = r->client;
    bool keep = r->keep_client && r->up.done;
    r->reason = (uint8_t)reason;
    worker_ended(client->conn.w, reason);
    request_log(r);
    client->request = NULL;
    request_drop(&r);
    client_request_done(client, keep);
}

void request_abort(struct request *r, enum reason reason)
{
    struct client *client = r->client;
    r->reason = (uint8_t)reason;
    worker_ended(client->conn.w, reason);
    request_log(r);
    client->request = NULL;
    request_drop(&r);
    client_close(client, true);
}

/* An answer of our own, whatever it says. */
static void answer(struct request *r, uint16_t status, enum reason reason)
{
    struct conn *conn = &r->client->conn;
    ASSERT(!r->answer_begun);
    dispatch_release(r, false);
    /* Bytes of a body that nobody reads would be taken for the next request. */
    r->keep_client = r->keep_client && r->up.done && reason != REASON_BAD_REQUEST;
    r->status = status;
    int rc = buf_acquire(&conn->w->pool, &conn->out);
    if (rc == 0)
        rc = forward_refusal(r, &conn->out, status, !r->keep_client);
    if (rc == -ENOSPC && r->fixed) {
        r->fixed = false; /* its location has the client's target in it, and that is too long */
        request_refuse(r, 414, REASON_BAD_REQUEST);
        return;
    }
    if (rc < 0) {
        request_abort(r, REASON_NO_MEMORY);
        return;
    }
    request_finish(r, reason); /* counted first: who has the answer finds it on the board */
}

void request_refuse(struct request *r, uint16_t status, enum reason reason)
{
    worker_count(r->client->conn.w,
                 status < 500 ? COUNTER_REQUESTS_REFUSED : COUNTER_REQUESTS_FAILED);
    answer(r, status, reason);
}

/* ---- from the head to a server ---- */

/* What follows the route's path. */
static struct slice rest_of(const struct request *r)
{
    size_t n = 0;
    if (!r->route)
        return SLICE("");
    if (r->route->match == MATCH_REGEX)
        n = (size_t)(r->groups[0].p + r->groups[0].n - r->uri.p);
    else
        n = r->route->path.len;
    return (struct slice){r->uri.p + n, r->uri.n - n};
}

void request_vars(const struct request *r, struct template_vars *vars)
{
    *vars = (struct template_vars){
        .client = r->remote,
        .head = &r->head,
        .head_buf = r->head_buf.data,
        .host = r->host,
        .uri = r->uri,
        .backend = r->server ? image_slice(r->image, r->server->text) : SLICE(""),
        .server_port = r->client->port,
        .tls = r->client->tls,
        .rest = rest_of(r),
        .groups = r->groups,
    };
}

/* The head's bytes become the request's; what follows them stays with the client. */
static int keep_head(struct request *r, uint32_t len)
{
    struct conn *conn = &r->client->conn;
    uint32_t rest = buf_len(&conn->in) - len;
    struct buf behind = {NULL, 0, 0, 0};
    if (rest > 0) {
        if (buf_acquire(&conn->w->pool, &behind) < 0)
            return -ENOMEM;
        if (buf_append(&behind, (struct slice){conn->in.data + conn->in.start + len, rest}) < 0) {
            buf_release(&conn->w->pool, &behind);
            return -ENOMEM;
        }
    }
    r->head_buf = conn->in;
    /* Offsets in the head count from its first byte. */
    if (r->head_buf.start > 0)
        memmove(r->head_buf.data, r->head_buf.data + r->head_buf.start, len);
    r->head_buf.start = 0;
    r->head_buf.end = len;
    conn->in = behind;
    return 0;
}

bool request_read_head(struct request *r)
{
    struct buf *in = &r->client->conn.in;
    if (buf_len(in) == 0)
        return false;
    int rc = http_head_parse(&r->head, in->data + in->start, buf_len(in));
    if (rc == 0 && buf_room(in) == 0)
        rc = -431;
    if (rc == 0)
        return false;
    r->state = REQUEST_CONNECT;
    if (rc < 0)
        r->status = (uint16_t)-rc;
    else if (keep_head(r, (uint32_t)rc) < 0)
        r->status = 503;
    return true;
}

/* Host in lower case without port, and the normalised path. */
static int fill_names(struct request *r)
{
    const char *buf = r->head_buf.data;
    struct slice authority = {buf + r->head.authority, r->head.authority_len};
    struct slice path = {buf + r->head.path, r->head.path_len};
    r->names = malloc(authority.n + path.n + 2);
    if (!r->names)
        return -ENOMEM;
    size_t n = authority.n;
    while (n > 0 && authority.p[n - 1] >= '0' && authority.p[n - 1] <= '9')
        n--;
    size_t host_len = n > 0 && authority.p[n - 1] == ':' ? n - 1 : authority.n;
    for (size_t i = 0; i < host_len; i++) {
        char c = authority.p[i];
        r->names[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    if (host_len > 1 && r->names[host_len - 1] == '.')
        host_len--; /* "example.com." is the same host */
    r->host = (struct slice){r->names, host_len};
    char *uri = r->names + host_len;
    if (path.n == 1 && path.p[0] == '*') { /* OPTIONS *: routed as "/" */
        uri[0] = '/';
        r->uri = (struct slice){uri, 1};
        return 0;
    }
    int len = uri_normalise(path, uri, path.n);
    r->uri = (struct slice){uri, len < 0 ? 0 : (size_t)len};
    return len < 0 ? len : 0;
}

static bool wants_keep_alive(const struct request *r)
{
    if (r->image->header->front.keepalive_timeout_ms == 0 || r->head.flags & HTTP_CLOSE ||
        !worker_keeps_clients(r->client->conn.w))
        return false;
    return r->head.minor > 0 || r->head.flags & HTTP_KEEP_ALIVE;
}

/* Refuse or accept what the request asks of the handshake. False: it was refused, and is gone. */
static bool check_upgrade(struct request *r)
{
    struct worker *w = r->client->conn.w;
    int rc = ws_request_check(&r->head, r->head_buf.data);
    if (rc == -EPROTO || rc == -EBADMSG) {
        request_refuse(r, rc == -EPROTO ? 426 : 400, REASON_BAD_HANDSHAKE);
        return false;
    }
    if (rc == 0 && !(r->route->flags & ROUTE_UPGRADE)) {
        request_refuse(r, 403, REASON_UPGRADE_FORBIDDEN);
        return false;
    }
    r->upgrade = rc == 0;
    if (r->upgrade)
        worker_count(w, COUNTER_UPGRADES_ASKED);
    return true;
}

static void refuse_head(struct request *r)
{
    struct worker *w = r->client->conn.w;
    char client[ADDR_TEXT_MAX];
    addr_print(&r->client->address, client);
    if (r->status != 503)
        log_limited(&w->limit_client, LOG_LEVEL_INFO, "bad_request",
                    "client=%s status=%u why=\"%s\"", client, r->status,
                    r->head.error ? r->head.error : "head too large");
    request_refuse(r, r->status, r->status == 503 ? REASON_NO_MEMORY : REASON_BAD_REQUEST);
}

/*
 * The same by TLS, please: to be asked with the same method (RFC 9110 15.4.9), if it is not one that
 * every client keeps after a 301. A client of HTTP/1.0 that does not say which host it wants cannot be
 * told where to go.
 */
static void redirect(struct request *r)
{
    bool harmless = r->head.method == HTTP_GET || r->head.method == HTTP_HEAD;
    if (r->host.n == 0)
        request_refuse(r, 400, REASON_BAD_REQUEST);
    else
        answer(r, harmless ? 301 : 308, REASON_DONE);
}

void request_start(struct request *r)
{
    struct worker *w = r->client->conn.w;
    worker_count(w, COUNTER_REQUESTS);
    if (r->status != 0) {
        refuse_head(r);
        return;
    }
    r->keep_client = wants_keep_alive(r);
    body_init(&r->up, r->head.body, r->head.content_length, r->head.body == HTTP_BODY_CHUNKED, 0);
    int rc = fill_names(r);
    if (rc < 0) {
        request_refuse(r, rc == -ENOMEM ? 503 : 400,
                       rc == -ENOMEM ? REASON_NO_MEMORY : REASON_BAD_REQUEST);
        return;
    }
    r->site = image_find_site(r->image, r->host);
    if (r->site)
        route_find(r);
    if (!r->route) {
        request_refuse(r, 404, REASON_NO_ROUTE);
        return;
    }
    remote_find(r);
    if (!admit_request(r))
        return;
    if (r->route->flags & ROUTE_REDIRECT_HTTPS && !r->client->tls) {
        redirect(r);
        return;
    }
    if (r->route->status != 0) {
        r->fixed = true;
        answer(r, (uint16_t)r->route->status, REASON_DONE);
        return;
    }
    r->upstream = image_upstream(r->image, r->route->upstream);
    r->up.max = r->route->max_body;
    if (r->up.max != 0 && r->head.body == HTTP_BODY_LENGTH && r->head.content_length > r->up.max) {
        request_refuse(r, 413, REASON_TOO_LARGE);
        return;
    }
    if (!check_upgrade(r))
        return;
    if (balance_init(&r->pick, r->upstream) < 0) {
        request_refuse(r, 503, REASON_NO_MEMORY);
        return;
    }
    if (r->upgrade && !admit_upgrade(r))
        return;
    dispatch_first(r);
}

/* ---- running ---- */

void request_run(struct request *r)
{
    struct conn *client = &r->client->conn;
    if (client->error != 0) {
        request_abort(r, REASON_CLIENT_RESET);
        return;
    }
    if (r->state == REQUEST_QUEUED || r->state == REQUEST_WAITING) {
        /* A plain client that has finished sending may wait for its answer; a WebSocket is gone. */
        if (r->upgrade && client->hangup)
            request_abort(r, REASON_CLIENT_CLOSED);
        return;
    }
    if (r->state == REQUEST_CONNECT && r->backend) {
        if (r->backend->conn.error != 0) {
            dispatch_failed(r, r->backend->state == BACKEND_SHAKING ? REASON_BACKEND_TLS
                                                                    : REASON_CONNECT_FAILED);
            return;
        }
        if (r->backend->state != BACKEND_BUSY)
            return; /* the client spoke or closed meanwhile: its flags are noted */
        r->state = REQUEST_EXCHANGE;
        exchange_arm_timers(r, true, true);
    }
    exchange_run(r);
}

void request_client_timer(struct request *r)
{
    if (r->client_wait == WAIT_TURN)
        admit_turn(r);
    else if (r->client_wait == WAIT_BODY && !r->answer_begun)
        request_refuse(r, 408, REASON_BODY_TIMEOUT);
    else
        request_abort(r, r->client_wait == WAIT_BODY ? REASON_BODY_TIMEOUT : REASON_SEND_TIMEOUT);
}

void request_backend_timer(struct request *r)
{
    enum reason reason = r->backend_wait == WAIT_CONNECT   ? REASON_CONNECT_TIMEOUT
                         : r->backend_wait == WAIT_BACKEND ? REASON_SEND_TIMEOUT
                                                           : REASON_RESPONSE_TIMEOUT;
    dispatch_failed(r, reason);
}
