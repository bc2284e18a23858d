/* SPDX-License-Identifier: Apache-2.0 */
/* The time of tunnels on a server that drains or was removed, on the board. Master only. */
#ifndef MASTER_DRAIN_H
#define MASTER_DRAIN_H

#include "shm/board.h"

/*
 * Its drain_timeout begins, if it has one and none runs yet: the last tunnel is closed at its end, the
 * first one `window_ms` before. Returns true if that is news: board_wave_tell is to follow, as for _end.
 */
bool drain_begin(struct board_backend *backend, uint32_t window_ms);

/* It serves again: what is open stays. Returns true if a time was running. */
bool drain_end(struct board_backend *backend);

#endif
