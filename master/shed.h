/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long-lived tunnels stay where they are when servers are added. `shed` closes some of those that the
 * other servers have beyond their share, so that their clients come back and find the new ones. Master
 * only.
 */
#ifndef MASTER_SHED_H
#define MASTER_SHED_H

#include "shm/board.h"

/* Which servers took new tunnels, or fail their checks only: a bit each. */
struct shed_before {
    uint64_t takes[BOARD_BACKENDS_MAX / 64];
};

/* Before something changes. `generation` is the one that is published. */
void shed_note(const struct board *board, uint32_t generation, struct shed_before *before);

/*
 * After it: for each upstream with servers that take tunnels now and did not before, one wave on every
 * server that has more than its share by weight: `shed` percent of its tunnels at most, all together
 * `shed_rate` a second, none that is opened from now on. The slots are to be told next.
 */
void shed_begin(const struct board *board, uint32_t generation, const struct shed_before *before);

#endif
