/* SPDX-License-Identifier: Apache-2.0 */
/* What stands here as nginx's was asked of a real nginx 1.22.1. */
#include "common/uri.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REFUSED NULL

/* In memory of its own, so that a read past its end is caught. The caller frees. */
static struct slice copy_of(struct slice text)
{
    char *copy = malloc(text.n > 0 ? text.n : 1);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    return (struct slice){copy, text.n};
}

static void expect_path(struct slice text, const char *wanted)
{
    struct slice path = copy_of(text);
    char *out = malloc(path.n > 0 ? path.n : 1);
    int n = uri_normalise(path, out, path.n);
    if (!wanted)
        ck_assert_msg(n == -EINVAL, "%s was taken", text.p);
    else
        ck_assert_msg(n >= 0 && slice_eq((struct slice){out, (size_t)n}, slice_of(wanted)),
                      "%s became %.*s, wanted %s", text.p, n > 0 ? n : 0, out, wanted);
    free(out);
    free((char *)(uintptr_t)path.p);
}

START_TEST(paths_become_what_nginx_makes_of_them)
{
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"//a///b//", "/a/b/"},
        {"/a/%2e%2e/b", "/b"},
        {"/a/.%2e/b", "/b"},
        {"/a%2Fb", "/a/b"},
        {"/a%2f%2fb", "/a/b"},
        {"/%2f%2f", "/"},
        {"/a%2f..%2fb", "/b"},
        {"/a/.%2Fb", "/a/b"},
        {"/a/..%2Fb", "/b"},
        {"/a%2F..", "/"},
        {"/%2e", "/"},
        {"/a/%2e", "/a/"},
        {"/a/.", "/a/"},
        {"/a/..", "/"},
        {"/a/b/..", "/a/"},
        {"/a/b/../", "/a/"},
        {"/./", "/"},
        {"/...", "/..."},
        {"/a/.../b", "/a/.../b"},
        {"/.a/..b/", "/.a/..b/"},
        {"/..a", "/..a"},
        {"/a..", "/a.."},
        {"/a../b", "/a../b"},
        {"/a//../b", "/b"},
        {"/a/b//../c", "/a/c"},
        {"/a/b/c/../../d", "/a/d"},
        {"/%25%32%65", "/%2e"}, /* decoded once only */
        {"/a%3Fb", "/a?b"},
        {"/a%23b", "/a#b"},
        {"/a+b", "/a+b"},
        {"/a%20b", "/a b"},
        {"/%01", "/\x01"},
        {"/%ff", "/\xff"},
        {"/%e2%82%ac", "/\xe2\x82\xac"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_path(slice_of(cases[i][0]), cases[i][1]);
}
END_TEST

START_TEST(paths_that_nginx_refuses_are_refused)
{
    static const char *const cases[] = {
        "/..",         "/../",  "/a/../..", "/a/../../b", "/%2e%2e",
        "/%2e%2e%2fa", "/./..", "/.%2e",    "//..",       "/a/b%2F..%2F..%2F..",
        "/%00",        "/.%00", "/%41%zz",  "/%4",        "/%",
        "/%g0",        "/a%",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_path(slice_of(cases[i]), REFUSED);
    expect_path(SLICE(""), REFUSED);
    expect_path(SLICE("a"), REFUSED);
    expect_path(SLICE("%2fa"), REFUSED);
    expect_path(SLICE("/a\0b"), REFUSED);
}
END_TEST

START_TEST(a_path_needs_room_for_its_length)
{
    char out[8];
    ck_assert_int_eq(uri_normalise(SLICE("/abcd"), out, 4), -EINVAL);
    ck_assert_int_eq(uri_normalise(SLICE("/abcd"), out, 5), 5);
}
END_TEST

/* The plainest way: decode all, cut into segments, keep a stack. Returns the length or -1. */
static int by_stack(struct slice path, char *out)
{
    char text[32];
    size_t len = 0;
    size_t begin[32];
    int depth = 0;
    for (size_t i = 0; i < path.n; i++) {
        unsigned byte;
        char hex[3] = {0};
        if (path.p[i] != '%') {
            text[len++] = path.p[i];
            continue;
        }
        if (path.n - i < 3)
            return -1;
        memcpy(hex, path.p + i + 1, 2);
        if (strspn(hex, "0123456789abcdefABCDEF") != 2 || sscanf(hex, "%x", &byte) != 1 || !byte)
            return -1;
        text[len++] = (char)byte;
        i += 2;
    }
    int n = 1;
    out[0] = '/';
    for (size_t at = 1; at <= len;) {
        size_t end = at;
        while (end < len && text[end] != '/')
            end++;
        size_t size = end - at;
        if (size == 2 && memcmp(text + at, "..", 2) == 0) {
            if (depth == 0)
                return -1;
            n = (int)begin[--depth];
        } else if (size > 0 && !(size == 1 && text[at] == '.')) {
            begin[depth++] = (size_t)n;
            memcpy(out + n, text + at, size);
            n += (int)size;
            if (end < len)
                out[n++] = '/';
        }
        at = end + 1;
    }
    return n;
}

/* Every path of seven of these pieces behind the first slash. */
START_TEST(all_short_paths_agree_with_a_stack)
{
    static const char *const pieces[] = {"/", ".", "a", "%2e", "%2F", "%"};
    enum { PIECES = 6, LENGTH = 7, ALL = 279936 }; /* 6^7 */
    unsigned refused = 0;
    for (unsigned number = 0; number < ALL; number++) {
        char path[64] = "/";
        char wanted[64];
        char out[64];
        size_t len = 1;
        for (unsigned i = 0, rest = number; i < LENGTH; i++, rest /= PIECES) {
            const char *piece = pieces[rest % PIECES];
            size_t n = strlen(piece);
            memcpy(path + len, piece, n);
            len += n;
        }
        int n = uri_normalise((struct slice){path, len}, out, sizeof out);
        int m = by_stack((struct slice){path, len}, wanted);
        refused += m < 0;
        if ((n < 0) != (m < 0) || (n >= 0 && (n != m || memcmp(out, wanted, (size_t)n) != 0)))
            ck_abort_msg("%.*s: %d, wanted %d", (int)len, path, n, m);
    }
    ck_assert_uint_gt(refused, ALL / 10);
    ck_assert_uint_lt(refused, ALL - ALL / 10);
}
END_TEST

typedef bool look_up(struct slice text, struct slice name, struct slice *value);

static void expect_value(look_up *find, const char *text, const char *wanted)
{
    struct slice copy = copy_of(slice_of(text));
    struct slice value = {NULL, 0};
    bool found = find(copy, SLICE("a"), &value);
    ck_assert_msg(found == (wanted != NULL), "%s: %s", text, found ? "found" : "not found");
    if (wanted)
        ck_assert_msg(slice_eq(value, slice_of(wanted)), "%s: %.*s, wanted %s", text, (int)value.n,
                      value.p, wanted);
    free((char *)(uintptr_t)copy.p);
}

START_TEST(arguments_are_what_nginx_finds)
{
    static const char *const cases[][2] = {
        {"a=1", "1"},     {"A=1", "1"},    {"b=2&a=1", "1"},  {"a&a=2", "2"},
        {"a=", ""},       {"a=&a=2", ""},  {"aa=1&a=2", "2"}, {"a=1&a=2", "1"},
        {"a=b=c", "b=c"}, {"&&a=5&", "5"}, {"a==", "="},      {"a=%20x+y", "%20x+y"},
        {"", NULL},       {"a", NULL},     {"x=a=3", NULL},   {"a%3d=1", NULL},
        {"ba=1", NULL},   {";a=1", NULL},  {"b=1;a=2", NULL}, {"&", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_value(uri_arg, cases[i][0], cases[i][1]);
}
END_TEST

START_TEST(cookies_are_what_nginx_finds)
{
    static const char *const cases[][2] = {
        {"a=1", "1"},
        {"A=1", "1"},
        {"b=2; a=1", "1"},
        {"b=2;a=1", "1"},
        {"b=2, a=1", "1"},
        {"b=2,a=1", "1"},
        {"a=1,b=2", "1,b=2"},
        {"a=1 ; b=2", "1 "},
        {"a=1\t; b=2", "1\t"},
        {"a = 1", "1"},
        {"a  =  x  y  ; z", "x  y  "},
        {"a=", ""},
        {"a=; a=2", ""},
        {"aa=1; a=3", "3"},
        {"ab=1;a=2", "2"},
        {"b=a=1; a=2", "2"},
        {"a=b=c", "b=c"},
        {"a=\"x; y\"", "\"x"},
        {"b=\",a=9", "9"},
        {";;a=1", "1"},
        {"a=\t1;", "\t1"},
        {"", NULL},
        {"a", NULL},
        {"a ", NULL},
        {"a;", NULL},
        {"a; a=2", NULL}, /* the search goes on in the pair behind the ';' */
        {"a; b; a=2", "2"},
        {"a\t=1", NULL},
        {"\ta=1", NULL},
        {"b=1;\ta=1", NULL},
        {"b=x a=1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_value(uri_cookie, cases[i][0], cases[i][1]);
}
END_TEST

START_TEST(names_longer_than_the_text_are_not_found)
{
    struct slice value;
    ck_assert(!uri_arg(SLICE("room=1"), SLICE("roomnumber"), &value));
    ck_assert(!uri_cookie(SLICE("room=1"), SLICE("roomnumber"), &value));
    ck_assert(uri_arg(SLICE("x=1&Room=7"), SLICE("rOOM"), &value));
    ck_assert(slice_eq(value, SLICE("7")));
    ck_assert(uri_cookie(SLICE("x=1; Room=7"), SLICE("rOOM"), &value));
    ck_assert(slice_eq(value, SLICE("7")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uri");
    TCase *tc = tcase_create("uri");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, paths_become_what_nginx_makes_of_them);
    tcase_add_test(tc, paths_that_nginx_refuses_are_refused);
    tcase_add_test(tc, a_path_needs_room_for_its_length);
    tcase_add_test(tc, all_short_paths_agree_with_a_stack);
    tcase_add_test(tc, arguments_are_what_nginx_finds);
    tcase_add_test(tc, cookies_are_what_nginx_finds);
    tcase_add_test(tc, names_longer_than_the_text_are_not_found);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
