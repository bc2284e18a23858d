/* SPDX-License-Identifier: Apache-2.0 */
/* The books of a slot whose keeper and worker are both dead. Master only. */
#ifndef MASTER_BURY_H
#define MASTER_BURY_H

#include "common/compiler.h"
#include "shm/board.h"

#include <stdint.h>

/*
 * Nobody adopts what the slot had open: its tunnels are counted as lost, their bytes and frames move
 * to the counters, and nothing stands open on the board any more. The slot must have no other writer.
 * Returns the tunnels that were lost.
 */
uint32_t bury_slot(const struct board *board, uint32_t slot);

#endif
