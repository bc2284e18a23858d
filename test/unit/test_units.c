/* SPDX-License-Identifier: Apache-2.0 */
#include "common/units.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

struct pair {
    const char *text;
    uint64_t value;
};

START_TEST(durations_are_read_in_every_unit)
{
    static const struct pair pairs[] = {
        {"0", 0},         {"0s", 0},
        {"500ms", 500},   {"4s", 4000},
        {"10m", 600000},  {"1h", 3600000},
        {"1d", 86400000}, {"213503982334d", 18446744073657600000u},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        uint64_t ms = 77;
        ck_assert_int_eq(units_parse_duration(slice_of(pairs[i].text), &ms), 0);
        ck_assert_uint_eq(ms, pairs[i].value);
    }
}
END_TEST

START_TEST(sizes_are_read_in_every_unit)
{
    static const struct pair pairs[] = {
        {"0", 0},
        {"512", 512},
        {"16k", 16384},
        {"16K", 16384},
        {"1m", 1048576},
        {"3g", 3221225472u},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        uint64_t bytes = 77;
        ck_assert_int_eq(units_parse_size(slice_of(pairs[i].text), &bytes), 0);
        ck_assert_uint_eq(bytes, pairs[i].value);
    }
}
END_TEST

START_TEST(what_is_no_duration_is_refused_and_changes_nothing)
{
    static const char *const texts[] = {"",   "s",    "4",    "4 s",   " 4s",  "4s ", "-4s", "+4s",
                                        "4S", "4sec", "1.5s", "1h30m", "4mss", "ms",  "0x4s"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint64_t ms = 77;
        ck_assert_msg(units_parse_duration(slice_of(texts[i]), &ms) == -EINVAL, "%s", texts[i]);
        ck_assert_uint_eq(ms, 77);
    }
}
END_TEST

START_TEST(what_is_no_size_is_refused_and_changes_nothing)
{
    static const char *const texts[] = {"",   "k",    "1kb", "1 k", "-1", "1.5m",
                                        "1t", "0x10", "1k ", " 1",  "1b"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint64_t bytes = 77;
        ck_assert_msg(units_parse_size(slice_of(texts[i]), &bytes) == -EINVAL, "%s", texts[i]);
        ck_assert_uint_eq(bytes, 77);
    }
}
END_TEST

START_TEST(what_does_not_fit_64_bits_is_out_of_range)
{
    uint64_t value = 77;
    ck_assert_int_eq(units_parse_size(SLICE("18446744073709551616"), &value), -ERANGE);
    ck_assert_int_eq(units_parse_size(SLICE("17179869184g"), &value), -ERANGE);
    ck_assert_int_eq(units_parse_duration(SLICE("213503982335d"), &value), -ERANGE);
    ck_assert_int_eq(units_parse_duration(SLICE("99999999999999999999s"), &value), -ERANGE);
    ck_assert_uint_eq(value, 77);
}
END_TEST

START_TEST(only_the_bytes_of_the_slice_are_read)
{
    uint64_t value = 0;
    ck_assert_int_eq(units_parse_duration((struct slice){"10s", 2}, &value), -EINVAL);
    ck_assert_int_eq(units_parse_size((struct slice){"16k", 2}, &value), 0);
    ck_assert_uint_eq(value, 16);
}
END_TEST

START_TEST(a_rate_is_the_time_between_two)
{
    static const struct {
        const char *text;
        uint64_t interval_us;
    } good[] = {{"", 0},
                {"1/s", 1000000},
                {"3/s", 333333},
                {"1000000/s", 1},
                {"30/m", 2000000},
                {"1/m", 60000000},
                {"1/h", UINT64_C(3600000000)}};
    static const char *const bad[] = {"1",    "/s",   "0/s",       "1/d", "-1/s",       "1.5/s",
                                      "1/s ", " 1/s", "1000001/s", "1/",  "99999999/h", "1//s"};
    uint64_t interval_us;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(units_parse_rate(slice_of(good[i].text), &interval_us), 0);
        ck_assert_uint_eq(interval_us, good[i].interval_us);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(units_parse_rate(slice_of(bad[i]), &interval_us) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(a_rate_a_second_is_a_number_or_a_size)
{
    static const struct pair good[] = {
        {"", 0}, {"1/s", 1}, {"100/s", 100}, {"64k/s", 65536}, {"1g/s", 1 << 30}};
    static const char *const bad[] = {"1",      "/s",   "s",   "1/m",  "1k",   "1/s ",
                                      "1.5k/s", "-1/s", "k/s", "1//s", "1s/s", "1/"};
    char text[UNITS_TEXT_MAX];
    uint64_t per_s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(units_parse_per_second(slice_of(good[i].text), &per_s), 0);
        ck_assert_uint_eq(per_s, good[i].value);
        ck_assert_uint_eq(units_print_per_second(per_s, text), strlen(good[i].text));
        ck_assert_str_eq(text, good[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(units_parse_per_second(slice_of(bad[i]), &per_s) == -EINVAL, "%s", bad[i]);
    ck_assert_int_eq(units_parse_per_second(SLICE("18446744073709551616/s"), &per_s), -ERANGE);
    /* No value prints longer than its place. */
    ck_assert_uint_lt(units_print_per_second(UINT64_MAX, text), UNITS_TEXT_MAX);
    ck_assert_str_eq(text, "18446744073709551615/s");
}
END_TEST

START_TEST(values_are_printed_in_the_biggest_unit_that_is_exact)
{
    static const struct pair durations[] = {{"0s", 0},         {"1ms", 1},       {"1500ms", 1500},
                                            {"90s", 90000},    {"1m", 60000},    {"1h", 3600000},
                                            {"25h", 90000000}, {"2d", 172800000}};
    static const struct pair sizes[] = {{"0", 0},
                                        {"1023", 1023},
                                        {"1k", 1024},
                                        {"1025", 1025},
                                        {"1m", 1 << 20},
                                        {"1g", 1 << 30},
                                        {"18446744073709551615", UINT64_MAX}};
    char text[UNITS_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        size_t n = units_print_duration(durations[i].value, text);
        ck_assert_str_eq(text, durations[i].text);
        ck_assert_uint_eq(n, strlen(text));
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t n = units_print_size(sizes[i].value, text);
        ck_assert_str_eq(text, sizes[i].text);
        ck_assert_uint_eq(n, strlen(text));
    }
}
END_TEST

START_TEST(what_is_printed_is_read_back_as_the_same_value)
{
    uint64_t value = 1, back;
    char text[UNITS_TEXT_MAX];
    for (int i = 0; i < 20000; i++) {
        value = value * 6364136223846793005u + 1442695040888963407u;
        uint64_t shorter = value >> (i % 64);
        units_print_duration(shorter, text);
        ck_assert_int_eq(units_parse_duration(slice_of(text), &back), 0);
        ck_assert_uint_eq(back, shorter);
        units_print_size(shorter, text);
        ck_assert_int_eq(units_parse_size(slice_of(text), &back), 0);
        ck_assert_uint_eq(back, shorter);
    }
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("units");
    tcase_add_test(all, durations_are_read_in_every_unit);
    tcase_add_test(all, sizes_are_read_in_every_unit);
    tcase_add_test(all, what_is_no_duration_is_refused_and_changes_nothing);
    tcase_add_test(all, what_is_no_size_is_refused_and_changes_nothing);
    tcase_add_test(all, what_does_not_fit_64_bits_is_out_of_range);
    tcase_add_test(all, only_the_bytes_of_the_slice_are_read);
    tcase_add_test(all, a_rate_is_the_time_between_two);
    tcase_add_test(all, a_rate_a_second_is_a_number_or_a_size);
    tcase_add_test(all, values_are_printed_in_the_biggest_unit_that_is_exact);
    tcase_add_test(all, what_is_printed_is_read_back_as_the_same_value);
    Suite *suite = suite_create("units");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
