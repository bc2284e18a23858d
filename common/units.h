/* SPDX-License-Identifier: Apache-2.0 */
/* Durations ("500ms", "4s", "10m", "1h", "1d"), sizes ("512", "16k", "1m", "1g"), rates as text. */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

enum { UNITS_TEXT_MAX = 24 }; /* enough for any printed value with its NUL */

/*
 * Parse a duration into milliseconds: digits and one of ms, s, m, h, d; only 0 may stand without.
 * Returns 0, -EINVAL (not a duration; *ms untouched) or -ERANGE (more than 64 bits).
 */
int units_parse_duration(struct slice text, uint64_t *ms) MUST_CHECK;

/*
 * Parse a size into bytes: digits, then k, m or g (1024 each, either case) or nothing.
 * Returns as units_parse_duration does.
 */
int units_parse_size(struct slice text, uint64_t *bytes) MUST_CHECK;

/* The shortest text that means exactly this: 90000 is "90s", 16384 is "16k". Returns the length. */
size_t units_print_duration(uint64_t ms, char out[UNITS_TEXT_MAX]);
size_t units_print_size(uint64_t bytes, char out[UNITS_TEXT_MAX]);

/*
 * "10/s", "30/m", "5/h": *interval_us is the time between two, 0 for "" (no limit). 1 an hour to
 * 1,000,000 a second. Returns 0 or -EINVAL.
 */
int units_parse_rate(struct slice text, uint64_t *interval_us) MUST_CHECK;

/*
 * "100/s", "64k/s": a size, and how much of it a second; 0 for "" (no limit). Returns as
 * units_parse_size does.
 */
int units_parse_per_second(struct slice text, uint64_t *per_s) MUST_CHECK;

/* The shortest text that means exactly this, "" for 0. Returns the length. */
size_t units_print_per_second(uint64_t per_s, char out[UNITS_TEXT_MAX]);

#endif
