/* SPDX-License-Identifier: Apache-2.0 */
/* What workers think of a backend, as an observer reads it from the board. Observer only. */
#ifndef SHM_STAT_FITNESS_H
#define SHM_STAT_FITNESS_H

#include "shm/stat_view.h"

/* Failed requests have ejected it. */
bool stat_fitness_ejected(const struct stat_view *view, const struct board_backend *backend);

/* How far slow start lets it go, in percent; 100 when it has none. */
uint64_t stat_fitness_slow_percent(const struct stat_view *view,
                                   const struct board_backend *backend);

/* "up", "down", "draining", "failing", "ejected", "starting". */
const char *stat_fitness_state(const struct stat_view *view, const struct board_backend *backend);

/* Since when it is so, milliseconds since the epoch; 0: since ever. */
uint64_t stat_fitness_since(const struct stat_view *view, const struct board_backend *backend);

/*
 * May it take new work, limits and slow start left out? `panic`: its upstream ignores ejections.
 */
bool stat_fitness_in_force(const struct stat_view *view, const struct board_backend *backend,
                           bool panic);

#endif
