/* SPDX-License-Identifier: Apache-2.0 */
/* Moving a request to its server and the answer back, with back-pressure (worker/request.h). */
#include "worker/request.h"
#include "worker/verdict.h"

#include <errno.h>

enum {
    INTERIM_MAX = 16,         /* 1xx answers before the final one */
    UPGRADE_HEAD_MAX = 12288, /* bytes of a 101's head and what follows it: they must fit a chunk */
    STEPS_A_TURN = 16,        /* of a buffer each; then others have their turn */
};

/* What a step did. GONE: the request is over, touch nothing. */
enum step { STEP_IDLE, STEP_MOVED, STEP_GONE };

static void arm(struct conn *conn, uint8_t *wait, enum request_wait now, uint32_t ms, bool moved)
{
    if (*wait == now && !moved)
        return;
    *wait = (uint8_t)now;
    if (now == WAIT_NOTHING)
        conn_timer_clear(conn);
    else
        conn_timer_set(conn, ms);
}

static enum request_wait backend_waits_for(const struct request *r)
{
    if (r->state == REQUEST_CONNECT)
        return WAIT_CONNECT;
    if (buf_len(&r->backend->conn.out) > 0)
        return WAIT_BACKEND;
    bool sent = r->up.done || r->upgrade;
    return sent && buf_len(&r->client->conn.out) == 0 ? WAIT_ANSWER : WAIT_NOTHING;
}

static enum request_wait client_waits_for(const struct request *r)
{
    if (buf_len(&r->client->conn.out) > 0)
        return WAIT_CLIENT;
    bool room = r->backend && buf_len(&r->backend->conn.out) == 0;
    return r->state == REQUEST_EXCHANGE && !r->up.done && room ? WAIT_BODY : WAIT_NOTHING;
}

void exchange_arm_timers(struct request *r, bool client_moved, bool backend_moved)
{
    const struct image_route *route = r->route;
    enum request_wait wait = client_waits_for(r);
    arm(&r->client->conn, &r->client_wait, wait,
        wait == WAIT_BODY ? route->body_timeout_ms : route->send_timeout_ms, client_moved);
    if (!r->backend)
        return;
    wait = backend_waits_for(r);
    arm(&r->backend->conn, &r->backend_wait, wait,
        wait == WAIT_CONNECT   ? route->connect_timeout_ms
        : wait == WAIT_BACKEND ? route->send_timeout_ms
                               : route->response_timeout_ms,
        backend_moved);
}

/* ---- client to backend ---- */

static enum step refuse_body(struct request *r, int rc)
{
    uint16_t status = rc == -EFBIG ? 413 : 400;
    enum reason reason = rc == -EFBIG ? REASON_TOO_LARGE : REASON_BAD_REQUEST;
    if (r->answer_begun)
        request_abort(r, reason);
    else
        request_refuse(r, status, reason);
    return STEP_GONE;
}

/* The client has no more bytes, but its body is not complete; or it left before the 101. */
static enum step client_left(struct request *r)
{
    request_abort(r, r->client->conn.error ? REASON_CLIENT_RESET : REASON_CLIENT_CLOSED);
    return STEP_GONE;
}

static enum step move_body_up(struct request *r)
{
    struct conn *client = &r->client->conn;
    struct conn *backend = &r->backend->conn;
    if (r->up.done)
        return STEP_IDLE;
    if (buf_len(&backend->out) > 0 && buf_room(&backend->out) < 4096)
        return STEP_IDLE; /* the backend takes nothing: leave the rest in the kernel */
    bool filled = buf_len(&client->in) == 0 && conn_fill(client, UINT32_MAX);
    if (buf_len(&client->in) == 0)
        return client->eof || client->error ? client_left(r) : STEP_IDLE;
    if (buf_acquire(&client->w->pool, &backend->out) < 0)
        return refuse_body(r, -EFBIG);
    uint32_t before = buf_len(&client->in);
    int rc = body_move(&r->up, &client->in, &backend->out);
    if (rc < 0)
        return refuse_body(r, rc);
    bool moved = buf_len(&client->in) != before;
    r->body_begun = r->body_begun || moved;
    buf_release_empty(&client->w->pool, &client->in);
    return filled || moved ? STEP_MOVED : STEP_IDLE;
}

/* Bytes that come before the 101 are held back (RFC 6455 4.1), as far as the buffer goes. */
static enum step hold_client(struct request *r)
{
    struct conn *client = &r->client->conn;
    bool filled = conn_fill(client, ARENA_CHUNK_SIZE / 2);
    if (client->eof || client->error)
        return client_left(r);
    return filled ? STEP_MOVED : STEP_IDLE;
}

static enum step send_up(struct request *r)
{
    struct conn *backend = &r->backend->conn;
    struct worker *w = backend->w;
    if (!r->head_built) {
        if (buf_acquire(&w->pool, &backend->out) < 0 || forward_request(r, &backend->out) < 0) {
            request_refuse(r, 431, REASON_BAD_REQUEST);
            return STEP_GONE;
        }
        r->head_built = true;
    }
    enum step step = r->upgrade ? hold_client(r) : move_body_up(r);
    if (step == STEP_GONE)
        return step;
    bool sent = conn_flush(backend);
    if (backend->error != 0) {
        /* It takes no more, but an answer may stand before the reset: reading tells. */
        backend->error = 0;
        backend->readable = true;
        backend->hangup = true;
        conn_drop_out(backend);
    }
    return sent ? STEP_MOVED : step;
}

/* ---- backend to client ---- */

static enum step fail(struct request *r, enum reason reason)
{
    dispatch_failed(r, reason);
    return STEP_GONE;
}

static void begin_answer(struct request *r)
{
    http_response_init(&r->answer, r->fields + r->head.limits.fields_max, r->head.limits,
                       r->head.method);
}

/* The head that the client would get does not fit: there is more to it than the server's. */
static enum step fail_at_length(struct request *r)
{
    r->answer.over_limit = 1;
    return fail(r, REASON_BAD_RESPONSE);
}

static enum step relay_interim(struct request *r, uint32_t len)
{
    struct conn *client = &r->client->conn;
    struct conn *backend = &r->backend->conn;
    if (++r->interim > INTERIM_MAX)
        return fail(r, REASON_BAD_RESPONSE);
    /* HTTP/1.0 clients do not know 1xx (RFC 9110 15.2). */
    if (r->head.minor > 0 &&
        (buf_acquire(&client->w->pool, &client->out) < 0 || forward_interim(r, &client->out) < 0))
        return fail_at_length(r);
    backend->in.start += len;
    begin_answer(r);
    return STEP_MOVED;
}

/* The final answer's head is complete: write ours. */
static enum step relay_head(struct request *r, uint32_t len)
{
    struct conn *client = &r->client->conn;
    struct conn *backend = &r->backend->conn;
    const struct http_head *answer = &r->answer;
    struct board_cell *cell = board_cell(client->w->board, client->w->slot, r->server->backend);
    uint64_t *by_class = &cell->status[answer->status < 600 ? answer->status / 100 : 0];
    /* A 1.0 client takes no chunks; with no length it learns the end by the close. */
    bool unknown = answer->body == HTTP_BODY_CHUNKED || answer->body == HTTP_BODY_UNTIL_CLOSE;
    bool chunked = unknown && r->head.minor > 0;
    if (unknown && !chunked)
        r->keep_client = false;
    if (r->client->conn.eof || !worker_keeps_clients(client->w))
        r->keep_client = false;
    if (!r->up.done) /* it is told so, and held to it if the rest of the body comes after all */
        r->keep_client = false;
    if (buf_acquire(&client->w->pool, &client->out) < 0 ||
        forward_answer(r, &client->out, chunked, !r->keep_client) < 0)
        return fail_at_length(r);
    STORE_RELAXED(by_class, *by_class + 1);
    verdict_answered(r);
    if (r->upgrade)
        worker_count(client->w, COUNTER_UPGRADES_DECLINED);
    r->status = answer->status;
    r->answer_begun = true;
    body_init(&r->down, answer->body, answer->content_length, chunked, 0);
    r->down.keep_trailer = true;
    backend->in.start += len;
    return STEP_MOVED;
}

static enum step read_head(struct request *r)
{
    struct conn *backend = &r->backend->conn;
    struct slice bytes = buf_slice(&backend->in);
    if (r->answer.fields == NULL)
        begin_answer(r);
    int rc = bytes.n > 0 ? http_head_parse(&r->answer, bytes.p, bytes.n) : 0;
    if (rc < 0)
        return fail(r, REASON_BAD_RESPONSE);
    if (rc > 0 && r->answer.status == 101) {
        if (!r->upgrade)
            return fail(r, REASON_BAD_RESPONSE);
        upgrade_answered(r, (uint32_t)rc);
        return STEP_GONE;
    }
    if (rc > 0)
        return r->answer.status < 200 ? relay_interim(r, (uint32_t)rc)
                                      : relay_head(r, (uint32_t)rc);
    if (backend->eof || backend->error)
        return fail(r, backend->error ? REASON_BACKEND_RESET : REASON_BACKEND_CLOSED);
    if (bytes.n > 0 && (buf_room(&backend->in) == 0 || (r->upgrade && bytes.n >= UPGRADE_HEAD_MAX)))
        return fail(r, REASON_BAD_RESPONSE);
    return STEP_IDLE;
}

static enum step move_body_down(struct request *r)
{
    struct conn *client = &r->client->conn;
    struct conn *backend = &r->backend->conn;
    uint32_t before = buf_len(&backend->in);
    if (buf_acquire(&client->w->pool, &client->out) < 0)
        return fail(r, REASON_NO_MEMORY);
    if (body_move(&r->down, &backend->in, &client->out) < 0)
        return fail(r, REASON_BAD_RESPONSE);
    bool moved = buf_len(&backend->in) != before;
    if (!r->down.done && (backend->eof || backend->error) && buf_len(&backend->in) == 0) {
        if (backend->error || body_eof(&r->down, &client->out) < 0)
            return fail(r, backend->error ? REASON_BACKEND_RESET : REASON_BACKEND_CLOSED);
        moved = moved || r->down.done;
    }
    buf_release_empty(&client->w->pool, &client->out);
    return moved ? STEP_MOVED : STEP_IDLE;
}

/* The answer is whole: the server is free, though the client may still be reading. */
static void free_server(struct request *r)
{
    struct backend *b = r->backend;
    bool keep = r->up.done && !r->upgrade && !b->conn.eof && !b->conn.error && !b->conn.hangup &&
                buf_len(&b->conn.in) == 0 && buf_len(&b->conn.out) == 0 &&
                r->answer.body != HTTP_BODY_UNTIL_CLOSE && !(r->answer.flags & HTTP_CLOSE) &&
                (r->answer.minor > 0 || r->answer.flags & HTTP_KEEP_ALIVE);
    dispatch_release(r, keep);
    r->state = REQUEST_ANSWERED;
}

static enum step receive_down(struct request *r)
{
    struct conn *backend = &r->backend->conn;
    bool filled = false;
    if (buf_len(&backend->in) == 0 || !r->answer_begun)
        filled = conn_fill(backend, r->upgrade && !r->answer_begun ? UPGRADE_HEAD_MAX : UINT32_MAX);
    enum step step = r->answer_begun ? STEP_MOVED : read_head(r);
    if (step == STEP_MOVED && r->answer_begun)
        step = move_body_down(r);
    if (step == STEP_GONE)
        return step;
    if (r->answer_begun && r->down.done) {
        free_server(r);
        return STEP_MOVED;
    }
    buf_release_empty(&backend->w->pool, &backend->in);
    return filled ? STEP_MOVED : step;
}

/* ---- the loop ---- */

void exchange_run(struct request *r)
{
    struct conn *client = &r->client->conn;
    bool client_moved = false;
    bool backend_moved = false;
    for (int i = 0;; i++) {
        enum step up = r->state == REQUEST_EXCHANGE ? send_up(r) : STEP_IDLE;
        if (up == STEP_GONE)
            return;
        enum step down = r->state == REQUEST_EXCHANGE ? receive_down(r) : STEP_IDLE;
        if (down == STEP_GONE)
            return;
        bool flushed = conn_flush(client);
        if (client->error != 0) {
            request_abort(r, REASON_CLIENT_RESET);
            return;
        }
        client_moved = client_moved || flushed || up == STEP_MOVED;
        backend_moved = backend_moved || up == STEP_MOVED || down == STEP_MOVED;
        if (r->state == REQUEST_ANSWERED && buf_len(&client->out) == 0) {
            request_finish(r, REASON_DONE);
            return;
        }
        if (up == STEP_IDLE && down == STEP_IDLE && !flushed)
            break;
        if (i == STEPS_A_TURN) { /* it may be either of them that is ready */
            conn_yield(client);
            if (r->backend)
                conn_yield(&r->backend->conn);
            break;
        }
    }
    exchange_arm_timers(r, client_moved, backend_moved);
}
