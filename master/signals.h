/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of the master, read from a signalfd in the event loop. */
#ifndef MASTER_SIGNALS_H
#define MASTER_SIGNALS_H

#include "master/master.h"

#include <signal.h>

/* `-s recycle`: nginx knows no such signal, so it gets the first that nobody else uses. */
#define SIGNALS_RECYCLE SIGRTMIN

/*
 * Block what the master handles and open the signalfd (close-on-exec); SIGPIPE is ignored.
 * Returns the descriptor or -errno.
 */
int signals_open(void) MUST_CHECK;

/* Read all that have come and start what each asks for. Never blocks. */
void signals_handle(struct master *master);

#endif
