/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What holds for the tunnels of a route, in the arena: a tunnel has the number of its rules, so that a
 * reload changes them for those that are open, too, and a successor needs no image to go by them.
 * Written by worker i (worker/rules.c). Entry 0 is never used; zero means off everywhere.
 */
#ifndef SHM_ARENA_RULES_H
#define SHM_ARENA_RULES_H

#include "common/compiler.h"

#include <stdint.h>

enum {
    ARENA_RULES_MAX = 16384,
    CLOSE_REASON_MAX = 123, /* bytes, beside the code in a control frame (RFC 6455 5.5) */
};

/* What is counted for each direction. */
enum rate_kind { RATE_MESSAGES, RATE_BYTES, RATE_CONTROL, RATE_KINDS };

struct arena_rate {
    uint32_t per_s; /* 0: no limit */
    uint32_t burst; /* so many may come at once */
};

/* Limits of frames: those of one direction are looked at only if it has any (RULES_LIMITS_*). */
struct arena_limits {
    uint64_t max_frame;                     /* bytes of payload; 0: no limit */
    uint64_t max_message;                   /* likewise, all its frames together */
    struct arena_rate rates[2][RATE_KINDS]; /* by direction */
};

/* Bits of arena_rules.flags. */
enum {
    RULES_PING_BACKEND = 1 << 0, /* the backend is asked, too */
    RULES_PONG_IS_LIFE = 1 << 1, /* a pong re-arms idle_timeout */
    RULES_CHECK_FRAMES = 1 << 2, /* RFC 6455 5 is enforced, 1002 */
    RULES_DELAY = 1 << 3,        /* who is over a rate of messages or bytes waits; else 1008 */
    RULES_LIMITS_0 = 1 << 4,     /* limits or checks hold for direction 0 */
    RULES_LIMITS_1 = 1 << 5,
};

struct arena_rules {
    uint64_t key;     /* of the route, worker/rules.c; 0: the entry is free */
    uint32_t tunnels; /* that go by them; counted anew by a successor */
    uint32_t flags;   /* RULES_* */
    uint32_t idle_ms; /* 0: none; likewise below */
    uint32_t send_ms;
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint32_t close_timeout_ms;
    uint32_t max_age_ms;
    uint32_t max_age_spread_ms; /* a tunnel's max_age is up to so much shorter */
    uint16_t close_code;        /* to clients; 0: 1001 (going away) */
    uint8_t close_reason_len;
    uint8_t close_reason[CLOSE_REASON_MAX];
    struct arena_limits limits;
};
_Static_assert(sizeof(struct arena_rules) == 240, "layout");

#endif
