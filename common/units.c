/* SPDX-License-Identifier: Apache-2.0 */
#include "common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Biggest first: the first that divides a value prints it shortest. */
static const struct unit DURATIONS[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const struct unit SIZES[] = {
    {"g", 1 << 30},
    {"m", 1 << 20},
    {"k", 1 << 10},
    {"", 1},
};

static int parse_number(struct slice *text, uint64_t *value)
{
    size_t i = 0;
    *value = 0;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(text->p[i] - '0'), value))
            return -ERANGE;
    }
    text->p += i;
    text->n -= i;
    return i > 0 ? 0 : -EINVAL;
}

static int scale(uint64_t value, uint64_t factor, uint64_t *out)
{
    return __builtin_mul_overflow(value, factor, out) ? -ERANGE : 0;
}

int units_parse_duration(struct slice text, uint64_t *ms)
{
    uint64_t value, result;
    int rc = parse_number(&text, &value);
    if (rc < 0)
        return rc;
    if (text.n == 0 && value == 0) {
        *ms = 0;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(DURATIONS); i++) {
        if (!slice_eq(text, slice_of(DURATIONS[i].name)))
            continue;
        rc = scale(value, DURATIONS[i].factor, &result);
        if (rc == 0)
            *ms = result;
        return rc;
    }
    return -EINVAL;
}

int units_parse_size(struct slice text, uint64_t *bytes)
{
    uint64_t value, result;
    int rc = parse_number(&text, &value);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        if (!slice_ieq(text, slice_of(SIZES[i].name)))
            continue;
        rc = scale(value, SIZES[i].factor, &result);
        if (rc == 0)
            *bytes = result;
        return rc;
    }
    return -EINVAL;
}

static size_t print(uint64_t value, const struct unit *unit, char out[UNITS_TEXT_MAX])
{
    while (value % unit->factor != 0)
        unit++;
    int n = snprintf(out, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / unit->factor, unit->name);
    return (size_t)n;
}

size_t units_print_duration(uint64_t ms, char out[UNITS_TEXT_MAX])
{
    /* 0 would be "0d": seconds are what people write. */
    return ms == 0 ? print(0, &DURATIONS[3], out) : print(ms, DURATIONS, out);
}

size_t units_print_size(uint64_t bytes, char out[UNITS_TEXT_MAX])
{
    return bytes == 0 ? print(0, &SIZES[3], out) : print(bytes, SIZES, out);
}

int units_parse_rate(struct slice text, uint64_t *interval_us)
{
    uint64_t count = 0;
    uint64_t unit_us = UINT64_C(1000000);
    *interval_us = 0;
    if (text.n == 0)
        return 0;
    if (text.n < 3 || text.n > 9 || text.p[text.n - 2] != '/')
        return -EINVAL;
    switch (text.p[text.n - 1]) {
    case 's': break;
    case 'm': unit_us *= 60; break;
    case 'h': unit_us *= 3600; break;
    default: return -EINVAL;
    }
    for (size_t i = 0; i < text.n - 2; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return -EINVAL;
        count = count * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (count == 0 || count > unit_us)
        return -EINVAL;
    *interval_us = unit_us / count;
    return 0;
}

int units_parse_per_second(struct slice text, uint64_t *per_s)
{
    if (text.n == 0) {
        *per_s = 0;
        return 0;
    }
    if (text.n < 3 || text.p[text.n - 2] != '/' || text.p[text.n - 1] != 's')
        return -EINVAL;
    text.n -= 2;
    return units_parse_size(text, per_s);
}

size_t units_print_per_second(uint64_t per_s, char out[UNITS_TEXT_MAX])
{
    if (per_s == 0) {
        out[0] = '\0';
        return 0;
    }
    size_t n = print(per_s, SIZES, out);
    memcpy(out + n, "/s", 3);
    return n + 2;
}
