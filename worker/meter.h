/* SPDX-License-Identifier: Apache-2.0 */
/* Rates of a tunnel's direction: token buckets in its meter (shm/arena_guard.h). Pure functions. */
#ifndef WORKER_METER_H
#define WORKER_METER_H

#include "shm/arena_guard.h"

#include <stdbool.h>

/* What came in one step. */
struct meter_load {
    uint32_t n[RATE_KINDS];
};

enum meter_verdict {
    METER_FINE,
    METER_WAIT, /* over a rate, and who is over it waits */
    METER_OVER, /* over a rate: 1008 (RFC 6455 7.4.1) */
};

/* Full buckets. */
void meter_init(struct arena_meter *meter, const struct arena_rules *rules, uint32_t now_ms);

/*
 * What has come is paid for. On METER_WAIT, *wait_ms is how long nothing should be read until the debt is
 * paid off, so that in the long run the rate is kept exactly.
 */
enum meter_verdict meter_charge(struct arena_meter *meter, const struct arena_rules *rules,
                                uint32_t d, const struct meter_load *load, uint32_t now_ms,
                                uint32_t *wait_ms);

#endif
