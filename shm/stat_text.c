/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_text.h"

#include "common/compiler.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

static bool plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '\\';
}

size_t stat_text_print(FILE *out, const char *text)
{
    size_t width = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (plain(*p))
            fputc(*p, out);
        else
            fprintf(out, "\\x%02x", *p);
        width += plain(*p) ? 1 : 4;
    }
    return width;
}

size_t stat_text_width(const char *text)
{
    size_t width = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        width += plain(*p) ? 1 : 4;
    return width;
}

/*
 * Bytes of the UTF-8 sequence at p (RFC 3629: shortest form, no surrogates, up to U+10FFFF), or 0.
 * C1 control characters count as none: a terminal that shows the JSON may obey them.
 */
static size_t utf8_length(const unsigned char *p)
{
    uint32_t code;
    size_t n;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;
        code = p[0] & 0x1fu;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;
        code = p[0] & 0x0fu;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;
        code = p[0] & 0x07u;
    } else {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0u) != 0x80) /* stops at the NUL at the latest */
            return 0;
        code = code << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000};
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? 0 : n;
}

/* The quoted form that JSON and Prometheus share but for how a control byte is written. */
static void print_quoted(FILE *out, const char *text, const char *control_format)
{
    const unsigned char *p = (const unsigned char *)text;
    fputc('"', out);
    while (*p) {
        size_t n = *p >= 0x80 ? utf8_length(p) : 1;
        if (n == 0 || *p == 0x7f)
            fprintf(out, "\\\\x%02x", *p);
        else if (*p == '"' || *p == '\\')
            fprintf(out, "\\%c", *p);
        else if (*p < 0x20)
            fprintf(out, control_format, *p);
        else
            fwrite(p, 1, n, out);
        p += n == 0 ? 1 : n;
    }
    fputc('"', out);
}

void stat_text_json(FILE *out, const char *text)
{
    print_quoted(out, text, "\\u%04x");
}

void stat_text_label(FILE *out, const char *text)
{
    print_quoted(out, text, "\\\\x%02x");
}

void stat_text_duration(char out[STAT_TEXT_NUMBER], uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (ms < 1000)
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 "ms", ms);
    else if (s < 60)
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
    else if (s < 3600)
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s % 3600 / 60);
    else
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s % 86400 / 3600);
}

void stat_text_bytes(char out[STAT_TEXT_NUMBER], uint64_t bytes)
{
    static const char units[] = "KMGTPE";
    if (bytes < 1024) {
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64, bytes);
        return;
    }
    size_t unit = 0;
    uint64_t scale = 1024;
    while (bytes / scale >= 1024 && unit + 1 < sizeof units - 1) {
        scale *= 1024;
        unit++;
    }
    snprintf(out, STAT_TEXT_NUMBER, "%.1f%c", (double)bytes / (double)scale, units[unit]);
}

void stat_text_time(char out[STAT_TEXT_NUMBER], uint64_t real_ms)
{
    struct tm tm;
    time_t seconds = (time_t)(real_ms / 1000);
    char text[24];
    /* Beyond the year 9999 it is no time but a corrupt board. */
    if (real_ms >= 253402300800000u || !gmtime_r(&seconds, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(out, STAT_TEXT_NUMBER, "-");
    else
        snprintf(out, STAT_TEXT_NUMBER, "%s.%03uZ", text, (unsigned)(real_ms % 1000));
}
