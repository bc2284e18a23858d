/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http_char.h"

#include "common/http_head.h"

/* What a character may be, so that the table below can be read against an ASCII chart. */
enum {
    P = HTTP_CHAR_TARGET | HTTP_CHAR_VALUE, /* punctuation */
    T = P | HTTP_CHAR_TOKEN,                /* ... also in tokens */
    H = P | HTTP_CHAR_HOST,                 /* ... also in hosts */
    B = T | H,                              /* ... in both */
    L = B | HTTP_CHAR_BASE64,               /* letter, and '+' */
    X = L | HTTP_CHAR_HEX,                  /* letter that is a hex digit */
    D = X | HTTP_CHAR_DIGIT,                /* digit */
    S = P | HTTP_CHAR_BASE64,               /* '/' */
    N = HTTP_CHAR_TOKEN | HTTP_CHAR_VALUE,  /* '#' */
    V = HTTP_CHAR_VALUE,                    /* tab, space, 0x80 and up */
};

/* clang-format off */
const uint8_t http_char_class[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0, /* NUL .. SI; tab */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    V, B, P, N, B, T, B, B, H, H, B, L, P, B, B, S, /*  !"#$%&'()*+,-./ */
    D, D, D, D, D, D, D, D, D, D, P, H, P, H, P, P, /* 0123456789:;<=>? */
    P, X, X, X, X, X, X, L, L, L, L, L, L, L, L, L, /* @ABCDEFGHIJKLMNO */
    L, L, L, L, L, L, L, L, L, L, L, P, P, P, T, B, /* PQRSTUVWXYZ[\]^_ */
    T, X, X, X, X, X, X, L, L, L, L, L, L, L, L, L, /* `abcdefghijklmno */
    L, L, L, L, L, L, L, L, L, L, L, P, T, P, B, 0, /* pqrstuvwxyz{|}~  */
    [0x80 ... 0xff] = V,
};
/* clang-format on */

bool http_is_tchar(unsigned char c)
{
    return (http_char_class[c] & HTTP_CHAR_TOKEN) != 0;
}
