/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_body.h"

#include "test/tools/echo_http.h"

enum { SMALL_ROOM = 64 }; /* a size line, a line end or "0" chunk fits for sure */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The body is complete. */
static void body_end(struct echo_server *server, struct echo_conn *conn)
{
    conn->body.phase = ECHO_BODY_NONE;
    echo_http_answered(server, conn);
}

/* One byte of a chunked body's framing. Returns false if it cannot stand there. */
static bool framing_byte(struct echo_server *server, struct echo_conn *conn, char c)
{
    struct echo_body *body = &conn->body;
    int digit = hex_value(c);

    if (body->phase == ECHO_BODY_SIZE && digit >= 0) {
        if (body->digits == 15)
            return false;
        body->left = body->left << 4 | (unsigned)digit;
        body->digits++;
        return true;
    }
    if (body->phase == ECHO_BODY_SIZE && body->digits == 0)
        return false;
    if (body->phase == ECHO_BODY_TRAILER) {
        if (body->echo)
            echo_conn_put(server, &c, 1);
        if (c == '\n' && body->empty_line)
            body_end(server, conn);
        body->empty_line = c == '\n' || (c == '\r' && body->empty_line);
        return true;
    }
    if (c != '\n') {
        if (body->phase == ECHO_BODY_SIZE)
            body->phase = ECHO_BODY_EXT;
        return body->phase == ECHO_BODY_EXT || c == '\r';
    }
    if (body->phase == ECHO_BODY_DATA_END) {
        body->phase = ECHO_BODY_SIZE;
        body->digits = 0;
    } else if (body->left > 0) {
        body->phase = ECHO_BODY_DATA;
    } else {
        body->phase = ECHO_BODY_TRAILER;
        body->empty_line = true;
        if (body->echo)
            echo_conn_put(server, "0\r\n", 3);
    }
    return true;
}

/* Body bytes; a chunk's go out as a chunk of their own, so that nothing waits for more. */
static size_t data_bytes(struct echo_server *server, struct echo_conn *conn, const char *in,
                         size_t len)
{
    struct echo_body *body = &conn->body;
    bool chunked = body->phase == ECHO_BODY_DATA;
    size_t n = len < body->left ? len : (size_t)body->left;

    if (body->echo) {
        size_t room = echo_conn_room(server) - SMALL_ROOM / 2;
        n = n < room ? n : room;
        if (chunked)
            echo_conn_print(server, "%zx\r\n", n);
        echo_conn_put(server, in, n);
        if (chunked)
            echo_conn_put(server, "\r\n", 2);
    }
    body->left -= n;
    if (body->left == 0 && chunked)
        body->phase = ECHO_BODY_DATA_END;
    else if (body->left == 0)
        body_end(server, conn);
    return n;
}

size_t echo_body_input(struct echo_server *server, struct echo_conn *conn, const char *in,
                       size_t len)
{
    size_t at = 0;

    while (at < len && conn->state == ECHO_BODY && echo_conn_room(server) >= SMALL_ROOM) {
        if (conn->body.phase == ECHO_BODY_LENGTH || conn->body.phase == ECHO_BODY_DATA) {
            at += data_bytes(server, conn, in + at, len - at);
        } else if (framing_byte(server, conn, in[at])) {
            at++;
        } else {
            /* Too late for a status: the answer has begun. */
            conn->body.phase = ECHO_BODY_NONE;
            echo_conn_set_state(server, conn, ECHO_CLOSING);
        }
    }
    return at;
}
