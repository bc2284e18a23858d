/* SPDX-License-Identifier: Apache-2.0 */
/* Which user the workers are: looked up once by the master, taken on by each keeper. */
#ifndef MASTER_PRIVILEGES_H
#define MASTER_PRIVILEGES_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum { PRIVILEGES_GROUPS_MAX = 64 };

struct privileges {
    bool drop; /* false: stay who we are */
    uid_t uid;
    gid_t gid;
    int group_count;
    gid_t groups[PRIVILEGES_GROUPS_MAX]; /* supplementary, the primary one included */
};

/*
 * Look up `user` (NULL: none is configured). Started as root: that user, or "nobody" with a warning
 * when none is configured. Not started as root: stays, with a warning if another user is configured.
 * Warnings and errors are printed to `messages`. May block in the name service.
 * Returns 0, -ENOENT (no such user; printed, with the remedy) or -errno (printed).
 */
int privileges_resolve(struct privileges *privileges, const char *user, FILE *messages) MUST_CHECK;

/* Take the user on for good, in this process. Returns 0 or -errno. */
int privileges_drop(const struct privileges *privileges) MUST_CHECK;

#endif
