/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, in the units we use. Monotonic times are comparable between processes of one boot. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds, and in nanoseconds. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);

/* CLOCK_REALTIME in milliseconds since the epoch. */
uint64_t clock_real_ms(void);

#endif
