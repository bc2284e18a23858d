/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_stat.h"

enum { SUB_BITS = 5 };

static unsigned bucket_of(uint64_t ns)
{
    if (ns < WS_LOAD_STAT_SUB)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return (shift << SUB_BITS) + (unsigned)(ns >> shift);
}

/* The longest duration of a bucket. */
static uint64_t upper_end(unsigned bucket)
{
    if (bucket < 2 * WS_LOAD_STAT_SUB)
        return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t first = (uint64_t)(bucket - (shift << SUB_BITS)) << shift;
    return first + (1ull << shift) - 1;
}

void ws_load_stat_add(struct ws_load_stat *stat, uint64_t ns)
{
    stat->count++;
    stat->sum_ns += ns;
    if (ns > stat->max_ns)
        stat->max_ns = ns;
    stat->buckets[bucket_of(ns)]++;
}

double ws_load_stat_us(const struct ws_load_stat *stat, double per_mille)
{
    double wanted = (double)stat->count * per_mille / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < WS_LOAD_STAT_BUCKETS; i++) {
        seen += stat->buckets[i];
        if (seen == 0 || (double)seen < wanted)
            continue;
        uint64_t end = upper_end(i);
        return (double)(end < stat->max_ns ? end : stat->max_ns) / 1000;
    }
    return 0;
}
