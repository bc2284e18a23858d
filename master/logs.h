/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the log files: the master does it, workers get the descriptors. */
#ifndef MASTER_LOGS_H
#define MASTER_LOGS_H

#include "master/master.h"

#include <stdio.h>

/*
 * Open what the configuration names: files are created 0640 and appended to; "stderr" and "stdout"
 * are duplicated. Failures are printed to `errors`. On 0 the caller owns what *logs holds.
 * Returns 0 or -errno; then *logs is all -1.
 */
int logs_open(struct master_logs *logs, const struct conf *conf, FILE *errors) MUST_CHECK;

/* Close and set to -1. */
void logs_close(struct master_logs *logs);

/* These are in force now: the master's own lines go there. Takes *logs, closes the ones before. */
void logs_use(struct master *master, struct master_logs *logs);

#endif
