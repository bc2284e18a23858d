/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_conn.h"

#include "common/clock.h"
#include "test/tools/ws_load_check.h"
#include "test/tools/ws_load_drive.h"
#include "test/tools/ws_load_handshake.h"
#include "test/tools/ws_load_io.h"
#include "test/tools/ws_load_proxy.h"
#include "test/tools/ws_load_timer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    PIECES_A_TURN = 4, /* sends before the others get their turn */
    RETRY_MIN_MS = 5,  /* until a connection that found nobody is tried again */
    RETRY_MAX_MS = 50,
    SPLIT_BYTES_MAX = 24, /* of a part that is sent by itself */
    SPLIT_PAUSE_MAX_MS = 4,
    SPLIT_LONG_PERCENT = 5, /* of the pauses amid a frame are longer than several deaths apart */
    SPLIT_LONG_MS = 600,
    SIP_BYTES = 12000,
    SIP_PAUSE_MAX_MS = 20,
    RCVBUF_MIN = 4096,
    RCVBUF_MAX = 16384,
    SLOW_SEGMENT = 1000,
    FAILURES_SHOWN = 30,
};

/* ---- the end ---- */

static void reset_on_close(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* Close the socket and put the slot in line to be opened anew, at once or after a pause. */
static void finish(struct ws_load *load, struct ws_load_conn *conn, uint64_t pause_ms)
{
    if (conn->state == LOAD_OPENING)
        load->opening--;
    else if (conn->state == LOAD_OPEN || conn->state == LOAD_ENDING)
        load->open--;
    ws_load_timer_clear(load, conn);
    ws_load_io_close(conn);
    free(conn->head);
    conn->head = NULL;
    if (load->stopping) {
        conn->state = LOAD_DONE;
        load->done++;
    } else if (pause_ms > 0) {
        conn->state = LOAD_PAUSE;
        ws_load_timer_set(load, conn, load->now_ms + pause_ms);
    } else {
        conn->state = LOAD_EMPTY;
        load->queue[(load->queue_head + load->queue_len++) % load->options->conns] = conn->slot;
    }
}

static void fail(struct ws_load *load, struct ws_load_conn *conn, enum ws_load_fault fault,
                 const char *why, int error)
{
    static const char *const names[] = {"LOST", "CORRUPT", "STALLED"};
    load->counts.faults[fault]++;
    if (load->shown++ < FAILURES_SHOWN)
        fprintf(stderr,
                "ws-load: %s %s: %s%s%s id=%llu fd=%d state=%u age=%.3fs quiet=%.3fs begun=%u/%u "
                "echoed=%u pings=%u/%u tx=%llu rx=%llu frame=%llu/%llu close=%d/%d blocked=%d\n",
                names[fault], ws_load_shape(conn->shape_id)->name, why, error ? ", " : "",
                error ? strerror(error) : "", (unsigned long long)conn->id, conn->fd, conn->state,
                (double)(load->now_ns - conn->begun_ns) / 1e9,
                (double)(load->now_ms - conn->progress_ms) / 1e3, conn->begun, conn->count,
                conn->echoed, conn->pongs, conn->pings, (unsigned long long)conn->wire_tx,
                (unsigned long long)conn->wire_rx, (unsigned long long)conn->out.at,
                (unsigned long long)ws_load_frame_length(&conn->out), conn->close_sent,
                conn->close_seen, conn->blocked);
    if (conn->fd >= 0)
        reset_on_close(conn->fd);
    finish(load, conn, 0);
}

/* The handshake came to nothing: the connection is opened anew. */
static void handshake_failed(struct ws_load *load, struct ws_load_conn *conn, uint64_t *counter)
{
    ++*counter;
    finish(load, conn, ws_load_random(&load->rng, RETRY_MIN_MS, RETRY_MAX_MS));
}

static void connection_died(struct ws_load *load, struct ws_load_conn *conn, int error)
{
    if (conn->state == LOAD_OPENING)
        handshake_failed(load, conn,
                         error == ECONNREFUSED ? &load->counts.refused : &load->counts.retried);
    else
        fail(load, conn, FAULT_LOST, "connection broke", error);
}

/* ---- events asked for ---- */

static void watch(struct ws_load *load, struct ws_load_conn *conn, bool more)
{
    uint32_t interest = 0;
    if (conn->state == LOAD_OPENING && !conn->head)
        interest = ws_load_io_interest(conn);
    else if (conn->read_at_ms == 0)
        interest = EPOLLIN;
    if (conn->blocked || more)
        interest |= EPOLLOUT;
    if (interest == conn->interest)
        return;
    conn->interest = interest;
    struct epoll_event event = {.events = interest, .data.ptr = conn};
    ASSERT(epoll_ctl(load->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event) == 0);
}

/* ---- opening ---- */

static void bind_source(const struct ws_load *load, const struct ws_load_conn *conn, int fd)
{
    int on = 1;
    if (load->options->sources < 2)
        return;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + conn->slot % load->options->sources);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        perror("ws-load: bind");
}

/* A slot keeps its shape: else those that last would take over from those that come and go. */
static uint8_t shape_of_slot(const struct ws_load *load, uint32_t slot)
{
    const struct ws_load_options *options = load->options;
    uint64_t rng = options->seed ^ (uint64_t)slot << 32;
    uint64_t sum = 0;
    if (slot >= options->active)
        return SHAPE_IDLE;
    if (options->shape >= 0)
        return (uint8_t)options->shape;
    for (unsigned i = 0; i < WS_LOAD_SHAPES; i++)
        sum += options->weights[i];
    uint64_t at = ws_load_random(&rng, 0, sum - 1);
    uint8_t id = 0;
    while (at >= options->weights[id])
        at -= options->weights[id++];
    return id;
}

/* A new socket, connecting. Returns 0 or -errno. */
static int begin_connect(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct addr *target = &load->options->target;
    int on = 1;
    conn->fd = socket(target->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return -errno;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (ws_load_shape(conn->shape_id)->slow) {
        /* The kernel lets the sender buffer some 40 segments: of 64 KB each, if we do not say less. */
        int size = (int)ws_load_random(&load->rng, RCVBUF_MIN, RCVBUF_MAX);
        int segment = SLOW_SEGMENT;
        setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        setsockopt(conn->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    bind_source(load, conn, conn->fd);
    if (connect(conn->fd, &target->u.sa, target->len) < 0 && errno != EINPROGRESS)
        return -errno;
    conn->interest = EPOLLOUT;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = conn};
    return epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0 ? -errno : 0;
}

void ws_load_conn_open(struct ws_load *load, struct ws_load_conn *conn)
{
    uint32_t slot = conn->slot;
    memset(conn, 0, sizeof *conn);
    conn->slot = slot;
    conn->fd = -1;
    conn->id = load->next_id++;
    conn->shape_id = shape_of_slot(load, slot);
    conn->state = LOAD_OPENING;
    conn->begun_ns = load->now_ns;
    conn->progress_ms = load->now_ms;
    load->opening++;
    load->counts.attempts++;
    ws_load_handshake_key(load, conn);
    int rc = begin_connect(load, conn);
    if (rc < 0)
        connection_died(load, conn, -rc);
}

/* ---- sending ---- */

/* How much of the frame goes into the next send; some frames are cut anywhere, and pause there. */
static size_t piece_size(struct ws_load *load, struct ws_load_conn *conn, bool *pause)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    *pause = false;
    if (load->options->shape >= 0 || ws_load_random(&load->rng, 0, 99) >= shape->split)
        return WS_LOAD_PIECE;
    *pause = ws_load_random(&load->rng, 0, 1) == 0;
    return ws_load_random(&load->rng, 1, SPLIT_BYTES_MAX);
}

static void split_pause(struct ws_load *load, struct ws_load_conn *conn)
{
    bool lengthy = ws_load_random(&load->rng, 0, 99) < SPLIT_LONG_PERCENT;
    ws_load_drive_pause(
        load, conn, ws_load_random(&load->rng, 1, lengthy ? SPLIT_LONG_MS : SPLIT_PAUSE_MAX_MS));
}

static void frame_sent(struct ws_load *load, struct ws_load_conn *conn)
{
    conn->out.active = false;
    load->counts.frames_tx++;
    ws_load_proxy_answered(load, conn);
    if (conn->close_sent)
        conn->state = LOAD_ENDING;
}

/* The message's last bytes are about to go: take the time, before the peer can have them. */
static void time_message(struct ws_load_conn *conn, size_t n)
{
    const struct ws_load_frame *out = &conn->out;
    if (conn->timing || !out->last || out->at + n < ws_load_frame_length(out))
        return;
    conn->timing = true;
    conn->timed = conn->begun - 1;
    conn->timed_ns = clock_mono_ns();
}

/* Send one piece. Returns 1 to go on, 0 to stop for now, or -errno. */
static int send_piece(struct ws_load *load, struct ws_load_conn *conn)
{
    bool pause;
    size_t room = piece_size(load, conn, &pause);
    if (room < ws_load_io_least(conn))
        room = ws_load_io_least(conn);
    size_t n = ws_load_frame_render(&conn->out, conn->id, load->scratch, room);
    time_message(conn, n);
    ssize_t sent = ws_load_io_send(load, conn, load->scratch, n);
    if (sent < 0) {
        conn->blocked = errno == EAGAIN;
        return conn->blocked ? 0 : -errno;
    }
    if (!ws_load_proxy_answers_ping(conn))
        conn->progress_ms = load->now_ms;
    conn->wire_tx += (uint64_t)sent;
    load->counts.wire_tx += (uint64_t)sent;
    conn->out.at += (uint64_t)sent;
    if (conn->out.at == ws_load_frame_length(&conn->out))
        frame_sent(load, conn);
    else if (pause && (size_t)sent == n)
        split_pause(load, conn);
    conn->blocked = (size_t)sent < n;
    return !conn->blocked && conn->send_at_ms <= load->now_ms;
}

/* The connection ends by its shape's rule. Returns false if it is gone. */
static bool end_as_told(struct ws_load *load, struct ws_load_conn *conn, enum ws_load_next next)
{
    if (next == NEXT_SHUTDOWN) {
        conn->state = LOAD_ENDING;
        conn->progress_ms = load->now_ms;
        ws_load_io_shutdown(conn);
        return true;
    }
    load->counts.aborted++;
    reset_on_close(conn->fd);
    finish(load, conn, 0);
    return false;
}

/* Send what the shape wants to be sent. Returns false if the connection is gone. */
static bool transmit(struct ws_load *load, struct ws_load_conn *conn, bool *more)
{
    *more = false;
    for (int i = 0; i < PIECES_A_TURN; i++) {
        if (!conn->out.active) {
            enum ws_load_next next = ws_load_drive_next(load, conn);
            if (next == NEXT_NOTHING)
                return true;
            if (next != NEXT_FRAME)
                return end_as_told(load, conn, next);
        }
        if (conn->send_at_ms > load->now_ms)
            return true;
        int rc = send_piece(load, conn);
        if (rc < 0) {
            connection_died(load, conn, -rc);
            return false;
        }
        if (rc == 0)
            return true;
    }
    *more = true;
    return true;
}

/* ---- receiving ---- */

static void ended_by_peer(struct ws_load *load, struct ws_load_conn *conn)
{
    bool half = ws_load_shape(conn->shape_id)->ending == ENDING_FIN;
    if (conn->state == LOAD_OPENING) {
        handshake_failed(load, conn, &load->counts.retried);
    } else if (conn->state == LOAD_ENDING && conn->told) {
        load->counts.told++;
        finish(load, conn, 0);
    } else if (conn->state == LOAD_ENDING && ws_load_check_complete(conn) &&
               (half || conn->close_seen)) {
        load->counts.completed++;
        finish(load, conn, 0);
    } else {
        fail(load, conn, FAULT_LOST, "FIN before the end", 0);
    }
}

static bool feed(struct ws_load *load, struct ws_load_conn *conn, const uint8_t *bytes, size_t n)
{
    enum ws_load_fault fault;
    const char *wrong = ws_load_check_feed(load, conn, bytes, n, &fault);
    if (wrong)
        fail(load, conn, fault, wrong, 0);
    return !wrong;
}

/* Bytes while the handshake is not over. Returns false if the connection is gone. */
static bool take_answer(struct ws_load *load, struct ws_load_conn *conn, size_t n)
{
    size_t room = WS_LOAD_HEAD_MAX - conn->head_len;
    size_t kept = n < room ? n : room;
    memcpy(conn->head + conn->head_len, load->scratch, kept);
    conn->head_len += (uint32_t)kept;
    int used = ws_load_handshake_check(conn);
    if (used < 0 || (used == 0 && kept < n)) {
        if (load->shown++ < FAILURES_SHOWN)
            fprintf(stderr, "ws-load: declined: %.*s\n", (int)strcspn(conn->head, "\r\n"),
                    conn->head);
        handshake_failed(load, conn, &load->counts.declined);
        return false;
    }
    if (used == 0)
        return true;
    size_t behind = conn->head_len - (uint32_t)used + (n - kept);
    free(conn->head);
    conn->head = NULL;
    conn->state = LOAD_OPEN;
    load->opening--;
    load->open++;
    load->counts.opened++;
    if (load->measuring)
        ws_load_stat_add(&load->handshake, load->now_ns - conn->begun_ns);
    ws_load_drive_init(load, conn);
    return behind == 0 || feed(load, conn, load->scratch + n - behind, behind);
}

/* Returns false if the connection is gone. */
static bool receive_once(struct ws_load *load, struct ws_load_conn *conn)
{
    bool slow = ws_load_shape(conn->shape_id)->slow && conn->state != LOAD_OPENING;
    size_t room = slow ? ws_load_random(&load->rng, 1, SIP_BYTES) : sizeof load->scratch;
    ssize_t n = ws_load_io_recv(conn, load->scratch, room);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n < 0) {
        connection_died(load, conn, errno);
        return false;
    }
    if (n == 0) {
        ended_by_peer(load, conn);
        return false;
    }
    if (slow)
        ws_load_drive_pause_reading(load, conn, ws_load_random(&load->rng, 0, SIP_PAUSE_MAX_MS));
    if (conn->state == LOAD_OPENING) {
        conn->progress_ms = load->now_ms;
        return take_answer(load, conn, (size_t)n);
    }
    return feed(load, conn, load->scratch, (size_t)n);
}

/* What OpenSSL has taken from the socket goes with it, even where the shape would pause. */
static bool receive(struct ws_load *load, struct ws_load_conn *conn)
{
    do {
        if (!receive_once(load, conn))
            return false;
    } while (ws_load_io_buffered(conn));
    return true;
}

/* ---- events ---- */

/* Connected, or room to send more of the request. Returns false if the connection is gone. */
static bool send_request(struct ws_load *load, struct ws_load_conn *conn)
{
    int rc = ws_load_io_shake(load, conn);
    if (rc == 0)
        return true; /* more events */
    if (rc > 0)
        rc = ws_load_handshake_send(load, conn);
    if (rc < 0) {
        connection_died(load, conn, -rc);
        return false;
    }
    conn->progress_ms = load->now_ms;
    if (rc > 0)
        return true; /* more to send */
    conn->head = calloc(1, WS_LOAD_HEAD_MAX + 1);
    ASSERT(conn->head != NULL);
    return true;
}

void ws_load_conn_event(struct ws_load *load, struct ws_load_conn *conn, uint32_t events)
{
    bool more = false;
    if (conn->fd < 0)
        return; /* closed in this batch */
    if (events & EPOLLOUT)
        conn->blocked = false;
    if (conn->state == LOAD_OPENING && !conn->head) {
        if (!send_request(load, conn))
            return;
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(load, conn)) {
        return;
    }
    if (conn->state == LOAD_OPENING || conn->blocked || transmit(load, conn, &more))
        watch(load, conn, more);
}

void ws_load_conn_timer(struct ws_load *load, struct ws_load_conn *conn)
{
    bool more = false;
    if (conn->state == LOAD_PAUSE) {
        finish(load, conn, 0);
        return;
    }
    if (conn->read_at_ms != 0 && conn->read_at_ms <= load->now_ms)
        conn->read_at_ms = 0;
    if (conn->send_at_ms != 0 && conn->send_at_ms <= load->now_ms)
        conn->send_at_ms = 0;
    if (conn->read_at_ms != 0)
        ws_load_drive_pause_reading(load, conn, conn->read_at_ms - load->now_ms);
    else if (conn->send_at_ms != 0)
        ws_load_drive_pause(load, conn, conn->send_at_ms - load->now_ms);
    if (conn->blocked || transmit(load, conn, &more))
        watch(load, conn, more);
}

void ws_load_conn_stop(struct ws_load *load, struct ws_load_conn *conn)
{
    bool more = false;
    if (conn->state == LOAD_EMPTY || conn->state == LOAD_PAUSE) {
        finish(load, conn, 0);
        return;
    }
    if (conn->state != LOAD_OPEN)
        return;
    ws_load_drive_stop(conn);
    if (conn->blocked || transmit(load, conn, &more))
        watch(load, conn, more);
}

void ws_load_conn_check_stall(struct ws_load *load, struct ws_load_conn *conn)
{
    bool waiting =
        conn->state == LOAD_OPENING || conn->state == LOAD_ENDING ||
        (conn->state == LOAD_OPEN && (conn->awaits_ping || !ws_load_check_complete(conn)));
    if (waiting && load->now_ms > conn->progress_ms + load->options->stall_ms)
        fail(load, conn, FAULT_STALLED,
             conn->state == LOAD_OPENING    ? "no answer to the handshake"
             : ws_load_check_complete(conn) ? "no ping comes any more"
                                            : "nothing moves",
             0);
}
