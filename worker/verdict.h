/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passive checks: what a worker's requests tell about their servers, noted on the board for all workers
 * (shm/passive.h), and said once in the log and among the events when it changes something.
 */
#ifndef WORKER_VERDICT_H
#define WORKER_VERDICT_H

#include "worker/request.h"

enum { VERDICT_NAME_MAX = BOARD_NAME_MAX + BOARD_SERVER_MAX };

/* "upstream/server" of the request's server. Returns `out`. */
const char *verdict_name(const struct request *request, char out[VERDICT_NAME_MAX]);

/* The request's server failed it, and it was the server's fault. */
void verdict_failed(struct request *request, enum reason reason);

/* It has answered as it should: a right 101, or the head of an answer. */
void verdict_answered(struct request *request);

/* What the choice found about panic. */
void verdict_panic(struct request *request);

#endif
