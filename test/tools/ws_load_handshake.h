/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the opening handshake (RFC 6455 4.1). */
#ifndef TEST_TOOLS_WS_LOAD_HANDSHAKE_H
#define TEST_TOOLS_WS_LOAD_HANDSHAKE_H

#include "test/tools/ws_load.h"

/* Draw the connection's Sec-WebSocket-Key. */
void ws_load_handshake_key(struct ws_load *load, struct ws_load_conn *conn);

/* Send the request. Returns 0 (all of it), 1 (the socket takes no more now) or -errno. */
int ws_load_handshake_send(struct ws_load *load, struct ws_load_conn *conn);

/*
 * Look at the answer in conn->head. Returns its size, 0 (incomplete) or -EPROTO (not a 101 with the
 * right Sec-WebSocket-Accept).
 */
int ws_load_handshake_check(const struct ws_load_conn *conn);

#endif
