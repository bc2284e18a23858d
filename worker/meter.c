/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/meter.h"

#include <string.h>

enum {
    PART = 1000 /* levels are in thousandths: a rate per second adds as much each millisecond */
};
/*
 * A bucket that was left alone for longer is filled for an hour at most: a burst is no longer, but for
 * the least one of a very slow rate.
 */
enum { REFILL_MAX_MS = 3600000 };
/* What has no limit has so much left; when a reload sets one, it begins with a full bucket. */
#define NO_LIMIT (INT64_MAX / 2)

void meter_init(struct arena_meter *meter, uint32_t now_ms)
{
    memset(meter, 0, sizeof *meter);
    for (uint32_t d = 0; d < 2; d++) {
        meter->level_ms[d] = now_ms;
        for (uint32_t kind = 0; kind < RATE_KINDS; kind++)
            meter->level[d][kind] = NO_LIMIT;
    }
}

static void refill(struct arena_meter *meter, const struct arena_rate *rates, uint32_t d,
                   uint32_t now_ms)
{
    uint32_t since = now_ms - meter->level_ms[d];
    if (since > REFILL_MAX_MS)
        since = REFILL_MAX_MS;
    meter->level_ms[d] = now_ms;
    for (uint32_t kind = 0; kind < RATE_KINDS; kind++) {
        int64_t full = (int64_t)rates[kind].burst * PART;
        int64_t level = meter->level[d][kind] + (int64_t)rates[kind].per_s * since;
        meter->level[d][kind] = rates[kind].per_s == 0 ? NO_LIMIT : level < full ? level : full;
    }
}

enum meter_verdict meter_charge(struct arena_meter *meter, const struct arena_rules *rules,
                                uint32_t d, const struct meter_load *load, uint32_t now_ms,
                                uint32_t *wait_ms)
{
    const struct arena_rate *rates = rules->limits.rates[d];
    enum meter_verdict verdict = METER_FINE;
    *wait_ms = 0;
    refill(meter, rates, d, now_ms);
    for (uint32_t kind = 0; kind < RATE_KINDS; kind++) {
        if (rates[kind].per_s == 0)
            continue;
        meter->level[d][kind] -= (int64_t)load->n[kind] * PART;
        if (meter->level[d][kind] >= 0)
            continue;
        if (kind == RATE_CONTROL || !(rules->flags & RULES_DELAY))
            return METER_OVER;
        verdict = METER_WAIT;
        int64_t wait = -meter->level[d][kind] / rates[kind].per_s + 1;
        if (wait > *wait_ms)
            *wait_ms = wait < REFILL_MAX_MS ? (uint32_t)wait : (uint32_t)REFILL_MAX_MS;
    }
    return verdict;
}
