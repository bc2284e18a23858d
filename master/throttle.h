/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before a process that died is started again. Pure: no clock, no sleep. */
#ifndef MASTER_THROTTLE_H
#define MASTER_THROTTLE_H

#include "common/compiler.h"

#include <stdint.h>

enum {
    THROTTLE_YOUNG_MS = 1000, /* who dies earlier died young */
    THROTTLE_KILLED_YOUNG_MS =
        20, /* the same after SIGKILL, which is not the process's own fault */
    THROTTLE_OLD_MS =
        10000,         /* who lived so long clears the record; who was not young, one death of it */
    THROTTLE_FREE = 3, /* young deaths that are replaced at once */
    THROTTLE_FIRST_MS = 50, /* the first pause; then doubled */
    THROTTLE_MAX_MS = 5000,
};

/* Young deaths since the last one that was old. Zeroed to begin with. */
struct throttle {
    uint32_t young;
};

/*
 * A process lived `lived_ms` and ended with wait status `status`: milliseconds to wait before the
 * next start. 0, 0, 0, then 50 ms doubling to 5 s for a process that keeps dying young.
 */
uint32_t throttle_pause_ms(struct throttle *throttle, uint64_t lived_ms, int status) MUST_CHECK;

#endif
