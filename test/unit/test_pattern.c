/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pattern.h"

#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

static int match(const char *text, struct slice subject, struct slice groups[PATTERN_GROUPS])
{
    struct pattern *pattern;
    char why[PATTERN_WHY_MAX];
    ck_assert_msg(pattern_new(&pattern, slice_of(text), why) == 0, "%s: %s", text, why);
    int rc = pattern_match(pattern, subject, groups);
    pattern_free(&pattern);
    ck_assert_ptr_null(pattern);
    return rc;
}

START_TEST(groups_are_given_out)
{
    struct slice g[PATTERN_GROUPS];
    ck_assert_int_eq(match("^/room/([0-9]+)(/x)?(.*)$", SLICE("/room/42/rest"), g), 1);
    ck_assert(slice_eq(g[0], SLICE("/room/42/rest")) && slice_eq(g[1], SLICE("42")));
    ck_assert_uint_eq(g[2].n, 0);
    ck_assert(slice_eq(g[3], SLICE("/rest")));
    ck_assert_uint_eq(g[9].n, 0);
    ck_assert_int_eq(match("^/room/([0-9]+)$", SLICE("/room/x"), g), 0);
    ck_assert_int_eq(match("oo", SLICE("/room"), g), 1);
}
END_TEST

START_TEST(groups_beyond_the_ninth_do_no_harm)
{
    struct slice g[PATTERN_GROUPS];
    ck_assert_int_eq(match("(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", SLICE("abcdefghijk"), g), 1);
    ck_assert(slice_eq(g[9], SLICE("i")));
}
END_TEST

START_TEST(any_byte_may_stand_in_the_subject)
{
    struct slice g[PATTERN_GROUPS];
    ck_assert_int_eq(match("^/a.b$", SLICE("/a\0b"), g), 1);
    ck_assert_int_eq(match("^/a[^/]b$",
                           SLICE("/a\xff"
                                 "b"),
                           g),
                     1);
    ck_assert_int_eq(match("^$", (struct slice){"", 0}, g), 1);
}
END_TEST

START_TEST(a_broken_pattern_says_where)
{
    struct pattern *pattern;
    char why[PATTERN_WHY_MAX];
    ck_assert_int_eq(pattern_new(&pattern, SLICE("^/a(b"), why), -EINVAL);
    ck_assert_ptr_null(pattern);
    ck_assert_msg(strstr(why, "parenthes") && strstr(why, "character 6"), "%s", why);
    ck_assert_int_eq(pattern_new(&pattern, SLICE("a\\C"), why), -EINVAL);
}
END_TEST

START_TEST(a_match_that_would_take_forever_is_given_up)
{
    char subject[4096];
    struct slice g[PATTERN_GROUPS];
    memset(subject, 'a', sizeof subject);
    uint64_t begin = clock_mono_ms();
    ck_assert_int_eq(match("^(a+)+$", (struct slice){subject, 40}, g), 1);
    subject[40] = 'b';
    ck_assert_int_eq(match("^(a+)+$", (struct slice){subject, 41}, g), -E2BIG);
    subject[40] = 'a';
    subject[4095] = 'b';
    ck_assert_int_eq(match("^(a|a)*$", (struct slice){subject, 4096}, g), -E2BIG);
    ck_assert_uint_lt(clock_mono_ms() - begin, 5000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pattern");
    TCase *tc = tcase_create("pattern");
    tcase_set_timeout(tc, 60);

    tcase_add_test(tc, groups_are_given_out);
    tcase_add_test(tc, groups_beyond_the_ninth_do_no_harm);
    tcase_add_test(tc, any_byte_may_stand_in_the_subject);
    tcase_add_test(tc, a_broken_pattern_says_where);
    tcase_add_test(tc, a_match_that_would_take_forever_is_given_up);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
