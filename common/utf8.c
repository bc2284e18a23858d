/* SPDX-License-Identifier: Apache-2.0 */
#include "common/utf8.h"

/*
 * Bytes of the character that begins with `first`, 0 if none does; the second byte is of *low to *high,
 * which excludes overlong forms, surrogates and what is above U+10FFFF (RFC 3629 4).
 */
static size_t length_of(uint8_t first, uint8_t *low, uint8_t *high)
{
    *low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef)
        return 3;
    return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

bool utf8_valid(struct slice text)
{
    for (size_t at = 0; at < text.n;) {
        uint8_t low, high;
        size_t n = length_of((uint8_t)text.p[at], &low, &high);
        if (n == 0 || n > text.n - at)
            return false;
        for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf) {
            uint8_t byte = (uint8_t)text.p[at + i];
            if (byte < low || byte > high)
                return false;
        }
        at += n;
    }
    return true;
}
