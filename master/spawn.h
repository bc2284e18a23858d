/* SPDX-License-Identifier: Apache-2.0 */
/* Fork the keeper of a slot. Master only. */
#ifndef MASTER_SPAWN_H
#define MASTER_SPAWN_H

#include "master/master.h"

/* Fork for every slot that is meant to run, does not, and has waited long enough. Every turn. */
void spawn_missing(struct master *master, uint64_t now_ms);

#endif
