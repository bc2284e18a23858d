/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "master/checker_probe.h"

#include "common/clock.h"
#include "common/ws_frame.h"
#include "common/ws_handshake.h"
#include "master/checker_tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_MAX = 16384,
    OUT_MAX = 2048,
    FIELDS_MAX = 100,
    PING_LEN = 8,
    WHY_MAX = 80, /* as the board has room for */
    KEY_LEN = 24, /* 16 bytes in base64 */
};

enum state {
    CONNECTING, /* connect is under way */
    SHAKING,    /* the TLS handshake is under way */
    ASKING,     /* the request goes out, and its answer's head is awaited */
    PINGING,    /* websocket: a tunnel; our ping goes out, and its pong is awaited */
    CLOSING, /* websocket: all is well; our Close goes out, and the server's Close or FIN is awaited */
};

struct checker_probe {
    struct checker_plan plan;
    int fd;
    struct checker_tls *tls; /* NULL: in the clear */
    enum state state;
    uint64_t begun_ns;
    uint64_t decided_ns; /* 0: not yet */
    char why[WHY_MAX];
    uint8_t ping[PING_LEN];
    uint64_t skip; /* bytes of a frame's payload that are still to come, and mean nothing */
    uint32_t in_len;
    uint32_t out_len;
    uint32_t out_sent;
    struct http_head request;
    struct http_head answer;
    struct http_field fields[2 * FIELDS_MAX];
    char in[IN_MAX];
    char out[OUT_MAX];
    char asked[OUT_MAX]; /* the request, for the check of its answer */
};

static const struct http_limits LIMITS = {
    .line_max = 8192, .head_max = IN_MAX, .fields_max = FIELDS_MAX};

static enum checker_verdict bad(struct checker_probe *p, const char *why)
{
    if (p->decided_ns == 0)
        p->decided_ns = clock_mono_ns();
    snprintf(p->why, sizeof(p->why), "%s", why);
    return CHECKER_BAD;
}

static enum checker_verdict bad_errno(struct checker_probe *p, const char *what, int error)
{
    char why[WHY_MAX];
    snprintf(why, sizeof(why), "%s: %s", what, strerror(error));
    return bad(p, why);
}

static enum checker_verdict good(struct checker_probe *p, const char *why)
{
    if (p->decided_ns == 0)
        p->decided_ns = clock_mono_ns();
    snprintf(p->why, sizeof(p->why), "%s", why);
    return CHECKER_GOOD;
}

/* ---- what is sent ---- */

static void encode_key(const uint8_t raw[16], char out[KEY_LEN + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = out;
    for (int i = 0; i < 15; i += 3) {
        uint32_t three = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = digits[three >> shift & 63];
    }
    *at++ = digits[raw[15] >> 2];
    *at++ = digits[(raw[15] & 3) << 4];
    memcpy(at, "==", 3);
}

static int write_request(struct checker_probe *p)
{
    const struct checker_plan *plan = &p->plan;
    bool websocket = plan->health->type == HEALTH_WEBSOCKET;
    char key[KEY_LEN + 1];
    char upgrade[160] = "Connection: close\r\n";
    uint8_t raw[16];
    if (websocket) {
        if (getrandom(raw, sizeof(raw), 0) != sizeof(raw) ||
            getrandom(p->ping, sizeof(p->ping), 0) != sizeof(p->ping))
            return -EAGAIN;
        encode_key(raw, key);
        snprintf(upgrade, sizeof(upgrade),
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: %s\r\n",
                 key);
    }
    int n = snprintf(p->out, sizeof(p->out),
                     "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: holdfast-check\r\n%s\r\n",
                     (int)plan->method.n, plan->method.p, (int)plan->path.n, plan->path.p,
                     (int)plan->host.n, plan->host.p, upgrade);
    if (n < 0 || (size_t)n >= sizeof(p->out))
        return -EMSGSIZE;
    p->out_len = (uint32_t)n;
    memcpy(p->asked, p->out, p->out_len);
    http_request_init(&p->request, p->fields, LIMITS);
    if (http_head_parse(&p->request, p->asked, p->out_len) <= 0)
        return -EINVAL;
    http_response_init(&p->answer, p->fields + FIELDS_MAX, LIMITS,
                       (enum http_method)p->request.method);
    return 0;
}

/* A masked frame (RFC 6455 5.3), with an empty mask's work done by a random one. */
static void write_frame(struct checker_probe *p, uint8_t opcode, const uint8_t *payload, uint8_t n)
{
    uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    (void)!getrandom(mask, sizeof(mask), GRND_NONBLOCK);
    uint8_t *at = (uint8_t *)p->out;
    *at++ = 0x80 | opcode;
    *at++ = 0x80 | n;
    memcpy(at, mask, sizeof(mask));
    at += sizeof(mask);
    for (uint8_t i = 0; i < n; i++)
        *at++ = payload[i] ^ mask[i & 3];
    p->out_len = (uint32_t)(at - (uint8_t *)p->out);
    p->out_sent = 0;
}

/* Bytes sent, or -errno. */
static ssize_t put(struct checker_probe *p, const char *bytes, size_t n)
{
    if (p->tls)
        return checker_tls_send(p->tls, bytes, n);
    ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static enum checker_verdict flush(struct checker_probe *p)
{
    while (p->out_sent < p->out_len) {
        ssize_t n = put(p, p->out + p->out_sent, p->out_len - p->out_sent);
        if (n == -EAGAIN || n == -EPIPE || n == -ECONNRESET)
            return CHECKER_MORE; /* it may have said why before it closed: reading tells */
        if (n == -EPROTO)
            return bad(p, checker_tls_why(p->tls));
        if (n < 0)
            return bad_errno(p, "send", (int)-n);
        p->out_sent += (uint32_t)n;
    }
    return CHECKER_MORE;
}

/* ---- what comes back ---- */

static bool is_expected(const struct image_health *health, uint16_t status)
{
    for (uint32_t i = 0; i < health->status_count; i++) {
        if (status >= health->status[i].from && status <= health->status[i].to)
            return true;
    }
    return false;
}

static enum checker_verdict judge_answer(struct checker_probe *p, uint32_t head_len)
{
    char text[WHY_MAX];
    const char *why;
    snprintf(text, sizeof(text), "status %u", p->answer.status);
    if (p->plan.health->type == HEALTH_HTTP)
        return is_expected(p->plan.health, p->answer.status) ? good(p, text) : bad(p, text);
    if (p->answer.status != 101) {
        snprintf(text, sizeof(text), "status %u instead of 101", p->answer.status);
        return bad(p, text);
    }
    if (ws_response_check(&p->request, p->asked, &p->answer, p->in, &why) < 0)
        return bad(p, why);
    p->in_len -= head_len;
    memmove(p->in, p->in + head_len, p->in_len);
    write_frame(p, WS_PING, p->ping, PING_LEN);
    p->state = PINGING;
    return CHECKER_MORE;
}

static enum checker_verdict read_answer(struct checker_probe *p)
{
    int rc = p->in_len > 0 ? http_head_parse(&p->answer, p->in, p->in_len) : 0;
    if (rc < 0)
        return bad(p, "malformed answer");
    if (rc == 0)
        return p->in_len == IN_MAX ? bad(p, "endless answer") : CHECKER_MORE;
    if (p->answer.status < 200 && p->answer.status != 101) { /* interim: the answer follows */
        p->in_len -= (uint32_t)rc;
        memmove(p->in, p->in + rc, p->in_len);
        http_response_init(&p->answer, p->fields + FIELDS_MAX, LIMITS,
                           (enum http_method)p->request.method);
        return read_answer(p);
    }
    return judge_answer(p, (uint32_t)rc);
}

/* Length of the frame header at `in`, its payload's in *payload; 0: more is needed. */
static uint32_t frame_header(const uint8_t *in, uint32_t n, uint64_t *payload)
{
    if (n < 2)
        return 0;
    uint32_t extra = (in[1] & 127) == 127 ? 8 : (in[1] & 127) == 126 ? 2 : 0;
    if (n < 2 + extra)
        return 0;
    *payload = in[1] & 127;
    for (uint32_t i = 0; i < extra; i++)
        *payload = (i == 0 ? 0 : *payload << 8) | in[2 + i];
    return 2 + extra;
}

static void drop(struct checker_probe *p, uint32_t n)
{
    p->in_len -= n;
    memmove(p->in, p->in + n, p->in_len);
}

static enum checker_verdict take_control(struct checker_probe *p, uint8_t opcode,
                                         const uint8_t *payload, uint64_t n)
{
    static const uint8_t normal[] = {1000 >> 8, 1000 & 255};
    if (opcode == WS_CLOSE)
        return p->state == CLOSING ? good(p, "pong") : bad(p, "closed before the pong");
    if (opcode != WS_PONG || n != PING_LEN || memcmp(payload, p->ping, PING_LEN) != 0)
        return CHECKER_MORE; /* its own ping, or a pong that nobody asked for (RFC 6455 5.5.3) */
    if (p->state == PINGING) {
        good(p, "pong");
        write_frame(p, WS_CLOSE, normal, sizeof(normal));
        p->state = CLOSING;
    }
    return CHECKER_MORE;
}

/* Frames of the server until the pong; what else it says means nothing to us. */
static enum checker_verdict read_frames(struct checker_probe *p)
{
    while (p->in_len > 0) {
        const uint8_t *in = (const uint8_t *)p->in;
        uint64_t payload;
        if (p->skip > 0) {
            uint32_t n = p->skip < p->in_len ? (uint32_t)p->skip : p->in_len;
            p->skip -= n;
            drop(p, n);
            continue;
        }
        uint32_t header = frame_header(in, p->in_len, &payload);
        if (header == 0)
            return CHECKER_MORE;
        uint8_t opcode = in[0] & 15;
        bool control = opcode >= WS_CLOSE;
        if (in[1] & 0x80 || payload >> 63 != 0 || (control && (payload > 125 || !(in[0] & 0x80))))
            return bad(p, "malformed frame");
        if (!control) {
            drop(p, header);
            p->skip = payload;
            continue;
        }
        if (p->in_len < header + payload)
            return CHECKER_MORE;
        enum checker_verdict verdict = take_control(p, opcode, in + header, payload);
        if (verdict != CHECKER_MORE)
            return verdict;
        drop(p, header + (uint32_t)payload);
    }
    return CHECKER_MORE;
}

static enum checker_verdict ended(struct checker_probe *p, int error)
{
    if (p->state == CLOSING)
        return CHECKER_GOOD;
    if (error == EPROTO && p->tls)
        return bad(p, checker_tls_why(p->tls));
    if (error != 0)
        return bad_errno(p, p->state == PINGING ? "before the pong" : "before the answer", error);
    return bad(p, p->state == PINGING ? "closed before the pong" : "closed before the answer");
}

/* Bytes received, 0 at the end, or -errno. */
static ssize_t take(struct checker_probe *p)
{
    if (p->tls)
        return checker_tls_receive(p->tls, p->in + p->in_len, IN_MAX - p->in_len);
    ssize_t n = recv(p->fd, p->in + p->in_len, IN_MAX - p->in_len, 0);
    return n < 0 ? -errno : n;
}

static enum checker_verdict receive(struct checker_probe *p)
{
    for (;;) {
        ssize_t n = take(p);
        if (n == -EAGAIN)
            return CHECKER_MORE;
        if (n <= 0)
            return ended(p, (int)-n);
        p->in_len += (uint32_t)n;
        enum checker_verdict verdict = p->state == ASKING ? read_answer(p) : CHECKER_MORE;
        if (verdict == CHECKER_MORE && p->state != ASKING)
            verdict = read_frames(p);
        if (verdict != CHECKER_MORE)
            return verdict;
        if (flush(p) == CHECKER_BAD)
            return CHECKER_BAD;
    }
}

/* ---- its way ---- */

static enum checker_verdict ask(struct checker_probe *p)
{
    int rc = write_request(p);
    if (rc < 0)
        return bad_errno(p, "request", -rc);
    p->state = ASKING;
    return flush(p);
}

static enum checker_verdict shake(struct checker_probe *p)
{
    int rc = checker_tls_shake(p->tls);
    if (rc == -EAGAIN)
        return CHECKER_MORE;
    return rc < 0 ? bad(p, checker_tls_why(p->tls)) : ask(p);
}

static enum checker_verdict begin_tls(struct checker_probe *p)
{
    const struct checker_plan *plan = &p->plan;
    p->state = SHAKING;
    if (checker_tls_connect(&p->tls, plan->tls, plan->upstream, p->fd, plan->tls_name) < 0)
        return bad(p, "tls: not set up, see the error log");
    return shake(p);
}

static enum checker_verdict connected(struct checker_probe *p)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error != 0)
        return bad_errno(p, "connect", error);
    if (p->plan.health->type == HEALTH_TCP)
        return good(p, "connected");
    return p->plan.tls ? begin_tls(p) : ask(p);
}

enum checker_verdict checker_probe_begin(struct checker_probe **out,
                                         const struct checker_plan *plan)
{
    struct checker_probe *p = calloc(1, sizeof(*p));
    *out = p;
    if (!p)
        return CHECKER_BAD;
    p->plan = *plan;
    p->begun_ns = clock_mono_ns();
    p->fd = socket(plan->address->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return bad_errno(p, "socket", errno);
    if (connect(p->fd, &plan->address->u.sa, plan->address->len) == 0)
        return connected(p);
    return errno == EINPROGRESS ? CHECKER_MORE : bad_errno(p, "connect", errno);
}

int checker_probe_fd(const struct checker_probe *p)
{
    return p->fd;
}

uint32_t checker_probe_wants(const struct checker_probe *p)
{
    bool out = p->state == CONNECTING || p->out_sent < p->out_len ||
               (p->tls && checker_tls_wants_out(p->tls));
    return (p->state == CONNECTING ? 0u : (uint32_t)EPOLLIN) | (out ? (uint32_t)EPOLLOUT : 0u);
}

enum checker_verdict checker_probe_event(struct checker_probe *p, uint32_t events)
{
    enum checker_verdict verdict = CHECKER_MORE;
    if (p->state == CONNECTING)
        verdict = connected(p);
    else if (p->state == SHAKING)
        verdict = shake(p);
    else if (events & EPOLLOUT)
        verdict = flush(p);
    return verdict == CHECKER_MORE && p->state >= ASKING ? receive(p) : verdict;
}

enum checker_verdict checker_probe_timeout(struct checker_probe *p)
{
    static const char *const why[] = {[CONNECTING] = "no connection within the timeout",
                                      [SHAKING] = "tls: timed out",
                                      [ASKING] = "no answer within the timeout",
                                      [PINGING] = "no pong within the timeout"};
    /* It did all that was asked but the courtesy of a Close. */
    return p->state == CLOSING ? CHECKER_GOOD : bad(p, why[p->state]);
}

const char *checker_probe_why(const struct checker_probe *p)
{
    return p->why;
}

uint32_t checker_probe_latency_us(const struct checker_probe *p)
{
    return (uint32_t)((p->decided_ns - p->begun_ns) / 1000);
}

void checker_probe_end(struct checker_probe **probe)
{
    struct checker_probe *p = *probe;
    *probe = NULL;
    if (!p)
        return;
    checker_tls_close(&p->tls);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
}
