/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-relay: the least that a relay can do, for comparison: each connection is joined to a new one to
 * the next backend, and bytes go both ways with one recv and one send. It reads no HTTP, counts
 * nothing, has no timeouts and forgets all when it dies.
 */
#include "common/addr.h"
#include "common/compiler.h"
#include "test/bench/bench_net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, BUFFER_SIZE = 32768, BACKENDS_MAX = 8, ACCEPTS_A_TURN = 64 };

struct pair;

/* One of the two sockets of a pair. */
struct side {
    struct pair *pair;
    int fd;
    bool ready;    /* connected */
    bool eof;      /* its FIN was read, and passed on */
    uint8_t *held; /* bytes for it that it did not take; NULL: none */
    size_t held_at, held_len;
};

struct pair {
    struct side sides[2]; /* client, backend */
    bool dead;
    struct pair *next_dead;
};

struct relay {
    int epoll_fd;
    int listen_fd;
    struct addr backends[BACKENDS_MAX];
    uint32_t backend_count, backend_next;
    struct pair *graveyard; /* closed in this batch of events */
    uint8_t buffer[BUFFER_SIZE];
};

static struct side *other(struct side *side)
{
    return side == &side->pair->sides[0] ? &side->pair->sides[1] : &side->pair->sides[0];
}

static void pair_close(struct relay *relay, struct pair *pair)
{
    if (pair->dead)
        return;
    pair->dead = true;
    for (int i = 0; i < 2; i++) {
        close(pair->sides[i].fd);
        free(pair->sides[i].held);
    }
    pair->next_dead = relay->graveyard;
    relay->graveyard = pair;
}

static void hold(struct side *to, const uint8_t *bytes, size_t n)
{
    to->held = malloc(n);
    ASSERT(to->held != NULL);
    memcpy(to->held, bytes, n);
    to->held_at = 0;
    to->held_len = n;
}

/* Send what `to` did not take before. Returns false while something is left, or on an error. */
static bool flush(struct side *to)
{
    if (!to->held)
        return true;
    ssize_t sent = send(to->fd, to->held + to->held_at, to->held_len - to->held_at, MSG_NOSIGNAL);
    if (sent < 0)
        return false;
    to->held_at += (size_t)sent;
    if (to->held_at < to->held_len)
        return false;
    free(to->held);
    to->held = NULL;
    return true;
}

/* From `from` to its other side until nothing comes or nothing goes. Returns false if the pair ends. */
static bool relay_from(struct relay *relay, struct side *from)
{
    struct side *to = other(from);
    ssize_t n = BUFFER_SIZE;
    while (n == BUFFER_SIZE && !from->eof) {
        if (!to->ready || !flush(to))
            return true;
        n = recv(from->fd, relay->buffer, BUFFER_SIZE, 0);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0) {
            from->eof = true;
            shutdown(to->fd, SHUT_WR);
            return !to->eof;
        }
        ssize_t sent = send(to->fd, relay->buffer, (size_t)n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < n)
            hold(to, relay->buffer + (sent < 0 ? 0 : sent), (size_t)(n - (sent < 0 ? 0 : sent)));
    }
    return true;
}

static void side_event(struct relay *relay, struct side *side, uint32_t events)
{
    struct pair *pair = side->pair;
    if (pair->dead)
        return;
    bool wrote = false;
    if (events & EPOLLOUT && (!side->ready || side->held)) {
        side->ready = true;
        wrote = true;
    }
    bool good = !(events & EPOLLERR);
    if (good && wrote)
        good = relay_from(relay, other(side));
    if (good && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        good = relay_from(relay, side);
    /* A short read with the FIN behind it: the edge that told of the FIN is this one. */
    if (good && events & EPOLLRDHUP && !side->eof)
        good = relay_from(relay, side);
    if (!good)
        pair_close(relay, pair);
}

static int watch(struct relay *relay, struct side *side)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = side};
    return epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, side->fd, &event);
}

static int connect_backend(struct relay *relay)
{
    int on = 1;
    const struct addr *to = &relay->backends[relay->backend_next++ % relay->backend_count];
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, &to->u.sa, to->len) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

static void pair_open(struct relay *relay, int client_fd)
{
    int backend_fd = connect_backend(relay);
    struct pair *pair = calloc(1, sizeof *pair);
    ASSERT(pair != NULL);
    if (backend_fd < 0) {
        fprintf(stderr, "bench-relay: no backend: %s\n", strerror(errno));
        close(client_fd);
        free(pair);
        return;
    }
    pair->sides[0] = (struct side){.pair = pair, .fd = client_fd, .ready = true};
    pair->sides[1] = (struct side){.pair = pair, .fd = backend_fd};
    if (watch(relay, &pair->sides[0]) < 0 || watch(relay, &pair->sides[1]) < 0)
        pair_close(relay, pair);
}

static void accept_some(struct relay *relay)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        /* TCP_NODELAY is the listener's: accepted sockets have it from there. */
        int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        pair_open(relay, fd);
    }
}

static void serve(struct relay *relay)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int n = epoll_wait(relay->epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                side_event(relay, events[i].data.ptr, events[i].events);
            else
                accept_some(relay);
        }
        while (relay->graveyard) {
            struct pair *pair = relay->graveyard;
            relay->graveyard = pair->next_dead;
            free(pair);
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: bench-relay -a ADDRESS:PORT -b BACKEND:PORT...\n"
                    "  Accepts at -a, and joins each connection to one to the next of -b.\n");
    return 2;
}

int main(int argc, char **argv)
{
    static struct relay relay;
    struct addr listen_at = {.len = 0};
    int c;
    while ((c = getopt(argc, argv, "a:b:")) != -1) {
        bool room = relay.backend_count < BACKENDS_MAX;
        struct addr *to = c == 'a' ? &listen_at : &relay.backends[relay.backend_count];
        if ((c != 'a' && (c != 'b' || !room)) || !bench_net_parse(optarg, to))
            return usage();
        relay.backend_count += c == 'b';
    }
    if (listen_at.len == 0 || relay.backend_count == 0 || optind != argc)
        return usage();
    bench_net_raise_limit();
    relay.listen_fd = bench_net_listen(&listen_at);
    relay.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (relay.listen_fd < 0 || relay.epoll_fd < 0 ||
        epoll_ctl(relay.epoll_fd, EPOLL_CTL_ADD, relay.listen_fd, &event) < 0) {
        perror("bench-relay");
        return 1;
    }
    serve(&relay);
}
