/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relaying: protocol COUNT. The read buffer is a chunk of the arena, the op record names the
 * direction in flight, the kernel keeps exact stream positions and the record keeps ours. Five plain
 * stores a message, no system call beside recv and send; a successor goes on at the exact byte.
 */
#ifndef WORKER_RELAY_H
#define WORKER_RELAY_H

#include "worker/context.h"

enum relay_result {
    RELAY_WAIT,    /* nothing more to do before the next event */
    RELAY_MORE,    /* the budget is used up: run again without an event */
    RELAY_CLOSED,  /* both directions have ended in order: close the tunnel */
    RELAY_FAILED,  /* *reason tells why: abort the tunnel */
    RELAY_REFUSED, /* likewise, but close it in order: what was sent shall arrive */
};

/*
 * Move what can be moved in one direction: pending bytes first, then reads until one is short, at
 * most a few.
 */
enum relay_result relay_run(struct worker *w, uint32_t tunnel, uint32_t d, enum reason *reason);

/*
 * Publish byte and frame counts on the board, and the time if the source was `heard`: if it has sent more
 * than an answer to our ping.
 */
void relay_publish(struct worker *w, uint32_t tunnel, uint32_t d, uint32_t bytes, bool heard);

#endif
