/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_conn.h"

#include "test/tools/echo_body.h"
#include "test/tools/echo_http.h"
#include "test/tools/echo_stream.h"
#include "test/tools/echo_ws.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Rounds of one turn: about 1 MB of generated output before the others get their turn. */
enum { ROUNDS_MAX = 16 };

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void timer_stop(struct echo_server *server, struct echo_conn *conn)
{
    if (conn->deadline_ms == 0)
        return;
    if (conn->timer_prev)
        conn->timer_prev->timer_next = conn->timer_next;
    else
        server->timer_first = conn->timer_next;
    if (conn->timer_next)
        conn->timer_next->timer_prev = conn->timer_prev;
    else
        server->timer_last = conn->timer_prev;
    conn->timer_prev = conn->timer_next = NULL;
    conn->deadline_ms = 0;
}

/* Looks for the place from the end: with equal delays that is the place. */
void echo_conn_set_timer(struct echo_server *server, struct echo_conn *conn, uint64_t ms)
{
    timer_stop(server, conn);
    conn->deadline_ms = now_ms() + ms;
    struct echo_conn *prev = server->timer_last;
    while (prev && prev->deadline_ms > conn->deadline_ms)
        prev = prev->timer_prev;
    conn->timer_prev = prev;
    conn->timer_next = prev ? prev->timer_next : server->timer_first;
    if (conn->timer_next)
        conn->timer_next->timer_prev = conn;
    else
        server->timer_last = conn;
    if (prev)
        prev->timer_next = conn;
    else
        server->timer_first = conn;
}

void echo_conn_set_state(struct echo_server *server, struct echo_conn *conn, enum echo_state state)
{
    if (conn->state == state)
        return;
    timer_stop(server, conn);
    conn->state = (uint8_t)state;
    if (state == ECHO_LINGER)
        echo_conn_set_timer(server, conn, ECHO_LINGER_MS);
}

void echo_conn_put(struct echo_server *server, const void *bytes, size_t n)
{
    ASSERT(n <= echo_conn_room(server));
    memcpy(server->out + server->out_len, bytes, n);
    server->out_len += (uint32_t)n;
}

void echo_conn_print(struct echo_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(server->out + server->out_len, echo_conn_room(server), format, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < echo_conn_room(server));
    server->out_len += (uint32_t)n;
}

int echo_conn_open(struct echo_server *server, int fd)
{
    int on = 1;
    struct echo_conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        goto fail;
    conn->fd = fd;
    conn->interest = EPOLLIN;
    /* A message is sent whole: waiting for more to send with it only adds delay. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        goto fail;
    conn->next = server->conn_first;
    if (conn->next)
        conn->next->prev = conn;
    server->conn_first = conn;
    return 0;
fail:;
    int error = errno;
    free(conn);
    close(fd);
    return -error;
}

static void conn_free(struct echo_server *server, struct echo_conn *conn)
{
    timer_stop(server, conn);
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        server->conn_first = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    close(conn->fd);
    free(conn->in);
    free(conn->out);
    free(conn);
    if (!server->accept_paused)
        return;
    server->accept_paused = false;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &server->listen_fd};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0)
        perror("echo-backend: cannot listen again");
}

/* A copy of bytes that outlive this turn; without memory the connection is given up. */
static char *save(struct echo_server *server, struct echo_conn *conn, const char *bytes, size_t n)
{
    char *copy = malloc(n);
    if (copy)
        memcpy(copy, bytes, n);
    else
        echo_conn_set_state(server, conn, ECHO_DEAD);
    return copy;
}

/* Send; returns bytes that went out. A broken connection is marked dead. */
static size_t send_some(struct echo_server *server, struct echo_conn *conn, const char *bytes,
                        size_t n)
{
    ssize_t sent = send(conn->fd, bytes, n, MSG_NOSIGNAL);
    if (sent >= 0)
        return (size_t)sent;
    if (errno != EAGAIN && errno != EINTR)
        echo_conn_set_state(server, conn, ECHO_DEAD);
    return 0;
}

/* Send the output of earlier turns. Returns true when none is left. */
static bool flush_saved(struct echo_server *server, struct echo_conn *conn)
{
    if (!conn->out)
        return true;
    size_t left = conn->out_len - conn->out_at;
    conn->out_at += (uint32_t)send_some(server, conn, conn->out + conn->out_at, left);
    if (conn->out_at < conn->out_len)
        return false;
    free(conn->out);
    conn->out = NULL;
    return true;
}

/* Send this round's output and save what does not fit. Returns true when all went out. */
static bool flush_round(struct echo_server *server, struct echo_conn *conn)
{
    size_t n = server->out_len;
    server->out_len = 0;
    if (n == 0)
        return true;
    size_t sent = send_some(server, conn, server->out, n);
    if (sent == n)
        return true;
    if (conn->state == ECHO_DEAD)
        return false;
    conn->out = save(server, conn, server->out + sent, n - sent);
    conn->out_at = 0;
    conn->out_len = (uint32_t)(n - sent);
    return false;
}

static bool reads(const struct echo_conn *conn)
{
    return conn->state == ECHO_HEAD || conn->state == ECHO_BODY || conn->state == ECHO_WS ||
           conn->state == ECHO_LINGER;
}

/* Fill the scratch input: what was saved, then, if it may be used now, what has arrived. */
static size_t load_input(struct echo_server *server, struct echo_conn *conn, uint32_t events)
{
    size_t len = conn->in_len;
    if (conn->in) {
        memcpy(server->in, conn->in, len);
        free(conn->in);
        conn->in = NULL;
        conn->in_len = 0;
    }
    if (!(events & EPOLLIN) || !reads(conn) || len == sizeof(server->in))
        return len;
    ssize_t n = recv(conn->fd, server->in + len, sizeof(server->in) - len, 0);
    if (n == 0)
        conn->eof = true;
    else if (n > 0)
        len += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        echo_conn_set_state(server, conn, ECHO_DEAD);
    return len;
}

/* One round: use some input, append some output. Returns bytes of the input that are done with. */
static size_t step(struct echo_server *server, struct echo_conn *conn, char *in, size_t len)
{
    switch (conn->state) {
    case ECHO_HEAD: return echo_http_head(server, conn, in, len);
    case ECHO_BODY: return echo_body_input(server, conn, in, len);
    case ECHO_WS: return echo_ws_input(server, conn, in, len);
    case ECHO_DUE: echo_http_slow(server, conn); return 0;
    case ECHO_STREAM: echo_stream_fill(server, conn); return 0;
    case ECHO_CLOSING:
    case ECHO_LINGER: return len;
    default: return 0;
    }
}

/* Rounds until the input is used, the output is blocked or it is the others' turn. */
static void run(struct echo_server *server, struct echo_conn *conn, size_t len)
{
    size_t at = 0;
    bool more = true;
    for (int round = 0; more && round < ROUNDS_MAX; round++) {
        enum echo_state before = conn->state;
        size_t used = step(server, conn, server->in + at, len - at);
        at += used;
        more = used > 0 || server->out_len > 0 || conn->state != before;
        if (!flush_round(server, conn))
            more = false;
    }
    conn->again = more;
    if (at < len && conn->state != ECHO_DEAD) {
        conn->in = save(server, conn, server->in + at, len - at);
        conn->in_len = (uint32_t)(len - at);
    }
}

/* After the rounds: what the end of the input or of the output means. */
static void settle(struct echo_server *server, struct echo_conn *conn)
{
    if (conn->out || conn->again)
        return;
    if (conn->eof && reads(conn))
        echo_conn_set_state(server, conn, conn->state == ECHO_LINGER ? ECHO_DEAD : ECHO_CLOSING);
    if (conn->state != ECHO_CLOSING)
        return;
    if (conn->eof || shutdown(conn->fd, SHUT_WR) != 0)
        echo_conn_set_state(server, conn, ECHO_DEAD);
    else
        echo_conn_set_state(server, conn, ECHO_LINGER);
}

static void watch(struct echo_server *server, struct echo_conn *conn)
{
    uint32_t interest = 0;
    if (conn->out || conn->again || conn->state == ECHO_STREAM)
        interest = EPOLLOUT;
    else if (reads(conn))
        interest = EPOLLIN;
    if (interest == conn->interest)
        return;
    conn->interest = interest;
    struct epoll_event event = {.events = interest, .data.ptr = conn};
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, conn->fd, &event) != 0)
        echo_conn_set_state(server, conn, ECHO_DEAD);
}

void echo_conn_turn(struct echo_server *server, struct echo_conn *conn, uint32_t events)
{
    /* Both directions are closed, or an RST came: nothing that we send can arrive. */
    if (events & (EPOLLERR | EPOLLHUP))
        echo_conn_set_state(server, conn, ECHO_DEAD);
    if (conn->state != ECHO_DEAD && flush_saved(server, conn)) {
        run(server, conn, load_input(server, conn, events));
        settle(server, conn);
    }
    if (conn->state != ECHO_DEAD)
        watch(server, conn);
    if (conn->state == ECHO_DEAD)
        conn_free(server, conn);
}

void echo_conn_close_all(struct echo_server *server)
{
    while (server->conn_first)
        conn_free(server, server->conn_first);
}

int echo_conn_run_timers(struct echo_server *server)
{
    while (server->timer_first) {
        struct echo_conn *conn = server->timer_first;
        uint64_t now = now_ms();
        if (conn->deadline_ms > now) {
            uint64_t wait = conn->deadline_ms - now;
            return wait > 60000 ? 60000 : (int)wait;
        }
        echo_conn_set_state(server, conn, conn->state == ECHO_WAIT ? ECHO_DUE : ECHO_DEAD);
        echo_conn_turn(server, conn, 0);
    }
    return -1;
}
