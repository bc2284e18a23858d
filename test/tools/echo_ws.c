/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_ws.h"

#include <openssl/evp.h>

enum {
    OP_CONT = 0,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,
    HEADER_MAX = 14, /* 2 + 8 bytes of length + 4 of mask */
    CONTROL_MAX = 125,
};

void echo_ws_accept(struct echo_server *server, struct slice key, struct slice protocol)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 1.3 */
    char text[128];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char accept[2 * EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    size_t n = key.n < 64 ? key.n : 64; /* a valid one has 24 */

    memcpy(text, key.p, n);
    memcpy(text + n, guid, sizeof(guid) - 1);
    ASSERT(EVP_Digest(text, n + sizeof(guid) - 1, digest, &digest_len, EVP_sha1(), NULL) == 1);
    EVP_EncodeBlock(accept, digest, (int)digest_len);
    echo_conn_print(server,
                    "HTTP/1.1 101 Switching Protocols\r\n"
                    "Upgrade: websocket\r\n"
                    "Connection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n"
                    "X-Backend: %s\r\n",
                    (char *)accept, server->name);
    if (protocol.n > 0 && protocol.n < 1024)
        echo_conn_print(server, "Sec-WebSocket-Protocol: %.*s\r\n", (int)protocol.n, protocol.p);
    echo_conn_put(server, "\r\n", 2);
}

void echo_ws_put_header(struct echo_server *server, unsigned first, uint64_t size)
{
    unsigned char header[10] = {(unsigned char)first};
    size_t ext = size < 126 ? 0 : size < 65536 ? 2 : 8;

    header[1] = ext == 0 ? (unsigned char)size : ext == 2 ? 126 : 127;
    for (size_t i = 0; i < ext; i++)
        header[2 + i] = (unsigned char)(size >> (8 * (ext - 1 - i)));
    echo_conn_put(server, header, 2 + ext);
}

void echo_ws_begin(struct echo_server *server, struct echo_conn *conn)
{
    conn->frame = (struct echo_frame){0};
    echo_conn_set_state(server, conn, ECHO_WS);
}

static void refuse(struct echo_server *server, struct echo_conn *conn)
{
    echo_ws_put_header(server, ECHO_WS_FIN | OP_CLOSE, 2);
    echo_conn_put(server, "\x03\xea", 2); /* 1002 */
    echo_conn_set_state(server, conn, ECHO_CLOSING);
}

static unsigned opcode(const struct echo_frame *frame)
{
    return frame->header[0] & 0x0f;
}

static bool is_control(const struct echo_frame *frame)
{
    return opcode(frame) >= 8;
}

/* Bytes of the whole header, as far as its first two tell. */
static size_t header_size(const struct echo_frame *frame)
{
    if (frame->have < 2)
        return 2;
    size_t mask = frame->header[1] & 0x80 ? sizeof(frame->mask) : 0;
    unsigned len = frame->header[1] & 0x7f;
    return 2 + (len == 126 ? 2U : len == 127 ? 8U : 0U) + mask;
}

static void parse_header(struct echo_frame *frame)
{
    unsigned len = frame->header[1] & 0x7f;
    size_t ext = len == 126 ? 2 : len == 127 ? 8 : 0;

    frame->left = ext == 0 ? len : 0;
    for (size_t i = 0; i < ext; i++)
        frame->left = frame->left << 8 | frame->header[2 + i];
    memcpy(frame->mask, frame->header + 2 + ext, sizeof(frame->mask)); /* if there is one */
    frame->mask_at = 0;
}

/* RFC 6455 5.1, 5.2, 5.4, 5.5: what a client may send when no extension was agreed. */
static bool may_follow(const struct echo_frame *frame)
{
    bool fin = frame->header[0] & 0x80;
    bool masked = frame->header[1] & 0x80;

    if (!masked || (frame->header[0] & 0x70) || frame->left >> 63)
        return false;
    if (is_control(frame))
        return fin && opcode(frame) <= OP_PONG && frame->left <= CONTROL_MAX;
    return opcode(frame) <= ECHO_WS_BINARY && (opcode(frame) == OP_CONT) == frame->in_message;
}

/* The header is complete: answer with the one that belongs to it. */
static void begin_frame(struct echo_server *server, struct echo_conn *conn)
{
    struct echo_frame *frame = &conn->frame;
    unsigned first = frame->header[0];

    parse_header(frame);
    if (!may_follow(frame)) {
        refuse(server, conn);
        return;
    }
    if (!is_control(frame))
        frame->in_message = !(first & 0x80);
    if (opcode(frame) == OP_PING)
        first = ECHO_WS_FIN | OP_PONG;
    if (opcode(frame) != OP_PONG)
        echo_ws_put_header(server, first, frame->left);
    frame->in_payload = true;
}

/* dst = src ^ mask; the mask is turned so that it starts with the first byte. */
static void unmask(struct echo_frame *frame, char *dst, const char *src, size_t n)
{
    uint8_t turned[8];
    uint64_t mask, word;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof(turned); k++)
        turned[k] = frame->mask[(frame->mask_at + k) & 3];
    memcpy(&mask, turned, sizeof(mask));
    for (; i + sizeof(word) <= n; i += sizeof(word)) {
        memcpy(&word, src + i, sizeof(word));
        word ^= mask;
        memcpy(dst + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        dst[i] = (char)((uint8_t)src[i] ^ turned[i & 7]);
    frame->mask_at = (uint8_t)((frame->mask_at + n) & 3);
}

static size_t take_header(struct echo_server *server, struct echo_conn *conn, const char *in,
                          size_t len)
{
    struct echo_frame *frame = &conn->frame;
    size_t used = 0;

    while (used < len && frame->have < header_size(frame))
        frame->header[frame->have++] = (uint8_t)in[used++];
    if (frame->have == header_size(frame))
        begin_frame(server, conn);
    return used;
}

static size_t take_payload(struct echo_server *server, struct echo_conn *conn, const char *in,
                           size_t len)
{
    struct echo_frame *frame = &conn->frame;
    size_t n = len < frame->left ? len : (size_t)frame->left;

    if (opcode(frame) != OP_PONG) {
        n = n < echo_conn_room(server) ? n : echo_conn_room(server);
        unmask(frame, server->out + server->out_len, in, n);
        server->out_len += (uint32_t)n;
    }
    frame->left -= n;
    return n;
}

size_t echo_ws_input(struct echo_server *server, struct echo_conn *conn, char *in, size_t len)
{
    struct echo_frame *frame = &conn->frame;
    size_t at = 0;

    while (at < len && echo_conn_room(server) >= HEADER_MAX && conn->state == ECHO_WS) {
        if (frame->in_payload)
            at += take_payload(server, conn, in + at, len - at);
        else
            at += take_header(server, conn, in + at, len - at);
        if (!frame->in_payload || frame->left > 0)
            continue;
        frame->in_payload = false;
        frame->have = 0;
        if (opcode(frame) == OP_CLOSE)
            echo_conn_set_state(server, conn, ECHO_CLOSING);
    }
    return at;
}
