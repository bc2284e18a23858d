/* SPDX-License-Identifier: Apache-2.0 */
/* Tunnels on servers that drain, or are configured no more: they live until drain_timeout. */
#ifndef WORKER_DRAIN_H
#define WORKER_DRAIN_H

#include "worker/context.h"

/*
 * Once a second: close tunnels whose server's time is over (drain_until_ms on the board), so many
 * at a time that their clients do not all come back at once.
 */
void drain_run(struct worker *w);

#endif
