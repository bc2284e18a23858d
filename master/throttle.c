/* SPDX-License-Identifier: Apache-2.0 */
#include "master/throttle.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

uint32_t throttle_pause_ms(struct throttle *throttle, uint64_t lived_ms, int status)
{
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    uint64_t young_ms = killed ? THROTTLE_KILLED_YOUNG_MS : THROTTLE_YOUNG_MS;

    if (lived_ms >= THROTTLE_OLD_MS)
        throttle->young = 0;
    if (lived_ms >= young_ms) {
        if (throttle->young > 0)
            throttle->young--; /* lives and young deaths in turn are no crash loop */
        return 0;
    }
    if (throttle->young < UINT32_MAX)
        throttle->young++;
    if (throttle->young <= THROTTLE_FREE)
        return 0;
    uint32_t pause_ms = THROTTLE_FIRST_MS;
    for (uint32_t i = THROTTLE_FREE + 1; i < throttle->young && pause_ms < THROTTLE_MAX_MS; i++)
        pause_ms *= 2;
    return pause_ms < THROTTLE_MAX_MS ? pause_ms : THROTTLE_MAX_MS;
}
