/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_backend.h"

#include "common/clock.h"
#include "common/ws_handshake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_MAX = 14, MASKED = 0x80, ROOM = BENCH_SCRATCH - HEADER_MAX, PUSH_MAX = 4096 };

/* ---- the end ---- */

static void backend_close(struct bench_load *load, struct bench_backend *backend)
{
    if (backend->dead)
        return;
    backend->dead = true;
    close(backend->fd);
    free(backend->held);
    if (backend->tunnel) {
        struct bench_backend *last = load->tunnels[--load->tunnel_count];
        load->tunnels[backend->index] = last;
        last->index = backend->index;
    }
    if (backend->prev)
        backend->prev->next = backend->next;
    else
        load->first_backend = backend->next;
    if (backend->next)
        backend->next->prev = backend->prev;
    backend->next_dead = load->graveyard;
    load->graveyard = backend;
}

void bench_backend_free_dead(struct bench_load *load)
{
    while (load->graveyard) {
        struct bench_backend *backend = load->graveyard;
        load->graveyard = backend->next_dead;
        free(backend);
    }
}

void bench_backend_close_all(struct bench_load *load)
{
    while (load->first_backend)
        backend_close(load, load->first_backend);
    bench_backend_free_dead(load);
    free(load->tunnels);
}

/* ---- output ---- */

/* Send, and hold what the socket does not take. */
static void output(struct bench_load *load, struct bench_backend *backend, const void *bytes,
                   size_t n)
{
    ssize_t sent = 0;
    if (!backend->held) {
        sent = send(backend->fd, bytes, n, MSG_NOSIGNAL);
        if (sent == (ssize_t)n)
            return;
        if (sent < 0 && errno != EAGAIN) {
            backend_close(load, backend);
            return;
        }
        sent = sent < 0 ? 0 : sent;
        backend->held_at = backend->held_len = 0;
    }
    size_t left = n - (size_t)sent;
    backend->held = realloc(backend->held, backend->held_len + left);
    ASSERT(backend->held != NULL);
    memcpy(backend->held + backend->held_len, (const char *)bytes + sent, left);
    backend->held_len += (uint32_t)left;
}

/* Returns true when nothing is held any more. */
static bool flush(struct bench_load *load, struct bench_backend *backend)
{
    if (!backend->held)
        return true;
    ssize_t sent = send(backend->fd, backend->held + backend->held_at,
                        backend->held_len - backend->held_at, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            backend_close(load, backend);
        return false;
    }
    backend->held_at += (uint32_t)sent;
    if (backend->held_at < backend->held_len)
        return false;
    free(backend->held);
    backend->held = NULL;
    return true;
}

/* ---- requests ---- */

static void remember_tunnel(struct bench_load *load, struct bench_backend *backend)
{
    if (load->tunnel_count == load->tunnel_room) {
        load->tunnel_room = load->tunnel_room ? 2 * load->tunnel_room : 1024;
        load->tunnels = realloc(load->tunnels, load->tunnel_room * sizeof(struct bench_backend *));
        ASSERT(load->tunnels != NULL);
    }
    backend->tunnel = true;
    backend->index = load->tunnel_count;
    load->tunnels[load->tunnel_count++] = backend;
}

static void switch_protocols(struct bench_load *load, struct bench_backend *backend,
                             const char *key)
{
    char accept[WS_ACCEPT_LEN];
    char answer[256];
    key += strspn(key, " ");
    ws_accept_for((struct slice){key, strcspn(key, " \r")}, accept);
    int n = snprintf(answer, sizeof answer,
                     "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %.*s\r\n"
                     "\r\n",
                     WS_ACCEPT_LEN, accept);
    remember_tunnel(load, backend);
    output(load, backend, answer, (size_t)n);
}

/* A whole request, without a body: proxies send the next when this one is answered. */
static void request(struct bench_load *load, struct bench_backend *backend, char *bytes, size_t n)
{
    static const char field[] = "\nsec-websocket-key:";
    if (n < 4 || memcmp(bytes + n - 4, "\r\n\r\n", 4) != 0) {
        bench_fault(load, "a backend got no whole request", 0);
        backend_close(load, backend);
        return;
    }
    bytes[n - 1] = '\0';
    const char *key = strcasestr(bytes, field);
    if (key)
        switch_protocols(load, backend, key + sizeof field - 1);
    else
        output(load, backend, load->answer, load->answer_len);
}

/* ---- frames ---- */

/* Bytes of the header that begins at `p`, 0: more are needed. Fills the payload's length. */
static uint32_t parse_header(const uint8_t *p, size_t n, uint64_t *left)
{
    if (n < 2)
        return 0;
    uint32_t len = p[1] & 0x7f;
    uint32_t ext = len == 126 ? 2 : len == 127 ? 8 : 0;
    uint32_t whole = 2 + ext + BENCH_CLIENT_HEADER;
    if (n < whole)
        return 0;
    *left = ext == 0 ? len : 0;
    for (uint32_t i = 0; i < ext; i++)
        *left = *left << 8 | p[2 + i];
    return whole;
}

/*
 * Echo: `p` has HEADER_MAX bytes of room before it. The new header is shorter than the client's: it is
 * written over that one's end, in front of the payload.
 */
static void frames(struct bench_load *load, struct bench_backend *backend, uint8_t *p, size_t n)
{
    static const uint8_t no_mask[BENCH_CLIENT_HEADER];
    p -= backend->header_len;
    n += backend->header_len;
    memcpy(p, backend->header, backend->header_len);
    backend->header_len = 0;
    while (n > 0 && !backend->dead) {
        uint8_t *from = p;
        if (backend->left == 0) {
            uint32_t whole = parse_header(p, n, &backend->left);
            if (whole == 0) {
                memcpy(backend->header, p, n);
                backend->header_len = (uint32_t)n;
                return;
            }
            p += whole;
            n -= whole;
            if (!(from[1] & MASKED) || memcmp(p - sizeof no_mask, no_mask, sizeof no_mask) != 0)
                bench_fault(load, "a backend got a frame that was not sent", 0);
            from[1] &= (uint8_t)~MASKED;
            memmove(from + BENCH_CLIENT_HEADER, from, whole - BENCH_CLIENT_HEADER);
            from += BENCH_CLIENT_HEADER;
        }
        size_t payload = n < backend->left ? n : (size_t)backend->left;
        output(load, backend, from, (size_t)(p - from) + payload);
        backend->left -= payload;
        p += payload;
        n -= payload;
    }
}

void bench_backend_push(struct bench_load *load)
{
    uint8_t frame[PUSH_MAX] = {0};
    uint32_t header = bench_frame_header(frame, load->options->size);
    uint32_t n = header + load->options->size;
    ASSERT(n <= sizeof frame);
    load->push_due = load->tunnel_count;
    for (uint32_t i = 0; i < load->tunnel_count; i++) {
        uint64_t stamp = clock_mono_ns();
        memcpy(frame + header, &stamp, sizeof stamp);
        output(load, load->tunnels[i], frame, n);
    }
}

/* ---- events ---- */

static void receive(struct bench_load *load, struct bench_backend *backend)
{
    while (backend->readable && !backend->held && !backend->dead) {
        uint8_t *at = load->scratch + HEADER_MAX;
        ssize_t n = recv(backend->fd, at, ROOM, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            backend_close(load, backend);
            return;
        }
        backend->readable = n == ROOM;
        if (n > 0 && backend->tunnel)
            frames(load, backend, at, (size_t)n);
        else if (n > 0)
            request(load, backend, (char *)at, (size_t)n);
    }
}

void bench_backend_event(struct bench_load *load, struct bench_backend *backend, uint32_t events)
{
    if (backend->dead)
        return;
    if (events & EPOLLERR) {
        backend_close(load, backend);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        backend->readable = true;
    if (flush(load, backend))
        receive(load, backend);
}

void bench_backend_accept(struct bench_load *load, int listen_fd)
{
    for (;;) {
        /* TCP_NODELAY is the listener's: accepted sockets have it from there. */
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct bench_backend *backend = calloc(1, sizeof *backend);
        ASSERT(backend != NULL);
        backend->kind = KIND_BACKEND;
        backend->fd = fd;
        backend->next = load->first_backend;
        if (backend->next)
            backend->next->prev = backend;
        load->first_backend = backend;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.ptr = backend};
        ASSERT(epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    }
}
