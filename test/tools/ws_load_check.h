/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back: frames are parsed and compared with what was sent. No I/O. */
#ifndef TEST_TOOLS_WS_LOAD_CHECK_H
#define TEST_TOOLS_WS_LOAD_CHECK_H

#include "test/tools/ws_load.h"

/*
 * Go over bytes that came behind the handshake. Returns NULL, or a fixed text that says what is wrong
 * with them; *fault is then FAULT_CORRUPT, or FAULT_LOST for a Close that nobody asked for.
 */
const char *ws_load_check_feed(struct ws_load *load, struct ws_load_conn *conn,
                               const uint8_t *bytes, size_t n, enum ws_load_fault *fault);

/* True if nothing more has to come back: all messages and pongs are there, no frame is open. */
bool ws_load_check_complete(const struct ws_load_conn *conn);

/* The payload of ping number `number`: returns its size. */
uint8_t ws_load_check_ping(const struct ws_load_conn *conn, uint32_t number, uint8_t *out);

#endif
