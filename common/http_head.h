/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 heads, requests and answers, strictly by RFC 9112: anything that two servers could
 * read differently is refused. Incremental, no I/O, no heap: bytes in; consumed, more or error out.
 */
#ifndef COMMON_HTTP_HEAD_H
#define COMMON_HTTP_HEAD_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Methods we treat in their own way; all other valid tokens are HTTP_METHOD_OTHER. */
enum http_method {
    HTTP_METHOD_OTHER,
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_CONNECT,
    HTTP_PATCH,
};

/* Field names that a proxy must know; the rest is HTTP_FIELD_OTHER. */
enum http_field_id {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_COOKIE,
    HTTP_FIELD_DATE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_FORWARDED,
    HTTP_FIELD_HOST,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_REFERER,
    HTTP_FIELD_SEC_WEBSOCKET_ACCEPT,
    HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS,
    HTTP_FIELD_SEC_WEBSOCKET_KEY,
    HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL,
    HTTP_FIELD_SEC_WEBSOCKET_VERSION,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_USER_AGENT,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_REAL_IP,
    HTTP_FIELD_ID_COUNT,
};

/* How the body that follows a head ends (RFC 9112 6.3). */
enum http_body {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE, /* answers only */
};

/* One field line; offsets into the buffer that was parsed, value without surrounding space. */
struct http_field {
    uint32_t name;
    uint32_t value;
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id;         /* enum http_field_id */
    uint8_t hop_by_hop; /* 1: belongs to this hop only (RFC 9110 7.6.1), named by Connection, or a
                            repeated Content-Length: not to be sent on */
};

struct http_limits {
    uint32_t line_max;   /* bytes of the first line, without its CRLF; more: 414 (answers: 502) */
    uint32_t head_max;   /* bytes of the whole head; more: 431 */
    uint32_t fields_max; /* field lines; more: 431. At most what `fields` of _init holds */
};

/* Bits of http_head.flags: what Connection and friends say. */
enum {
    HTTP_CLOSE = 1 << 0,        /* Connection: close */
    HTTP_KEEP_ALIVE = 1 << 1,   /* Connection: keep-alive */
    HTTP_CONN_UPGRADE = 1 << 2, /* Connection: upgrade */
    HTTP_HAS_LENGTH = 1 << 3,   /* a Content-Length was there (HEAD and 304 answers have no body) */
    HTTP_EXPECT_100 = 1 << 4,   /* Expect: 100-continue */
    HTTP_TARGET_ABSOLUTE = 1 << 5 /* absolute-form: authority and path point into the target */
};

/* Parser state and result. Results are valid once http_head_parse has returned > 0. */
struct http_head {
    struct http_field *fields; /* caller's array, borrowed */
    struct http_limits limits;
    const char *error;       /* why it was refused: a fixed text for log lines */
    uint64_t content_length; /* with HTTP_BODY_LENGTH, or HTTP_HAS_LENGTH */
    uint32_t field_count;
    uint32_t method_len; /* the method stands at offset 0 of the head's first line */
    uint32_t first_line; /* offset of the first line: > 0 if empty lines came before (requests) */
    uint32_t target, target_len;       /* as sent */
    uint32_t authority, authority_len; /* of an absolute-form target; else the Host field's value */
    uint32_t path, path_len;           /* path without query, at least "/"; "*" for OPTIONS * */
    uint32_t query, query_len;         /* behind '?', 0 if none */
    uint32_t reason, reason_len;       /* answers */
    uint16_t status;                   /* answers */
    uint8_t method; /* enum http_method; for an answer: of the request, from _init */
    uint8_t minor;  /* HTTP/1.minor: 0 or 1 */
    uint8_t body;   /* enum http_body */
    uint8_t flags;
    uint8_t is_response;
    uint8_t over_limit; /* refused because it is too long (`limits`), not for what it says */
    uint8_t state;      /* parser's own */
    uint32_t at;        /* parser's own: bytes looked at so far */
    uint32_t seen[HTTP_FIELD_ID_COUNT]; /* 1 + index of the first field with this id, 0: none */
};

/*
 * Begin a request head. `fields` must hold limits.fields_max entries and outlive `head`.
 * Any process; touches nothing else.
 */
void http_request_init(struct http_head *head, struct http_field *fields,
                       struct http_limits limits);

/* Begin the head of an answer to a request with this method (it decides whether there is a body). */
void http_response_init(struct http_head *head, struct http_field *fields,
                        struct http_limits limits, enum http_method request_method);

/*
 * Parse what has arrived so far: buf[0..len) is always the head from its first byte, so the caller
 * may move the buffer between calls, never change or drop bytes. Each byte is looked at once.
 * Returns bytes of the whole head (> 0) when complete; 0 when more is needed; or minus the HTTP
 * status that refuses it: -400, -414, -431, -417 (unknown Expect), -501 (CONNECT),
 * -505 (not HTTP/1.x); an answer is refused with -502 always. After an error the head is dead.
 *
 * Refused with 400 (RFC 9112 2.2, 3, 5, 6): bare CR or LF, obs-fold, space before the colon or
 * around the request line's parts, control bytes, invalid names, no or several Host with 1.1 (an
 * HTTP/1.0 request may have none), an invalid Host (RFC 3986 3.2.2 host[:port] only), a
 * Host that differs from an absolute-form authority, several Content-Length that are not one
 * identical decimal number, Content-Length beside Transfer-Encoding, Transfer-Encoding other than
 * exactly one "chunked", Transfer-Encoding with HTTP/1.0, a fragment or user info in the target.
 * Beyond the RFC, because servers differ: a Content-Length with a leading zero or over 2^63-1, a
 * backslash, %00 or a broken percent-encoding in the path, '%' or ',' in Host, a known name with
 * another mark for its '-' ("Content_Length"), Connection naming a known field that is not of this
 * hop, more than 64 options in Connection; an answer 1xx or 204 that announces a body.
 */
int http_head_parse(struct http_head *head, const char *buf, size_t len) MUST_CHECK;

/* The name and the value of a field; `buf` as given to http_head_parse. */
struct slice http_field_name(const char *buf, const struct http_field *field);
struct slice http_field_value(const char *buf, const struct http_field *field);

/* First field with this id, or NULL. */
const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id);

/*
 * First field with this name (compared without case; '_' in `name` also matches '-', as nginx's
 * $http_NAME does), or NULL.
 */
const struct http_field *http_head_find_name(const struct http_head *head, const char *buf,
                                             struct slice name);

/* Number of field lines with this id. */
uint32_t http_head_count(const struct http_head *head, enum http_field_id id);

/* The method's name for requests that were parsed: points into buf. */
struct slice http_head_method(const struct http_head *head, const char *buf);

/* GET, HEAD, PUT, DELETE, OPTIONS, TRACE (RFC 9110 9.2.2): may be sent a second time. */
bool http_method_idempotent(enum http_method method);

/* True for a character of a token (RFC 9110 5.6.2). */
bool http_is_tchar(unsigned char c);

#endif
