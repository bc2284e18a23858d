/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions (PCRE2) over bytes, with bounded work: whatever an expression and a subject are,
 * a match ends. The only file that knows the library. Any process; heap.
 */
#ifndef COMMON_PATTERN_H
#define COMMON_PATTERN_H

#include "common/compiler.h"
#include "common/slice.h"

enum {
    PATTERN_WHY_MAX = 160,
    PATTERN_GROUPS = 10, /* $0, the whole match, to $9 */
};

struct pattern;

/*
 * Compile. On 0 the caller owns *out. Returns -EINVAL with `why` filled (what is wrong and where), or
 * -ENOMEM.
 */
int pattern_new(struct pattern **out, struct slice text, char why[PATTERN_WHY_MAX]) MUST_CHECK;

/* Free and null; accepts NULL. */
void pattern_free(struct pattern **pattern);

/*
 * Does it match somewhere in `subject`? Groups that took no part are empty; all point into `subject`.
 * Returns 1, 0, or -E2BIG when the bounds of work or memory were met.
 */
int pattern_match(const struct pattern *pattern, struct slice subject,
                  struct slice groups[PATTERN_GROUPS]) MUST_CHECK;

#endif
