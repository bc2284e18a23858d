/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies of the echo backend: with a length or chunked, echoed or dropped, streamed. */
#ifndef TEST_TOOLS_ECHO_BODY_H
#define TEST_TOOLS_ECHO_BODY_H

#include "test/tools/echo_conn.h"

/* Where we are in a request body. */
enum echo_body_phase {
    ECHO_BODY_NONE, /* there is none, or it is done with */
    ECHO_BODY_LENGTH,
    ECHO_BODY_SIZE,     /* a chunk's size: hex digits */
    ECHO_BODY_EXT,      /* rest of the size line */
    ECHO_BODY_DATA,     /* a chunk's bytes */
    ECHO_BODY_DATA_END, /* the line end behind them */
    ECHO_BODY_TRAILER,  /* trailer section: passed on as it is, up to the empty line */
};

/* Echo or drop more of the body. Returns bytes of the input that are done with. */
size_t echo_body_input(struct echo_server *server, struct echo_conn *conn, const char *in,
                       size_t len);

#endif
