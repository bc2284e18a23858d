/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_health.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

START_TEST(statuses_are_numbers_and_ranges)
{
    struct image_health health;
    ck_assert_int_eq(conf_health_status("200", &health), 0);
    ck_assert_uint_eq(health.status_count, 1);
    ck_assert_uint_eq(health.status[0].to, 200);
    ck_assert_int_eq(conf_health_status("100-199,204,401-599", &health), 0);
    ck_assert_uint_eq(health.status_count, 3);
    ck_assert_uint_eq(health.status[0].from, 100);
    ck_assert_uint_eq(health.status[0].to, 199);
    ck_assert_uint_eq(health.status[1].from, 204);
    ck_assert_uint_eq(health.status[2].to, 599);
}
END_TEST

START_TEST(what_is_no_set_of_statuses_is_refused)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "200,",
                                      "20",
                                      "2000",
                                      "99",
                                      "600",
                                      "200-",
                                      "-200",
                                      "300-200",
                                      "200 ",
                                      " 200",
                                      "200--3",
                                      "200-2999",
                                      "200;300",
                                      "200-299-300",
                                      "1,2",
                                      "0x200",
                                      "+200",
                                      "200,,201",
                                      "2xx",
                                      "200-600,200",
                                      "200,201,202,203,204,205,206,207,208"};
    struct image_health health;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(conf_health_status(bad[i], &health) == -EINVAL, "\"%s\"", bad[i]);
        ck_assert_uint_eq(health.status_count, 0);
    }
}
END_TEST

START_TEST(what_would_make_a_bad_request_is_refused)
{
    const void *field;
    const struct conf_health fine = {.type = HEALTH_HTTP,
                                     .method = (char *)"GET",
                                     .path = (char *)"/x?y=1",
                                     .host = (char *)"[::1]:80",
                                     .status = (char *)"200"};
    struct conf_health bad[7];
    for (int i = 0; i < 7; i++)
        bad[i] = fine;
    bad[0].path = (char *)"x";
    bad[1].path = (char *)"/ HTTP/1.1\r\nX: y";
    bad[2].method = (char *)"GET /";
    bad[3].host = (char *)"a\r\nb";
    bad[4].host = (char *)"a b";
    bad[5].status = (char *)"ok";
    bad[6].type = HEALTH_WEBSOCKET;
    bad[6].method = (char *)"HEAD";
    for (int i = 0; i < 7; i++)
        ck_assert_msg(conf_health_error(&bad[i], &field) != NULL, "case %d", i);
    ck_assert_ptr_null(conf_health_error(&fine, &field));
    ck_assert_ptr_null(conf_health_error(&(struct conf_health){0}, &field));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_health");
    TCase *tc = tcase_create("conf_health");
    tcase_add_test(tc, statuses_are_numbers_and_ranges);
    tcase_add_test(tc, what_is_no_set_of_statuses_is_refused);
    tcase_add_test(tc, what_would_make_a_bad_request_is_refused);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
