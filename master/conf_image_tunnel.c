/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for open tunnels, compiled (master/conf_tunnel.h): worker/rules.c takes it over. */
#include "master/conf_build.h"

/* However slow a rate, so much may always come at once, or nothing would ever come. */
enum { BURST_BYTES_MIN = 16384, BURST_COUNT_MIN = 1 };

static struct arena_rate rate_of(const struct conf_tunnel *tunnel, uint32_t d, enum rate_kind kind)
{
    uint32_t per_s = tunnel->per_s[d][kind];
    uint64_t least = kind == RATE_BYTES ? BURST_BYTES_MIN : BURST_COUNT_MIN;
    uint64_t burst = (uint64_t)per_s * tunnel->rate_burst_ms / 1000;
    if (per_s == 0)
        return (struct arena_rate){0, 0};
    burst = burst < least ? least : burst;
    return (struct arena_rate){per_s, burst > UINT32_MAX ? UINT32_MAX : (uint32_t)burst};
}

static struct arena_limits limits_of(const struct conf_tunnel *tunnel)
{
    struct arena_limits limits = {
        .max_frame = tunnel->max_frame,
        .max_message = tunnel->max_message,
    };
    for (uint32_t d = 0; d < 2; d++) {
        for (uint32_t kind = 0; kind < RATE_KINDS; kind++)
            limits.rates[d][kind] = rate_of(tunnel, d, kind);
    }
    return limits;
}

/* Is there anything for which the frames of this direction must be looked at? */
static bool has_limits(const struct conf_tunnel *tunnel, uint32_t d)
{
    bool rates = false;
    for (uint32_t kind = 0; kind < RATE_KINDS; kind++)
        rates = rates || tunnel->per_s[d][kind] != 0;
    return rates || tunnel->check_frames || tunnel->max_frame != 0 || tunnel->max_message != 0;
}

static uint32_t flags_of(const struct conf_tunnel *tunnel)
{
    return (tunnel->ping_backend ? RULES_PING_BACKEND : 0u) |
           (tunnel->ping_resets_idle ? RULES_PONG_IS_LIFE : 0u) |
           (tunnel->check_frames ? RULES_CHECK_FRAMES : 0u) |
           (tunnel->over_rate == OVER_RATE_DELAY ? RULES_DELAY : 0u) |
           (has_limits(tunnel, 0) ? RULES_LIMITS_0 : 0u) |
           (has_limits(tunnel, 1) ? RULES_LIMITS_1 : 0u);
}

void conf_image_tunnel_fill(struct conf_build *build, const struct conf_route *from,
                            struct image_route *route)
{
    const struct conf_tunnel *tunnel = &from->options.tunnel;
    route->tunnel_flags = flags_of(tunnel);
    route->ping_interval_ms = tunnel->ping_interval_ms;
    route->ping_timeout_ms = tunnel->ping_timeout_ms;
    route->close_timeout_ms = tunnel->close_timeout_ms;
    route->max_age_ms = tunnel->max_age_ms;
    route->max_age_spread_ms =
        (uint32_t)((uint64_t)tunnel->max_age_ms * tunnel->max_age_jitter / 100);
    route->close_code = tunnel->close_code;
    route->close_reason = conf_build_text(build, tunnel->close_reason);
    route->limits = limits_of(tunnel);
}
