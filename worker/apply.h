/* SPDX-License-Identifier: Apache-2.0 */
/* Applying what the master wants: configuration, listeners, logs and mode (shm/control.h). */
#ifndef WORKER_APPLY_H
#define WORKER_APPLY_H

#include "worker/context.h"

/* The control socket is readable: apply the newest message that waits. */
void apply_event(struct worker *w);

/* A successor takes over what its predecessor had applied: image, logs, listeners, mode. */
void apply_inherited(struct worker *w);

#endif
