/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generated output of the echo backend: /bytes, /chunked and /push. Byte i of a stream, counted
 * over all its messages, is i % ECHO_PERIOD, so that a receiver can check every one.
 */
#ifndef TEST_TOOLS_ECHO_STREAM_H
#define TEST_TOOLS_ECHO_STREAM_H

#include "test/tools/echo_conn.h"

/* Fill the pattern; once, at start. */
void echo_stream_init(struct echo_server *server);

/* Begin: n bytes as they are; n bytes in chunks; `units` binary messages of n bytes each. */
void echo_stream_bytes(struct echo_server *server, struct echo_conn *conn, uint64_t n);
void echo_stream_chunked(struct echo_server *server, struct echo_conn *conn, uint64_t n);
void echo_stream_push(struct echo_server *server, struct echo_conn *conn, uint64_t units,
                      uint64_t n);

/* Generate as much as this round has room for; at the end goes on to the next state. */
void echo_stream_fill(struct echo_server *server, struct echo_conn *conn);

#endif
