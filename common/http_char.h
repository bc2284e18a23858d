/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character classes of HTTP/1.1, one table look-up a byte, and the span functions that the
 * parsers' inner loops are made of. Pure, any process.
 */
#ifndef COMMON_HTTP_CHAR_H
#define COMMON_HTTP_CHAR_H

#include "common/compiler.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

enum {
    HTTP_CHAR_TOKEN = 1 << 0,  /* tchar, RFC 9110 5.6.2 */
    HTTP_CHAR_TARGET = 1 << 1, /* visible ASCII but '#': more than RFC 3986, because browsers send
                                  "{}|^`[] raw and all servers read them as themselves */
    HTTP_CHAR_VALUE = 1 << 2,  /* in field values: tab, space, visible, obs-text (RFC 9110 5.5) */
    HTTP_CHAR_HOST = 1 << 3,   /* reg-name of RFC 3986 3.2.2 but '%' and ',': one server decodes,
                                  the next does not; one splits at the comma, the next does not */
    HTTP_CHAR_HEX = 1 << 4,
    HTTP_CHAR_DIGIT = 1 << 5,
    HTTP_CHAR_BASE64 = 1 << 6, /* RFC 4648 4, without '=' */
};

extern const uint8_t http_char_class[256];

static inline bool http_char_is(char c, unsigned classes)
{
    return (http_char_class[(unsigned char)c] & classes) != 0;
}

/* Index of the first byte in buf[at..end) that is not of the class, or `end`. */
static inline uint32_t http_char_span(const char *buf, uint32_t at, uint32_t end, unsigned classes)
{
    while (at < end && http_char_is(buf[at], classes))
        at++;
    return at;
}

/*
 * http_char_span for HTTP_CHAR_VALUE, eight bytes at a time: most bytes of a head are values. The
 * lowest mark left in `odd` is exact: a byte below 0x20 or a DEL. Only a tab is a value all the same.
 */
static inline uint32_t http_char_span_value(const char *buf, uint32_t at, uint32_t end)
{
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t tops = 0x8080808080808080u;

    while (at + 8 <= end) {
        uint64_t word;
        memcpy(&word, buf + at, sizeof word);
        word = le64toh(word); /* the first byte is the lowest */
        uint64_t del = word ^ ones * 0x7f;
        uint64_t odd = (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
        if (odd == 0) {
            at += 8;
            continue;
        }
        at += (uint32_t)__builtin_ctzll(odd) >> 3;
        if (buf[at] != '\t')
            return at;
        at++;
    }
    return http_char_span(buf, at, end, HTTP_CHAR_VALUE);
}

#endif
