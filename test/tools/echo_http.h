/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/1.1 side of the echo backend: heads and routes. */
#ifndef TEST_TOOLS_ECHO_HTTP_H
#define TEST_TOOLS_ECHO_HTTP_H

#include "test/tools/echo_conn.h"

/*
 * Answer the request whose head stands at the start of the input, if it is complete; upgrades to
 * WebSocket if it asks for that. Returns bytes done with: the whole head or none.
 */
size_t echo_http_head(struct echo_server *server, struct echo_conn *conn, const char *in,
                      size_t len);

/* The answer is complete: go on with the request's body, the next request, or the end. */
void echo_http_answered(struct echo_server *server, struct echo_conn *conn);

/* Answer /slow: its time has come. */
void echo_http_slow(struct echo_server *server, struct echo_conn *conn);

#endif
