/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting: in bounded bursts, so that new connections never starve open ones. */
#ifndef WORKER_ACCEPT_H
#define WORKER_ACCEPT_H

#include "worker/context.h"

/* The listener with this place in the arena has connections waiting. */
void accept_event(struct worker *w, uint32_t place);

/*
 * Begin or stop to watch the listeners, as mode and free descriptors allow; called once a loop turn.
 * A client may need a backend's descriptor beside its own, so accepting pauses while that many are
 * not free; then the oldest clients between requests are closed to make room.
 */
void accept_regulate(struct worker *w);

/* Stop watching a listener: it is about to be closed. */
void accept_forget(struct worker *w, uint32_t place);

/* Accept all that waits on a listener that is about to be closed, so that nobody is reset. */
void accept_drain(struct worker *w, uint32_t place);

#endif
