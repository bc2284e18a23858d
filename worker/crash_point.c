/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

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

enum { WISHES_MAX = 2 };

/* A place to die at. */
struct wish {
    int point; /* -1: any */
    unsigned every;
    unsigned left; /* 0: none */
    int signal;
};

/* A test build's own state. */
static struct {
    struct wish wishes[WISHES_MAX];
    unsigned seed;
} crash;

static unsigned next_distance(unsigned every)
{
    crash.seed = crash.seed * 1103515245u + 12345u;
    return 1 + (crash.seed >> 8) % (2 * every);
}

static int point_named(const char *text, size_t len)
{
    if (len == strlen("random") && strncmp(text, "random", len) == 0)
        return -1;
    for (int i = 0; i < CRASH_POINT_COUNT; i++) {
        if (strlen(names[i]) == len && strncmp(names[i], text, len) == 0)
            return i;
    }
    return CRASH_POINT_COUNT;
}

/* name:every[:segv], up to a comma or the end. */
static struct wish read_wish(const char *text, size_t len)
{
    const char *colon = memchr(text, ':', len);
    struct wish wish = {.point = CRASH_POINT_COUNT};
    if (!colon)
        return wish;
    wish.point = point_named(text, (size_t)(colon - text));
    wish.signal = memmem(text, len, ":segv", strlen(":segv")) ? SIGSEGV : SIGKILL;
    wish.every = (unsigned)strtoul(colon + 1, NULL, 10);
    if (wish.every == 0)
        wish.every = 1;
    wish.left = next_distance(wish.every);
    return wish;
}

void crash_point_init(unsigned seed)
{
    const char *text = getenv("HOLDFAST_CRASH_POINT");
    crash.seed = seed * 2654435761u + 1;
    for (int i = 0; i < WISHES_MAX && text; i++) {
        const char *comma = strchr(text, ',');
        crash.wishes[i] = read_wish(text, comma ? (size_t)(comma - text) : strlen(text));
        text = comma ? comma + 1 : NULL;
    }
}

void crash_point_pass(enum crash_point point)
{
    for (int i = 0; i < WISHES_MAX; i++) {
        struct wish *wish = &crash.wishes[i];
        if (wish->left == 0 || (wish->point != -1 && wish->point != (int)point) || --wish->left > 0)
            continue;
        kill(getpid(), wish->signal);
        for (;;)
            pause();
    }
}

bool crash_point_ignores_counts(void)
{
    return getenv("HOLDFAST_IGNORE_COUNTS") != NULL;
}

#endif
