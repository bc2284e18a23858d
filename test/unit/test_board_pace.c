/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_pace.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECOND = 1000000 };
#define NOW UINT64_C(5000000000)

static const struct board_shape shape = {.tunnels_max = 64};
static struct board board;
static char name[32];

static void setup(void)
{
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-pace-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
}

static void teardown(void)
{
    board_fini(&board);
    shm_unlink(name);
}

START_TEST(a_burst_comes_at_once_the_rest_waits_and_then_is_refused)
{
    const struct pace pace = {SECOND / 10, 2 * SECOND / 10, SECOND / 2};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW), 0);
    for (int i = 1; i <= 5; i++)
        ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW), i * SECOND / 10);
    ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW), -EBUSY);
    ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW + SECOND / 10), SECOND / 2);
    ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW + SECOND / 10), -EBUSY);
    /* Another one is not touched. */
    ck_assert_int_eq(board_pace_take(&board, PACE_BACKENDS + 7, &pace, NOW), 0);
    /* And after a rest a burst comes at once again. */
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW + 9 * SECOND), 0);
    ck_assert_int_gt(board_pace_take(&board, PACE_ALL, &pace, NOW + 9 * SECOND), 0);
}
END_TEST

START_TEST(who_is_refused_is_told_to_come_later_and_later)
{
    const struct pace pace = {SECOND, 0, 0};
    ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, NOW), 0);
    for (uint64_t i = 1; i <= 100; i++)
        ck_assert_uint_eq(board_pace_retry(&board, PACE_ALL, &pace, NOW), (i + 1) * SECOND);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_le(board_pace_retry(&board, PACE_ALL, &pace, NOW), 120 * SECOND);
    /* The storm is over: back to one interval. */
    ck_assert_uint_eq(board_pace_retry(&board, PACE_ALL, &pace, NOW + 500 * (uint64_t)SECOND),
                      SECOND);
}
END_TEST

START_TEST(workers_share_one_pace)
{
    enum { WORKERS = 4, EACH = 5000 };
    const struct pace pace = {1000, 999 * 1000, 0}; /* a thousand at once */
    int pipes[2];
    uint32_t sum = 0, taken;
    ck_assert_int_eq(pipe(pipes), 0);
    for (int i = 0; i < WORKERS; i++) {
        if (fork() == 0) {
            taken = 0;
            for (int j = 0; j < EACH; j++)
                taken += board_pace_take(&board, PACE_ALL, &pace, NOW) == 0;
            _exit(write(pipes[1], &taken, sizeof taken) != sizeof taken);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        wait(&status);
        ck_assert_int_eq(status, 0);
        ck_assert_int_eq(read(pipes[0], &taken, sizeof taken), sizeof taken);
        sum += taken;
    }
    ck_assert_uint_eq(sum, 1000);
}
END_TEST

static uint64_t hash_of(uint32_t client)
{
    return 3 + ((uint64_t)client << 41);
}

START_TEST(each_client_has_a_pace)
{
    const struct pace pace = {SECOND, SECOND, 0};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(board_pace_take_client(&board, hash_of(1), &pace, NOW), 0);
    int64_t wait = board_pace_take_client(&board, hash_of(1), &pace, NOW);
    ck_assert_int_ge(wait, SECOND - 128);
    ck_assert_int_le(wait, SECOND + 128);
    ck_assert_int_eq(board_pace_take_client(&board, hash_of(2), &pace, NOW), 0);
    ck_assert_int_eq(board_pace_take_client(&board, hash_of(1), &pace, NOW + (uint64_t)wait), 0);
    ck_assert_int_gt(board_pace_take_client(&board, hash_of(1), &pace, NOW + (uint64_t)wait), 0);
}
END_TEST

START_TEST(a_place_is_given_away_when_its_time_has_passed)
{
    const struct pace pace = {SECOND, 0, 0};
    for (uint32_t i = 1; i <= PACE_WAYS; i++)
        ck_assert_int_eq(board_pace_take_client(&board, hash_of(i), &pace, NOW), 0);
    ck_assert_int_eq(board_pace_take_client(&board, hash_of(100), &pace, NOW), -ENOSPC);
    ck_assert_int_eq(board_pace_take_client(&board, hash_of(100), &pace, NOW + 2 * SECOND), 0);
    ck_assert_int_gt(board_pace_take_client(&board, hash_of(100), &pace, NOW + 2 * SECOND), 0);
}
END_TEST

START_TEST(a_thousand_hours_ahead_are_remembered)
{
    const struct pace pace = {UINT64_C(3600) * SECOND, UINT64_C(999) * 3600 * SECOND, 0};
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(board_pace_take_client(&board, hash_of(1), &pace, NOW), 0);
    ck_assert_int_gt(board_pace_take_client(&board, hash_of(1), &pace, NOW), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("board_pace");
    TCase *tc = tcase_create("board_pace");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_burst_comes_at_once_the_rest_waits_and_then_is_refused);
    tcase_add_test(tc, who_is_refused_is_told_to_come_later_and_later);
    tcase_add_test(tc, workers_share_one_pace);
    tcase_add_test(tc, each_client_has_a_pace);
    tcase_add_test(tc, a_place_is_given_away_when_its_time_has_passed);
    tcase_add_test(tc, a_thousand_hours_ahead_are_remembered);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
