/* SPDX-License-Identifier: Apache-2.0 */
#include "common/uri.h"

#include <errno.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Next character of a path, decoded; *at moves on. Returns -EINVAL for a bad escape or NUL. */
static int next_char(struct slice path, size_t *at)
{
    char c = path.p[(*at)++];
    if (c == '%') {
        if (path.n - *at < 2)
            return -EINVAL;
        int high = hex_value(path.p[*at]);
        int low = hex_value(path.p[*at + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        *at += 2;
        c = (char)(high << 4 | low);
    }
    return c == '\0' ? -EINVAL : (unsigned char)c;
}

/*
 * The segment that ends at out[n) is complete: drop "." and, with the one before, "..". Returns the
 * new length (just behind the '/' the next segment follows), or -EINVAL above the root.
 */
static int end_segment(const char *out, size_t n, size_t segment)
{
    size_t len = n - segment;
    if (len == 1 && out[segment] == '.')
        return (int)segment;
    if (len != 2 || out[segment] != '.' || out[segment + 1] != '.')
        return (int)n;
    if (segment < 2)
        return -EINVAL;
    size_t before = segment - 1; /* the '/' in front of ".." */
    while (out[before - 1] != '/')
        before--;
    return (int)before;
}

int uri_normalise(struct slice path, char *out, size_t size)
{
    if (path.n == 0 || path.p[0] != '/' || size < path.n || path.n > INT32_MAX)
        return -EINVAL;
    size_t n = 1;
    size_t segment = 1; /* where the current segment begins */
    out[0] = '/';
    for (size_t at = 1; at < path.n;) {
        int c = next_char(path, &at);
        if (c < 0)
            return c;
        if (c != '/') {
            out[n++] = (char)c;
            continue;
        }
        int kept = end_segment(out, n, segment);
        if (kept < 0)
            return kept;
        n = (size_t)kept;
        if (out[n - 1] != '/')
            out[n++] = '/';
        segment = n;
    }
    return end_segment(out, n, segment);
}

bool uri_arg(struct slice query, struct slice name, struct slice *value)
{
    while (query.n > 0) {
        const char *amp = memchr(query.p, '&', query.n);
        size_t len = amp ? (size_t)(amp - query.p) : query.n;
        const char *eq = memchr(query.p, '=', len);
        if (eq && slice_ieq((struct slice){query.p, (size_t)(eq - query.p)}, name)) {
            *value = (struct slice){eq + 1, len - (size_t)(eq + 1 - query.p)};
            return true;
        }
        size_t cut = amp ? len + 1 : len;
        query.p += cut;
        query.n -= cut;
    }
    return false;
}

static size_t skip_spaces(struct slice text, size_t at)
{
    while (at < text.n && text.p[at] == ' ')
        at++;
    return at;
}

/*
 * Not RFC 6265 5.2 but what nginx does, to the byte, for the value may be the key of a hash: a ','
 * begins a pair, too, a value goes to its ';' with the spaces before it, and behind a name without
 * '=' the search goes on one byte later, in the pair that follows.
 */
bool uri_cookie(struct slice cookies, struct slice name, struct slice *value)
{
    for (size_t at = 0; at < cookies.n; at = skip_spaces(cookies, at + 1)) {
        struct slice rest = {cookies.p + at, cookies.n - at};
        if (rest.n >= name.n && slice_ieq((struct slice){rest.p, name.n}, name)) {
            at = skip_spaces(cookies, at + name.n);
            if (at < cookies.n && cookies.p[at] == '=') {
                at = skip_spaces(cookies, at + 1);
                const char *semi = memchr(cookies.p + at, ';', cookies.n - at);
                *value = (struct slice){cookies.p + at,
                                        semi ? (size_t)(semi - cookies.p) - at : cookies.n - at};
                return true;
            }
            at++;
        }
        while (at < cookies.n && cookies.p[at] != ';' && cookies.p[at] != ',')
            at++;
    }
    return false;
}
