/* SPDX-License-Identifier: Apache-2.0 */
#include "master/drain.h"

#include "common/clock.h"

bool drain_begin(struct board_backend *backend, uint32_t window_ms)
{
    uint32_t timeout_ms = backend->drain_timeout_ms;
    if (timeout_ms == 0 || backend->drain_until_ms != 0)
        return false;
    /* A worker that sees the spread without the time sees no drain. */
    STORE_RELAXED(&backend->drain_spread_ms, window_ms < timeout_ms ? window_ms : timeout_ms);
    STORE_RELEASE(&backend->drain_until_ms, clock_mono_ms() + timeout_ms);
    return true;
}

bool drain_end(struct board_backend *backend)
{
    bool ran = backend->drain_until_ms != 0;
    STORE_RELEASE(&backend->drain_until_ms, 0);
    return ran;
}
