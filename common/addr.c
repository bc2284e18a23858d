/* SPDX-License-Identifier: Apache-2.0 */
#include "common/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#define UNIX_PREFIX SLICE("unix:")

static int fail(const char **why, const char *text)
{
    *why = text;
    return -EINVAL;
}

/* "1" to "65535"; 0 is no port, because nobody could say which one it means. */
static bool parse_port(struct slice text, uint16_t *port)
{
    uint32_t value = 0;
    if (text.n == 0 || text.n > 5)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (value == 0 || value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

static int parse_unix(struct addr *addr, struct slice path, const char **why)
{
    if (path.n == 0 || path.p[0] != '/')
        return fail(why, "a UNIX socket needs an absolute path, such as unix:/run/app.sock");
    if (path.n >= sizeof(addr->u.un.sun_path))
        return fail(why, "the path of a UNIX socket may have 107 bytes at most");
    if (memchr(path.p, 0, path.n))
        return fail(why, "the path of a UNIX socket may not hold a NUL byte");
    addr->u.un.sun_family = AF_UNIX;
    memcpy(addr->u.un.sun_path, path.p, path.n);
    addr->len = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return 0;
}

/* inet_pton wants a C string. A text too long for any address becomes "", which is none. */
static void copy_host(char out[INET6_ADDRSTRLEN], struct slice host)
{
    out[0] = '\0';
    if (host.n < INET6_ADDRSTRLEN && !memchr(host.p, 0, host.n)) {
        memcpy(out, host.p, host.n);
        out[host.n] = '\0';
    }
}

static int set_in6(struct addr *addr, struct slice host, uint16_t port, const char **why)
{
    char text[INET6_ADDRSTRLEN];
    copy_host(text, host);
    if (inet_pton(AF_INET6, text, &addr->u.in6.sin6_addr) != 1)
        return fail(why, "not an IPv6 address between the brackets");
    addr->u.in6.sin6_family = AF_INET6;
    addr->u.in6.sin6_port = htons(port);
    addr->len = sizeof(addr->u.in6);
    return 0;
}

static int set_in(struct addr *addr, struct slice host, uint16_t port, const char **why)
{
    char text[INET6_ADDRSTRLEN];
    copy_host(text, host);
    if (inet_pton(AF_INET, text, &addr->u.in.sin_addr) != 1)
        return fail(why, "not an IP address");
    addr->u.in.sin_family = AF_INET;
    addr->u.in.sin_port = htons(port);
    addr->len = sizeof(addr->u.in);
    return 0;
}

/* Cut "host", "host:port" or "[host]:port"; *port stays a slice without bytes when there is none. */
static int split(struct slice text, struct slice *host, struct slice *port, const char **why)
{
    const char *end = text.p + text.n;
    const char *colon = memchr(text.p, ':', text.n);
    *host = text;
    *port = (struct slice){end, 0};
    if (text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.n);
        if (!close)
            return fail(why, "the bracket of the IPv6 address is not closed");
        *host = (struct slice){text.p + 1, (size_t)(close - text.p) - 1};
        if (close + 1 == end)
            return 0;
        if (close[1] != ':')
            return fail(why, "only :PORT may follow the bracket");
        colon = close + 1;
    } else if (colon && memchr(colon + 1, ':', (size_t)(end - colon - 1))) {
        return fail(why, "an IPv6 address stands in brackets, such as [::1]:80");
    } else if (colon) {
        host->n = (size_t)(colon - text.p);
    }
    if (!colon)
        return 0;
    *port = (struct slice){colon + 1, (size_t)(end - colon - 1)};
    return port->n > 0 ? 0 : fail(why, "the port behind the colon is missing");
}

int addr_parse(struct addr *addr, struct slice text, uint16_t default_port, bool wildcard,
               const char **why)
{
    struct slice host, port_text;
    uint16_t port = default_port;
    memset(addr, 0, sizeof(*addr));
    if (text.n == 0)
        return fail(why, "the address is empty");
    if (slice_starts(text, UNIX_PREFIX)) {
        text.p += UNIX_PREFIX.n;
        text.n -= UNIX_PREFIX.n;
        return parse_unix(addr, text, why);
    }
    if (wildcard && parse_port(text, &port))
        return set_in6(addr, SLICE("::"), port, why);
    int rc = split(text, &host, &port_text, why);
    if (rc < 0)
        return rc;
    if (port_text.n > 0 && !parse_port(port_text, &port))
        return fail(why, "the port is not a number from 1 to 65535");
    if (wildcard && slice_eq(host, SLICE("*")))
        rc = set_in6(addr, SLICE("::"), port, why);
    else
        rc = text.p[0] == '[' ? set_in6(addr, host, port, why) : set_in(addr, host, port, why);
    if (rc == 0 && port == 0)
        rc = fail(why, "the port is missing");
    if (rc < 0)
        memset(addr, 0, sizeof(*addr));
    return rc;
}

static bool is_mapped(const struct addr *addr)
{
    return addr->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->u.in6.sin6_addr);
}

/* "192.0.2.1" and a NUL; returns the length. Stands in every forwarded head: inet_ntop takes longer. */
static size_t print_ipv4(const void *address, char *out)
{
    const uint8_t *octets = address;
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t octet = octets[i];
        if (octet >= 100)
            out[n++] = (char)('0' + octet / 100);
        if (octet >= 10)
            out[n++] = (char)('0' + octet / 10 % 10);
        out[n++] = (char)('0' + octet % 10);
        out[n++] = i < 3 ? '.' : '\0';
    }
    return n - 1;
}

size_t addr_print(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    int n;
    switch (addr->len > 0 ? addr->u.sa.sa_family : AF_UNSPEC) {
    case AF_INET:
        print_ipv4(&addr->u.in.sin_addr, host);
        n = snprintf(out, ADDR_TEXT_MAX, "%s:%u", host, addr_port(addr));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &addr->u.in6.sin6_addr, host, sizeof(host));
        n = snprintf(out, ADDR_TEXT_MAX, "[%s]:%u", host, addr_port(addr));
        break;
    case AF_UNIX:
        /* A peer that did not bind has no path, and an address of the kernel may lack the NUL. */
        n = snprintf(out, ADDR_TEXT_MAX, "unix:%.*s",
                     addr->len > offsetof(struct sockaddr_un, sun_path)
                         ? (int)(addr->len - offsetof(struct sockaddr_un, sun_path))
                         : 0,
                     addr->u.un.sun_path);
        break;
    default: n = snprintf(out, ADDR_TEXT_MAX, "-"); break;
    }
    return (size_t)n;
}

size_t addr_print_host(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
    int family = addr->len > 0 ? addr->u.sa.sa_family : AF_UNSPEC;
    if (family == AF_INET)
        return print_ipv4(&addr->u.in.sin_addr, out);
    if (family == AF_INET6 && is_mapped(addr))
        return print_ipv4(&addr->u.in6.sin6_addr.s6_addr[12], out);
    if (family == AF_INET6)
        inet_ntop(AF_INET6, &addr->u.in6.sin6_addr, out, ADDR_TEXT_MAX);
    else
        snprintf(out, ADDR_TEXT_MAX, "%s", family == AF_UNIX ? "unix:" : "-");
    return strlen(out);
}

size_t addr_binary(const struct addr *addr, uint8_t out[16])
{
    int family = addr->len > 0 ? addr->u.sa.sa_family : AF_UNSPEC;
    if (family == AF_INET) {
        memcpy(out, &addr->u.in.sin_addr, 4);
        return 4;
    }
    if (family != AF_INET6)
        return 0;
    if (is_mapped(addr)) {
        memcpy(out, &addr->u.in6.sin6_addr.s6_addr[12], 4);
        return 4;
    }
    memcpy(out, &addr->u.in6.sin6_addr, 16);
    return 16;
}

uint16_t addr_port(const struct addr *addr)
{
    if (addr->len == 0)
        return 0;
    if (addr->u.sa.sa_family == AF_INET)
        return ntohs(addr->u.in.sin_port);
    return addr->u.sa.sa_family == AF_INET6 ? ntohs(addr->u.in6.sin6_port) : 0;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    char a_path[ADDR_TEXT_MAX], b_path[ADDR_TEXT_MAX];
    if (a->len == 0 || b->len == 0)
        return a->len == b->len;
    if (a->u.sa.sa_family != b->u.sa.sa_family)
        return false;
    switch (a->u.sa.sa_family) {
    case AF_INET:
        return a->u.in.sin_port == b->u.in.sin_port &&
               a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    case AF_INET6:
        return a->u.in6.sin6_port == b->u.in6.sin6_port &&
               a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
               memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, 16) == 0;
    case AF_UNIX:
        addr_print(a, a_path);
        addr_print(b, b_path);
        return strcmp(a_path, b_path) == 0;
    default: return false;
    }
}

void addr_unmap(struct addr *addr)
{
    struct addr plain;
    if (addr->len == 0 || !is_mapped(addr))
        return;
    memset(&plain, 0, sizeof(plain));
    plain.u.in.sin_family = AF_INET;
    plain.u.in.sin_port = addr->u.in6.sin6_port;
    memcpy(&plain.u.in.sin_addr, &addr->u.in6.sin6_addr.s6_addr[12], 4);
    plain.len = sizeof(plain.u.in);
    *addr = plain;
}
