/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/access_line.h"

#include <check.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 512 };

/* For loops: ck_assert tells the runner of each success, too, which takes far longer than the test. */
#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg("%s", #c);                                                                \
    } while (0)

/* One text between brackets, as it stands in a line. */
static struct slice escaped(enum access_escape escape, struct slice text)
{
    static char out[ROOM];
    struct access_piece piece = {"[", text};
    /* In memory of its own, so that a read past its end is caught. */
    char *copy = malloc(text.n > 0 ? text.n : 1);
    memcpy(copy, text.p, text.n);
    piece.text.p = copy;
    size_t n = access_line_write(escape, &piece, 1, "]", (struct access_room){out, sizeof out});
    free(copy);
    REQUIRE(n >= 2 && n <= sizeof out);
    REQUIRE(out[0] == '[' && out[n - 1] == ']');
    return (struct slice){out + 1, n - 2};
}

static void expect(enum access_escape escape, struct slice text, const char *wanted)
{
    struct slice got = escaped(escape, text);
    ck_assert_msg(slice_eq(got, slice_of(wanted)), "got %.*s, wanted %s", (int)got.n, got.p,
                  wanted);
}

START_TEST(json_keeps_text_and_escapes_what_it_must)
{
    expect(ACCESS_ESCAPE_JSON, SLICE(""), "");
    expect(ACCESS_ESCAPE_JSON, SLICE("/a?b=c&d"), "/a?b=c&d");
    expect(ACCESS_ESCAPE_JSON, SLICE("a\"b\\c/"), "a\\\"b\\\\c/");
    expect(ACCESS_ESCAPE_JSON, SLICE("\n\r\t\x1b\0\x7f"),
           "\\u000a\\u000d\\u0009\\u001b\\u0000\\u007f");
    expect(ACCESS_ESCAPE_JSON, SLICE("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
           "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
}
END_TEST

START_TEST(json_reads_what_is_not_utf8_as_latin1)
{
    expect(ACCESS_ESCAPE_JSON, SLICE("\xff\xfe"), "\\u00ff\\u00fe");
    expect(ACCESS_ESCAPE_JSON, SLICE("a\xc3"), "a\\u00c3");          /* cut off */
    expect(ACCESS_ESCAPE_JSON, SLICE("\xc3\"x"), "\\u00c3\\\"x");    /* not continued */
    expect(ACCESS_ESCAPE_JSON, SLICE("\xc0\xaf"), "\\u00c0\\u00af"); /* overlong */
    expect(ACCESS_ESCAPE_JSON, SLICE("\xe0\x80\xaf"), "\\u00e0\\u0080\\u00af");
    expect(ACCESS_ESCAPE_JSON, SLICE("\xed\xa0\x80"), "\\u00ed\\u00a0\\u0080"); /* surrogate */
    expect(ACCESS_ESCAPE_JSON, SLICE("\xf4\x90\x80\x80"), "\\u00f4\\u0090\\u0080\\u0080");
    expect(ACCESS_ESCAPE_JSON, SLICE("\xc2\x9bm"), "\\u009bm"); /* CSI: terminals obey it */
}
END_TEST

START_TEST(combined_escapes_as_nginx_does)
{
    /* What nginx 1.22.1 wrote for this User-Agent. */
    expect(ACCESS_ESCAPE_NGINX, SLICE("a\"b\\c\xff\t\x7fz"), "a\\x22b\\x5Cc\\xFF\\x09\\x7Fz");
    expect(ACCESS_ESCAPE_NGINX, SLICE("caf\xc3\xa9"), "caf\\xC3\\xA9");
    expect(ACCESS_ESCAPE_NGINX, SLICE(""), "-");
}
END_TEST

/* The code points of what a JSON string says; -1 where it is no valid one (RFC 8259 7). */
static int unescape(struct slice json, uint32_t *points)
{
    static iconv_t utf8;
    char raw[ROOM];
    int count = 0;
    if (!utf8)
        utf8 = iconv_open("UTF-32LE", "UTF-8");
    for (size_t i = 0; i < json.n;) {
        unsigned char c = (unsigned char)json.p[i];
        if (c < ' ' || c == '"')
            return -1;
        if (c == '\\' && i + 1 < json.n && (json.p[i + 1] == '"' || json.p[i + 1] == '\\')) {
            points[count++] = (unsigned char)json.p[i + 1];
            i += 2;
        } else if (c == '\\') {
            unsigned point;
            if (i + 6 > json.n || json.p[i + 1] != 'u')
                return -1;
            memcpy(raw, json.p + i + 2, 4);
            raw[4] = '\0';
            if (sscanf(raw, "%4x", &point) != 1)
                return -1;
            points[count++] = point;
            i += 6;
        } else { /* the C library judges one sequence */
            size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
            if (n > json.n - i)
                return -1;
            memcpy(raw, json.p + i, n);
            char *in = raw;
            char *out = (char *)&points[count++];
            size_t in_left = n;
            size_t out_left = 4;
            if (iconv(utf8, &in, &in_left, &out, &out_left) != 0 || in_left || out_left)
                return -1;
            i += n;
        }
    }
    return count;
}

static bool is_utf8(struct slice text)
{
    static iconv_t utf8;
    char copy[8];
    uint32_t points[8];
    char *in = copy;
    char *out = (char *)points;
    size_t in_left = text.n;
    size_t out_left = sizeof points;
    if (!utf8)
        utf8 = iconv_open("UTF-32LE", "UTF-8");
    memcpy(copy, text.p, text.n);
    iconv(utf8, NULL, NULL, NULL, NULL);
    return iconv(utf8, &in, &in_left, &out, &out_left) == 0 && in_left == 0;
}

START_TEST(every_pair_of_bytes_is_valid_json)
{
    uint32_t points[ROOM];
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        char text[2] = {(char)(pair >> 8), (char)pair};
        struct slice got = escaped(ACCESS_ESCAPE_JSON, (struct slice){text, 2});
        int count = unescape(got, points);
        bool single = count == 2 && points[0] == pair >> 8 && points[1] == (pair & 0xff);
        bool joined = count == 1 && points[0] == ((pair >> 8 & 0x1f) << 6 | (pair & 0x3f));
        if (!single && !joined)
            ck_abort_msg("%04x: %.*s", pair, (int)got.n, got.p);
    }
}
END_TEST

/* All lead bytes with the continuations around every bound: what the C library takes stays one character. */
START_TEST(utf8_is_what_the_c_library_says)
{
    static const unsigned char edges[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90,
                                          0x9f, 0xa0, 0xbf, 0xc0, 0xed, 0xff};
    uint32_t points[ROOM];
    unsigned valid = 0;
    for (unsigned lead = 0xc0; lead < 0x100; lead++) {
        size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        for (unsigned i = 0; i < ARRAY_LEN(edges) * ARRAY_LEN(edges) * ARRAY_LEN(edges); i++) {
            char text[4] = {(char)lead, (char)edges[i % 12], (char)edges[i / 12 % 12],
                            (char)edges[i / 144]};
            struct slice one = {text, len};
            struct slice got = escaped(ACCESS_ESCAPE_JSON, one);
            int count = unescape(got, points);
            REQUIRE(count > 0 && (count == 1) == is_utf8(one));
            valid += count == 1;
        }
    }
    ck_assert_uint_gt(valid, 1000);
}
END_TEST

static size_t line_of(enum access_escape escape, const struct slice *texts, uint32_t count,
                      char *out, size_t size)
{
    struct access_piece pieces[ACCESS_PIECES_MAX];
    for (uint32_t i = 0; i < count; i++)
        pieces[i] = (struct access_piece){"|", texts[i]};
    size_t n = access_line_write(escape, pieces, count, "|\n", (struct access_room){out, size});
    REQUIRE(n >= 2 && n <= size && memcmp(out + n - 2, "|\n", 2) == 0);
    return n;
}

/* Length of the text behind bar number `i`. */
static size_t text_len(const char *line, uint32_t i)
{
    while (i-- > 0)
        line = strchr(line + 1, '|');
    return (size_t)(strchr(line + 1, '|') - line - 1);
}

START_TEST(what_is_too_long_is_cut_fairly)
{
    char longest[5000];
    char line[1025] = "";
    memset(longest, 'x', sizeof longest);
    struct slice texts[] = {SLICE("short"), {longest, 5000}, {longest, 600}, {longest, 200}};
    size_t n = line_of(ACCESS_ESCAPE_JSON, texts, 4, line, 1024);
    ck_assert_uint_ge(n, 1023); /* the room is used */
    ck_assert_uint_eq(text_len(line, 0), 5);
    ck_assert_uint_eq(text_len(line, 1), text_len(line, 2));
    ck_assert_uint_eq(text_len(line, 3), 200);
    ck_assert_ptr_nonnull(strstr(line, "x...|xxx"));
    ck_assert_ptr_null(strstr(line, "t...|"));
}
END_TEST

START_TEST(what_just_fits_is_not_cut)
{
    char text[1024];
    char line[1025];
    for (size_t len = 900; len < sizeof text; len++) {
        memset(text, 'x', len);
        memset(line, 0, sizeof line);
        struct slice texts[] = {{text, len}};
        size_t n = line_of(ACCESS_ESCAPE_NGINX, texts, 1, line, 1024);
        ck_assert_uint_eq(n, len <= 1021 ? len + 3 : 1024);
        ck_assert_int_eq(strstr(line, "...") != NULL, len > 1021);
    }
}
END_TEST

/* Texts of all lengths and kinds of bytes: within the room, valid, and never cut inside an escape. */
START_TEST(any_texts_fit_into_any_room)
{
    static const char *const kinds[] = {"x",  "\"", "\xff", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\\", "\n"};
    char bytes[3000];
    char line[2048];
    uint32_t points[2048];
    for (unsigned seed = 0; seed < 4000; seed++) {
        const char *kind = kinds[seed % ARRAY_LEN(kinds)];
        size_t unit = strlen(kind);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = kind[i % unit];
        size_t room = 200 + seed * 7 % 1800;
        size_t first = seed * 13 % sizeof bytes / unit * unit;
        size_t second = seed * 31 % sizeof bytes / unit * unit;
        struct slice texts[] = {{bytes, first}, {bytes, second}};
        size_t n = line_of(ACCESS_ESCAPE_JSON, texts, 2, line, room);
        for (size_t at = 1, end; at < n - 1; at = end + 1) {
            end = (size_t)((const char *)memchr(line + at, '|', n - at) - line);
            REQUIRE(unescape((struct slice){line + at, end - at}, points) >= 0);
        }
        n = line_of(ACCESS_ESCAPE_NGINX, texts, 2, line, room);
        for (size_t i = 0; i + 1 < n; i++)
            REQUIRE(line[i] >= ' ' && line[i] < 0x7f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("access_line");
    TCase *tc = tcase_create("access_line");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, json_keeps_text_and_escapes_what_it_must);
    tcase_add_test(tc, json_reads_what_is_not_utf8_as_latin1);
    tcase_add_test(tc, combined_escapes_as_nginx_does);
    tcase_add_test(tc, every_pair_of_bytes_is_valid_json);
    tcase_add_test(tc, utf8_is_what_the_c_library_says);
    tcase_add_test(tc, what_is_too_long_is_cut_fairly);
    tcase_add_test(tc, what_just_fits_is_not_cut);
    tcase_add_test(tc, any_texts_fit_into_any_room);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
