/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_name.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(names_have_a_host_and_a_port)
{
    static const struct {
        const char *text, *host;
        unsigned port;
        bool srv;
    } cases[] = {{"app.example.com:9000", "app.example.com", 9000, false},
                 {"localhost", "localhost", 80, false},
                 {"a-b_c.x1:1", "a-b_c.x1", 1, false},
                 {"app.example.com.:65535", "app.example.com.", 65535, false},
                 {"1.2.3.4a", "1.2.3.4a", 80, false},
                 {"srv:_ws._tcp.example.com", "_ws._tcp.example.com", 0, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct conf_name name;
        ck_assert_msg(conf_name_parse(&name, slice_of(cases[i].text)) == 0, "%s", cases[i].text);
        ck_assert_str_eq(name.host, cases[i].host);
        ck_assert_uint_eq(name.port, cases[i].port);
        ck_assert_int_eq(name.srv, cases[i].srv);
    }
}
END_TEST

START_TEST(what_is_no_name_is_refused)
{
    static const char *const bad[] = {
        "",         "10.0.0.300",  "10.0.0.300:80", "1.2",      ".",
        "..",       ".a",          "a..b",          "a:0",      "a:65536",
        "a:",       "a:80x",       "a:8:0",         "a b",      "a/b",
        "[::1]:80", "a\nb",        "srv:",          "srv:a:80", "srv:10.0.0.1",
        "a.1",      "\xc3\xa4.de", "*.a",           "a:-1",     "a:+80"};
    struct conf_name name;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(conf_name_parse(&name, slice_of(bad[i])) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(conf_name_parse(&name, (struct slice){"a\0b", 3}), -EINVAL);
}
END_TEST

START_TEST(lengths_are_those_of_dns)
{
    char text[400];
    struct conf_name name;
    for (int label = 1; label < 80; label++) {
        snprintf(
            text, sizeof text, "%.*s.a", label,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        ck_assert_int_eq(conf_name_parse(&name, slice_of(text)), label <= 63 ? 0 : -EINVAL);
    }
    for (size_t n = 1; n < sizeof text; n++) {
        memset(text, 'a', n);
        for (size_t dot = 10; dot < n; dot += 11)
            text[dot] = '.';
        text[n - 1] = 'z';
        ck_assert_int_eq(conf_name_parse(&name, (struct slice){text, n}), n <= 253 ? 0 : -EINVAL);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_name");
    TCase *tc = tcase_create("conf_name");
    tcase_add_test(tc, names_have_a_host_and_a_port);
    tcase_add_test(tc, what_is_no_name_is_refused);
    tcase_add_test(tc, lengths_are_those_of_dns);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
