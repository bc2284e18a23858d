/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/conn.h"

#include "worker/conn_tls.h"
#include "worker/crash_point.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GEN_MASK = 0xffffff };

static uint64_t event_data(const struct conn *conn)
{
    return (uint64_t)EVENT_CONN << 56 | (uint64_t)(conn->gen & GEN_MASK) << 32 | conn->place;
}

static int watch(const struct conn *conn, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = event_data(conn)};
    return epoll_ctl(FD_EPOLL, operation, conn->fd, &event);
}

void conn_yield(struct conn *conn)
{
    /* Set anew, what is ready counts as an edge again. */
    ASSERT(watch(conn, EPOLL_CTL_MOD) == 0);
}

void conn_mark_fd(struct worker *w, int fd, bool used)
{
    uint64_t bit = 1ull << ((uint32_t)fd % 64);
    uint64_t *word = &w->arena->fds[(uint32_t)fd / 64];
    *word = used ? *word | bit : *word & ~bit;
}

int conn_open(struct worker *w, struct conn *conn, int fd, enum conn_kind kind)
{
    ASSERT(fd >= FD_DYNAMIC && (uint32_t)fd < w->fd_max);
    conn->w = w;
    conn->fd = fd;
    conn->place =
        w->free_place_count > 0 ? w->free_places[--w->free_place_count] : w->places_used++;
    conn->gen = ++w->conn_gen;
    conn->kind = (uint8_t)kind;
    if (watch(conn, EPOLL_CTL_ADD) < 0) {
        int error = -errno;
        w->free_places[w->free_place_count++] = conn->place;
        conn->fd = -1;
        return error;
    }
    CRASH_POINT(fd_made);
    w->conns[conn->place] = conn;
    /* From here on a successor closes it; before, it finds it by a sweep (OP_FD). */
    conn_mark_fd(w, fd, true);
    COMMIT_FENCE();
    w->arena->header->op.cur = 0;
    return 0;
}

int conn_detach(struct conn *conn)
{
    int fd = conn->fd;
    conn_timer_clear(conn);
    struct worker *w = conn->w;
    w->conns[conn->place] = NULL;
    w->free_places[w->free_place_count++] = conn->place;
    conn_mark_fd(w, fd, false);
    conn->fd = -1;
    return fd;
}

void conn_close(struct conn *conn, bool abort)
{
    if (conn->tls && conn->fd >= 0 && !abort)
        conn_tls_say_end(conn);
    conn_tls_free(conn);
    buf_release(&conn->w->pool, &conn->in);
    buf_release(&conn->w->pool, &conn->out);
    if (conn->fd < 0)
        return;
    conn_expect_fd(conn->w); /* death between clearing its bit and closing it: the sweep finds it */
    int fd = conn_detach(conn);
    if (abort) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    CRASH_POINT(fd_closing);
    close(fd);
    conn_no_fd(conn->w);
}

void conn_bury(struct conn *conn)
{
    conn->next_dead = conn->w->graveyard;
    conn->w->graveyard = conn;
}

void conn_free_dead(struct worker *w)
{
    while (w->graveyard) {
        struct conn *conn = w->graveyard;
        w->graveyard = conn->next_dead;
        free(conn);
    }
}

struct conn *conn_by_event(struct worker *w, uint64_t data)
{
    uint32_t place = (uint32_t)data;
    if (place >= w->places_used)
        return NULL;
    struct conn *conn = w->conns[place];
    return conn && (conn->gen & GEN_MASK) == (data >> 32 & GEN_MASK) ? conn : NULL;
}

struct conn *conn_by_timer(struct worker *w, uint32_t id)
{
    return w->conns[id - w->arena->header->tunnels_max];
}

void conn_note_events(struct conn *conn, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn->readable = true;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        conn->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn->hangup = true;
    if (conn->tls)
        conn->tls->drained = false;
}

void conn_expect_fd(struct worker *w)
{
    w->arena->header->op.cur = (uint32_t)OP_FD << 28;
    COMMIT_FENCE();
}

void conn_no_fd(struct worker *w)
{
    COMMIT_FENCE();
    w->arena->header->op.cur = 0;
}

bool conn_fill(struct conn *conn, uint32_t limit)
{
    struct worker *w = conn->w;
    if (conn->tls)
        return conn_tls_fill(conn, limit);
    if (!conn->readable || conn->eof || conn->error || conn->fd < 0)
        return false;
    if (buf_acquire(&w->pool, &conn->in) < 0) {
        conn->error = ENOMEM;
        return false;
    }
    uint32_t room = buf_room(&conn->in);
    uint32_t held = buf_len(&conn->in);
    if (limit < conn->in.size && held + room > limit)
        room = held < limit ? limit - held : 0;
    if (room == 0)
        return false;
    ssize_t n = recv(conn->fd, conn->in.data + conn->in.end, room, 0);
    if (n <= 0) {
        conn->readable = false;
        if (n == 0)
            conn->eof = true;
        else if (errno != EAGAIN && errno != EINTR)
            conn->error = errno;
        buf_release_empty(&w->pool, &conn->in);
        return false;
    }
    /* Edge-triggered: a short read has emptied the queue, unless a FIN stands behind it. */
    if ((uint32_t)n < room && !conn->hangup)
        conn->readable = false;
    conn->in.end += (uint32_t)n;
    conn->rx += (uint32_t)n;
    if (conn->kind == CONN_CLIENT)
        worker_add(w, COUNTER_HTTP_RX_BYTES, (uint64_t)n);
    return true;
}

bool conn_flush(struct conn *conn)
{
    struct worker *w = conn->w;
    uint32_t len = buf_len(&conn->out);
    if (conn->tls)
        return conn_tls_flush(conn);
    if (len == 0 || !conn->writable || conn->error || conn->fd < 0)
        return false;
    ssize_t n = send(conn->fd, conn->out.data + conn->out.start, len, MSG_NOSIGNAL);
    if (n < 0) {
        conn->writable = false;
        if (errno != EAGAIN && errno != EINTR)
            conn->error = errno;
        return false;
    }
    if ((uint32_t)n < len)
        conn->writable = false;
    conn->out.start += (uint32_t)n;
    conn->tx += (uint32_t)n;
    if (conn->kind == CONN_CLIENT)
        worker_add(w, COUNTER_HTTP_TX_BYTES, (uint64_t)n);
    buf_release_empty(&w->pool, &conn->out);
    return n > 0;
}

void conn_drop_out(struct conn *conn)
{
    buf_release(&conn->w->pool, &conn->out);
    if (conn->tls) {
        buf_release(&conn->w->pool, &conn->tls->wire_out);
        conn->tls->sealed = 0;
    }
}

void conn_shutdown(struct conn *conn)
{
    if (conn->tls)
        conn_tls_say_end(conn);
    shutdown(conn->fd, SHUT_WR);
}

void conn_timer_set(struct conn *conn, uint32_t delay_ms)
{
    struct worker *w = conn->w;
    if (conn->fd >= 0)
        timer_set(&w->timers, w->arena->header->tunnels_max + conn->place, w->now_ms, delay_ms);
}

void conn_timer_clear(struct conn *conn)
{
    struct worker *w = conn->w;
    if (conn->fd >= 0)
        timer_clear(&w->timers, w->arena->header->tunnels_max + conn->place);
}
