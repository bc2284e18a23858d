/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

/* Steps and depth of backtracking: some 50 us. A path that needs more is an attack or a bad pattern. */
enum { MATCH_LIMIT = 10000, DEPTH_LIMIT = 1000, HEAP_LIMIT_KB = 256 };

struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

void pattern_free(struct pattern **pattern)
{
    struct pattern *p = *pattern;
    *pattern = NULL;
    if (!p)
        return;
    pcre2_match_context_free(p->context);
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    free(p);
}

int pattern_new(struct pattern **out, struct slice text, char why[PATTERN_WHY_MAX])
{
    int error = 0;
    PCRE2_SIZE at = 0;
    struct pattern *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p)
        return -ENOMEM;
    p->code = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (!p->code) {
        PCRE2_UCHAR message[PATTERN_WHY_MAX - 40];
        pcre2_get_error_message(error, message, sizeof message);
        snprintf(why, PATTERN_WHY_MAX, "%s (at character %zu)", (const char *)message, at + 1);
        pattern_free(&p);
        return -EINVAL;
    }
    p->data = pcre2_match_data_create(PATTERN_GROUPS, NULL);
    p->context = pcre2_match_context_create(NULL);
    if (!p->data || !p->context) {
        pattern_free(&p);
        return -ENOMEM;
    }
    pcre2_set_match_limit(p->context, MATCH_LIMIT);
    pcre2_set_depth_limit(p->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(p->context, HEAP_LIMIT_KB);
    *out = p;
    return 0;
}

int pattern_match(const struct pattern *pattern, struct slice subject,
                  struct slice groups[PATTERN_GROUPS])
{
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR)subject.p, subject.n, 0, 0, pattern->data,
                         pattern->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return -E2BIG;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(pattern->data);
    /* 0: more groups than there is room for; the first ones are there. */
    int count = rc == 0 ? PATTERN_GROUPS : rc;
    for (int i = 0; i < PATTERN_GROUPS; i++) {
        bool took_part = i < count && at[2 * i] != PCRE2_UNSET && at[2 * i] <= at[2 * i + 1];
        groups[i] = took_part ? (struct slice){subject.p + at[2 * i], at[2 * i + 1] - at[2 * i]}
                              : (struct slice){subject.p, 0};
    }
    return 1;
}
