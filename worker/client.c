/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/client.h"

#include "common/clock.h"
#include "worker/client_proxy.h"
#include "worker/client_tls.h"
#include "worker/request.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    LINGER_MS = 2000,
    LINGER_BYTES_MAX = 256 * 1024,
    REQUESTS_A_TURN = 16,   /* that a client has sent at once; then others have their turn */
    FRESH_MS = 1000,        /* for so long, who has come is taken to be about to ask */
    FRESH_PARKING_MS = 250, /* the same while new clients wait until we have parked */
};

/* May the state change so? Rows: from; bits: to. */
static const uint8_t transitions[] = {
    [CLIENT_PROXY] = 1 << CLIENT_TLS | 1 << CLIENT_IDLE | 1 << CLIENT_CLOSED,
    [CLIENT_TLS] = 1 << CLIENT_IDLE | 1 << CLIENT_CLOSED,
    [CLIENT_IDLE] = 1 << CLIENT_HEAD | 1 << CLIENT_CLOSED,
    [CLIENT_HEAD] = 1 << CLIENT_REQUEST | 1 << CLIENT_CLOSED,
    [CLIENT_REQUEST] = 1 << CLIENT_IDLE | 1 << CLIENT_FLUSH | 1 << CLIENT_CLOSED,
    [CLIENT_FLUSH] = 1 << CLIENT_IDLE | 1 << CLIENT_LINGER | 1 << CLIENT_CLOSED,
    [CLIENT_LINGER] = 1 << CLIENT_CLOSED,
    [CLIENT_CLOSED] = 0,
};

static void idle_unlink(struct client *client)
{
    struct worker *w = client->conn.w;
    if (!client->idle_listed)
        return;
    if (client->idle_prev)
        client->idle_prev->idle_next = client->idle_next;
    else
        w->idle_head = client->idle_next;
    if (client->idle_next)
        client->idle_next->idle_prev = client->idle_prev;
    else
        w->idle_tail = client->idle_prev;
    client->idle_listed = false;
}

static void idle_link(struct client *client)
{
    struct worker *w = client->conn.w;
    client->idle_next = NULL;
    client->idle_prev = w->idle_tail;
    if (w->idle_tail)
        w->idle_tail->idle_next = client;
    else
        w->idle_head = client;
    w->idle_tail = client;
    client->idle_listed = true;
}

static void set_state(struct client *client, enum client_state state)
{
    struct worker *w = client->conn.w;
    const struct image_front *front = &w->image->header->front;
    ASSERT(transitions[client->state] & 1 << state);
    client->state = (uint8_t)state;
    idle_unlink(client);
    switch (state) {
    case CLIENT_IDLE:
        idle_link(client);
        conn_timer_set(&client->conn, front->keepalive_timeout_ms);
        break;
    case CLIENT_HEAD: conn_timer_set(&client->conn, front->header_timeout_ms); break;
    case CLIENT_FLUSH:
        conn_timer_set(&client->conn, client->keep ? front->keepalive_timeout_ms : LINGER_MS);
        break;
    case CLIENT_LINGER: conn_timer_set(&client->conn, LINGER_MS); break;
    case CLIENT_TLS:
        idle_link(client);
        conn_timer_set(&client->conn, w->image->header->tls.handshake_timeout_ms);
        break;
    case CLIENT_PROXY: break; /* only the first state */
    case CLIENT_REQUEST:
    case CLIENT_CLOSED: conn_timer_clear(&client->conn); break;
    }
}

static void refuse_proxy(struct worker *w, const struct addr *peer, const char *why)
{
    char text[ADDR_TEXT_MAX];
    addr_print(peer, text);
    worker_ended(w, REASON_PROXY_REFUSED);
    log_limited(&w->limit_client, LOG_LEVEL_INFO, "proxy_refused", "peer=%s why=\"%s\"", text, why);
}

/*
 * From now on its first request may be on the way. By the clock, not by that of the turn, which has maybe
 * begun long before it came: it would be told to go too early.
 */
static void begin_fresh(struct client *client)
{
    client->ready_ms = (uint32_t)clock_mono_ms();
}

int client_open(struct worker *w, int fd, const struct addr *address,
                const struct image_listener *listener)
{
    const struct image_header *header = w->image->header;
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        return -ENOMEM;
    client->conn.w = w;
    client->tls = listener && listener->flags & LISTENER_TLS;
    bool proxy = listener && listener->flags & LISTENER_PROXY;
    if (proxy && !client_proxy_trusts(w->image, listener, address)) {
        refuse_proxy(w, address, "not one of trusted_proxies");
        free(client);
        return -EACCES;
    }
    int rc = client->tls ? conn_tls_new(&client->conn) : 0;
    if (rc == 0)
        rc = conn_open(w, &client->conn, fd, CONN_CLIENT);
    if (rc < 0) {
        conn_tls_free(&client->conn);
        free(client);
        return rc;
    }
    client->conn.writable = true;
    client->conn.unix_socket = address->u.sa.sa_family == AF_UNIX;
    client->address = *address;
    addr_unmap(&client->address);
    client->port = listener ? addr_port(&listener->address) : 0;
    begin_fresh(client);
    client->state = proxy ? CLIENT_PROXY : client->tls ? CLIENT_TLS : CLIENT_IDLE;
    idle_link(client);
    conn_timer_set(&client->conn, client->state == CLIENT_TLS ? header->tls.handshake_timeout_ms
                                                              : header->front.header_timeout_ms);
    STORE_RELAXED(&w->me->clients_open, w->me->clients_open + 1);
    return 0;
}

static void forget(struct client *client)
{
    struct worker *w = client->conn.w;
    client_tls_leave(client);
    set_state(client, CLIENT_CLOSED);
    STORE_RELAXED(&w->me->clients_open, w->me->clients_open - 1);
}

void client_close(struct client *client, bool abort)
{
    ASSERT(client->request == NULL);
    forget(client);
    worker_count(client->conn.w, COUNTER_CLIENTS_CLOSED);
    conn_close(&client->conn, abort);
    conn_bury(&client->conn);
}

void client_became_tunnel(struct client *client)
{
    forget(client);
    conn_close(&client->conn, false); /* the descriptor is detached: buffers only */
    conn_bury(&client->conn);
}

/* Nothing of a further request is there, not even unread. */
static bool is_idle(const struct client *client)
{
    const struct conn_tls *tls = client->conn.tls;
    char byte;
    if (buf_len(&client->conn.in) > 0)
        return false; /* its next request waits for the next turn */
    if (tls && (buf_len(&tls->wire_in) > 0 || buf_len(&tls->plain) > 0))
        return false;
    return recv(client->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

/* It has come so lately that its first request may be on the way. */
static bool is_fresh(const struct client *client, uint32_t fresh_ms)
{
    int32_t since_ms = (int32_t)(client->conn.w->now_ms - client->ready_ms);
    return client->requests == 0 && since_ms < (int32_t)fresh_ms;
}

static void close_idle(struct client *client)
{
    worker_ended(client->conn.w, REASON_KEEPALIVE_TIMEOUT);
    client_close(client, false);
}

void client_close_oldest(struct worker *w, uint32_t count)
{
    struct client *next = NULL;
    for (struct client *client = w->idle_head; client && count > 0; client = next) {
        next = client->idle_next;
        if (is_fresh(client, FRESH_MS))
            break; /* those behind it are younger */
        if (!is_idle(client))
            continue;
        close_idle(client);
        count--;
    }
}

void client_close_idle(struct worker *w)
{
    uint32_t fresh_ms = w->parking ? FRESH_PARKING_MS : FRESH_MS;
    struct client *next = NULL;
    for (struct client *client = w->idle_head; client; client = next) {
        next = client->idle_next;
        if (!client->shaking && !is_fresh(client, fresh_ms) && is_idle(client))
            close_idle(client);
    }
}

/* ---- TLS ---- */

static void shake_hands(struct client *client)
{
    struct conn *conn = &client->conn;
    switch (client_tls_run(client)) {
    case CONN_TLS_MORE: return;
    case CONN_TLS_FAILED:
        worker_ended(conn->w, REASON_TLS_FAILED);
        client_close(client, false);
        return;
    case CONN_TLS_DONE: break;
    }
    set_state(client, CLIENT_IDLE);
    begin_fresh(client);
    conn_timer_set(conn, conn->w->image->header->front.header_timeout_ms);
}

bool client_shake_is_due(const struct worker *w)
{
    return w->shake_head && w->shaking < w->image->header->tls.max_handshakes;
}

/* May the first of those that wait begin? If all turns are taken, a client that is too slow loses its. */
static bool make_turn(struct worker *w)
{
    struct client *slow = client_tls_slow(w);
    if (slow) {
        worker_ended(w, REASON_TLS_FAILED);
        client_close(slow, true);
    }
    return client_tls_may_begin(w);
}

void client_shake_next(struct worker *w)
{
    while (w->shake_head && make_turn(w)) {
        struct client *client = w->shake_head;
        shake_hands(client);
        client_continue(client);
    }
}

/* ---- reading a head ---- */

/* The connection ended while no request ran. */
static void lost_between(struct client *client)
{
    if (client->state == CLIENT_HEAD) {
        worker_ended(client->conn.w,
                     client->conn.error ? REASON_CLIENT_RESET : REASON_CLIENT_CLOSED);
    }
    struct request *request = client->request;
    client->request = NULL;
    request_drop(&request);
    client_close(client, client->conn.error != 0);
}

static void read_head(struct client *client)
{
    struct conn *conn = &client->conn;
    for (;;) {
        if (client->state == CLIENT_IDLE && buf_len(&conn->in) > 0) {
            client->request = request_new(client);
            if (!client->request) {
                worker_ended(conn->w, REASON_NO_MEMORY);
                client_close(client, true);
                return;
            }
            set_state(client, CLIENT_HEAD);
        }
        if (client->state == CLIENT_HEAD && request_read_head(client->request)) {
            set_state(client, CLIENT_REQUEST);
            client->requests++;
            request_start(client->request);
            return;
        }
        if (!conn_fill(conn, UINT32_MAX))
            break;
    }
    if (conn->eof || conn->error)
        lost_between(client);
}

/* ---- the end of a request ---- */

static void linger(struct client *client)
{
    char sink[4096];
    struct conn *conn = &client->conn;
    while (conn->readable) {
        ssize_t n = recv(conn->fd, sink, sizeof sink, 0);
        if (n <= 0) {
            if (n == 0 || errno != EAGAIN) {
                client_close(client, false);
                return;
            }
            conn->readable = false;
            return;
        }
        client->lingered += (uint32_t)n;
        if (client->lingered > LINGER_BYTES_MAX) {
            client_close(client, true);
            return;
        }
    }
}

static void flush(struct client *client)
{
    struct conn *conn = &client->conn;
    while (conn_flush(conn))
        ;
    if (conn->error) {
        client_close(client, true);
        return;
    }
    if (buf_len(&conn->out) > 0)
        return;
    if (client->keep && !conn->eof && worker_keeps_clients(conn->w)) {
        set_state(client, CLIENT_IDLE);
        return; /* client_continue reads on */
    }
    if (conn->eof) {
        client_close(client, false);
        return;
    }
    set_state(client, CLIENT_LINGER);
    conn_shutdown(conn);
    buf_release(&conn->w->pool, &conn->in);
    linger(client);
}

void client_request_done(struct client *client, bool keep)
{
    struct conn *conn = &client->conn;
    ASSERT(client->request == NULL);
    while (conn_flush(conn))
        ;
    if (conn->error) {
        client_close(client, true);
        return;
    }
    client->keep = keep && !conn->eof && worker_keeps_clients(conn->w);
    if (client->keep && buf_len(&conn->out) == 0) {
        set_state(client, CLIENT_IDLE);
        return; /* client_continue reads on */
    }
    set_state(client, CLIENT_FLUSH);
    flush(client);
}

/* ---- events ---- */

/* The header before everything else; then as if the client had just come. */
static void read_proxy(struct client *client)
{
    struct conn *conn = &client->conn;
    enum client_proxy_result result = client_proxy_read(client);
    conn->readable = result == CLIENT_PROXY_DONE;
    if (result == CLIENT_PROXY_MORE)
        return;
    if (result == CLIENT_PROXY_REFUSED) {
        refuse_proxy(conn->w, &client->address, "no valid PROXY header");
        client_close(client, false);
        return;
    }
    set_state(client, client->tls ? CLIENT_TLS : CLIENT_IDLE);
    begin_fresh(client);
    if (client->tls) {
        shake_hands(client);
        return;
    }
    conn_timer_set(conn, conn->w->image->header->front.header_timeout_ms);
    read_head(client);
}

static void run_state(struct client *client)
{
    switch ((enum client_state)client->state) {
    case CLIENT_PROXY: read_proxy(client); break;
    case CLIENT_TLS: shake_hands(client); break;
    case CLIENT_IDLE:
    case CLIENT_HEAD: read_head(client); break;
    case CLIENT_REQUEST: request_run(client->request); break;
    case CLIENT_FLUSH: flush(client); break;
    case CLIENT_LINGER: linger(client); break;
    case CLIENT_CLOSED: break;
    }
}

void client_continue(struct client *client)
{
    struct conn *conn = &client->conn;
    for (int i = 0; client->state == CLIENT_IDLE && (buf_len(&conn->in) > 0 || conn->readable);
         i++) {
        if (i == REQUESTS_A_TURN) {
            conn_yield(conn);
            return;
        }
        read_head(client);
    }
}

void client_event(struct client *client, uint32_t events)
{
    conn_note_events(&client->conn, events);
    /* Reset: nobody is there to take an answer. */
    if (events & (EPOLLERR | EPOLLHUP) && client->conn.error == 0)
        client->conn.error = ECONNRESET;
    run_state(client);
    client_continue(client);
}

void client_timer(struct client *client)
{
    struct worker *w = client->conn.w;
    switch ((enum client_state)client->state) {
    case CLIENT_PROXY:
        worker_ended(w, REASON_HEADER_TIMEOUT);
        client_close(client, false);
        break;
    case CLIENT_TLS:
        worker_count(w, COUNTER_TLS_FAILED);
        worker_ended(w, REASON_TLS_FAILED);
        client_close(client, true);
        break;
    case CLIENT_IDLE:
        worker_ended(w, client->requests > 0 ? REASON_KEEPALIVE_TIMEOUT : REASON_HEADER_TIMEOUT);
        client_close(client, false);
        break;
    case CLIENT_HEAD:
        set_state(client, CLIENT_REQUEST);
        request_refuse(client->request, 408, REASON_HEADER_TIMEOUT);
        client_continue(client);
        break;
    case CLIENT_REQUEST:
        request_client_timer(client->request);
        client_continue(client);
        break;
    case CLIENT_FLUSH:
    case CLIENT_LINGER: client_close(client, client->state == CLIENT_FLUSH); break;
    case CLIENT_CLOSED: break;
    }
}
