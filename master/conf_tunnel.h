/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for open tunnels: pings, Close frames, age, limits of frames. Master only. */
#ifndef MASTER_CONF_TUNNEL_H
#define MASTER_CONF_TUNNEL_H

#include "shm/arena_rules.h"

#include <stdbool.h>

struct conf;
struct conf_build;
struct conf_errors;
struct conf_route;
struct image_route;

enum conf_over_rate { OVER_RATE_DELAY, OVER_RATE_CLOSE };

/* These options become struct arena_rules. */
struct conf_tunnel {
    uint32_t ping_interval_ms; /* 0: no pings */
    uint32_t ping_timeout_ms;
    bool ping_backend;
    bool ping_resets_idle;
    uint32_t close_timeout_ms; /* 0: no Close frames */
    uint32_t close_code;
    char *close_reason;      /* "" */
    uint32_t max_age_ms;     /* 0: none */
    uint32_t max_age_jitter; /* percent */
    uint64_t max_frame;      /* bytes; 0: no limit */
    uint64_t max_message;    /* bytes; 0: no limit */
    bool check_frames;
    uint32_t per_s[2][RATE_KINDS]; /* by direction: from the client, from the server; 0: no limit */
    uint32_t rate_burst_ms;
    enum conf_over_rate over_rate;
};

/*
 * Rules of these keys: which codes and reasons a Close may have; what works, but would never come to
 * anything beside another value, is a warning.
 */
void conf_tunnel_check(const struct conf *conf, struct conf_errors *errors);

/* ---- conf_image_tunnel.c ---- */

/* Fill in the part of a route that is about its tunnels. */
void conf_image_tunnel_fill(struct conf_build *build, const struct conf_route *from,
                            struct image_route *route);

#endif
