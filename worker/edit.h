/* SPDX-License-Identifier: Apache-2.0 */
/* Heads changed as a route says: paths rewritten, fields set, added and removed. */
#ifndef WORKER_EDIT_H
#define WORKER_EDIT_H

#include "shm/image.h"
#include "worker/buf.h"

#include <stdbool.h>

struct request;

/* The same name, or one that a CGI-like server cannot tell from it: another mark stands for a mark. */
bool edit_alike(struct slice name, struct slice wanted);

/*
 * Do the edits drop a field of this name that was received? What they set or remove they drop in all
 * spellings: to many a server "X_User" is "X-User".
 */
bool edit_drops(const struct request *request, struct image_array edits, struct slice name);

/*
 * Append the fields that the edits set and add; a value without bytes is no field. Control bytes, which a client could
 * bring in by way of a decoded path, become '?'. Returns 0 or -ENOSPC.
 */
int edit_put_fields(const struct request *request, struct image_array edits,
                    struct buf *out) MUST_CHECK;

/* Append the path that the route rewrites to, percent-encoded anew. Returns 0 or -ENOSPC. */
int edit_put_path(const struct request *request, struct buf *out) MUST_CHECK;

/* Append the URI of the route's own answer; what may not stand in one is encoded. Likewise. */
int edit_put_location(const struct request *request, struct buf *out) MUST_CHECK;

#endif
