/* SPDX-License-Identifier: Apache-2.0 */
#include "master/throttle.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>

enum { EXIT_1 = 1 << 8 };

START_TEST(three_young_deaths_are_free_then_the_pause_doubles_to_five_seconds)
{
    static const uint32_t expected[] = {0, 0, 0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct throttle throttle = {0};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        ck_assert_uint_eq(throttle_pause_ms(&throttle, 5, EXIT_1), expected[i]);
}
END_TEST

START_TEST(the_pause_stays_at_its_maximum_for_ever)
{
    struct throttle throttle = {.young = UINT32_MAX - 1};
    ck_assert_uint_eq(throttle_pause_ms(&throttle, 0, EXIT_1), THROTTLE_MAX_MS);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, 0, EXIT_1), THROTTLE_MAX_MS);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, 0, EXIT_1), THROTTLE_MAX_MS);
}
END_TEST

START_TEST(who_lived_a_second_is_replaced_at_once_and_makes_up_for_one)
{
    struct throttle throttle = {.young = 5};
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_YOUNG_MS, EXIT_1), 0);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_YOUNG_MS - 1, EXIT_1), 100);
}
END_TEST

START_TEST(who_lived_ten_seconds_clears_the_record)
{
    struct throttle throttle = {.young = 9};
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_OLD_MS - 1, EXIT_1), 0);
    ck_assert_uint_eq(throttle.young, 8);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_OLD_MS, EXIT_1), 0);
    ck_assert_uint_eq(throttle.young, 0);
}
END_TEST

START_TEST(a_kill_from_outside_counts_only_within_its_first_moments)
{
    struct throttle throttle = {.young = 5};
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_KILLED_YOUNG_MS, SIGKILL), 0);
    ck_assert_uint_eq(throttle.young, 4);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_KILLED_YOUNG_MS, SIGSEGV), 100);
    ck_assert_uint_eq(throttle_pause_ms(&throttle, THROTTLE_KILLED_YOUNG_MS - 1, SIGKILL), 200);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("throttle");
    tcase_add_test(tcase, three_young_deaths_are_free_then_the_pause_doubles_to_five_seconds);
    tcase_add_test(tcase, the_pause_stays_at_its_maximum_for_ever);
    tcase_add_test(tcase, who_lived_a_second_is_replaced_at_once_and_makes_up_for_one);
    tcase_add_test(tcase, who_lived_ten_seconds_clears_the_record);
    tcase_add_test(tcase, a_kill_from_outside_counts_only_within_its_first_moments);
    Suite *suite = suite_create("throttle");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
