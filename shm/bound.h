/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded load: how many connections a server may have. Workers go by it, observers show it. */
#ifndef SHM_BOUND_H
#define SHM_BOUND_H

#include <stdint.h>

/*
 * `max_load` hundredths of the fair share, rounded up, that a server of `weight` has of `conns`
 * connections (the one to come included) among servers of `weights` together. The bounds of all of them
 * add up to `conns` at least, so that there is always one below its own.
 */
static inline uint32_t bound_of(uint64_t conns, uint32_t weight, uint64_t weights,
                                uint32_t max_load)
{
    uint64_t whole = 100 * weights;
    uint64_t bound = (conns * weight * max_load + whole - 1) / (whole == 0 ? 1 : whole);
    return bound > UINT32_MAX ? UINT32_MAX : (uint32_t)bound;
}

#endif
