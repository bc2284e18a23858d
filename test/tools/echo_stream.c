/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_stream.h"

#include "test/tools/echo_http.h"
#include "test/tools/echo_ws.h"

enum stream_kind { STREAM_BYTES, STREAM_CHUNKED, STREAM_PUSH };

enum {
    CHUNK_MAX = 16 * 1024,
    FRAMING_MAX = 32, /* room for a chunk's size line and ends, or a frame header */
};

void echo_stream_init(struct echo_server *server)
{
    for (size_t i = 0; i < sizeof(server->pattern); i++)
        server->pattern[i] = (char)(i % ECHO_PERIOD);
}

static void begin(struct echo_server *server, struct echo_conn *conn, struct echo_stream stream)
{
    conn->stream = stream;
    echo_conn_set_state(server, conn, ECHO_STREAM);
}

void echo_stream_bytes(struct echo_server *server, struct echo_conn *conn, uint64_t n)
{
    begin(server, conn, (struct echo_stream){.kind = STREAM_BYTES, .left = n});
}

void echo_stream_chunked(struct echo_server *server, struct echo_conn *conn, uint64_t n)
{
    begin(server, conn, (struct echo_stream){.kind = STREAM_CHUNKED, .left = n});
}

void echo_stream_push(struct echo_server *server, struct echo_conn *conn, uint64_t units,
                      uint64_t n)
{
    begin(server, conn, (struct echo_stream){.kind = STREAM_PUSH, .units = units, .size = n});
}

/* At most `max` bytes of what is left, as many as fit. */
static void put_pattern(struct echo_server *server, struct echo_stream *stream, size_t max)
{
    size_t n = max < sizeof(server->in) ? max : sizeof(server->in);
    if (n > stream->left)
        n = (size_t)stream->left;
    echo_conn_put(server, server->pattern + stream->offset % ECHO_PERIOD, n);
    stream->offset += n;
    stream->left -= n;
}

static void fill_bytes(struct echo_server *server, struct echo_conn *conn)
{
    put_pattern(server, &conn->stream, echo_conn_room(server));
    if (conn->stream.left == 0)
        echo_http_answered(server, conn);
}

static void fill_chunked(struct echo_server *server, struct echo_conn *conn)
{
    struct echo_stream *stream = &conn->stream;
    while (stream->left > 0 && echo_conn_room(server) >= CHUNK_MAX + 2 * FRAMING_MAX) {
        size_t n = stream->left < CHUNK_MAX ? (size_t)stream->left : CHUNK_MAX;
        echo_conn_print(server, "%zx\r\n", n);
        put_pattern(server, stream, n);
        echo_conn_put(server, "\r\n", 2);
    }
    if (stream->left > 0)
        return;
    echo_conn_put(server, "0\r\n\r\n", 5);
    echo_http_answered(server, conn);
}

static void fill_push(struct echo_server *server, struct echo_conn *conn)
{
    struct echo_stream *stream = &conn->stream;
    while (echo_conn_room(server) > FRAMING_MAX) {
        if (stream->left == 0 && stream->units == 0) {
            echo_ws_begin(server, conn);
            return;
        }
        if (stream->left == 0) {
            echo_ws_put_header(server, ECHO_WS_FIN | ECHO_WS_BINARY, stream->size);
            stream->units--;
            stream->left = stream->size;
        }
        put_pattern(server, stream, echo_conn_room(server));
    }
}

void echo_stream_fill(struct echo_server *server, struct echo_conn *conn)
{
    switch ((enum stream_kind)conn->stream.kind) {
    case STREAM_BYTES: fill_bytes(server, conn); break;
    case STREAM_CHUNKED: fill_chunked(server, conn); break;
    case STREAM_PUSH: fill_push(server, conn); break;
    }
}
