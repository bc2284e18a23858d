/* SPDX-License-Identifier: Apache-2.0 */
#include "common/slice.h"

static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_ieq(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq((struct slice){s.p, prefix.n}, prefix);
}

struct slice slice_trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool slice_next_in_list(struct slice *rest, struct slice *element)
{
    while (rest->n > 0) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t len = comma ? (size_t)(comma - rest->p) : rest->n;
        *element = slice_trim((struct slice){rest->p, len});
        size_t cut = comma ? len + 1 : len;
        rest->p += cut;
        rest->n -= cut;
        if (element->n > 0)
            return true;
    }
    return false;
}

bool slice_list_has(struct slice list, struct slice token)
{
    struct slice element;
    while (slice_next_in_list(&list, &element)) {
        if (slice_ieq(element, token))
            return true;
    }
    return false;
}
