/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait because all servers of their upstream are full. Each worker holds its own, and shows
 * on the board how many wait and since when the oldest does (struct board_queue): so the limit counts all
 * workers, and a place that falls free goes to the oldest of all.
 */
#ifndef WORKER_QUEUE_H
#define WORKER_QUEUE_H

#include "worker/request.h"

/* Must a new request go behind others that wait for the same upstream? */
bool queue_is_waiting(const struct request *request);

/*
 * Let the request wait, in state QUEUED, at most `queue_timeout` from now.
 * Returns 0, -EBUSY (the upstream has no queue, or it is full) or -ENOMEM.
 */
int queue_enter(struct request *request) MUST_CHECK;

/* It waits no more. Does nothing for one that does not wait. */
void queue_leave(struct request *request);

/*
 * In every turn while some wait (worker.looking): hand out the oldest ones to servers that have room, and refuse those whose time
 * is over. Requests may be gone afterwards.
 */
void queue_run(struct worker *w);

/* A predecessor's requests have died with it: none of this slot wait. */
void queue_forget(struct worker *w);

#endif
