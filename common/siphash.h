/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4: a keyed hash for tables whose keys clients choose. Any process. */
#ifndef COMMON_SIPHASH_H
#define COMMON_SIPHASH_H

#include "common/slice.h"

#include <stdint.h>

/* 64 bits of `data` under the 128-bit key. Without the key nobody can find two that collide. */
uint64_t siphash(const uint64_t key[2], struct slice data);

#endif
