/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may come in: lists of prefixes, origins, limits of clients, sites and upstreams, and the pace of
 * handshakes. Costs nothing where nothing is configured but three counts of an upgrade.
 *
 * Functions that return bool: false means that the request was refused, and is gone, or that it waits for its
 * turn (REQUEST_WAITING) and goes on by itself.
 */
#ifndef WORKER_ADMIT_H
#define WORKER_ADMIT_H

#include <stdbool.h>

struct request;
struct tunnel_opening;

/* Its route is known: 403 for those whom its lists keep outside. */
bool admit_request(struct request *request);

/*
 * It is a valid handshake on a route that allows it: 403 by its Origin, 429 by the limits of its client,
 * 503 when there are max_tunnels, or when handshakes come too fast to wait.
 */
bool admit_upgrade(struct request *request);

/* A server was chosen for it: its turn there. */
bool admit_to_server(struct request *request);

/* Its timer says that its turn has come. */
void admit_turn(struct request *request);

/* It ends without a tunnel: count it out. */
void admit_leave(struct request *request);

#endif
