/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of RFC 6455 section 4, as a gateway must check it on both sides. No I/O. */
#ifndef COMMON_WS_HANDSHAKE_H
#define COMMON_WS_HANDSHAKE_H

#include "common/compiler.h"
#include "common/http_head.h"

enum { WS_ACCEPT_LEN = 28 }; /* base64 of a SHA-1 */

/*
 * Does this request ask for an upgrade, and is it one that we pass on? (RFC 6455 4.2.1)
 * Returns 0: a valid WebSocket handshake;
 *   -ENOMSG: no upgrade asked for (no Upgrade field, or HTTP/1.0, where it must be ignored, RFC 9110 7.8);
 *   -EPROTONOSUPPORT: asks for a protocol other than websocket (h2c ...) or for several: serve it as a
 *     plain request without its Upgrade field;
 *   -EPROTO: version is not 13: answer 426 with Sec-WebSocket-Version: 13;
 *   -EBADMSG: asks for websocket but is not valid (method, body, Connection without upgrade, key
 *     missing, repeated or not 16 bytes of base64, version repeated, extensions that nobody can
 *     read): answer 400.
 */
int ws_request_check(const struct http_head *head, const char *buf) MUST_CHECK;

/* The Accept value for a key as sent (RFC 6455 4.2.2): WS_ACCEPT_LEN characters, no NUL. */
void ws_accept_for(struct slice key, char out[WS_ACCEPT_LEN]);

/*
 * Is this 101 answer a valid one to that request? Upgrade: websocket, Connection: upgrade, the
 * right Sec-WebSocket-Accept exactly once, a subprotocol the client offered (or none), extensions
 * whose names the client offered (or none), no Content-Length and no Transfer-Encoding.
 * Returns 0, or -EPROTO with *why set to a fixed text.
 */
int ws_response_check(const struct http_head *request, const char *request_buf,
                      const struct http_head *response, const char *response_buf,
                      const char **why) MUST_CHECK;

/* What a 101 answer says of the reserved bits of frames (RFC 6455 5.2, 9). */
enum ws_extensions {
    WS_EXTENSIONS_NONE,    /* nobody uses one */
    WS_EXTENSIONS_DEFLATE, /* permessage-deflate, and nothing else: RSV1 (RFC 7692 6) */
    WS_EXTENSIONS_OTHER,   /* one that we do not know, or several: any of them */
};

/*
 * The extensions of all Sec-WebSocket-Extensions fields together. What cannot be read counts as OTHER:
 * ws_response_check has refused it, and who did not ask it must not enforce anything.
 */
enum ws_extensions ws_extensions_of(const struct http_head *response, const char *buf);

#endif
