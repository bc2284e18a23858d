/* SPDX-License-Identifier: Apache-2.0 */
/* One tunnel on its socket: connect and handshake, sending and receiving, its end. */
#ifndef TEST_TOOLS_WS_LOAD_CONN_H
#define TEST_TOOLS_WS_LOAD_CONN_H

#include "test/tools/ws_load.h"

/* Begin to open the tunnel of a slot that is empty. */
void ws_load_conn_open(struct ws_load *load, struct ws_load_conn *conn);

/* Do what epoll events on it call for. */
void ws_load_conn_event(struct ws_load *load, struct ws_load_conn *conn, uint32_t events);

/* Its timer is due. */
void ws_load_conn_timer(struct ws_load *load, struct ws_load_conn *conn);

/* The run is over: let it come to its end. */
void ws_load_conn_stop(struct ws_load *load, struct ws_load_conn *conn);

/* Fail it if something is outstanding and nothing has moved for too long. */
void ws_load_conn_check_stall(struct ws_load *load, struct ws_load_conn *conn);

#endif
