/* SPDX-License-Identifier: Apache-2.0 */
/* From nothing to forked keepers. Master only. */
#ifndef MASTER_START_H
#define MASTER_START_H

#include "master/master.h"

/* An empty master; borrows `conf_path` and takes `ready_fd` (-1: not a daemon). */
void start_init(struct master *master, const char *conf_path, int ready_fd);

/*
 * Read the configuration, claim the board, bind, publish generation 1, fork the keepers. Errors are
 * printed to standard error. Returns 0 or -errno; stop_finish then cleans up what was made.
 */
int start_master(struct master *master) MUST_CHECK;

/*
 * One turn of MASTER_STARTING: once every worker serves, say so everywhere. Workers that do not come
 * up within START_PATIENCE_MS end the start, with an exit status of 1.
 */
enum { START_PATIENCE_MS = 10000 };
void start_step(struct master *master, uint64_t now_ms);

#endif
