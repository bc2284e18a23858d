/* SPDX-License-Identifier: Apache-2.0 */
/* Whose request is it, when proxies whom we trust stand between the client and us? */
#ifndef WORKER_REMOTE_H
#define WORKER_REMOTE_H

struct request;

/*
 * Set request->remote: the connection's peer, or, if its route trusts that peer, the last address in X-Forwarded-For
 * that it does not trust. Route and head are known. An element that is no address ends the
 * search: what stands in front of it was written by somebody whom nobody vouches for.
 */
void remote_find(struct request *request);

#endif
