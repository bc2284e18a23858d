/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/crash_point.h"

#ifdef HOLDFAST_CRASH_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
#define X(name) #name,
    CRASH_POINT_TABLE(X)
#undef X
};

/* A test build's own state. */
static struct {
    int point; /* -1: any; CRASH_POINT_COUNT: none */
    unsigned every;
    unsigned left;
    unsigned seed;
    int signal;
} crash = {CRASH_POINT_COUNT, 0, 0, 0, SIGKILL};

static unsigned next_distance(void)
{
    crash.seed = crash.seed * 1103515245u + 12345u;
    return 1 + (crash.seed >> 8) % (2 * crash.every);
}

void crash_point_init(unsigned seed)
{
    const char *wish = getenv("HOLDFAST_CRASH_POINT");
    const char *colon = wish ? strchr(wish, ':') : NULL;
    if (!colon)
        return;
    size_t len = (size_t)(colon - wish);
    if (strncmp(wish, "random", len) == 0)
        crash.point = -1;
    for (int i = 0; i < CRASH_POINT_COUNT; i++) {
        if (strlen(names[i]) == len && strncmp(names[i], wish, len) == 0)
            crash.point = i;
    }
    crash.signal = strstr(colon, ":segv") ? SIGSEGV : SIGKILL;
    crash.every = (unsigned)strtoul(colon + 1, NULL, 10);
    if (crash.every == 0)
        crash.every = 1;
    crash.seed = seed * 2654435761u + 1;
    crash.left = next_distance();
}

void crash_point_pass(enum crash_point point)
{
    if (crash.point != -1 && crash.point != (int)point)
        return;
    if (crash.point == -1 && crash.every == 0)
        return;
    if (--crash.left > 0)
        return;
    kill(getpid(), crash.signal);
    for (;;)
        pause();
}

bool crash_point_ignores_counts(void)
{
    return getenv("HOLDFAST_IGNORE_COUNTS") != NULL;
}

#endif
