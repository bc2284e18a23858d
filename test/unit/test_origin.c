/* SPDX-License-Identifier: Apache-2.0 */
#include "common/origin.h"

#include <check.h>
#include <stdlib.h>

#define HOST "www.example.com:8080"

static bool fits(const char *pattern, const char *origin)
{
    ck_assert_msg(!origin_pattern_error(slice_of(pattern)), "%s", pattern);
    return origin_matches(slice_of(pattern), slice_of(origin), SLICE(HOST));
}

START_TEST(scheme_host_and_port_must_be_the_same)
{
    ck_assert(fits("https://example.com", "https://example.com"));
    ck_assert(fits("https://example.com", "HTTPS://Example.COM"));
    ck_assert(fits("https://example.com", "https://example.com:443"));
    ck_assert(fits("https://example.com:443", "https://example.com"));
    ck_assert(fits("http://example.com:80", "http://example.com"));
    ck_assert(fits("http://[::1]:8080", "http://[::1]:8080"));
    ck_assert(!fits("https://example.com", "http://example.com"));
    ck_assert(!fits("https://example.com", "https://example.com:8443"));
    ck_assert(!fits("https://example.com:8443", "https://example.com"));
    ck_assert(!fits("http://example.com", "http://example.com:443"));
    ck_assert(!fits("https://example.com", "https://www.example.com"));
    ck_assert(!fits("https://example.com", "https://example.com.evil.example"));
    ck_assert(!fits("https://example.com", "https://evilexample.com"));
    ck_assert(!fits("http://[::1]", "http://[::1]:8080"));
}
END_TEST

START_TEST(a_wildcard_takes_all_names_below)
{
    ck_assert(fits("https://*.example.com", "https://a.example.com"));
    ck_assert(fits("https://*.example.com", "https://a.b.EXAMPLE.com"));
    ck_assert(!fits("https://*.example.com", "https://example.com"));
    ck_assert(!fits("https://*.example.com", "https://.example.com.evil.example"));
    ck_assert(!fits("https://*.example.com", "https://evilexample.com"));
    ck_assert(!fits("https://*.example.com", "https://.example.com:1"));
}
END_TEST

START_TEST(scheme_and_port_may_be_any)
{
    ck_assert(fits("example.com", "https://example.com"));
    ck_assert(fits("example.com", "http://example.com:80"));
    ck_assert(!fits("example.com", "http://example.com:81"));
    ck_assert(fits("example.com:*", "http://example.com:81"));
    ck_assert(fits("example.com:*", "http://example.com"));
    ck_assert(fits("*.example.com:*", "app://x.example.com:9"));
    ck_assert(fits("*", "anything at all"));
    ck_assert(fits("*", "null"));
}
END_TEST

START_TEST(null_is_an_origin_of_its_own)
{
    ck_assert(fits("null", "null"));
    ck_assert(!fits("null", "https://null"));
    ck_assert(!fits("https://null", "null"));
    ck_assert(!fits("same", "null"));
}
END_TEST

START_TEST(same_means_the_host_that_is_asked)
{
    ck_assert(fits("same", "http://www.example.com:8080"));
    ck_assert(fits("same", "https://WWW.example.com:8080"));
    ck_assert(!fits("same", "http://www.example.com"));
    ck_assert(!fits("same", "http://example.com:8080"));
    ck_assert(origin_matches(SLICE("same"), SLICE("https://a.example"), SLICE("a.example")));
    ck_assert(origin_matches(SLICE("same"), SLICE("https://a.example"), SLICE("a.example:443")));
    ck_assert(!origin_matches(SLICE("same"), SLICE("http://a.example"), SLICE("a.example:443")));
    ck_assert(!origin_matches(SLICE("same"), SLICE("https://"), SLICE("")));
}
END_TEST

START_TEST(what_is_no_origin_fits_nothing_but_a_star)
{
    static const char *const bad[] = {
        "",
        "example.com",
        "https://",
        "https://example.com/",
        "https://a@example.com",
        "https://example.com:",
        "https://example.com:x",
        "://example.com",
        "https:/example.com",
        "https://example.com https://example.com",
        "https://evil\\example.com",
        "https://e?example.com",
        "https://evil.test#.example.com",
        "https://evil.test/.example.com",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(!fits("example.com:*", bad[i]), "%s", bad[i]);
        ck_assert_msg(!fits("*.example.com:*", bad[i]), "%s", bad[i]);
    }
}
END_TEST

START_TEST(patterns_are_checked)
{
    static const char *const bad[] = {"",
                                      "https://",
                                      "https://a.example/",
                                      "a.*.example",
                                      "https://a*.example",
                                      "https://a.example:x",
                                      "://a.example",
                                      "a b",
                                      "https://*",
                                      "https://a.example:",
                                      "*.*.example",
                                      "a.example/x:1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(origin_pattern_error(slice_of(bad[i])) != NULL, "%s", bad[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("origin");
    TCase *tc = tcase_create("origin");

    tcase_add_test(tc, scheme_host_and_port_must_be_the_same);
    tcase_add_test(tc, a_wildcard_takes_all_names_below);
    tcase_add_test(tc, scheme_and_port_may_be_any);
    tcase_add_test(tc, null_is_an_origin_of_its_own);
    tcase_add_test(tc, same_means_the_host_that_is_asked);
    tcase_add_test(tc, what_is_no_origin_fits_nothing_but_a_star);
    tcase_add_test(tc, patterns_are_checked);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
