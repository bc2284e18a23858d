/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/conn_tls.h"

#include "worker/tls_burst.h"
#include "worker/tls_context.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { LATE_MAX = 1024 };

int conn_tls_new(struct conn *conn)
{
    conn->tls = calloc(1, sizeof *conn->tls);
    return conn->tls ? 0 : -ENOMEM;
}

static void end_handshake(struct conn_tls *tls)
{
    tls_handshake_free(&tls->handshake);
    tls_contexts_release(&tls->contexts);
}

void conn_tls_free(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    if (!tls)
        return;
    end_handshake(tls);
    if (tls->session.version != TLS_PLAIN)
        tls_engine_forget(w->tls_engine, &tls->session);
    tls_session_wipe(&tls->session);
    buf_release(&w->pool, &tls->wire_in);
    buf_release(&w->pool, &tls->plain);
    buf_release(&w->pool, &tls->wire_out);
    free(tls->late);
    free(tls);
    conn->tls = NULL;
}

/* ---- the socket ---- */

/* Read behind what is there. True if bytes arrived; sets drained, eof and error. */
static bool read_wire(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    if (tls->drained || conn->eof || conn->error || conn->fd < 0)
        return false;
    if (buf_acquire(&w->pool, &tls->wire_in) < 0) {
        conn->error = ENOMEM;
        return false;
    }
    uint32_t room = buf_room(&tls->wire_in);
    if (room == 0)
        return false;
    ssize_t n = recv(conn->fd, tls->wire_in.data + tls->wire_in.end, room, 0);
    if (n <= 0) {
        tls->drained = true;
        if (n == 0)
            conn->eof = true; /* without a close_notify: HTTP and WebSocket know their own ends */
        else if (errno != EAGAIN && errno != EINTR)
            conn->error = errno;
        buf_release_empty(&w->pool, &tls->wire_in);
        return false;
    }
    /* Edge-triggered: a short read has emptied the queue, unless a FIN stands behind it. */
    tls->drained = (uint32_t)n < room && !conn->hangup;
    tls->wire_in.end += (uint32_t)n;
    conn->rx += (uint32_t)n;
    if (conn->kind == CONN_CLIENT)
        worker_add(w, COUNTER_HTTP_RX_BYTES, (uint64_t)n);
    return true;
}

/* Returns the bytes that the socket took; sets writable and error. `flags` of send. */
static uint32_t write_wire(struct conn *conn, struct slice bytes, int flags)
{
    if (bytes.n == 0 || !conn->writable || conn->error || conn->fd < 0)
        return 0;
    ssize_t n = send(conn->fd, bytes.p, bytes.n, MSG_NOSIGNAL | flags);
    if (n < 0) {
        conn->writable = false;
        if (errno != EAGAIN && errno != EINTR)
            conn->error = errno;
        return 0;
    }
    if ((size_t)n < bytes.n)
        conn->writable = false;
    conn->tx += (uint32_t)n;
    if (conn->kind == CONN_CLIENT)
        worker_add(conn->w, COUNTER_HTTP_TX_BYTES, (uint64_t)n);
    return (uint32_t)n;
}

/* ---- handshake ---- */

bool conn_tls_knock(struct conn *conn)
{
    return buf_len(&conn->tls->wire_in) > 0 || read_wire(conn);
}

static void send_handshake(struct conn *conn)
{
    struct tls_handshake *handshake = conn->tls->handshake;
    tls_handshake_sent(handshake, write_wire(conn, tls_handshake_output(handshake), 0));
}

/* What the handshake has left for the next one. Servers' leave nothing. */
static void keep_session(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    tls_resume_keep(conn->w->resume, &tls->claim, tls_handshake_take_session(tls->handshake));
}

/*
 * A client of TLS 1.3 has no use for tickets yet. When its request stands behind its Finished already, they
 * go with the answer, in one send. Small ones only: a request that waits for its server is to hold little.
 */
static bool tickets_may_wait(const struct conn *conn, size_t n)
{
    const struct conn_tls *tls = conn->tls;
    return conn->kind == CONN_CLIENT && tls->session.version == TLS_1_3 &&
           buf_len(&tls->wire_in) > 0 && n <= LATE_MAX;
}

static int keep_tickets(struct conn_tls *tls, struct slice tickets)
{
    tls->late = tickets.n > 0 ? malloc(tickets.n) : NULL;
    if (!tls->late)
        return tickets.n > 0 ? -ENOMEM : 0;
    memcpy(tls->late, tickets.p, tickets.n);
    tls->late_n = (uint32_t)tickets.n;
    return 0;
}

/* What OpenSSL has still to say goes out before anything that we seal. */
static int take_rest(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    struct slice rest = tls_handshake_output(tls->handshake);
    if (tickets_may_wait(conn, rest.n))
        return keep_tickets(tls, rest);
    send_handshake(conn);
    rest = tls_handshake_output(tls->handshake);
    if (rest.n > 0 && buf_acquire(&conn->w->pool, &tls->wire_out) < 0)
        return -ENOMEM;
    return rest.n > 0 ? buf_append(&tls->wire_out, rest) : 0;
}

/* Keys are ours now. */
static enum conn_tls_result finish(struct conn *conn, const char **why)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    if (tls_handshake_export(tls->handshake, w->tls_engine, &tls->session, &tls->facts, why) < 0) {
        send_handshake(conn);
        return CONN_TLS_FAILED;
    }
    if (take_rest(conn) < 0) {
        *why = "no memory";
        return CONN_TLS_FAILED;
    }
    if (conn->kind == CONN_BACKEND)
        tls_resume_done(w->resume, &tls->claim, tls->facts.resumed, w->mono_ms);
    keep_session(conn);
    if (!tls_handshake_awaits_ticket(tls->handshake))
        end_handshake(tls);
    conn->readable = true; /* content may stand behind the last record already */
    return CONN_TLS_DONE;
}

/* Feed the next whole record, if there is one. As tls_handshake_feed; -EAGAIN: none is there. */
static int feed_next(struct conn *conn, const char **why)
{
    struct conn_tls *tls = conn->tls;
    struct slice bytes = buf_slice(&tls->wire_in);
    int need = tls_handshake_need(tls->handshake, (const uint8_t *)bytes.p, bytes.n);
    if (need < 0) {
        *why = "not TLS";
        return -EPROTO;
    }
    if (need == 0 || (size_t)need > bytes.n)
        return -EAGAIN;
    int rc = tls_handshake_feed(tls->handshake, (const uint8_t *)bytes.p, (size_t)need, why);
    tls->wire_in.start += (uint32_t)need;
    buf_release_empty(&conn->w->pool, &tls->wire_in);
    return rc;
}

enum conn_tls_result conn_tls_shake(struct conn *conn, const char **why)
{
    for (;;) {
        int rc = feed_next(conn, why);
        if (rc == 1)
            return finish(conn, why);
        send_handshake(conn);
        if (rc == 0)
            continue;
        if (rc == -EAGAIN && read_wire(conn))
            continue;
        if (rc != -EAGAIN)
            return CONN_TLS_FAILED;
        if (conn->eof || conn->error) {
            *why = "closed by the peer";
            return CONN_TLS_FAILED;
        }
        return CONN_TLS_MORE;
    }
}

/* ---- content ---- */

/* Tickets that still wait, into `out` (LATE_MAX). Returns their bytes. */
static uint32_t take_late(struct conn_tls *tls, void *out)
{
    uint32_t n = tls->late_n;
    if (n > 0)
        memcpy(out, tls->late, n);
    free(tls->late);
    tls->late = NULL;
    tls->late_n = 0;
    return n;
}

/* Our own word in the stream, if it can go out now. Nothing may be half sent before it. */
static void say(struct conn *conn, enum tls_alert alert, int flags)
{
    struct conn_tls *tls = conn->tls;
    uint8_t record[LATE_MAX + TLS_CONTROL_MAX];
    bool silent = tls->session.flags & (TLS_SENT_CLOSE | TLS_FATAL);
    if (tls->session.version == TLS_PLAIN || silent || buf_len(&tls->wire_out) > 0)
        return;
    uint32_t late = take_late(tls, record);
    int n = tls_record_alert(conn->w->tls_engine, &tls->session, alert, record + late);
    if (n > 0)
        write_wire(conn, (struct slice){(const char *)record, late + (size_t)n}, flags);
}

void conn_tls_say_end(struct conn *conn)
{
    /* With nothing left unread the close sends our FIN, in the same segment, and no RST before it. */
    say(conn, TLS_CLOSE_NOTIFY, conn->eof ? MSG_MORE : 0);
}

/* The peer has broken the rules. */
static int fail(struct conn *conn, int alert)
{
    if (alert < TLS_PEER_ALERT)
        say(conn, (enum tls_alert)alert, 0);
    conn->error = alert < TLS_PEER_ALERT ? EPROTO : ECONNRESET;
    return -EPROTO;
}

static int control(struct conn *conn, enum tls_record_type type, const uint8_t *content, int n)
{
    int rc = tls_record_control(&conn->tls->session, type, content, (size_t)n);
    if (rc < 0)
        return fail(conn, -rc);
    if (rc > 0)
        conn->eof = true;
    return rc > 0 ? -EPIPE : 1;
}

/*
 * A record was opened while a ticket is awaited, which comes before all content. OpenSSL must have seen
 * every record: after the first one that is not for it, it can read no more.
 */
static void hear_ticket(struct conn *conn, struct slice record, bool is_for_it)
{
    struct conn_tls *tls = conn->tls;
    bool more =
        is_for_it && tls_handshake_ticket(tls->handshake, (const uint8_t *)record.p, record.n);
    keep_session(conn);
    if (!more)
        end_handshake(tls);
}

/* Open the next record, into `in` if that has `room`. 1: done, 0: none is whole, negative: the end. */
static int open_next(struct conn *conn, uint32_t room)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    struct slice bytes = buf_slice(&tls->wire_in);
    const uint8_t *record = (const uint8_t *)bytes.p;
    enum tls_record_type type;
    int need = bytes.n > 0 ? tls_record_need(&tls->session, record, bytes.n) : 0;
    if (need < 0)
        return fail(conn, -need);
    if (need == 0 || (size_t)need > bytes.n)
        return 0;
    struct buf *to = (uint32_t)need <= room ? &conn->in : &tls->plain;
    if (buf_acquire(&w->pool, to) < 0) {
        conn->error = ENOMEM;
        return -ENOMEM;
    }
    uint8_t *dst = (uint8_t *)to->data + to->end;
    int n = tls_record_open(w->tls_engine, &tls->session, record, (size_t)need, dst, &type);
    int rc = 1;
    if (n < 0)
        rc = fail(conn, -n);
    else if (type == TLS_APPLICATION)
        to->end += (uint32_t)n;
    else
        rc = control(conn, type, dst, n);
    if (tls->handshake)
        hear_ticket(conn, (struct slice){bytes.p, (size_t)need}, rc == 1 && type == TLS_HANDSHAKE);
    tls->wire_in.start += (uint32_t)need;
    buf_release_empty(&w->pool, &tls->wire_in);
    buf_release_empty(&w->pool, &tls->plain);
    return rc;
}

/* Content that was opened before and found no room. True if there was some. */
static bool take_plain(struct conn *conn, uint32_t room)
{
    struct buf *plain = &conn->tls->plain;
    uint32_t n = buf_len(plain) < room ? buf_len(plain) : room;
    if (n == 0)
        return false;
    memcpy(conn->in.data + conn->in.end, plain->data + plain->start, n);
    conn->in.end += n;
    plain->start += n;
    buf_release_empty(&conn->w->pool, plain);
    return true;
}

static uint32_t room_for(struct conn *conn, uint32_t limit)
{
    uint32_t room = buf_room(&conn->in);
    uint32_t held = buf_len(&conn->in);
    if (limit < conn->in.size && held + room > limit)
        return held < limit ? limit - held : 0;
    return room;
}

bool conn_tls_fill(struct conn *conn, uint32_t limit)
{
    struct worker *w = conn->w;
    if (!conn->readable || conn->eof || conn->error || conn->fd < 0)
        return false;
    if (buf_acquire(&w->pool, &conn->in) < 0) {
        conn->error = ENOMEM;
        return false;
    }
    uint32_t before = buf_len(&conn->in);
    uint32_t room = room_for(conn, limit);
    while (room > 0 && buf_len(&conn->in) == before && !take_plain(conn, room)) {
        int rc = open_next(conn, room);
        if (rc > 0)
            continue;
        if (rc < 0 || !read_wire(conn)) {
            conn->readable = false;
            break;
        }
    }
    bool filled = buf_len(&conn->in) > before;
    buf_release_empty(&w->pool, &conn->in);
    return filled;
}

/* Seal a KeyUpdate that is due, then content from `out`, as much as fits. False: the library failed. */
static bool seal_out(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    struct buf *wire = &tls->wire_out;
    struct slice content = buf_slice(&conn->out);
    bool ask = false;
    if (buf_acquire(&w->pool, wire) < 0)
        return false;
    wire->end = take_late(tls, wire->data);
    if (tls_record_update_due(&tls->session, &ask)) {
        uint8_t *to = (uint8_t *)wire->data + wire->end;
        int n = tls_record_update(w->tls_engine, &tls->session, ask, to);
        if (n < 0)
            return false;
        wire->end += (uint32_t)n;
    }
    tls->burst = tls_burst_at(tls->burst, tls->burst_ms, w->now_ms);
    tls->burst_ms = w->now_ms;
    while (tls->sealed < content.n) {
        size_t k = tls_burst_content(&tls->session, tls->burst);
        size_t left = content.n - tls->sealed;
        k = left < k ? left : k;
        if (wire->size - wire->end < k + TLS_OVERHEAD_MAX)
            break;
        int n = tls_record_seal(w->tls_engine, &tls->session, TLS_APPLICATION,
                                (const uint8_t *)content.p + tls->sealed, k,
                                (uint8_t *)wire->data + wire->end);
        if (n < 0)
            return false;
        wire->end += (uint32_t)n;
        tls->sealed += (uint32_t)k;
        tls->burst = tls_burst_add(tls->burst, k);
    }
    return true;
}

bool conn_tls_flush(struct conn *conn)
{
    struct conn_tls *tls = conn->tls;
    struct worker *w = conn->w;
    if (!conn->writable || conn->error || conn->fd < 0)
        return false;
    if (buf_len(&tls->wire_out) == 0 && buf_len(&conn->out) == 0)
        return false;
    if (buf_len(&tls->wire_out) == 0 && !seal_out(conn)) {
        conn->error = EPROTO;
        return false;
    }
    uint32_t n = write_wire(conn, buf_slice(&tls->wire_out), 0);
    tls->wire_out.start += n;
    if (buf_len(&tls->wire_out) == 0) {
        /* Content counts as sent when its whole record is: who looks at `out` need not look here. */
        conn->out.start += tls->sealed;
        tls->sealed = 0;
        buf_release(&w->pool, &tls->wire_out);
        buf_release_empty(&w->pool, &conn->out);
    }
    return n > 0;
}
