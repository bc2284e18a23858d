/* SPDX-License-Identifier: Apache-2.0 */
/* Consistent hashing against vectors of an independent implementation of nginx's algorithm. */
#include "common/ketama.h"

#include <check.h>
#include <stdlib.h>

enum { POINTS = KETAMA_POINTS_PER_WEIGHT };

static const struct {
    const char *text;
    uint32_t first[3];
} servers[] = {
    {"10.0.0.1:8080", {0xf1ea5a8f, 0x4bd08e68, 0x84e5eeee}},
    {"10.0.0.1", {0xe2f1fe40, 0x851cab0f, 0x141a7665}},
    {"backend1.example.com:8080", {0x6639a35c, 0x9689b9a8, 0xd744425a}},
    {"[2001:db8::1]:8080", {0x65e4862c, 0x6d7252a7, 0xf46a5bdf}},
    {"unix:/tmp/backend3", {0x65d2c8ae, 0xd90c532a, 0x971d3261}},
};

/* How the ring {10.0.0.1:8080 w1, 10.0.0.2:8080 w1, 10.0.0.3:8080 w2} places keys. */
static const struct {
    const char *key;
    uint32_t hash, index, server;
} keys[] = {
    {"192.0.2.1", 0xdb610037, 543, 1},     {"192.0.2.2", 0x4268518d, 158, 2},
    {"192.0.2.3", 0x356f611b, 129, 2},     {"2001:db8::1", 0x00b4af0e, 2, 2},
    {"198.51.100.77", 0xa92089c6, 416, 2},
};

static uint32_t three_servers(struct ketama_point *points)
{
    uint32_t count = 0;
    ketama_add(points, &count, SLICE("10.0.0.1:8080"), 1, 0);
    ketama_add(points, &count, SLICE("10.0.0.2:8080"), 1, 1);
    ketama_add(points, &count, SLICE("10.0.0.3:8080"), 2, 2);
    return ketama_sort(points, count);
}

START_TEST(a_server_gets_the_points_that_nginx_gives_it)
{
    struct ketama_point points[POINTS];
    uint32_t count = 0;
    ketama_add(points, &count, slice_of(servers[_i].text), 1, 7);
    ck_assert_uint_eq(count, POINTS);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq(points[i].hash, servers[_i].first[i]);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(points[i].server, 7);
}
END_TEST

START_TEST(a_key_goes_to_the_point_that_nginx_finds)
{
    struct ketama_point points[4 * POINTS];
    uint32_t count = three_servers(points);
    ck_assert_uint_eq(count, 640);
    uint32_t hash = ketama_hash(slice_of(keys[_i].key));
    ck_assert_uint_eq(hash, keys[_i].hash);
    uint32_t at = ketama_find(points, count, hash);
    ck_assert_uint_eq(at, keys[_i].index);
    ck_assert_uint_eq(points[at].server, keys[_i].server);
}
END_TEST

START_TEST(weight_adds_points_behind_those_of_a_lighter_server)
{
    struct ketama_point one[POINTS], five[5 * POINTS];
    uint32_t count_one = 0, count_five = 0;
    ketama_add(one, &count_one, SLICE("10.0.0.1:80"), 1, 0);
    ketama_add(five, &count_five, SLICE("10.0.0.1:80"), 5, 0);
    ck_assert_uint_eq(count_five, 5 * POINTS);
    ck_assert_mem_eq(one, five, sizeof one);
}
END_TEST

START_TEST(the_unix_prefix_is_known_in_any_case)
{
    struct ketama_point lower[POINTS], upper[POINTS];
    uint32_t a = 0, b = 0;
    ketama_add(lower, &a, SLICE("unix:/run/x"), 1, 0);
    ketama_add(upper, &b, SLICE("UniX:/run/x"), 1, 0);
    ck_assert_mem_eq(lower, upper, sizeof lower);
}
END_TEST

START_TEST(an_empty_port_hashes_as_no_port_and_digits_alone_are_a_host)
{
    struct ketama_point with_colon[POINTS], without[POINTS], digits[POINTS], dotted[POINTS];
    uint32_t a = 0, b = 0, c = 0, d = 0;
    ketama_add(with_colon, &a, SLICE("host:"), 1, 0);
    ketama_add(without, &b, SLICE("host"), 1, 0);
    ck_assert_mem_eq(with_colon, without, sizeof without);
    ketama_add(digits, &c, SLICE("8080"), 1, 0);
    ketama_add(dotted, &d, SLICE(":8080"), 1, 0);
    ck_assert_mem_ne(digits, dotted, sizeof digits);
}
END_TEST

START_TEST(any_text_can_be_added_and_any_key_hashed)
{
    struct ketama_point points[POINTS];
    uint32_t count = 0;
    ketama_add(points, &count, (struct slice){NULL, 0}, 1, 0);
    ck_assert_uint_eq(count, POINTS);
    ck_assert_uint_eq(ketama_hash((struct slice){NULL, 0}), 0);
    ck_assert_uint_eq(ketama_hash(SLICE("")), 0);
    for (size_t n = 0; n <= 5; n++) {
        count = 0;
        ketama_add(points, &count, (struct slice){"unix:", n}, 1, 0);
    }
}
END_TEST

START_TEST(of_equal_hashes_the_lowest_server_stays)
{
    struct ketama_point points[] = {{9, 4}, {5, 3}, {9, 1}, {5, 7}, {1, 9}, {9, 2}};
    ck_assert_uint_eq(ketama_sort(points, 6), 3);
    const struct ketama_point expected[] = {{1, 9}, {5, 3}, {9, 1}};
    ck_assert_mem_eq(points, expected, sizeof expected);
    ck_assert_uint_eq(ketama_sort(points, 0), 0);
}
END_TEST

START_TEST(the_search_finds_every_gap_and_wraps_past_the_end)
{
    const struct ketama_point points[] = {{10, 0}, {20, 1}, {30, 2}};
    for (uint32_t hash = 0; hash <= 40; hash++) {
        uint32_t expected = hash <= 10 ? 0 : hash <= 20 ? 1 : hash <= 30 ? 2 : 0;
        ck_assert_uint_eq(ketama_find(points, 3, hash), expected);
    }
    ck_assert_uint_eq(ketama_find(points, 3, UINT32_MAX), 0);
    ck_assert_uint_eq(ketama_find(points, 1, 5), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ketama");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, a_server_gets_the_points_that_nginx_gives_it, 0,
                        (int)ARRAY_LEN(servers));
    tcase_add_loop_test(tcase, a_key_goes_to_the_point_that_nginx_finds, 0, (int)ARRAY_LEN(keys));
    tcase_add_test(tcase, weight_adds_points_behind_those_of_a_lighter_server);
    tcase_add_test(tcase, the_unix_prefix_is_known_in_any_case);
    tcase_add_test(tcase, an_empty_port_hashes_as_no_port_and_digits_alone_are_a_host);
    tcase_add_test(tcase, any_text_can_be_added_and_any_key_hashed);
    tcase_add_test(tcase, of_equal_hashes_the_lowest_server_stays);
    tcase_add_test(tcase, the_search_finds_every_gap_and_wraps_past_the_end);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
