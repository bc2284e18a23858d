/* SPDX-License-Identifier: Apache-2.0 */
#include "common/origin.h"

/* scheme://host:port, each as far as it is there. */
struct parts {
    struct slice scheme;
    struct slice host;
    struct slice port;
};

static bool is_digits(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return s.n > 0;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* A name, or an IPv6 address in brackets: nothing that two readers could cut differently. */
static bool is_host(struct slice s)
{
    bool bracketed = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';
    if (bracketed)
        s = (struct slice){s.p + 1, s.n - 2};
    for (size_t i = 0; i < s.n; i++) {
        if (!is_name_char(s.p[i]) && !(bracketed && s.p[i] == ':'))
            return false;
    }
    return s.n > 0;
}

static struct parts split(struct slice text)
{
    struct parts parts = {{NULL, 0}, text, {NULL, 0}};
    for (size_t i = 0; i + 2 < text.n; i++) {
        if (memcmp(text.p + i, "://", 3) == 0) {
            parts.scheme = (struct slice){text.p, i};
            parts.host = (struct slice){text.p + i + 3, text.n - i - 3};
            break;
        }
    }
    for (size_t i = parts.host.n; i > 0 && parts.host.p[i - 1] != ']'; i--) {
        if (parts.host.p[i - 1] == ':') {
            parts.port = (struct slice){parts.host.p + i, parts.host.n - i};
            parts.host.n = i - 1;
            break;
        }
    }
    return parts;
}

/* The port that is meant: empty for the scheme's own. */
static struct slice port_of(const struct parts *parts, struct slice scheme)
{
    bool secure = slice_ieq(scheme, SLICE("https")) || slice_ieq(scheme, SLICE("wss"));
    bool plain = slice_ieq(scheme, SLICE("http")) || slice_ieq(scheme, SLICE("ws"));
    if ((secure && slice_eq(parts->port, SLICE("443"))) ||
        (plain && slice_eq(parts->port, SLICE("80"))))
        return SLICE("");
    return parts->port;
}

static bool is_wildcard(struct slice host)
{
    return slice_starts(host, SLICE("*."));
}

const char *origin_pattern_error(struct slice pattern)
{
    if (slice_eq(pattern, SLICE("*")) || slice_eq(pattern, SLICE("null")) ||
        slice_eq(pattern, SLICE("same")))
        return NULL;
    struct parts parts = split(pattern);
    struct slice host = parts.host;
    bool colon = parts.port.p != NULL;
    if (is_wildcard(host))
        host = (struct slice){host.p + 2, host.n - 2};
    if (memchr(host.p, '/', host.n) || (colon && memchr(parts.port.p, '/', parts.port.n)))
        return "an origin has no path: it ends behind host and port";
    if (host.n > 0 && memchr(host.p, '*', host.n))
        return "a '*' may stand in front only, as in \"https://*.example.com\"";
    if (!is_host(host))
        return "not an origin, such as \"https://example.com\"";
    if (parts.scheme.p && (!is_host(parts.scheme) || parts.scheme.n == 0))
        return "the scheme in front of :// is a word, such as https";
    if (colon && !slice_eq(parts.port, SLICE("*")) && !is_digits(parts.port))
        return "a port is a number, or '*' for any";
    return NULL;
}

static bool host_fits(struct slice pattern, struct slice host)
{
    if (!is_wildcard(pattern))
        return slice_ieq(pattern, host);
    size_t suffix = pattern.n - 1; /* with its dot */
    if (host.n <= suffix)
        return false;
    return slice_ieq((struct slice){host.p + host.n - suffix, suffix},
                     (struct slice){pattern.p + 1, suffix});
}

bool origin_matches(struct slice pattern, struct slice origin, struct slice host)
{
    if (slice_eq(pattern, SLICE("*")))
        return true;
    if (slice_eq(pattern, SLICE("null")))
        return slice_eq(origin, SLICE("null"));
    struct parts have = split(origin);
    if (have.scheme.n == 0 || !is_host(have.scheme) || !is_host(have.host) ||
        (have.port.p && !is_digits(have.port)))
        return false;
    bool same = slice_eq(pattern, SLICE("same"));
    struct parts want = split(same ? host : pattern);
    if (!same && want.scheme.p && !slice_ieq(want.scheme, have.scheme))
        return false;
    if (!slice_eq(want.port, SLICE("*")) &&
        !slice_eq(port_of(&want, have.scheme), port_of(&have, have.scheme)))
        return false;
    return same ? slice_ieq(want.host, have.host) : host_fits(want.host, have.host);
}
