/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_client.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char UPGRADE[] = "GET /ws HTTP/1.1\r\n"
                              "Host: bench.test\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "Sec-WebSocket-Version: 13\r\n"
                              "Origin: https://bench.test\r\n"
                              "User-Agent: bench-load\r\n"
                              "\r\n";
static const char REQUEST[] = "GET /ws HTTP/1.1\r\n"
                              "Host: bench.test\r\n"
                              "Accept: */*\r\n"
                              "User-Agent: bench-load\r\n"
                              "\r\n";

/* ---- the end ---- */

static void client_close(struct bench_load *load, struct bench_client *client)
{
    if (client->state == CLIENT_OPEN || client->state == CLIENT_ASKING)
        load->open--;
    else
        load->opening--;
    bench_io_close(&client->io);
    free(client->head);
    client->head = NULL;
    client->state = CLIENT_EMPTY;
    client->busy = false;
    uint32_t slot = (uint32_t)(client - load->clients);
    if (slot < load->next_empty)
        load->next_empty = slot;
}

void bench_client_close_all(struct bench_load *load)
{
    for (uint32_t i = 0; i < load->options->conns; i++) {
        if (load->clients[i].state != CLIENT_EMPTY)
            client_close(load, &load->clients[i]);
    }
    free(load->clients);
    load->clients = NULL;
}

static void fail(struct bench_load *load, struct bench_client *client, const char *what, int error)
{
    bench_fault(load, what, error);
    client_close(load, client);
}

/* ---- messages and answers ---- */

/* The awaited frame or answer is complete. */
static void complete(struct bench_load *load, struct bench_client *client)
{
    client->busy = false;
    client->in_at = 0;
    if (load->phase == PHASE_RUN) {
        uint64_t begun = load->options->mode == MODE_SETUP ? client->begun_ns : client->stamp;
        load->done++;
        ws_load_stat_add(&load->latency, clock_mono_ns() - begun);
    }
    switch (load->options->mode) {
    case MODE_ECHO: bench_client_talk(load, client); break;
    case MODE_PUSH: load->push_due--; break;
    case MODE_SETUP: client_close(load, client); break;
    case MODE_HTTP: break; /* asks again when its input is drained */
    case MODE_HOLD: load->talking--; break;
    }
}

/* Send (more of) the frame. */
static void send_frame(struct bench_load *load, struct bench_client *client)
{
    while (client->out_at < load->frame_len) {
        memcpy(load->frame + load->frame_len - load->options->size, &client->stamp, BENCH_STAMP);
        ssize_t sent = bench_io_send(&client->io, load->frame + client->out_at,
                                     load->frame_len - client->out_at);
        if (sent == -EAGAIN)
            return;
        if (sent < 0) {
            fail(load, client, "send", (int)-sent);
            return;
        }
        client->out_at += (uint32_t)sent;
    }
}

void bench_client_talk(struct bench_load *load, struct bench_client *client)
{
    ASSERT(client->state == CLIENT_OPEN && !client->busy);
    client->busy = true;
    client->out_at = 0;
    client->stamp = clock_mono_ns();
    send_frame(load, client);
}

/* Look at the first bytes of a frame that has begun. Returns false if it is none that was sent. */
static bool good_frame(const struct bench_load *load, struct bench_client *client, size_t n)
{
    uint8_t header[10];
    uint32_t header_len = bench_frame_header(header, load->options->size);
    uint64_t stamp;
    if (n < header_len + BENCH_STAMP)
        return true; /* in pieces: its length tells */
    memcpy(&stamp, load->scratch + header_len, sizeof stamp);
    if (load->options->mode == MODE_PUSH)
        client->stamp = stamp;
    return stamp == client->stamp && memcmp(header, load->scratch, header_len) == 0;
}

/* Bytes of a tunnel. Returns false if the client is gone or its frame complete. */
static bool feed_frame(struct bench_load *load, struct bench_client *client, size_t n)
{
    uint32_t total = bench_frame_header(NULL, load->options->size) + load->options->size;
    bool awaited = client->busy || load->options->mode == MODE_PUSH;
    if (!awaited || n > total - client->in_at ||
        (client->in_at == 0 && !good_frame(load, client, n))) {
        fail(load, client, "wrong bytes", 0);
        return false;
    }
    client->in_at += (uint32_t)n;
    if (client->in_at < total)
        return true;
    complete(load, client);
    return false;
}

static void ask(struct bench_load *load, struct bench_client *client)
{
    client->busy = true;
    client->head_len = 0;
    client->in_total = 0;
    client->stamp = clock_mono_ns();
    ssize_t sent = bench_io_send(&client->io, REQUEST, sizeof REQUEST - 1);
    if (sent != sizeof REQUEST - 1)
        fail(load, client, "request not sent", sent < 0 ? (int)-sent : 0);
}

/* Append to the head. Returns its length with the empty line when it is whole, else 0. */
static uint32_t feed_head(const struct bench_load *load, struct bench_client *client, size_t n)
{
    size_t room = BENCH_HEAD_MAX - client->head_len;
    size_t kept = n < room ? n : room;
    memcpy(client->head + client->head_len, load->scratch, kept);
    client->head_len += (uint32_t)kept;
    const char *end = memmem(client->head, client->head_len, "\r\n\r\n", 4);
    return end ? (uint32_t)(end - client->head) + 4 : 0;
}

/* Bytes of an answer. Returns false if the client is gone or its answer complete. */
static bool feed_answer(struct bench_load *load, struct bench_client *client, size_t n)
{
    client->in_at += (uint32_t)n;
    if (client->in_total == 0) {
        uint32_t len = feed_head(load, client, n);
        if (len == 0)
            return true;
        client->head[len - 1] = '\0';
        const char *field = strcasestr(client->head, "\ncontent-length:");
        if (strncmp(client->head, "HTTP/1.1 200 ", 13) != 0 || !field) {
            fail(load, client, "wrong answer", 0);
            return false;
        }
        client->in_total = len + (uint32_t)strtoul(field + 16, NULL, 10);
    }
    if (client->in_at < client->in_total)
        return true;
    if (client->in_at > client->in_total) {
        fail(load, client, "more than an answer", 0);
        return false;
    }
    complete(load, client);
    ask(load, client);
    return false;
}

/* ---- opening ---- */

/* Bytes of the handshake's answer. Returns false if the client is gone or in its tunnel. */
static bool feed_upgrade(struct bench_load *load, struct bench_client *client, size_t n)
{
    uint32_t len = feed_head(load, client, n);
    if (len == 0 && client->head_len < BENCH_HEAD_MAX)
        return true;
    if (len != client->head_len || strncmp(client->head, "HTTP/1.1 101 ", 13) != 0) {
        fail(load, client, "not upgraded", 0);
        return false;
    }
    free(client->head);
    client->head = NULL;
    client->state = CLIENT_OPEN;
    load->opening--;
    load->open++;
    if (load->options->mode == MODE_SETUP)
        bench_client_talk(load, client);
    return false;
}

/* Connected, and secure if it is to be. */
static void first_request(struct bench_load *load, struct bench_client *client)
{
    load->resumed += bench_io_resumed(&client->io);
    client->head = malloc(BENCH_HEAD_MAX);
    ASSERT(client->head != NULL);
    client->head_len = 0;
    if (load->options->mode == MODE_HTTP) {
        client->state = CLIENT_ASKING;
        load->opening--;
        load->open++;
        ask(load, client);
        return;
    }
    client->state = CLIENT_UPGRADING;
    ssize_t sent = bench_io_send(&client->io, UPGRADE, sizeof UPGRADE - 1);
    if (sent != sizeof UPGRADE - 1)
        fail(load, client, "handshake not sent", sent < 0 ? (int)-sent : 0);
}

static void secure(struct bench_load *load, struct bench_client *client)
{
    int rc = bench_io_handshake(&client->io);
    if (rc == 0)
        first_request(load, client);
    else if (rc != -EAGAIN)
        fail(load, client, "TLS handshake", -rc);
}

static void connected(struct bench_load *load, struct bench_client *client)
{
    if (!load->tls) {
        first_request(load, client);
        return;
    }
    ASSERT(bench_io_secure(&client->io, load->tls));
    client->state = CLIENT_SECURING;
    secure(load, client);
}

/* A socket with the source address of this slot, connecting. Returns it or -errno. */
static int begin_connect(const struct bench_load *load, uint32_t slot)
{
    const struct bench_options *options = load->options;
    const struct addr *to = &options->target;
    int on = 1;
    int fd = socket(to->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options->source.len > 0) {
        struct sockaddr_in source = options->source.u.in;
        source.sin_port = 0;
        source.sin_addr.s_addr = htonl(ntohl(source.sin_addr.s_addr) + slot % options->sources);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
            goto failed;
    }
    if (connect(fd, &to->u.sa, to->len) == 0 || errno == EINPROGRESS)
        return fd;
failed:;
    int error = errno;
    close(fd);
    return -error;
}

void bench_client_open(struct bench_load *load, struct bench_client *client)
{
    int fd = begin_connect(load, (uint32_t)(client - load->clients));
    if (fd < 0) {
        bench_fault(load, "connect", -fd);
        return;
    }
    client->io = (struct bench_io){.fd = fd};
    client->state = CLIENT_CONNECTING;
    client->in_at = 0;
    client->begun_ns = clock_mono_ns();
    load->opening++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = client};
    ASSERT(epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

/* ---- events ---- */

/* What has come of a frame or an answer, until that is complete. Another one's edge is still to come. */
static void receive(struct bench_load *load, struct bench_client *client)
{
    bool more = true;
    while (more) {
        ssize_t n = bench_io_recv(&client->io, load->scratch, sizeof load->scratch);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            fail(load, client, n == 0 ? "closed by the proxy" : "receive", (int)-n);
            return;
        }
        if (client->state == CLIENT_UPGRADING)
            more = feed_upgrade(load, client, (size_t)n);
        else if (client->state == CLIENT_ASKING)
            more = feed_answer(load, client, (size_t)n);
        else
            more = feed_frame(load, client, (size_t)n);
        more = more && bench_io_more(&client->io, n, sizeof load->scratch);
    }
}

void bench_client_event(struct bench_load *load, struct bench_client *client, uint32_t events)
{
    switch ((enum client_state)client->state) {
    case CLIENT_EMPTY: return; /* closed in this batch */
    case CLIENT_CONNECTING:
        if (events & (EPOLLERR | EPOLLHUP))
            fail(load, client, "not connected", ECONNREFUSED);
        else if (events & EPOLLOUT)
            connected(load, client);
        return;
    case CLIENT_SECURING: secure(load, client); return;
    case CLIENT_OPEN:
        if (events & EPOLLOUT && client->busy && client->out_at < load->frame_len)
            send_frame(load, client);
        break;
    case CLIENT_UPGRADING:
    case CLIENT_ASKING: break;
    }
    if (client->state != CLIENT_EMPTY && events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
        receive(load, client);
}
