/* SPDX-License-Identifier: Apache-2.0 */
/* TERM, INT: end now. QUIT: end when the last tunnel has ended. Master only. */
#ifndef MASTER_STOP_H
#define MASTER_STOP_H

#include "master/master.h"

/* Slots end at once, and what is left after two seconds is killed. Also while QUIT is under way. */
void stop_now(struct master *master);

/* Slots accept nothing more and end when nothing is open; this may take hours. */
void stop_gracefully(struct master *master);

/* One turn while stopping: deal with slots that cannot follow. Returns true when all have ended. */
bool stop_step(struct master *master, uint64_t now_ms);

/*
 * The end, also of a start that failed half-way: close all sockets, remove the board's name and the
 * PID file. No child of ours may live any more.
 */
void stop_finish(struct master *master);

#endif
