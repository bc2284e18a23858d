/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes: what parsers hand out. Never owns, never ends in NUL. */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

/* Byte for byte. */
bool slice_eq(struct slice a, struct slice b);

/* Letters of ASCII compared without case, everything else byte for byte; no locale. */
bool slice_ieq(struct slice a, struct slice b);

bool slice_starts(struct slice s, struct slice prefix);

/* Without optional white space (space, tab; RFC 9110 5.6.3) at both ends. */
struct slice slice_trim(struct slice s);

/*
 * Next element of a comma-separated list (RFC 9110 5.6.1), trimmed; empty elements are skipped.
 * Cuts it off *rest. Returns false at the end of the list. Knows no quoted strings.
 */
bool slice_next_in_list(struct slice *rest, struct slice *element);

/* True if the list holds `token`, letters compared without case. */
bool slice_list_has(struct slice list, struct slice token);

#endif
