/* SPDX-License-Identifier: Apache-2.0 */
/* Dead children, and slots that have lost their keeper. Master only. */
#ifndef MASTER_REAP_H
#define MASTER_REAP_H

#include "master/master.h"

/*
 * Reap every child that has ended: keepers, and workers whose keeper died before them (we are their
 * subreaper). Sets master->childless.
 */
void reap_children(struct master *master);

/*
 * Look after every slot whose keeper does not live: a worker that lives replaces it by itself; when
 * both are gone, what was open is counted as lost and, if the slot is meant to run, a new keeper is
 * due. Call it after children ended, each second, and while it returns true (one is undecided).
 */
bool reap_check_slots(struct master *master, uint64_t now_ms);

#endif
