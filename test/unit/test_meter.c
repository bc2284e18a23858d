/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/meter.h"

#include <check.h>
#include <stdlib.h>

static struct arena_rules rules;
static struct arena_meter meter;

static void set(uint32_t d, enum rate_kind kind, uint32_t per_s, uint32_t burst)
{
    rules.limits.rates[d][kind] = (struct arena_rate){per_s, burst};
}

static void set_up(void)
{
    rules = (struct arena_rules){.flags = RULES_DELAY};
    set(0, RATE_MESSAGES, 10, 5);
    meter_init(&meter, 1000);
}

static enum meter_verdict charge(uint32_t d, uint32_t messages, uint32_t bytes, uint32_t controls,
                                 uint32_t now_ms, uint32_t *wait_ms)
{
    struct meter_load load = {{messages, bytes, controls}};
    return meter_charge(&meter, &rules, d, &load, now_ms, wait_ms);
}

START_TEST(a_burst_passes_and_one_more_waits_for_its_turn)
{
    uint32_t wait_ms;
    ck_assert_int_eq(charge(0, 5, 0, 0, 1000, &wait_ms), METER_FINE);
    ck_assert_uint_eq(wait_ms, 0);
    ck_assert_int_eq(charge(0, 1, 0, 0, 1000, &wait_ms), METER_WAIT);
    ck_assert_uint_ge(wait_ms, 100);
    ck_assert_uint_le(wait_ms, 102);
}
END_TEST

START_TEST(in_the_long_run_the_rate_is_kept_exactly)
{
    uint32_t now_ms = 1000, wait_ms;
    for (int i = 0; i < 1000; i++) {
        enum meter_verdict verdict = charge(0, 3, 0, 0, now_ms, &wait_ms);
        ck_assert_int_ne(verdict, METER_OVER);
        now_ms += wait_ms;
    }
    /* 3,000 messages, 5 of them at once, 10 a second. */
    ck_assert_uint_ge(now_ms - 1000, 299000);
    ck_assert_uint_le(now_ms - 1000, 301000);
}
END_TEST

START_TEST(a_rate_that_is_set_later_begins_with_its_whole_burst)
{
    uint32_t wait_ms;
    ck_assert_int_eq(charge(0, 1, 1000, 0, 1000, &wait_ms), METER_FINE);
    set(0, RATE_BYTES, 100, 5000);
    ck_assert_int_eq(charge(0, 1, 5000, 0, 1001, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(0, 1, 1, 0, 1001, &wait_ms), METER_WAIT);
}
END_TEST

START_TEST(a_level_never_passes_its_burst)
{
    uint32_t wait_ms;
    charge(0, 0, 0, 0, 1000 + 3000000000u, &wait_ms);
    ck_assert_int_eq(charge(0, 5, 0, 0, 1000 + 3000000000u, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(0, 1, 0, 0, 1000 + 3000000000u, &wait_ms), METER_WAIT);
}
END_TEST

START_TEST(time_may_pass_the_end_of_its_32_bits)
{
    uint32_t wait_ms;
    meter_init(&meter, UINT32_MAX - 50);
    ck_assert_int_eq(charge(0, 5, 0, 0, UINT32_MAX - 50, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(0, 1, 0, 0, 49, &wait_ms), METER_FINE); /* 100 ms later */
    ck_assert_int_eq(charge(0, 1, 0, 0, 49, &wait_ms), METER_WAIT);
}
END_TEST

START_TEST(kinds_and_directions_have_rates_of_their_own)
{
    uint32_t wait_ms;
    set(1, RATE_BYTES, 1000, 1000);
    meter_init(&meter, 1000);
    ck_assert_int_eq(charge(1, 1000000, 1000, 1000000, 1000, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(1, 0, 500, 0, 1000, &wait_ms), METER_WAIT);
    ck_assert_uint_ge(wait_ms, 500);
    ck_assert_int_eq(charge(0, 5, 1000000, 1000000, 1000, &wait_ms), METER_FINE);
}
END_TEST

START_TEST(who_shall_not_wait_is_over)
{
    uint32_t wait_ms;
    rules.flags = 0;
    ck_assert_int_eq(charge(0, 5, 0, 0, 1000, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(0, 1, 0, 0, 1000, &wait_ms), METER_OVER);
}
END_TEST

START_TEST(floods_of_control_frames_never_wait)
{
    uint32_t wait_ms;
    set(0, RATE_CONTROL, 10, 10);
    meter_init(&meter, 1000);
    ck_assert_int_eq(charge(0, 0, 0, 10, 1000, &wait_ms), METER_FINE);
    ck_assert_int_eq(charge(0, 0, 0, 1, 1000, &wait_ms), METER_OVER);
}
END_TEST

START_TEST(the_biggest_numbers_do_not_overflow)
{
    uint32_t wait_ms;
    set(0, RATE_BYTES, UINT32_MAX, UINT32_MAX);
    meter_init(&meter, 0);
    for (uint32_t i = 1; i < 100; i++) {
        enum meter_verdict verdict = charge(0, 0, UINT32_MAX, 0, i * 40000000u, &wait_ms);
        ck_assert_int_eq(verdict, METER_FINE);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("meter");
    TCase *tc = tcase_create("meter");

    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, a_burst_passes_and_one_more_waits_for_its_turn);
    tcase_add_test(tc, in_the_long_run_the_rate_is_kept_exactly);
    tcase_add_test(tc, a_level_never_passes_its_burst);
    tcase_add_test(tc, a_rate_that_is_set_later_begins_with_its_whole_burst);
    tcase_add_test(tc, time_may_pass_the_end_of_its_32_bits);
    tcase_add_test(tc, kinds_and_directions_have_rates_of_their_own);
    tcase_add_test(tc, who_shall_not_wait_is_over);
    tcase_add_test(tc, floods_of_control_frames_never_wait);
    tcase_add_test(tc, the_biggest_numbers_do_not_overflow);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
