/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_sticky.h"

#include <check.h>
#include <stdlib.h>

static const struct conf_sticky plain = {.cookie = (char *)"route",
                                         .path = (char *)"/",
                                         .http_only = true,
                                         .same_site = CONF_SAME_SITE_LAX};

START_TEST(values_differ_by_server_upstream_and_secret_and_are_opaque)
{
    struct conf_sticky secret = plain, other = plain;
    char values[5][CONF_STICKY_VALUE_MAX];
    secret.secret = (char *)"s";
    other.secret = (char *)"t";
    conf_sticky_value(&plain, "u", "10.0.0.1:80", values[0]);
    conf_sticky_value(&plain, "u", "10.0.0.2:80", values[1]);
    conf_sticky_value(&plain, "v", "10.0.0.1:80", values[2]);
    conf_sticky_value(&secret, "u", "10.0.0.1:80", values[3]);
    conf_sticky_value(&other, "u", "10.0.0.1:80", values[4]);
    for (int i = 0; i < 5; i++) {
        ck_assert_uint_eq(strlen(values[i]), 32);
        ck_assert_uint_eq(strspn(values[i], "0123456789abcdef"), 32);
        for (int j = 0; j < i; j++)
            ck_assert_str_ne(values[i], values[j]);
    }
    char again[CONF_STICKY_VALUE_MAX];
    conf_sticky_value(&secret, "u", "10.0.0.1:80", again); /* on every host the same */
    ck_assert_str_eq(again, values[3]);
}
END_TEST

START_TEST(attributes_are_those_that_are_set)
{
    char out[CONF_STICKY_ATTRIBUTES_MAX];
    struct conf_sticky all = {.cookie = (char *)"c",
                              .path = (char *)"/x",
                              .domain = (char *)"example.com",
                              .max_age_ms = 90000,
                              .secure = true,
                              .http_only = true,
                              .same_site = CONF_SAME_SITE_NONE};
    conf_sticky_attributes(&plain, out);
    ck_assert_str_eq(out, "; Path=/; HttpOnly; SameSite=Lax");
    conf_sticky_attributes(&all, out);
    ck_assert_str_eq(out,
                     "; Path=/x; Domain=example.com; Max-Age=90; Secure; HttpOnly; SameSite=None");
}
END_TEST

START_TEST(what_could_not_stand_in_a_cookie_is_refused)
{
    static char longest[130];
    const void *field;
    memset(longest, '/', sizeof longest - 1);
    struct conf_sticky bad[8];
    for (int i = 0; i < 8; i++)
        bad[i] = plain;
    bad[0].cookie = (char *)"a b";
    bad[1].cookie = (char *)"a=b";
    bad[2].path = (char *)"/;x";
    bad[3].path = (char *)"x";
    bad[4].path = longest;
    bad[5].domain = (char *)"a,b";
    bad[6].domain = (char *)"a\r\nSet-Cookie: b";
    bad[7].same_site = CONF_SAME_SITE_NONE;
    for (int i = 0; i < 8; i++)
        ck_assert_msg(conf_sticky_error(&bad[i], &field) != NULL, "case %d", i);
    ck_assert_ptr_null(conf_sticky_error(&plain, &field));
    ck_assert_ptr_null(conf_sticky_error(&(struct conf_sticky){0}, &field));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_sticky");
    TCase *tc = tcase_create("conf_sticky");
    tcase_add_test(tc, values_differ_by_server_upstream_and_secret_and_are_opaque);
    tcase_add_test(tc, attributes_are_those_that_are_set);
    tcase_add_test(tc, what_could_not_stand_in_a_cookie_is_refused);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
