/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/access_line.h"

#include <stdbool.h>

enum {
    UNIT_MAX = 6, /* bytes of the longest escape: \u00ff */
    TEXT_MIN = 64,
};

#define CUT_MARK "..."

/* What goes out as it is in both formats. */
static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static size_t plain_run(struct slice text)
{
    size_t n = 0;
    while (n < text.n && is_plain(text.p[n]))
        n++;
    return n;
}

/* Length of the well-formed UTF-8 sequence that `text` begins with (RFC 3629 4), 0: none. */
static size_t utf8_len(struct slice text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > text.n || p[0] > 0xf4)
        return 0;
    switch (p[0]) { /* overlong forms, surrogates, beyond U+10FFFF */
    case 0xe0: low = 0xa0; break;
    case 0xed: high = 0x9f; break;
    case 0xf0: low = 0x90; break;
    case 0xf4: high = 0x8f; break;
    default: break;
    }
    for (size_t i = 1; i < n; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

static size_t put_hex(char *out, const char *prefix, const char *digits, unsigned char c)
{
    size_t n = strlen(prefix);
    memcpy(out, prefix, n);
    out[n] = digits[c >> 4];
    out[n + 1] = digits[c & 15];
    return n + 2;
}

/* The next character as a unit that must not be cut; *used bytes of `text` are in it. */
static size_t json_unit(struct slice text, char out[UNIT_MAX], size_t *used)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char c = (unsigned char)text.p[0];
    *used = 1;
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    size_t n = utf8_len(text);
    if (n == 0 || c < ' ' || c == 0x7f)
        return put_hex(out, "\\u00", digits, c);
    *used = n;
    if (c == 0xc2 && (unsigned char)text.p[1] < 0xa0) /* C1: a terminal obeys them */
        return put_hex(out, "\\u00", digits, (unsigned char)text.p[1]);
    memcpy(out, text.p, n);
    return n;
}

static size_t next_unit(enum access_escape escape, struct slice text, char out[UNIT_MAX],
                        size_t *used)
{
    *used = 1;
    if (is_plain(text.p[0])) {
        out[0] = text.p[0];
        return 1;
    }
    if (escape == ACCESS_ESCAPE_JSON)
        return json_unit(text, out, used);
    return put_hex(out, "\\x", "0123456789ABCDEF", (unsigned char)text.p[0]);
}

static size_t escaped_len(enum access_escape escape, struct slice text)
{
    char unit[UNIT_MAX];
    size_t len = 0;
    size_t used;
    for (; text.n > 0; text.p += used, text.n -= used)
        len += next_unit(escape, text, unit, &used);
    return len;
}

/* All of it: the caller knows that it fits. */
static size_t put_whole(enum access_escape escape, struct slice text, char *out)
{
    size_t n = 0;
    while (text.n > 0) {
        size_t used = plain_run(text);
        if (used > 0) {
            memcpy(out + n, text.p, used);
            n += used;
        } else {
            char unit[UNIT_MAX];
            size_t len = next_unit(escape, text, unit, &used);
            memcpy(out + n, unit, len);
            n += len;
        }
        text.p += used;
        text.n -= used;
    }
    return n;
}

/* As much as fits into `max` with the mark behind. */
static size_t put_cut(enum access_escape escape, struct slice text, char *out, size_t max)
{
    size_t n = 0;
    size_t used;
    for (; text.n > 0; text.p += used, text.n -= used) {
        char unit[UNIT_MAX];
        size_t len = next_unit(escape, text, unit, &used);
        if (n + len + sizeof CUT_MARK - 1 > max)
            break;
        memcpy(out + n, unit, len);
        n += len;
    }
    memcpy(out + n, CUT_MARK, sizeof CUT_MARK - 1);
    return n + sizeof CUT_MARK - 1;
}

/*
 * The length that no text may pass, so that all of them fit into `budget`: what short ones leave over
 * is shared by the long ones. Each round raises the length or is the last.
 */
static size_t fair_max(const size_t *lens, uint32_t count, size_t budget)
{
    size_t max = budget / count;
    for (;;) {
        size_t left = budget;
        size_t too_long = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (lens[i] > max)
                too_long++;
            else
                left -= lens[i];
        }
        if (too_long == 0 || left / too_long == max)
            return max;
        max = left / too_long;
    }
}

/* Even if every byte needed the longest escape: so it is nearly always, and nothing is measured. */
static bool surely_fits(const struct access_piece *pieces, uint32_t count, size_t budget)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += pieces[i].text.n + 1; /* an empty one may become "-" */
    return bytes <= budget / UNIT_MAX;
}

static size_t put_text(enum access_escape escape, struct slice text, char *out, size_t max)
{
    if (text.n == 0 && escape == ACCESS_ESCAPE_NGINX)
        text = SLICE("-");
    if (max == SIZE_MAX || escaped_len(escape, text) <= max)
        return put_whole(escape, text, out);
    return put_cut(escape, text, out, max);
}

size_t access_line_write(enum access_escape escape, const struct access_piece *pieces,
                         uint32_t count, const char *tail, struct access_room room)
{
    size_t fixed = strlen(tail);
    for (uint32_t i = 0; i < count; i++)
        fixed += strlen(pieces[i].before);
    ASSERT(count > 0 && count <= ACCESS_PIECES_MAX && fixed + count * TEXT_MIN <= room.size);

    size_t max = SIZE_MAX;
    if (!surely_fits(pieces, count, room.size - fixed)) {
        size_t lens[ACCESS_PIECES_MAX];
        for (uint32_t i = 0; i < count; i++)
            lens[i] = pieces[i].text.n > 0 ? escaped_len(escape, pieces[i].text) : 1;
        max = fair_max(lens, count, room.size - fixed);
    }
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(pieces[i].before);
        memcpy(room.p + n, pieces[i].before, len);
        n += len;
        n += put_text(escape, pieces[i].text, room.p + n, max);
    }
    memcpy(room.p + n, tail, strlen(tail));
    return n + strlen(tail);
}
