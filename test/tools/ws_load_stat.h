/* SPDX-License-Identifier: Apache-2.0 */
/* Durations in a histogram of logarithmic buckets: off by 3 % at most, the maximum exact. */
#ifndef TEST_TOOLS_WS_LOAD_STAT_H
#define TEST_TOOLS_WS_LOAD_STAT_H

#include <stdint.h>

enum {
    WS_LOAD_STAT_SUB = 32, /* buckets for each power of two */
    WS_LOAD_STAT_BUCKETS = 60 * WS_LOAD_STAT_SUB,
};

struct ws_load_stat {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[WS_LOAD_STAT_BUCKETS];
};

void ws_load_stat_add(struct ws_load_stat *stat, uint64_t ns);

/* The duration that `per_mille` of 1000 were not longer than, in microseconds; 0 if there are none. */
double ws_load_stat_us(const struct ws_load_stat *stat, double per_mille);

#endif
