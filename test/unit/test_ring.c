/* SPDX-License-Identifier: Apache-2.0 */
/* Rings on a real board: published by generation, found, overtaken, walked. */
#include "shm/ring.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct board board;
static char name[32];

static const struct ring_server three[] = {
    {{"10.0.0.1:8080", 13}, 1, 1},
    {{"10.0.0.2:8080", 13}, 1, 2},
    {{"10.0.0.3:8080", 13}, 2, 3},
};

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = 16};
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-ring-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
}

static void teardown(void)
{
    board_fini(&board);
    ck_assert_int_eq(board_unlink(name), 0);
}

static uint32_t upstream(const char *text, uint32_t generation)
{
    int rc = board_upstream_register(&board, generation, slice_of(text));
    ck_assert_int_ge(rc, 0);
    return (uint32_t)rc;
}

static void publish(uint32_t entry, uint32_t generation)
{
    struct ring_writer writer;
    ring_begin(&writer, &board, generation);
    ck_assert_int_eq(ring_publish(&writer, entry, three, 3), 0);
}

START_TEST(a_published_ring_gives_the_order_that_nginx_walks)
{
    static const struct {
        const char *key;
        uint32_t order[3];
    } cases[] = {{"192.0.2.1", {2, 3, 1}},
                 {"192.0.2.2", {3, 1, 2}},
                 {"192.0.2.3", {3, 1, 2}},
                 {"2001:db8::1", {3, 1, 2}},
                 {"198.51.100.77", {3, 2, 1}}};
    struct ring ring;
    uint32_t entry = upstream("chat", 1);
    publish(entry, 1);
    ck_assert_int_eq(ring_find(&board, entry, 1, &ring), 0);
    ck_assert_uint_eq(ring.count, 640);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t order[4] = {0};
        ck_assert_uint_eq(ring_order(&ring, slice_of(cases[i].key), order, 4), 3);
        ck_assert_mem_eq(order, cases[i].order, sizeof cases[i].order);
        ck_assert_uint_eq(ring_order(&ring, slice_of(cases[i].key), order, 1), 1);
        ck_assert_uint_eq(order[0], cases[i].order[0]);
    }
    ck_assert(ring_still_valid(&board, entry, &ring));
}
END_TEST

START_TEST(a_ring_lives_until_the_second_next_generation)
{
    struct ring ring;
    uint32_t entry = upstream("chat", 7);
    publish(entry, 7);
    ck_assert_int_eq(ring_find(&board, entry, 7, &ring), 0);
    publish(entry, 8);
    ck_assert(ring_still_valid(&board, entry, &ring));
    ck_assert_int_eq(ring_find(&board, entry, 7, &ring), 0);

    struct ring_writer writer;
    ring_begin(&writer, &board, 9);
    ck_assert_msg(!ring_still_valid(&board, entry, &ring), "points are about to be overwritten");
    ck_assert_int_eq(ring_find(&board, entry, 7, &ring), -ESTALE);
    ck_assert_int_eq(ring_find(&board, entry, 9, &ring), -ESTALE);
    ck_assert_int_eq(ring_find(&board, entry, 8, &ring), 0);
    ck_assert_int_eq(ring_publish(&writer, entry, three, 3), 0);
    ck_assert_int_eq(ring_find(&board, entry, 9, &ring), 0);
}
END_TEST

START_TEST(rings_of_one_generation_stand_side_by_side)
{
    struct ring a, b;
    struct ring_writer writer;
    uint32_t first = upstream("a", 1), second = upstream("b", 1);
    ring_begin(&writer, &board, 1);
    ck_assert_int_eq(ring_publish(&writer, first, three, 3), 0);
    ck_assert_int_eq(ring_publish(&writer, second, three + 2, 1), 0);
    ck_assert_int_eq(ring_find(&board, first, 1, &a), 0);
    ck_assert_int_eq(ring_find(&board, second, 1, &b), 0);
    ck_assert_ptr_eq(a.points + a.count, b.points);
    ck_assert_uint_eq(b.count, 320);
    for (uint32_t i = 0; i < b.count; i++)
        ck_assert_uint_eq(b.points[i].server, 3);
}
END_TEST

START_TEST(an_upstream_without_hash_has_no_ring)
{
    struct ring ring;
    uint32_t entry = upstream("plain", 1);
    ck_assert_int_eq(ring_find(&board, entry, 1, &ring), -ESTALE);
    ck_assert_int_eq(ring_find(&board, entry, 0, &ring), -ESTALE);
}
END_TEST

START_TEST(what_cannot_be_published_is_refused_and_leaves_no_ring)
{
    struct ring ring;
    struct ring_writer writer;
    uint32_t entry = upstream("chat", 1);
    struct ring_server heavy = {SLICE("10.0.0.1:1"), BOARD_RING_POINTS_MAX, 0};
    ring_begin(&writer, &board, 1);
    ck_assert_int_eq(ring_publish(&writer, entry, &heavy, 1), -ENOSPC);
    heavy.weight = UINT32_MAX;
    ck_assert_int_eq(ring_publish(&writer, entry, &heavy, 1), -ENOSPC);
    ck_assert_int_eq(ring_publish(&writer, entry, &heavy, 0), -EINVAL);
    ck_assert_int_eq(ring_find(&board, entry, 1, &ring), -ESTALE);
    ck_assert_uint_eq(writer.used, 0);
}
END_TEST

START_TEST(a_ring_that_points_outside_the_area_is_not_found)
{
    struct ring ring;
    uint32_t entry = upstream("chat", 2);
    publish(entry, 2);
    struct board_upstream *at = board_upstream(&board, entry);
    at->ring[0].count = BOARD_RING_POINTS_MAX + 1u;
    ck_assert_int_eq(ring_find(&board, entry, 2, &ring), -ESTALE);
    at->ring[0].count = 640;
    at->ring[0].first = BOARD_RING_POINTS_MAX - 639u;
    ck_assert_int_eq(ring_find(&board, entry, 2, &ring), -ESTALE);
    at->ring[0].first = UINT32_MAX;
    ck_assert_int_eq(ring_find(&board, entry, 2, &ring), -ESTALE);
}
END_TEST

START_TEST(servers_that_no_backend_can_have_are_left_out_of_the_order)
{
    const struct ketama_point points[] = {{1, 5}, {2, UINT32_MAX}, {3, 16384}, {4, 5}, {5, 16383}};
    const struct ring ring = {points, 5, 1};
    uint32_t order[8];
    ck_assert_uint_eq(ring_order(&ring, SLICE("x"), order, 8), 2);
    ck_assert_uint_eq(order[0], 5);
    ck_assert_uint_eq(order[1], 16383);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ring");
    TCase *tcase = tcase_create("all");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_published_ring_gives_the_order_that_nginx_walks);
    tcase_add_test(tcase, a_ring_lives_until_the_second_next_generation);
    tcase_add_test(tcase, rings_of_one_generation_stand_side_by_side);
    tcase_add_test(tcase, an_upstream_without_hash_has_no_ring);
    tcase_add_test(tcase, what_cannot_be_published_is_refused_and_leaves_no_ring);
    tcase_add_test(tcase, a_ring_that_points_outside_the_area_is_not_found);
    tcase_add_test(tcase, servers_that_no_backend_can_have_are_left_out_of_the_order);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
