/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_http.h"

#include "test/tools/echo_body.h"
#include "test/tools/echo_page.h"
#include "test/tools/echo_stream.h"
#include "test/tools/echo_ws.h"

#include <inttypes.h>
#include <stdio.h>

struct request {
    struct slice head; /* with its empty line */
    struct slice target, path, query;
    struct slice key, protocols;
    bool websocket;
    bool expect;
};

/* Request line (RFC 9112 3), read leniently: what is wrong with it is the proxy's concern. */
static bool parse_line(struct slice line, struct request *req, bool *old)
{
    const char *end = line.p + line.n;
    const char *target = memchr(line.p, ' ', line.n);
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
    if (!version)
        return false;
    req->target = (struct slice){target + 1, (size_t)(version - target - 1)};
    *old = slice_eq((struct slice){version + 1, (size_t)(end - version - 1)}, SLICE("HTTP/1.0"));

    const char *mark = memchr(req->target.p, '?', req->target.n);
    req->path = req->query = req->target;
    req->path.n = mark ? (size_t)(mark - req->target.p) : req->target.n;
    req->query.p = mark ? mark + 1 : req->target.p + req->target.n;
    req->query.n = mark ? req->target.n - req->path.n - 1 : 0;
    return true;
}

static bool parse_decimal(struct slice text, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)((unsigned char)text.p[i] - '0');
        if (digit > 9 || value > (UINT64_MAX >> 1) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return text.n > 0;
}

/* Look at one field line. Returns false if we cannot tell how long the body is. */
static bool parse_field(struct slice line, struct request *req, struct echo_conn *conn)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return false;
    struct slice name = {line.p, (size_t)(colon - line.p)};
    struct slice value = slice_trim((struct slice){colon + 1, line.n - name.n - 1});

    if (slice_ieq(name, SLICE("Content-Length"))) {
        bool first = conn->body.phase == ECHO_BODY_NONE;
        conn->body.phase = ECHO_BODY_LENGTH;
        return first && parse_decimal(value, &conn->body.left);
    }
    if (slice_ieq(name, SLICE("Transfer-Encoding"))) {
        bool first = conn->body.phase == ECHO_BODY_NONE;
        conn->body.phase = ECHO_BODY_SIZE;
        return first && slice_ieq(value, SLICE("chunked"));
    }
    if (slice_ieq(name, SLICE("Connection"))) {
        if (slice_list_has(value, SLICE("close")))
            conn->keep_alive = false;
        if (slice_list_has(value, SLICE("keep-alive")))
            conn->keep_alive = true;
    } else if (slice_ieq(name, SLICE("Upgrade")))
        req->websocket = slice_list_has(value, SLICE("websocket"));
    else if (slice_ieq(name, SLICE("Sec-WebSocket-Key")))
        req->key = value;
    else if (slice_ieq(name, SLICE("Sec-WebSocket-Protocol")))
        req->protocols = value;
    else if (slice_ieq(name, SLICE("Expect")))
        req->expect = slice_ieq(value, SLICE("100-continue"));
    return true;
}

/* Read the head; fills *req and the connection's body and keep_alive. Returns false for a bad one. */
static bool parse_head(struct slice head, struct request *req, struct echo_conn *conn)
{
    const char *at = head.p;
    const char *end = head.p + head.n - 2; /* without the empty line */
    bool first = true;

    *req = (struct request){.head = head};
    conn->head_only = head.n > 5 && memcmp(head.p, "HEAD ", 5) == 0;
    conn->body = (struct echo_body){.phase = ECHO_BODY_NONE};
    while (at < end) {
        const char *eol = memmem(at, (size_t)(end - at), "\r\n", 2);
        ASSERT(eol != NULL); /* the head ends with CRLF CRLF */
        struct slice line = {at, (size_t)(eol - at)};
        bool old = false;
        bool good = first ? parse_line(line, req, &old) : parse_field(line, req, conn);
        if (!good)
            return false;
        if (first)
            conn->keep_alive = !old;
        first = false;
        at = eol + 2;
    }
    if (conn->body.phase == ECHO_BODY_LENGTH && conn->body.left == 0)
        conn->body.phase = ECHO_BODY_NONE;
    return !first;
}

/* The value of a number in the query ("n=5&ms=9"), at most `max`; `missing` if it is not there. */
static uint64_t number_of(const struct request *req, const char *name, uint64_t missing,
                          uint64_t max)
{
    struct slice rest = req->query;
    size_t name_len = strlen(name);
    while (rest.n > 0) {
        const char *amp = memchr(rest.p, '&', rest.n);
        struct slice pair = {rest.p, amp ? (size_t)(amp - rest.p) : rest.n};
        rest.p += pair.n + (amp != NULL);
        rest.n -= pair.n + (amp != NULL);
        uint64_t value;
        if (pair.n > name_len && memcmp(pair.p, name, name_len) == 0 && pair.p[name_len] == '=' &&
            parse_decimal((struct slice){pair.p + name_len + 1, pair.n - name_len - 1}, &value))
            return value < max ? value : max;
    }
    return missing;
}

static const char *reason_of(unsigned status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 431: return "Request Header Fields Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default: return "Status";
    }
}

/* Append an answer's head up to its framing, which the caller adds with the empty line. */
static void put_head(struct echo_server *server, struct echo_conn *conn, unsigned status,
                     const char *type)
{
    echo_conn_print(server,
                    "HTTP/1.1 %03u %s\r\n"
                    "Content-Type: %s\r\n"
                    "Cache-Control: no-store\r\n"
                    "X-Backend: %s\r\n"
                    "%s",
                    status, reason_of(status), type, server->name,
                    conn->keep_alive ? "" : "Connection: close\r\n");
}

/* Append a whole answer; for HEAD without its body. */
static void put_answer(struct echo_server *server, struct echo_conn *conn, unsigned status,
                       const char *type, struct slice body)
{
    bool bare = status < 200 || status == 204 || status == 304;

    put_head(server, conn, status, type);
    if (bare)
        echo_conn_put(server, "\r\n", 2);
    else
        echo_conn_print(server, "Content-Length: %zu\r\n\r\n", body.n);
    if (!bare && !conn->head_only)
        echo_conn_put(server, body.p, body.n);
    echo_http_answered(server, conn);
}

static const char TEXT[] = "text/plain; charset=utf-8";

static void refuse(struct echo_server *server, struct echo_conn *conn, unsigned status)
{
    conn->keep_alive = false;
    conn->body.phase = ECHO_BODY_NONE;
    put_answer(server, conn, status, TEXT, SLICE("refused\n"));
}

void echo_http_answered(struct echo_server *server, struct echo_conn *conn)
{
    enum echo_state next = conn->keep_alive ? ECHO_HEAD : ECHO_CLOSING;
    if (conn->body.phase != ECHO_BODY_NONE)
        next = ECHO_BODY;
    echo_conn_set_state(server, conn, next);
}

void echo_http_slow(struct echo_server *server, struct echo_conn *conn)
{
    put_answer(server, conn, 200, TEXT, slice_of(server->name));
}

/* /echo: the answer begins at once and grows with the request's body. */
static void route_echo(struct echo_server *server, struct echo_conn *conn,
                       const struct request *req)
{
    if (req->expect)
        echo_conn_print(server, "HTTP/1.1 100 Continue\r\n\r\n");
    put_head(server, conn, 200, "application/octet-stream");
    if (conn->body.phase == ECHO_BODY_SIZE)
        echo_conn_print(server, "Transfer-Encoding: chunked\r\n\r\n");
    else
        echo_conn_print(server, "Content-Length: %" PRIu64 "\r\n\r\n", conn->body.left);
    conn->body.echo = true;
    echo_http_answered(server, conn);
}

static void route_stream(struct echo_server *server, struct echo_conn *conn,
                         const struct request *req, bool chunked)
{
    uint64_t n = number_of(req, "n", 0, UINT64_MAX >> 1);

    put_head(server, conn, 200, "application/octet-stream");
    if (chunked)
        echo_conn_print(server, "Transfer-Encoding: chunked\r\n\r\n");
    else
        echo_conn_print(server, "Content-Length: %" PRIu64 "\r\n\r\n", n);
    if (conn->head_only)
        echo_http_answered(server, conn);
    else if (chunked)
        echo_stream_chunked(server, conn, n);
    else
        echo_stream_bytes(server, conn, n);
}

/* Any status; a 1xx other than 101 is followed by 200, as it must be. */
static void route_status(struct echo_server *server, struct echo_conn *conn,
                         const struct request *req)
{
    unsigned code = (unsigned)number_of(req, "code", 200, 999);
    char text[32];
    int n = snprintf(text, sizeof(text), "status %u\n", code);

    if (code < 200 && code != 101) {
        echo_conn_print(server, "HTTP/1.1 %03u Status\r\n\r\n", code);
        code = 200;
    }
    put_answer(server, conn, code, TEXT, (struct slice){text, (size_t)n});
}

static void route_slow(struct echo_server *server, struct echo_conn *conn,
                       const struct request *req)
{
    echo_conn_set_state(server, conn, ECHO_WAIT);
    echo_conn_set_timer(server, conn, number_of(req, "ms", 1000, 3600 * 1000));
}

static void route(struct echo_server *server, struct echo_conn *conn, const struct request *req)
{
    if (slice_eq(req->path, SLICE("/echo"))) {
        route_echo(server, conn, req);
        return;
    }
    if (req->expect && conn->body.phase != ECHO_BODY_NONE) {
        /* Answered without 100: whether the body comes nobody can tell (RFC 9110 10.1.1). */
        conn->body.phase = ECHO_BODY_NONE;
        conn->keep_alive = false;
    }
    if (slice_eq(req->path, SLICE("/")))
        put_answer(server, conn, 200, "text/html; charset=utf-8", echo_page());
    else if (slice_eq(req->path, SLICE("/whoami")))
        put_answer(server, conn, 200, TEXT, slice_of(server->name));
    else if (slice_eq(req->path, SLICE("/headers")))
        put_answer(server, conn, 200, TEXT, req->head);
    else if (slice_eq(req->path, SLICE("/bytes")))
        route_stream(server, conn, req, false);
    else if (slice_eq(req->path, SLICE("/chunked")))
        route_stream(server, conn, req, true);
    else if (slice_eq(req->path, SLICE("/status")))
        route_status(server, conn, req);
    else if (slice_eq(req->path, SLICE("/slow")))
        route_slow(server, conn, req);
    else
        put_answer(server, conn, 404, TEXT, SLICE("no such page\n"));
}

/* The handshake is taken on any path. */
static void upgrade(struct echo_server *server, struct echo_conn *conn, const struct request *req)
{
    struct slice protocols = req->protocols, protocol = {NULL, 0};

    if (number_of(req, "subprotocol", 0, 1) == 1 && !slice_next_in_list(&protocols, &protocol))
        protocol.n = 0;
    conn->body.phase = ECHO_BODY_NONE;
    echo_ws_accept(server, req->key, protocol);
    if (slice_eq(req->path, SLICE("/ws"))) {
        echo_ws_put_header(server, ECHO_WS_FIN | ECHO_WS_TEXT,
                           strlen("{\"backend\":\"\"}") + strlen(server->name));
        echo_conn_print(server, "{\"backend\":\"%s\"}", server->name);
    }
    if (slice_eq(req->path, SLICE("/push")))
        echo_stream_push(server, conn, number_of(req, "n", 1, UINT64_MAX >> 1),
                         number_of(req, "bytes", 64, UINT64_MAX >> 1));
    else
        echo_ws_begin(server, conn);
}

/* One line a request; bytes that are not plain text are shown as '?'. */
static void log_request(const struct echo_server *server, const struct request *req)
{
    char text[256];
    size_t n = 0;
    for (; n < req->target.n && n < sizeof(text) - 1; n++) {
        char c = req->target.p[n];
        text[n] = c > ' ' && c < 0x7f ? c : '?';
    }
    text[n] = '\0';
    fprintf(stderr, "%s %s%s\n", server->name, req->websocket ? "websocket " : "", text);
}

size_t echo_http_head(struct echo_server *server, struct echo_conn *conn, const char *in,
                      size_t len)
{
    if (server->out_len > 0 || len == 0)
        return 0; /* an answer may need all the room */
    const char *end = memmem(in, len, "\r\n\r\n", 4);
    if (!end) {
        if (len == ECHO_IN_MAX)
            refuse(server, conn, 431);
        return 0;
    }
    struct slice head = {in, (size_t)(end - in) + 4};
    struct request req;
    if (!parse_head(head, &req, conn) || (req.websocket && req.key.n == 0)) {
        refuse(server, conn, 400);
        return head.n;
    }
    if (!server->quiet)
        log_request(server, &req);
    if (req.websocket)
        upgrade(server, conn, &req);
    else
        route(server, conn, &req);
    return head.n;
}
