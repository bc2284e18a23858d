/* SPDX-License-Identifier: Apache-2.0 */
/* The request target (RFC 9112 3.2) and the Host field (RFC 9110 7.2, RFC 3986 3.2.2). */
#include "common/http_char.h"
#include "common/http_parts.h"

#include <arpa/inet.h>
#include <string.h>

static const char *bad_port(struct slice port)
{
    uint32_t number = 0;

    /* RFC 3986 3.2.3 allows a colon with nothing behind it. */
    if (port.n > 5)
        return "port of more than five digits";
    for (size_t i = 0; i < port.n; i++) {
        if (!http_char_is(port.p[i], HTTP_CHAR_DIGIT))
            return "port is not a number";
        number = number * 10 + (uint32_t)(port.p[i] - '0');
    }
    return number > 65535 ? "port above 65535" : NULL;
}

static const char *bad_ipv6(struct slice text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr ignored;

    if (text.n >= sizeof copy || memchr(text.p, '\0', text.n))
        return "bad IPv6 address";
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return inet_pton(AF_INET6, copy, &ignored) == 1 ? NULL : "bad IPv6 address";
}

const char *http_target_bad_authority(struct slice authority)
{
    const char *end = authority.p + authority.n;
    const char *host_end;

    if (authority.n == 0)
        return "empty host";
    if (memchr(authority.p, '@', authority.n))
        return "user info beside the host";
    if (authority.p[0] == '[') {
        const char *close = memchr(authority.p, ']', authority.n);
        if (!close)
            return "bad IPv6 address";
        const char *why =
            bad_ipv6((struct slice){authority.p + 1, (size_t)(close - authority.p) - 1});
        if (why)
            return why;
        host_end = close + 1;
    } else {
        host_end = authority.p;
        while (host_end < end && http_char_is(*host_end, HTTP_CHAR_HOST))
            host_end++;
        if (host_end == authority.p)
            return "empty host";
    }
    if (host_end == end)
        return NULL;
    if (*host_end != ':')
        return "character that no host may have";
    return bad_port((struct slice){host_end + 1, (size_t)(end - host_end) - 1});
}

/*
 * A path that two servers could read differently: some take '\' for '/', some stop at %00, and a
 * '%' without two hex digits is an error to one and text to the next.
 */
static const char *bad_path(struct slice path)
{
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '\\')
            return "backslash in the path";
        if (path.p[i] != '%')
            continue;
        if (path.n - i < 3 || !http_char_is(path.p[i + 1], HTTP_CHAR_HEX) ||
            !http_char_is(path.p[i + 2], HTTP_CHAR_HEX))
            return "bad percent-encoding in the path";
        if (path.p[i + 1] == '0' && path.p[i + 2] == '0')
            return "%00 in the path";
    }
    return NULL;
}

/* From `at` on the target holds [path][?query]. */
static int split_path(struct http_head *head, const char *buf, uint32_t at)
{
    uint32_t end = head->target + head->target_len;
    const char *mark = memchr(buf + at, '?', end - at);

    head->path = at;
    head->path_len = end - at;
    if (mark) {
        head->path_len = (uint32_t)(mark - buf) - at;
        head->query = at + head->path_len + 1;
        head->query_len = end - head->query;
    }
    const char *why = bad_path((struct slice){buf + head->path, head->path_len});
    return why ? http_refuse(head, 400, why) : 0;
}

static int split_absolute(struct http_head *head, const char *buf, uint32_t scheme_len)
{
    uint32_t end = head->target + head->target_len;
    uint32_t at = head->target + scheme_len;

    head->flags |= HTTP_TARGET_ABSOLUTE;
    head->authority = at;
    while (at < end && buf[at] != '/' && buf[at] != '?')
        at++;
    head->authority_len = at - head->authority;

    const char *why =
        http_target_bad_authority((struct slice){buf + head->authority, head->authority_len});
    if (why)
        return http_refuse(head, 400, why);
    int rc = split_path(head, buf, at);
    if (rc == 0 && head->path_len == 0) {
        /* An empty path means "/" (RFC 9110 4.2.3), and the scheme ends in one. */
        head->path = head->authority - 1;
        head->path_len = 1;
    }
    return rc;
}

int http_target_split(struct http_head *head, const char *buf)
{
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
    struct slice target = {buf + head->target, head->target_len};

    if (target.p[0] == '/')
        return split_path(head, buf, head->target);
    if (slice_eq(target, SLICE("*"))) {
        if (head->method != HTTP_OPTIONS)
            return http_refuse(head, 400, "target * with a method other than OPTIONS");
        head->path = head->target;
        head->path_len = 1;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct slice start = {target.p, schemes[i].n};
        if (target.n >= start.n && slice_ieq(start, schemes[i]))
            return split_absolute(head, buf, (uint32_t)start.n);
    }
    return http_refuse(head, 400, "target is neither a path nor an http URI");
}
