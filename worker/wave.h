/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When tunnels are to end that could go on: after QUIT, with their server (drain, removal, shed, an
 * operator's word), by max_age. All of it is read from the board and the rules (shm/board_wave.h).
 */
#ifndef WORKER_WAVE_H
#define WORKER_WAVE_H

#include "worker/context.h"

/*
 * Milliseconds until a tunnel is to be closed, 0: now; *reason says why. UINT32_MAX: nothing ends it,
 * or it is being closed already.
 */
uint32_t wave_left(const struct worker *w, uint32_t tunnel, enum reason *reason);

/*
 * Both clocks have been read; before, the real one was so far ahead of the monotonic one (0: never read). If
 * somebody has set it since, by more than a second, tunnels have grown no older by that, and none ends for it.
 */
void wave_look_at_clock(struct worker *w, uint64_t ahead_ms);

/*
 * If waves have begun since this was last called, arm the timers of the tunnels that they take; close
 * those that an operator has named. After a control message and once a second: the cost of one load
 * while nothing has changed.
 */
void wave_look(struct worker *w);

#endif
