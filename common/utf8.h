/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 (RFC 3629). */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Is the text UTF-8 to its end: no overlong form, no surrogate, nothing above U+10FFFF? Pure. */
bool utf8_valid(struct slice text) MUST_CHECK;

#endif
