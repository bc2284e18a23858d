/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads written anew: what goes to a backend or to a client was never copied as a whole, so it has one
 * reading only (worker/request.h).
 */
#include "common/forwarded.h"
#include "worker/conn_tls.h"
#include "worker/date.h"
#include "worker/edit.h"
#include "worker/request.h"
#include "worker/template.h"

#include <errno.h>
#include <stdio.h>

enum { HTTPS_PORT = 443 };

/* A head being written; after the first piece that does not fit it stays failed. */
struct writer {
    struct buf *out;
    int rc;
    uint32_t before; /* bytes that stood in `out` already */
};

static struct writer begin(struct buf *out)
{
    return (struct writer){out, 0, buf_len(out)};
}

/* Whole, or nothing of it is left: another answer may follow. */
static int finish(struct writer *wr)
{
    if (wr->rc < 0)
        wr->out->end = wr->out->start + wr->before;
    return wr->rc;
}

static void put(struct writer *wr, struct slice bytes)
{
    if (wr->rc == 0)
        wr->rc = buf_append(wr->out, bytes);
}

static void put_field(struct writer *wr, struct slice name, struct slice value)
{
    put(wr, name);
    put(wr, SLICE(": "));
    put(wr, value);
    put(wr, SLICE("\r\n"));
}

/* Decimal, with at least `digits` of them: as snprintf's, without what that costs. */
static void put_number(struct writer *wr, uint64_t value, uint32_t digits)
{
    char text[20];
    uint32_t at = sizeof text;
    while (value > 0 || at > sizeof text - digits) {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    }
    put(wr, (struct slice){text + at, sizeof text - at});
}

static void put_number_field(struct writer *wr, struct slice name, uint64_t value)
{
    put(wr, name);
    put(wr, SLICE(": "));
    put_number(wr, value, 1);
    put(wr, SLICE("\r\n"));
}

/* ---- to the backend ---- */

static enum image_forward policy_of(const struct image_route *route, uint8_t id)
{
    switch (id) {
    case HTTP_FIELD_X_FORWARDED_FOR: return route->x_forwarded_for;
    case HTTP_FIELD_X_FORWARDED_PROTO: return route->x_forwarded_proto;
    case HTTP_FIELD_X_FORWARDED_HOST: return route->x_forwarded_host;
    case HTTP_FIELD_X_REAL_IP: return route->x_real_ip;
    case HTTP_FIELD_FORWARDED: return route->forwarded;
    default: return FORWARD_PASS;
    }
}

/* What a client says of its own certificate, in all spellings. */
static bool claims_certificate(struct slice name)
{
    struct slice family = SLICE("X-Client-Cert-");
    return name.n >= family.n && edit_alike((struct slice){name.p, family.n}, family);
}

static bool drop_field(const struct request *r, const struct http_field *field, struct slice name)
{
    if (field->hop_by_hop || field->id == HTTP_FIELD_HOST ||
        field->id == HTTP_FIELD_CONTENT_LENGTH || field->id == HTTP_FIELD_TRANSFER_ENCODING)
        return true;
    if (field->id == HTTP_FIELD_OTHER)
        return r->route->x_client_cert != FORWARD_PASS && claims_certificate(name);
    enum image_forward policy = policy_of(r->route, field->id);
    return policy == FORWARD_REPLACE || policy == FORWARD_REMOVE || policy == FORWARD_APPEND;
}

/* One of the fields that tell the backend about the client. */
static void put_forwarded(struct writer *wr, const struct request *r, enum http_field_id id,
                          struct slice name, struct slice ours)
{
    const char *buf = r->head_buf.data;
    enum image_forward policy = policy_of(r->route, (uint8_t)id);
    bool had = http_head_find(&r->head, id) != NULL;
    if (policy == FORWARD_REMOVE || policy == FORWARD_PASS || (policy == FORWARD_KEEP && had) ||
        ours.n == 0)
        return;
    put(wr, name);
    put(wr, SLICE(": "));
    for (uint32_t i = 0; policy == FORWARD_APPEND && i < r->head.field_count; i++) {
        if (r->head.fields[i].id == id && r->head.fields[i].value_len > 0) {
            put(wr, http_field_value(buf, &r->head.fields[i]));
            put(wr, SLICE(", "));
        }
    }
    put(wr, ours);
    put(wr, SLICE("\r\n"));
}

/* Who is named in a list of all: the one that gave us the request, if the others are named before. */
static const struct addr *peer_of(const struct request *r)
{
    return r->route->x_forwarded_for == FORWARD_APPEND ? &r->client->address : r->remote;
}

/* Forwarded (RFC 7239): the same as X-Forwarded-For, -Host and -Proto in one. */
static void put_rfc7239(struct writer *wr, const struct request *r)
{
    char text[512];
    struct slice host = {r->head_buf.data + r->head.authority, r->head.authority_len};
    const struct addr *who =
        r->route->forwarded == FORWARD_APPEND ? &r->client->address : r->remote;
    int n = forwarded_print(who, host, r->client->tls ? SLICE("https") : SLICE("http"), text,
                            sizeof text);
    if (n < 0)
        wr->rc = n;
    else
        put_forwarded(wr, r, HTTP_FIELD_FORWARDED, SLICE("Forwarded"),
                      (struct slice){text, (size_t)n});
}

static void put_text_field(struct writer *wr, struct slice name, const char *text)
{
    if (text[0] != '\0')
        put_field(wr, name, slice_of(text));
}

/* What the handshake has proved of the client; its texts are printable ASCII (RFC 2253 escapes). */
static void put_client_cert(struct writer *wr, const struct request *r)
{
    const struct conn_tls *tls = r->client->conn.tls;
    bool verified = tls && tls->facts.client_verified;
    if (r->route->x_client_cert != FORWARD_REPLACE)
        return;
    put_field(wr, SLICE("X-Client-Cert-Verified"), verified ? SLICE("SUCCESS") : SLICE("NONE"));
    if (!verified)
        return;
    put_text_field(wr, SLICE("X-Client-Cert-Subject"), tls->facts.peer_subject);
    put_text_field(wr, SLICE("X-Client-Cert-Issuer"), tls->facts.peer_issuer);
    put_text_field(wr, SLICE("X-Client-Cert-Serial"), tls->facts.peer_serial);
    put_text_field(wr, SLICE("X-Client-Cert-Fingerprint"), tls->facts.peer_fingerprint);
}

static void put_host(struct writer *wr, const struct request *r)
{
    struct template_vars vars;
    request_vars(r, &vars);
    put(wr, SLICE("Host: "));
    if (wr->rc < 0)
        return;
    int n = template_eval(r->image, r->route->host_header, &vars, wr->out->data + wr->out->end,
                          wr->out->size - wr->out->end);
    if (n < 0) {
        wr->rc = n;
        return;
    }
    wr->out->end += (uint32_t)n;
    if (n == 0) /* HTTP/1.0 without Host: name the server, as nginx does */
        put(wr, vars.backend);
    put(wr, SLICE("\r\n"));
}

/* No call for each field where nothing is edited. */
static bool drops(const struct request *r, struct image_array edits, struct slice name)
{
    return edits.count > 0 && edit_drops(r, edits, name);
}

static void put_query(struct writer *wr, const struct request *r)
{
    if (r->head.query_len == 0)
        return;
    put(wr, SLICE("?"));
    put(wr, (struct slice){r->head_buf.data + r->head.query, r->head.query_len});
}

static void put_edits(struct writer *wr, const struct request *r, struct image_array edits)
{
    if (wr->rc == 0 && edits.count > 0)
        wr->rc = edit_put_fields(r, edits, wr->out);
}

static void put_request_line(struct writer *wr, const struct request *r)
{
    const char *buf = r->head_buf.data;
    put(wr, http_head_method(&r->head, buf));
    put(wr, SLICE(" "));
    if (r->route->rewrite.count > 0) {
        if (wr->rc == 0)
            wr->rc = edit_put_path(r, wr->out);
        put_query(wr, r);
    } else if (r->head.flags & HTTP_TARGET_ABSOLUTE) {
        /* A gateway sends origin-form (RFC 9112 3.2.1). */
        put(wr, r->head.path_len > 0 ? (struct slice){buf + r->head.path, r->head.path_len}
                                     : SLICE("/"));
        put_query(wr, r);
    } else {
        put(wr, (struct slice){buf + r->head.target, r->head.target_len});
    }
    put(wr, SLICE(" HTTP/1.1\r\n"));
}

int forward_request(struct request *r, struct buf *out)
{
    struct writer wr = begin(out);
    const char *buf = r->head_buf.data;
    char client[ADDR_TEXT_MAX];
    char hop[ADDR_TEXT_MAX];
    struct slice address = {client, addr_print_host(r->remote, client)};
    struct slice peer = {hop, addr_print_host(peer_of(r), hop)};
    put_request_line(&wr, r);
    put_host(&wr, r);
    for (uint32_t i = 0; i < r->head.field_count; i++) {
        struct slice name = http_field_name(buf, &r->head.fields[i]);
        if (!drop_field(r, &r->head.fields[i], name) && !drops(r, r->route->request_edits, name))
            put_field(&wr, name, http_field_value(buf, &r->head.fields[i]));
    }
    put_forwarded(&wr, r, HTTP_FIELD_X_FORWARDED_FOR, SLICE("X-Forwarded-For"), peer);
    put_forwarded(&wr, r, HTTP_FIELD_X_FORWARDED_PROTO, SLICE("X-Forwarded-Proto"),
                  r->client->tls ? SLICE("https") : SLICE("http"));
    put_forwarded(&wr, r, HTTP_FIELD_X_FORWARDED_HOST, SLICE("X-Forwarded-Host"),
                  (struct slice){buf + r->head.authority, r->head.authority_len});
    put_forwarded(&wr, r, HTTP_FIELD_X_REAL_IP, SLICE("X-Real-IP"), address);
    if (r->route->forwarded != FORWARD_REMOVE && r->route->forwarded != FORWARD_PASS)
        put_rfc7239(&wr, r);
    put_client_cert(&wr, r);
    put_edits(&wr, r, r->route->request_edits);
    if (r->head.body == HTTP_BODY_CHUNKED)
        put(&wr, SLICE("Transfer-Encoding: chunked\r\n"));
    else if (r->head.flags & HTTP_HAS_LENGTH)
        put_number_field(&wr, SLICE("Content-Length"), r->head.content_length);
    if (r->upgrade)
        put(&wr, SLICE("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    else if (r->upstream->keepalive == 0)
        put(&wr, SLICE("Connection: close\r\n"));
    put(&wr, SLICE("\r\n"));
    return finish(&wr);
}

/* ---- to the client ---- */

static void put_status_line(struct writer *wr, const struct request *r)
{
    put(wr, SLICE("HTTP/1.1 "));
    put_number(wr, r->answer.status, 3);
    put(wr, SLICE(" "));
    const struct buf *in = &r->backend->conn.in;
    put(wr, (struct slice){in->data + in->start + r->answer.reason, r->answer.reason_len});
    put(wr, SLICE("\r\n"));
}

static const struct slice HSTS = {"Strict-Transport-Security", 25};

/* Only by TLS: without it clients must ignore it (RFC 6797 7.2). Returns whether it is ours to say. */
static bool put_hsts(struct writer *wr, const struct request *r)
{
    if (!r->client->tls || !r->route || r->route->hsts.len == 0)
        return false;
    put_field(wr, HSTS, image_slice(r->image, r->route->hsts));
    return true;
}

static void put_date(struct writer *wr, const struct request *r)
{
    put_field(wr, SLICE("Date"), date_now(r->client->conn.w));
}

/* A server without a clock sends none: then who receives an answer writes its time (RFC 9110 6.6.1). */
static void put_missing_date(struct writer *wr, const struct request *r)
{
    const struct http_field *had = http_head_find(&r->answer, HTTP_FIELD_DATE);
    if ((!had || had->hop_by_hop) && !drops(r, r->route->response_edits, SLICE("Date")))
        put_date(wr, r);
}

static void put_answer_fields(struct writer *wr, const struct request *r)
{
    const struct buf *in = &r->backend->conn.in;
    const char *buf = in->data + in->start;
    bool ours = put_hsts(wr, r);
    for (uint32_t i = 0; i < r->answer.field_count; i++) {
        const struct http_field *field = &r->answer.fields[i];
        struct slice name = http_field_name(buf, field);
        if (!field->hop_by_hop && field->id != HTTP_FIELD_CONTENT_LENGTH &&
            field->id != HTTP_FIELD_TRANSFER_ENCODING && !(ours && slice_ieq(name, HSTS)) &&
            !drops(r, r->route->response_edits, name))
            put_field(wr, name, http_field_value(buf, field));
    }
}

/* The cookie that brings the client back to this server, unless it has it already. */
static void put_sticky(struct writer *wr, const struct request *r)
{
    struct slice name = image_slice(r->image, r->upstream->sticky_cookie);
    struct slice value = image_slice(r->image, r->server->sticky);
    if (name.n == 0 || slice_eq(template_cookie(&r->head, r->head_buf.data, name), value))
        return;
    put(wr, SLICE("Set-Cookie: "));
    put(wr, name);
    put(wr, SLICE("="));
    put(wr, value);
    put(wr, image_slice(r->image, r->upstream->sticky_attributes));
    put(wr, SLICE("\r\n"));
}

int forward_answer(struct request *r, struct buf *out, bool chunked, bool close)
{
    struct writer wr = begin(out);
    put_status_line(&wr, r);
    put_missing_date(&wr, r);
    put_answer_fields(&wr, r);
    put_sticky(&wr, r);
    put_edits(&wr, r, r->route->response_edits);
    if (chunked)
        put(&wr, SLICE("Transfer-Encoding: chunked\r\n"));
    else if (r->answer.flags & HTTP_HAS_LENGTH && r->answer.status != 204) /* RFC 9110 8.6 */
        put_number_field(&wr, SLICE("Content-Length"), r->answer.content_length);
    if (close)
        put(&wr, SLICE("Connection: close\r\n"));
    else if (r->head.minor == 0)
        put(&wr, SLICE("Connection: keep-alive\r\n"));
    put(&wr, SLICE("\r\n"));
    return finish(&wr);
}

int forward_interim(struct request *r, struct buf *out)
{
    struct writer wr = begin(out);
    put_status_line(&wr, r);
    put_answer_fields(&wr, r);
    put(&wr, SLICE("\r\n"));
    return finish(&wr);
}

int forward_switching(struct request *r, struct buf *out)
{
    struct writer wr = begin(out);
    put_status_line(&wr, r);
    put(&wr, SLICE("Upgrade: websocket\r\nConnection: Upgrade\r\n"));
    put_missing_date(&wr, r);
    put_answer_fields(&wr, r);
    put_sticky(&wr, r);
    put_edits(&wr, r, r->route->response_edits);
    put(&wr, SLICE("\r\n"));
    return finish(&wr);
}

/* https, the host that was asked for, our port of TLS if it is not the usual one, and the target. */
static void put_location(struct writer *wr, const struct request *r)
{
    const char *buf = r->head_buf.data;
    uint32_t port = r->image->header->tls.https_port;
    char number[16];
    int n = snprintf(number, sizeof number, ":%u", port);
    put(wr, SLICE("Location: https://"));
    put(wr, r->host);
    if (port != 0 && port != HTTPS_PORT)
        put(wr, (struct slice){number, (size_t)n});
    if (buf[r->head.path] == '/')
        put(wr, (struct slice){buf + r->head.path, r->head.path_len});
    else
        put(wr, SLICE("/")); /* OPTIONS * */
    if (r->head.query_len > 0) {
        put(wr, SLICE("?"));
        put(wr, (struct slice){buf + r->head.query, r->head.query_len});
    }
    put(wr, SLICE("\r\n"));
}

static struct slice reason_phrase(uint16_t status)
{
    switch (status) {
    case 200: return SLICE("OK");
    case 204: return SLICE("No Content");
    case 301: return SLICE("Moved Permanently");
    case 302: return SLICE("Found");
    case 303: return SLICE("See Other");
    case 307: return SLICE("Temporary Redirect");
    case 308: return SLICE("Permanent Redirect");
    case 400: return SLICE("Bad Request");
    case 403: return SLICE("Forbidden");
    case 404: return SLICE("Not Found");
    case 405: return SLICE("Method Not Allowed");
    case 408: return SLICE("Request Timeout");
    case 410: return SLICE("Gone");
    case 413: return SLICE("Content Too Large");
    case 414: return SLICE("URI Too Long");
    case 417: return SLICE("Expectation Failed");
    case 426: return SLICE("Upgrade Required");
    case 429: return SLICE("Too Many Requests");
    case 431: return SLICE("Request Header Fields Too Large");
    case 501: return SLICE("Not Implemented");
    case 502: return SLICE("Bad Gateway");
    case 503: return SLICE("Service Unavailable");
    case 504: return SLICE("Gateway Timeout");
    case 505: return SLICE("HTTP Version Not Supported");
    default: return SLICE("Error");
    }
}

/* What our own answer says. */
struct own_body {
    struct slice bytes;
    struct slice type;
};

static bool has_body(uint16_t status)
{
    return status != 204 && status != 304;
}

/* Other than the status in words: what the route answers itself, or its page for this status. */
static void choose_body(const struct request *r, uint16_t status, struct own_body *body)
{
    if (r->fixed && r->route->body.len > 0) {
        body->bytes = image_slice(r->image, r->route->body);
        body->type = image_slice(r->image, r->route->content_type);
        return;
    }
    for (uint32_t i = 0; r->route && i < r->route->pages.count; i++) {
        const struct image_page *page = image_page(r->image, r->route->pages, i);
        if (page->status == status)
            *body = (struct own_body){image_slice(r->image, page->body), SLICE("text/html")};
    }
}

static void put_fixed_location(struct writer *wr, const struct request *r)
{
    if (r->route->location.count == 0)
        return;
    put(wr, SLICE("Location: "));
    if (wr->rc == 0)
        wr->rc = edit_put_location(r, wr->out);
    put(wr, SLICE("\r\n"));
}

int forward_refusal(struct request *r, struct buf *out, uint16_t status, bool close)
{
    struct writer wr = begin(out);
    struct slice phrase = reason_phrase(status);
    char text[192];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %u %.*s\r\n", status, (int)phrase.n, phrase.p);
    put(&wr, (struct slice){text, (size_t)n});
    put_date(&wr, r);
    if (status == 426)
        put(&wr, SLICE("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"));
    if (status == 503 || status == 429)
        put_number_field(&wr, SLICE("Retry-After"), r->retry_s > 0 ? r->retry_s : 1);
    if (r->fixed)
        put_fixed_location(&wr, r);
    else if (status == 301 || status == 308)
        put_location(&wr, r);
    (void)put_hsts(&wr, r);
    n = snprintf(text, sizeof text, "%u %.*s\n", status, (int)phrase.n, phrase.p);
    struct own_body body = {(struct slice){text, (size_t)n}, SLICE("text/plain")};
    choose_body(r, status, &body);
    if (has_body(status)) {
        put_field(&wr, SLICE("Content-Type"), body.type);
        put_number_field(&wr, SLICE("Content-Length"), body.bytes.n);
    }
    if (status == 426 && close)
        put(&wr, SLICE("Connection: upgrade, close\r\n"));
    else if (status == 426)
        put(&wr, SLICE("Connection: upgrade\r\n"));
    else if (close)
        put(&wr, SLICE("Connection: close\r\n"));
    else if (r->head.minor == 0)
        put(&wr, SLICE("Connection: keep-alive\r\n"));
    put(&wr, SLICE("\r\n"));
    if (r->head.method != HTTP_HEAD && has_body(status)) {
        put(&wr, body.bytes);
        if (wr.rc == 0)
            r->down.passed += body.bytes.n;
    }
    return finish(&wr);
}
