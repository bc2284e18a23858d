/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_tunnel.h"

#include "common/utf8.h"
#include "common/ws_walk.h"
#include "master/conf.h"
#include "master/conf_error.h"
#include "master/conf_sticky.h"

struct check {
    const struct conf *conf;
    struct conf_errors *errors;
};

/*
 * The first of two fields that is written at the level in question; NULL: none is, and the level above
 * has the message. Looked for only once something is wrong: it walks over all that is written.
 */
static const void *written(const struct check *check, const void *a, const void *b)
{
    if (conf_error_written(check->conf, a))
        return a;
    return conf_error_written(check->conf, b) ? b : NULL;
}

static void check_code(const struct check *check, const struct conf_tunnel *tunnel)
{
    uint32_t code = tunnel->close_code;
    /* 0: was refused already */
    if (code == 0 || code == 1001 || code == 1012 || code == 1013 || code >= 3000)
        return;
    if (written(check, &tunnel->close_code, NULL))
        conf_error_field(
            check->errors, check->conf, &tunnel->close_code,
            "%u would tell clients something else (1000: all is said, do not come "
            "again), or must not be sent (RFC 6455 7.4); write 1001 (going away), 1012 "
            "(service restart), 1013 (try again later), or 3000 to 4999",
            code);
}

static void check_reason(const struct check *check, const struct conf_tunnel *tunnel)
{
    const char *reason = tunnel->close_reason;
    if (!reason || reason[0] == '\0')
        return;
    size_t n = strlen(reason);
    bool utf8 = utf8_valid(slice_of(reason));
    if ((n <= CLOSE_REASON_MAX && utf8 && tunnel->close_timeout_ms != 0) ||
        !written(check, &tunnel->close_reason, NULL))
        return;
    if (n > CLOSE_REASON_MAX)
        conf_error_field(check->errors, check->conf, &tunnel->close_reason,
                         "has %zu bytes, but a Close frame has room for %d beside the code", n,
                         CLOSE_REASON_MAX);
    if (!utf8)
        conf_error_field(check->errors, check->conf, &tunnel->close_reason,
                         "is not UTF-8, and clients would take the Close frame for a broken one");
    if (tunnel->close_timeout_ms == 0)
        conf_error_warn(check->errors, check->conf, &tunnel->close_reason,
                        "is never said: with close_timeout = \"0s\" there are no Close frames");
}

/* Control frames are frames, too: those of the ends, and the pongs to our own pings. */
static void check_frame(const struct check *check, const struct conf_tunnel *tunnel)
{
    if (tunnel->max_frame == 0 || tunnel->max_frame >= WS_CONTROL_MAX ||
        !written(check, &tunnel->max_frame, NULL))
        return;
    conf_error_field(check->errors, check->conf, &tunnel->max_frame,
                     "is less than the %d bytes that a control frame may have (RFC 6455 5.5)",
                     WS_CONTROL_MAX);
}

/* What works, but would never come to anything beside another value. */
static void check_pairs(const struct check *check, const struct conf_options *options)
{
    const struct conf_tunnel *tunnel = &options->tunnel;
    uint32_t idle_ms = options->idle_timeout_ms;
    uint32_t ping_ms = tunnel->ping_interval_ms;
    const void *field = NULL;
    if (tunnel->max_message != 0 && tunnel->max_frame > tunnel->max_message)
        field = written(check, &tunnel->max_frame, &tunnel->max_message);
    if (field)
        conf_error_warn(check->errors, check->conf, field,
                        "max_frame is more than max_message, which such a frame meets first");
    field = NULL;
    if (tunnel->ping_resets_idle && ping_ms == 0)
        field = written(check, &tunnel->ping_resets_idle, NULL);
    if (field)
        conf_error_warn(check->errors, check->conf, field,
                        "does nothing without ping_interval: no pings are sent");
    field = NULL;
    if (tunnel->ping_resets_idle && ping_ms != 0 && idle_ms != 0 && ping_ms >= idle_ms)
        field = written(check, &tunnel->ping_interval_ms, &options->idle_timeout_ms);
    if (field)
        conf_error_warn(
            check->errors, check->conf, field,
            "idle_timeout is not longer than ping_interval: a tunnel ends before a pong "
            "could count for it (ping_resets_idle)");
}

static void check_options(const struct check *check, const struct conf_options *options)
{
    check_code(check, &options->tunnel);
    check_reason(check, &options->tunnel);
    check_frame(check, &options->tunnel);
    check_pairs(check, options);
}

void conf_tunnel_check(const struct conf *conf, struct conf_errors *errors)
{
    const struct check check = {conf, errors};
    check_options(&check, &conf->options);
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        check_options(&check, &site->options);
        for (uint32_t j = 0; j < site->route_count; j++)
            check_options(&check, &site->routes[j].options);
    }
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        const struct conf_upstream *upstream = &conf->upstreams[i];
        if (upstream->shed != 0 && conf_sticky_is_on(&upstream->sticky))
            conf_error_warn(errors, conf, &upstream->shed,
                            "moves nobody whom a sticky cookie brings back to its server");
    }
}
