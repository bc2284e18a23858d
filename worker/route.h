/* SPDX-License-Identifier: Apache-2.0 */
/* Which route a request takes: by path, method, fields and subprotocols. */
#ifndef WORKER_ROUTE_H
#define WORKER_ROUTE_H

struct request;

/* Site, host and path are known: set request->route, NULL if none fits, and its groups. */
void route_find(struct request *request);

#endif
