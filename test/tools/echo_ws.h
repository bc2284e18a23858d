/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSocket side of the echo backend (RFC 6455): handshake answer, frames in, frames out. */
#ifndef TEST_TOOLS_ECHO_WS_H
#define TEST_TOOLS_ECHO_WS_H

#include "test/tools/echo_conn.h"

enum { ECHO_WS_FIN = 0x80, ECHO_WS_TEXT = 1, ECHO_WS_BINARY = 2 };

/* Append a 101 answer to this key; `protocol` is the subprotocol chosen, n == 0 for none. */
void echo_ws_accept(struct echo_server *server, struct slice key, struct slice protocol);

/* Append an unmasked frame header; `first` is its first byte (5.2). */
void echo_ws_put_header(struct echo_server *server, unsigned first, uint64_t size);

/* Go over to frames: the connection stands between two of them. */
void echo_ws_begin(struct echo_server *server, struct echo_conn *conn);

/*
 * Echo data frames as they come, any size and fragment by fragment; answer ping with pong, Close
 * with the same Close. What a client must not send is answered with Close 1002.
 * Returns bytes of the input that are done with.
 */
size_t echo_ws_input(struct echo_server *server, struct echo_conn *conn, char *in, size_t len);

#endif
