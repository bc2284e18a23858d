/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a connection, in the clear or by OpenSSL: a TLS of its own that shares no code with the
 * proxy's record layer. Functions behave like their system calls: -1 and errno, EAGAIN included.
 */
#ifndef TEST_TOOLS_WS_LOAD_IO_H
#define TEST_TOOLS_WS_LOAD_IO_H

#include "test/tools/ws_load.h"

#include <sys/types.h>

/* Once, if the options ask for TLS. Returns 0 or -1. */
int ws_load_io_init(struct ws_load *load);

/* A handshake step on a connected socket: 1 done (or no TLS), 0 more events are needed, -errno. */
int ws_load_io_shake(struct ws_load *load, struct ws_load_conn *conn);

/* Events a handshake waits for. */
uint32_t ws_load_io_interest(const struct ws_load_conn *conn);

ssize_t ws_load_io_send(struct ws_load *load, struct ws_load_conn *conn, const void *bytes,
                        size_t n);
ssize_t ws_load_io_recv(struct ws_load_conn *conn, void *bytes, size_t n);

/* Bytes that have left the socket and wait in OpenSSL: no event will tell of them. */
bool ws_load_io_buffered(const struct ws_load_conn *conn);

/* A send must be repeated with no less than so many bytes. */
size_t ws_load_io_least(const struct ws_load_conn *conn);

/* close_notify, then FIN. */
void ws_load_io_shutdown(struct ws_load_conn *conn);
void ws_load_io_close(struct ws_load_conn *conn);

#endif
