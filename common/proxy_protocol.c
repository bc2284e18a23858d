/* SPDX-License-Identifier: Apache-2.0 */
#include "common/proxy_protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

enum {
    V1_MAX = 107, /* its CRLF included */
    V2_HEAD = 16,
    V2_VERSION = 2,
    V2_LOCAL = 0,
    V2_PROXY = 1,
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_FAMILY_MAX = 3,    /* UNIX */
    V2_TRANSPORT_MAX = 2, /* datagrams */
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    SSL_CLIENT = 1 << 0,    /* the client came by TLS */
    SSL_CERT_CONN = 1 << 1, /* and showed a certificate on this connection */
    SSL_VERSION_MAX = 32,
};

static const char v1_begin[] = "PROXY ";
static const char v2_begin[] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- reading ---- */

static void set_ipv4(struct addr *addr, const void *ip, uint16_t port)
{
    *addr = (struct addr){.len = sizeof addr->u.in};
    addr->u.in.sin_family = AF_INET;
    addr->u.in.sin_port = htons(port);
    memcpy(&addr->u.in.sin_addr, ip, 4);
}

static void set_ipv6(struct addr *addr, const void *ip, uint16_t port)
{
    *addr = (struct addr){.len = sizeof addr->u.in6};
    addr->u.in6.sin6_family = AF_INET6;
    addr->u.in6.sin6_port = htons(port);
    memcpy(&addr->u.in6.sin6_addr, ip, 16);
    addr_unmap(addr);
}

/* Next word of the line, up to one space or the end. */
static struct slice next_word(struct slice *line)
{
    const char *space = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
    struct slice word = {line->p, space ? (size_t)(space - line->p) : line->n};
    size_t cut = space ? word.n + 1 : word.n;
    *line = (struct slice){line->p + cut, line->n - cut};
    return word;
}

static int parse_port(struct slice word, uint16_t *port)
{
    uint32_t value = 0;
    if (word.n == 0 || word.n > 5 || (word.n > 1 && word.p[0] == '0'))
        return -EPROTO;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9')
            return -EPROTO;
        value = value * 10 + (uint32_t)(word.p[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX ? 0 : -EPROTO;
}

static int parse_ip(struct slice word, int family, uint8_t ip[16])
{
    char text[INET6_ADDRSTRLEN];
    if (word.n >= sizeof text || memchr(word.p, '\0', word.n))
        return -EPROTO;
    memcpy(text, word.p, word.n);
    text[word.n] = '\0';
    return inet_pton(family, text, ip) == 1 ? 0 : -EPROTO;
}

/* What stands behind "PROXY ", without the CRLF. */
static int parse_v1_line(struct proxy_header *out, struct slice line)
{
    uint8_t source[16], destination[16];
    uint16_t ports[2];
    struct slice family = next_word(&line);
    bool ipv4 = slice_eq(family, SLICE("TCP4"));
    if (slice_eq(family, SLICE("UNKNOWN")))
        return 0; /* whatever else the line says */
    if (!ipv4 && !slice_eq(family, SLICE("TCP6")))
        return -EPROTO;
    int af = ipv4 ? AF_INET : AF_INET6;
    if (parse_ip(next_word(&line), af, source) < 0 ||
        parse_ip(next_word(&line), af, destination) < 0 ||
        parse_port(next_word(&line), &ports[0]) < 0)
        return -EPROTO;
    /* A word too many is part of the last port, and no digit. */
    if (parse_port(line, &ports[1]) < 0)
        return -EPROTO;
    void (*set)(struct addr *, const void *, uint16_t) = ipv4 ? set_ipv4 : set_ipv6;
    set(&out->source, source, ports[0]);
    set(&out->destination, destination, ports[1]);
    return 0;
}

static int parse_v1(struct proxy_header *out, const char *buf, size_t len)
{
    size_t begin = sizeof v1_begin - 1;
    size_t seen = len < V1_MAX ? len : V1_MAX;
    const char *lf = memchr(buf, '\n', seen);
    if (!lf)
        return len < V1_MAX ? 0 : -EPROTO;
    size_t n = (size_t)(lf - buf);
    if (n < begin + 1 || lf[-1] != '\r')
        return -EPROTO;
    struct slice line = {buf + begin, n - 1 - begin};
    if (memchr(line.p, '\r', line.n) || parse_v1_line(out, line) < 0)
        return -EPROTO;
    out->version = 1;
    return (int)n + 1;
}

static uint16_t big16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static int parse_v2_addresses(struct proxy_header *out, uint8_t family, const uint8_t *p, size_t n)
{
    if (family >> 4 > V2_FAMILY_MAX || (family & 15) > V2_TRANSPORT_MAX)
        return -EPROTO;
    if (family == V2_TCP4) {
        if (n < 12)
            return -EPROTO;
        set_ipv4(&out->source, p, big16(p + 8));
        set_ipv4(&out->destination, p + 4, big16(p + 10));
    } else if (family == V2_TCP6) {
        if (n < 36)
            return -EPROTO;
        set_ipv6(&out->source, p, big16(p + 32));
        set_ipv6(&out->destination, p + 16, big16(p + 34));
    }
    return 0;
}

static int parse_v2(struct proxy_header *out, const char *buf, size_t len)
{
    const uint8_t *p = (const uint8_t *)buf;
    if (len >= 13 && (p[12] >> 4 != V2_VERSION || (p[12] & 15) > V2_PROXY))
        return -EPROTO;
    if (len < V2_HEAD)
        return 0;
    size_t n = big16(p + 14);
    if (V2_HEAD + n > PROXY_HEADER_MAX)
        return -EPROTO;
    if (len < V2_HEAD + n)
        return 0;
    if ((p[12] & 15) == V2_PROXY && parse_v2_addresses(out, p[13], p + V2_HEAD, n) < 0)
        return -EPROTO;
    out->version = 2;
    return (int)(V2_HEAD + n);
}

static bool begins(const char *buf, size_t len, const char *with, size_t n)
{
    return memcmp(buf, with, len < n ? len : n) == 0;
}

int proxy_protocol_parse(struct proxy_header *out, const char *buf, size_t len)
{
    *out = (struct proxy_header){.version = 0};
    if (len == 0)
        return 0;
    if (begins(buf, len, v1_begin, sizeof v1_begin - 1))
        return parse_v1(out, buf, len);
    if (begins(buf, len, v2_begin, sizeof v2_begin - 1))
        return parse_v2(out, buf, len);
    return -EPROTO;
}

/* ---- writing ---- */

/* 4 or 6, or 0 if one of them is no IP address. Both in 16 bytes, as IPv6 wants them. */
static int family_of(const struct addr *source, const struct addr *destination, uint8_t ip[2][16])
{
    const struct addr *ends[2] = {source, destination};
    int family = 4;
    for (int i = 0; i < 2; i++) {
        uint8_t raw[16];
        size_t n = addr_binary(ends[i], raw);
        if (n == 0)
            return 0;
        memset(ip[i], 0, 16);
        if (n == 4)
            memset(ip[i] + 10, 0xff, 2);
        else
            family = 6;
        memcpy(ip[i] + 16 - n, raw, n);
    }
    return family;
}

size_t proxy_protocol_write_v1(const struct addr *source, const struct addr *destination,
                               char out[PROXY_WRITE_MAX])
{
    uint8_t ip[2][16];
    char text[2][INET6_ADDRSTRLEN];
    int family = family_of(source, destination, ip);
    int n;
    if (family == 0) {
        n = snprintf(out, PROXY_WRITE_MAX, "PROXY UNKNOWN\r\n");
    } else {
        for (int i = 0; i < 2; i++)
            inet_ntop(family == 4 ? AF_INET : AF_INET6, family == 4 ? ip[i] + 12 : ip[i], text[i],
                      sizeof text[i]);
        n = snprintf(out, PROXY_WRITE_MAX, "PROXY TCP%d %s %s %u %u\r\n", family, text[0], text[1],
                     addr_port(source), addr_port(destination));
    }
    return (size_t)n;
}

static uint8_t *put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

/* PP2_TYPE_SSL: flags, verify (0: a certificate was verified), and the version as a TLV within. */
static uint8_t *put_tls(uint8_t *p, const struct proxy_tls *tls)
{
    size_t n = tls->version.n < SSL_VERSION_MAX ? tls->version.n : SSL_VERSION_MAX;
    *p++ = TLV_SSL;
    p = put16(p, (uint32_t)(5 + 3 + n));
    *p++ = (uint8_t)(tls->verified ? SSL_CLIENT | SSL_CERT_CONN : SSL_CLIENT);
    p = put16(p, 0);
    p = put16(p, tls->verified ? 0 : 1);
    *p++ = TLV_SSL_VERSION;
    p = put16(p, (uint32_t)n);
    memcpy(p, tls->version.p, n);
    return p + n;
}

size_t proxy_protocol_write_v2(const struct addr *source, const struct addr *destination,
                               const struct proxy_tls *tls, char out[PROXY_WRITE_MAX])
{
    uint8_t ip[2][16];
    uint8_t *bytes = (uint8_t *)out;
    uint8_t *p = bytes + V2_HEAD;
    int family = family_of(source, destination, ip);
    memcpy(bytes, v2_begin, 12);
    bytes[12] = (uint8_t)(V2_VERSION << 4 | (family == 0 ? V2_LOCAL : V2_PROXY));
    bytes[13] = family == 4 ? V2_TCP4 : family == 6 ? V2_TCP6 : 0;
    if (family != 0) {
        size_t n = family == 4 ? 4 : 16;
        for (int i = 0; i < 2; i++, p += n)
            memcpy(p, ip[i] + 16 - n, n);
        p = put16(p, addr_port(source));
        p = put16(p, addr_port(destination));
        if (tls && tls->version.n > 0)
            p = put_tls(p, tls);
    }
    put16(bytes + 14, (uint32_t)(p - bytes - V2_HEAD));
    return (size_t)(p - bytes);
}
