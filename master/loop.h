/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop of the master: signals, and a look at everything that is not settled. */
#ifndef MASTER_LOOP_H
#define MASTER_LOOP_H

#include "master/master.h"

/* Returns when the master is to end and no child lives any more. */
void loop_run(struct master *master);

#endif
