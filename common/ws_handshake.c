/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ws_handshake.h"

#include "common/http_char.h"
#include "common/sha1.h"

#include <errno.h>

enum { KEY_LEN = 24 }; /* 16 bytes of base64: 22 digits and "==" */

/* Exactly one upgrade token in all Upgrade lines together, and it is "websocket". */
static bool upgrades_to_websocket_only(const struct http_head *head, const char *buf)
{
    uint32_t tokens = 0;
    struct slice token = {0};

    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != HTTP_FIELD_UPGRADE)
            continue;
        struct slice rest = http_field_value(buf, &head->fields[i]);
        struct slice next;
        while (slice_next_in_list(&rest, &next)) {
            token = next;
            tokens++;
        }
    }
    return tokens == 1 && slice_ieq(token, SLICE("websocket"));
}

/*
 * The last digit carries four bits that no byte has. Only few decoders insist on zeros there, and
 * nobody decodes the key to answer it, so they may be anything.
 */
static bool is_key(struct slice key)
{
    if (key.n != KEY_LEN || key.p[KEY_LEN - 2] != '=' || key.p[KEY_LEN - 1] != '=')
        return false;
    for (size_t i = 0; i < KEY_LEN - 2; i++) {
        if (!http_char_is(key.p[i], HTTP_CHAR_BASE64))
            return false;
    }
    return true;
}

static void base64_of_sha1(const uint8_t in[SHA1_LEN], char out[WS_ACCEPT_LEN])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned at = 0;

    for (unsigned i = 0; i < SHA1_LEN; i += 3) {
        unsigned third = i + 2 < SHA1_LEN ? in[i + 2] : 0;
        unsigned bits = (unsigned)in[i] << 16 | (unsigned)in[i + 1] << 8 | third;
        for (unsigned shift = 24; shift > 0; shift -= 6)
            out[at++] = digits[bits >> (shift - 6) & 63];
    }
    out[WS_ACCEPT_LEN - 1] = '='; /* 20 bytes are one short of a multiple of three */
}

void ws_accept_for(struct slice key, char out[WS_ACCEPT_LEN])
{
    uint8_t digest[SHA1_LEN];

    sha1_of(key, SLICE("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), digest);
    base64_of_sha1(digest, out);
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!http_char_is(text.p[i], HTTP_CHAR_TOKEN))
            return false;
    }
    return text.n > 0;
}

/* Subprotocols are compared with case, as browsers do. */
static bool offered_protocol(const struct http_head *head, const char *buf, struct slice wanted)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL)
            continue;
        struct slice rest = http_field_value(buf, &head->fields[i]);
        struct slice offer;
        while (slice_next_in_list(&rest, &offer)) {
            if (slice_eq(offer, wanted))
                return true;
        }
    }
    return false;
}

/*
 * Next extension of a Sec-WebSocket-Extensions value: its name in *name, its parameters skipped; a
 * comma within a quoted parameter ends nothing (RFC 6455 9.1). Cuts it off *rest. Returns 1; 0 at
 * the end of the list; -EPROTO if a quote stays open or the name is no token.
 */
static int next_extension(struct slice *rest, struct slice *name)
{
    bool quoted = false;
    size_t end = 0;

    while (rest->n > 0 && (rest->p[0] == ',' || rest->p[0] == ' ' || rest->p[0] == '\t')) {
        rest->p++;
        rest->n--;
    }
    if (rest->n == 0)
        return 0;
    for (; end < rest->n && (quoted || rest->p[end] != ','); end++) {
        if (quoted && rest->p[end] == '\\')
            end++;
        else if (rest->p[end] == '"')
            quoted = !quoted;
    }
    if (quoted || end > rest->n)
        return -EPROTO;

    const char *params = memchr(rest->p, ';', end);
    *name = slice_trim((struct slice){rest->p, params ? (size_t)(params - rest->p) : end});
    rest->p += end;
    rest->n -= end;
    return is_token(*name) ? 1 : -EPROTO;
}

/*
 * Is this one among the offers? -EPROTO: they are not well-formed, and who finds that must not go on
 * (RFC 6455 9.1).
 */
static int find_offer(const struct http_head *head, const char *buf, struct slice wanted)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id != HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS)
            continue;
        struct slice rest = http_field_value(buf, &head->fields[i]);
        struct slice name;
        int rc;
        while ((rc = next_extension(&rest, &name)) > 0) {
            if (slice_ieq(name, wanted)) /* some write it in their own way */
                return 1;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

int ws_request_check(const struct http_head *head, const char *buf)
{
    if (head->minor == 0 || !http_head_find(head, HTTP_FIELD_UPGRADE))
        return -ENOMSG;
    if (!upgrades_to_websocket_only(head, buf))
        return -EPROTONOSUPPORT;

    bool body = head->body != HTTP_BODY_NONE &&
                !(head->body == HTTP_BODY_LENGTH && head->content_length == 0);
    if (head->method != HTTP_GET || body || (head->flags & HTTP_CONN_UPGRADE) == 0)
        return -EBADMSG;

    uint32_t versions = http_head_count(head, HTTP_FIELD_SEC_WEBSOCKET_VERSION);
    if (versions > 1)
        return -EBADMSG;
    const struct http_field *version = http_head_find(head, HTTP_FIELD_SEC_WEBSOCKET_VERSION);
    if (!version || !slice_eq(http_field_value(buf, version), SLICE("13")))
        return -EPROTO;

    const struct http_field *key = http_head_find(head, HTTP_FIELD_SEC_WEBSOCKET_KEY);
    if (http_head_count(head, HTTP_FIELD_SEC_WEBSOCKET_KEY) != 1 ||
        !is_key(http_field_value(buf, key)))
        return -EBADMSG;
    return find_offer(head, buf, SLICE("")) < 0 ? -EBADMSG : 0;
}

static const char *bad_accept(const struct http_head *request, const char *request_buf,
                              const struct http_head *response, const char *response_buf)
{
    const struct http_field *key = http_head_find(request, HTTP_FIELD_SEC_WEBSOCKET_KEY);
    const struct http_field *accept = http_head_find(response, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT);
    char right[WS_ACCEPT_LEN];

    if (!key)
        return "the request had no Sec-WebSocket-Key";
    if (!accept)
        return "no Sec-WebSocket-Accept";
    if (http_head_count(response, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT) > 1)
        return "several Sec-WebSocket-Accept";
    ws_accept_for(http_field_value(request_buf, key), right);
    if (!slice_eq(http_field_value(response_buf, accept), (struct slice){right, sizeof right}))
        return "wrong Sec-WebSocket-Accept";
    return NULL;
}

static const char *bad_protocol(const struct http_head *request, const char *request_buf,
                                const struct http_head *response, const char *response_buf)
{
    const struct http_field *chosen = http_head_find(response, HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL);

    if (!chosen)
        return NULL;
    if (http_head_count(response, HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL) > 1)
        return "several subprotocols";
    /* One of those in the list, which need be no tokens: what a client offers against the rules it may have. */
    struct slice name = http_field_value(response_buf, chosen);
    if (!offered_protocol(request, request_buf, name))
        return "subprotocol that was not offered";
    return NULL;
}

static const char *bad_extension(const struct http_head *request, const char *request_buf,
                                 const struct http_head *response, const char *response_buf)
{
    for (uint32_t i = 0; i < response->field_count; i++) {
        if (response->fields[i].id != HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS)
            continue;
        struct slice rest = http_field_value(response_buf, &response->fields[i]);
        struct slice name;
        int rc;
        while ((rc = next_extension(&rest, &name)) > 0) {
            if (find_offer(request, request_buf, name) <= 0)
                return "extension that was not offered";
        }
        if (rc < 0)
            return "malformed Sec-WebSocket-Extensions";
    }
    return NULL;
}

static const char *bad_switch(const struct http_head *response, const char *response_buf)
{
    if (response->status != 101)
        return "status is not 101";
    if (response->minor == 0)
        return "101 with HTTP/1.0";
    if (!upgrades_to_websocket_only(response, response_buf))
        return "Upgrade is not websocket";
    if ((response->flags & HTTP_CONN_UPGRADE) == 0)
        return "no Connection: upgrade";
    if (response->flags & HTTP_HAS_LENGTH || http_head_find(response, HTTP_FIELD_TRANSFER_ENCODING))
        return "101 with a body";
    return NULL;
}

int ws_response_check(const struct http_head *request, const char *request_buf,
                      const struct http_head *response, const char *response_buf, const char **why)
{
    *why = bad_switch(response, response_buf);
    if (!*why)
        *why = bad_accept(request, request_buf, response, response_buf);
    if (!*why)
        *why = bad_protocol(request, request_buf, response, response_buf);
    if (!*why)
        *why = bad_extension(request, request_buf, response, response_buf);
    return *why ? -EPROTO : 0;
}

enum ws_extensions ws_extensions_of(const struct http_head *response, const char *buf)
{
    enum ws_extensions agreed = WS_EXTENSIONS_NONE;
    for (uint32_t i = 0; i < response->field_count; i++) {
        if (response->fields[i].id != HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS)
            continue;
        struct slice rest = http_field_value(buf, &response->fields[i]);
        struct slice name;
        int rc;
        while ((rc = next_extension(&rest, &name)) > 0) {
            /* Twice the same is no answer to any offer. */
            bool deflate = slice_eq(name, SLICE("permessage-deflate"));
            if (agreed != WS_EXTENSIONS_NONE || !deflate)
                return WS_EXTENSIONS_OTHER;
            agreed = WS_EXTENSIONS_DEFLATE;
        }
        if (rc < 0)
            return WS_EXTENSIONS_OTHER;
    }
    return agreed;
}
