/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS handshake of a client's connection (worker/client.h), a bounded number at a time. */
#include "worker/client_tls.h"

#include "worker/conn_tls.h"
#include "worker/tls_context.h"
#include "worker/tunnel_tls.h"

#include <errno.h>

enum {
    /* A handshake's first step takes a quarter of a millisecond: between so many, tunnels have their turn. */
    BEGIN_A_TURN = 4,
    /*
     * Enough for a client that is far away and has lost a segment. Without it a few clients that never go
     * on would keep all others out, for handshake_timeout each.
     */
    SLOW_MS = 1000,
};

/* ---- whose turn it is ---- */

static bool all_taken(const struct worker *w)
{
    return w->shaking >= w->image->header->tls.max_handshakes;
}

bool client_tls_may_begin(const struct worker *w)
{
    return !all_taken(w) && w->shake_begun < BEGIN_A_TURN;
}

static void append(struct client *client, struct client **head, struct client **tail)
{
    client->shake_next = NULL;
    client->shake_prev = *tail;
    if (*tail)
        (*tail)->shake_next = client;
    else
        *head = client;
    *tail = client;
}

static void take_out(struct client *client, struct client **head, struct client **tail)
{
    if (client->shake_prev)
        client->shake_prev->shake_next = client->shake_next;
    else
        *head = client->shake_next;
    if (client->shake_next)
        client->shake_next->shake_prev = client->shake_prev;
    else
        *tail = client->shake_prev;
}

static void queue(struct client *client)
{
    struct worker *w = client->conn.w;
    client->shake_waits = true;
    append(client, &w->shake_head, &w->shake_tail);
    w->shake_waiting++;
}

static void unqueue(struct client *client)
{
    struct worker *w = client->conn.w;
    if (!client->shake_waits)
        return;
    take_out(client, &w->shake_head, &w->shake_tail);
    client->shake_waits = false;
    w->shake_waiting--;
}

static void take_turn(struct client *client)
{
    struct worker *w = client->conn.w;
    client->shaking = true;
    client->shake_begun_ms = w->now_ms;
    append(client, &w->shake_oldest, &w->shake_newest);
    w->shaking++;
    w->shake_begun++;
}

void client_tls_leave(struct client *client)
{
    struct worker *w = client->conn.w;
    unqueue(client);
    if (!client->shaking)
        return;
    take_out(client, &w->shake_oldest, &w->shake_newest);
    client->shaking = false;
    w->shaking--;
}

/* ---- the handshake ---- */

/* OpenSSL's object costs tens of kilobytes: none before the client has said something. */
static int begin(struct client *client)
{
    struct worker *w = client->conn.w;
    struct ssl_ctx_st *context = w->tls ? tls_contexts_server(w->tls) : NULL;
    if (!context || tunnel_tls_engine(w) < 0)
        return -ENOMEM;
    client->conn.tls->contexts = tls_contexts_acquire(w->tls);
    client->conn.tls->handshake = tls_handshake_accept(context);
    if (!client->conn.tls->handshake)
        return -ENOMEM;
    take_turn(client);
    return 0;
}

static enum conn_tls_result failed(struct client *client, const char *why)
{
    struct worker *w = client->conn.w;
    char text[ADDR_TEXT_MAX];
    addr_print(&client->address, text);
    worker_count(w, COUNTER_TLS_FAILED);
    log_limited(&w->limit_client, LOG_LEVEL_INFO, "tls_failed", "client=%s why=\"%s\"", text, why);
    return CONN_TLS_FAILED;
}

struct client *client_tls_slow(struct worker *w)
{
    struct client *oldest = w->shake_oldest;
    if (!w->shake_head || !all_taken(w) || !oldest || w->now_ms - oldest->shake_begun_ms < SLOW_MS)
        return NULL;
    failed(oldest, "too slow while others wait");
    return oldest;
}

static void count_done(struct client *client)
{
    struct worker *w = client->conn.w;
    const struct conn_tls *tls = client->conn.tls;
    worker_count(w, COUNTER_TLS_DONE);
    if (tls->facts.resumed)
        worker_count(w, COUNTER_TLS_RESUMED);
}

enum conn_tls_result client_tls_run(struct client *client)
{
    struct conn *conn = &client->conn;
    struct worker *w = conn->w;
    const char *why = "";
    if (!conn->tls->handshake) {
        if (!conn_tls_knock(conn))
            return conn->eof || conn->error ? failed(client, "closed by the peer") : CONN_TLS_MORE;
        bool first = !w->shake_head || w->shake_head == client;
        if (!first || !client_tls_may_begin(w)) {
            if (!client->shake_waits)
                queue(client);
            return CONN_TLS_MORE;
        }
        unqueue(client);
        if (begin(client) < 0)
            return failed(client, "no memory");
    }
    enum conn_tls_result result = conn_tls_shake(conn, &why);
    if (result == CONN_TLS_MORE)
        return result;
    client_tls_leave(client);
    if (result == CONN_TLS_FAILED)
        return failed(client, why);
    count_done(client);
    return result;
}
