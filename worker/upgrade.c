/* SPDX-License-Identifier: Apache-2.0 */
/* A 101 has arrived: verified, it makes a tunnel (worker/request.h). */
#include "common/ws_handshake.h"
#include "worker/conn_tls.h"
#include "worker/request.h"
#include "worker/rules.h"
#include "worker/tunnel.h"
#include "worker/verdict.h"

#include <errno.h>
#include <stdio.h>

static void refuse_101(struct request *r, const char *why)
{
    struct worker *w = r->client->conn.w;
    struct board_cell *cell = board_cell(w->board, w->slot, r->server->backend);
    struct slice server = image_slice(r->image, r->server->text);
    struct slice upstream = image_slice(r->image, r->upstream->name);
    STORE_RELAXED(&cell->bad_upgrades, cell->bad_upgrades + 1);
    log_limited(&w->limit_backend, LOG_LEVEL_WARN, "bad_upgrade", "backend=%.*s/%.*s why=\"%s\"",
                (int)upstream.n, upstream.p, (int)server.n, server.p, why);
    dispatch_failed(r, REASON_BAD_UPGRADE);
}

/* What a TLS connection holds beside its buffers. */
static struct tunnel_side_tls side_of(const struct conn *conn)
{
    struct tunnel_side_tls side = {NULL, {NULL, 0}, {NULL, 0}, {NULL, 0}, 0};
    const struct conn_tls *tls = conn->tls;
    if (tls) {
        side.session = &tls->session;
        side.plain = buf_slice(&tls->plain);
        side.wire_in = buf_slice(&tls->wire_in);
        side.wire_out = tls->late_n > 0 ? (struct slice){(const char *)tls->late, tls->late_n}
                                        : buf_slice(&tls->wire_out);
        side.burst = tls->burst;
    }
    return side;
}

/* Which reserved bits frames may have, by what client and backend have agreed on. */
static uint8_t care_of(enum ws_extensions extensions)
{
    switch (extensions) {
    case WS_EXTENSIONS_NONE: return 0;
    case WS_EXTENSIONS_DEFLATE: return CARE_RSV1;
    case WS_EXTENSIONS_OTHER: break;
    }
    return CARE_RSV_ANY;
}

/* The handshake's own log line and end; both connections live on as a tunnel. */
static void became_tunnel(struct request *r, struct backend *backend)
{
    struct client *client = r->client;
    r->status = 101;
    r->keep_client = false;
    conn_detach(&backend->conn);
    conn_detach(&client->conn);
    client->request = NULL;
    request_log(r);
    request_drop(&r);
    backend_became_tunnel(backend);
    client_became_tunnel(client);
}

static void commit(struct request *r, struct slice answer, uint32_t head_len, uint8_t care)
{
    struct conn *client = &r->client->conn;
    struct backend *backend = r->backend;
    struct worker *w = client->w;
    struct tunnel_opening opening = {
        .fd = {client->fd, backend->conn.fd},
        .rx = {client->rx, backend->conn.rx},
        .tx = {client->tx, backend->conn.tx},
        .held = {buf_slice(&client->in), answer},
        .head_len = head_len,
        .exact = client->unix_socket || backend->conn.unix_socket,
        .tls = {side_of(client), side_of(&backend->conn)},
        .client = r->remote,
        .client_gauge = r->client_gauge,
        .rules = rules_find(w, r->image, r->site, r->route),
        .care = care,
        .site = r->site->board_site,
        .backend = r->server->backend,
    };
    int rc = tunnel_open(w, &opening, &r->tunnel);
    if (rc < 0) {
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "no_tunnel", "error=%d open=%u", -rc,
                    w->me->tunnels_open);
        request_refuse(r, 503, REASON_NO_MEMORY);
        return;
    }
    verdict_answered(r);
    r->backend = NULL;
    r->counted = false; /* the tunnel is counted instead */
    r->gauged = false;
    r->client_gauge = 0;
    became_tunnel(r, backend);
}

/* What we add may be the client's, so that the length tells nothing of the server. */
static void refuse_at_length(struct request *r, struct buf *answer)
{
    buf_release(&r->client->conn.w->pool, answer);
    r->answer.over_limit = 1;
    refuse_101(r, "head too large");
}

void upgrade_answered(struct request *r, uint32_t len)
{
    struct conn *client = &r->client->conn;
    struct backend *backend = r->backend;
    struct worker *w = client->w;
    struct buf *in = &backend->conn.in;
    const char *why = NULL;
    if (ws_response_check(&r->head, r->head_buf.data, &r->answer, in->data + in->start, &why) < 0) {
        refuse_101(r, why);
        return;
    }
    if (buf_len(&client->out) > 0) {
        /* An interim answer that the client does not take: no place to stage it. */
        request_abort(r, REASON_SEND_TIMEOUT);
        return;
    }
    struct buf answer = {NULL, 0, 0, 0};
    if (buf_acquire(&w->pool, &answer) < 0 || forward_switching(r, &answer) < 0) {
        refuse_at_length(r, &answer);
        return;
    }
    uint32_t head_len = buf_len(&answer);
    /* Fields are counted from the head's first byte: before it is taken from the buffer. */
    uint8_t care = care_of(ws_extensions_of(&r->answer, in->data + in->start));
    in->start += len;
    if (buf_append(&answer, buf_slice(in)) < 0) {
        refuse_at_length(r, &answer);
        return;
    }
    commit(r, buf_slice(&answer), head_len, care);
    buf_release(&w->pool, &answer);
}
