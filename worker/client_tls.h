/* SPDX-License-Identifier: Apache-2.0 */
/* Between client.c and client_tls.c: the handshake of a client that came by a TLS listener. */
#ifndef WORKER_CLIENT_TLS_H
#define WORKER_CLIENT_TLS_H

#include "worker/client.h"
#include "worker/conn_tls.h"

/*
 * Go on with it, or wait for a turn: at most max_handshakes of a worker are under way, so that a storm
 * of them costs bounded memory. FAILED: counted and logged; close the client.
 */
enum conn_tls_result client_tls_run(struct client *client);

/* May one more handshake begin now? At most max_handshakes at a time, and a few a loop turn. */
bool client_tls_may_begin(const struct worker *w);

/*
 * A client that others wait for: all turns are taken, and of those who have one it has let us wait longest,
 * for a second at least. Counted and logged; close it. NULL: none.
 */
struct client *client_tls_slow(struct worker *w);

/* The client leaves the handshake, for whatever reason: its turn is free. */
void client_tls_leave(struct client *client);

#endif
