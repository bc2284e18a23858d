/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parking: the worker stops at a safe point while its keeper execs a new program, keeps its own copy
 * of all descriptors as insurance, and either makes room for a successor or goes on as before.
 */
#ifndef WORKER_PARK_H
#define WORKER_PARK_H

#include "worker/context.h"

/* The keeper woke us: begin to park if the command says so. */
void park_event(struct worker *w);

/*
 * While parking, once a turn: when no request is in flight, or time is up, park. Does not return if
 * the keeper commits; returns, serving as before, if the new program failed.
 */
void park_when_ready(struct worker *w);

#endif
