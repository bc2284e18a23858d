/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARTS = 10 };

static struct board board;

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = 64};
    char name[64];
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-board-wave-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
}

static void teardown(void)
{
    board_fini(&board);
}

START_TEST(a_wave_is_read_as_it_was_written_until_it_is_called_off)
{
    struct board_wave *shown = &board.header->quit;
    const struct board_wave wave = {.from_ms = 1,
                                    .opened_before_real_ms = 2,
                                    .for_ms = 3,
                                    .share = 4,
                                    .floor = 5,
                                    .mark = REASON_SHED};
    struct board_wave read;
    ck_assert(!board_wave_read(shown, &read));
    board_wave_set(shown, &wave);
    ck_assert(board_wave_read(shown, &read));
    ck_assert_uint_eq(read.mark & 0xff, REASON_SHED);
    read.mark = wave.mark;
    ck_assert_mem_eq(&read, &wave, sizeof read);
    uint32_t mark = shown->mark;
    board_wave_set(shown, &wave);
    ck_assert_uint_ne(shown->mark, mark); /* who read amid the two reads again */
    board_wave_set(shown, NULL);
    ck_assert(!board_wave_read(shown, &read));
}
END_TEST

START_TEST(workers_are_told_by_another_serial)
{
    uint32_t before = board.header->wave_serial;
    board_wave_tell(&board);
    ck_assert_uint_ne(board.header->wave_serial, before);
}
END_TEST

/* How far the fullest or emptiest part is from the mean, of those below `share`. */
static double worst(uint32_t slots, uint32_t count, uint32_t step, uint32_t share)
{
    uint32_t found[PARTS] = {0}, all = 0;
    double far = 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        for (uint32_t i = 0; i < count; i++) {
            if (share != BOARD_WAVE_ALL && board_wave_pick(&board, slot, i * step) >= share)
                continue;
            found[(uint64_t)board_wave_turn(&board, slot, i * step) * PARTS >> 32]++;
            all++;
        }
    }
    for (uint32_t i = 0; i < PARTS; i++)
        far = fmax(far, fabs(found[i] * (double)PARTS / all - 1));
    return far;
}

START_TEST(turns_are_flat_within_a_fifth_whatever_the_key)
{
    for (int i = 0; i < 200; i++) {
        board.header->hash_key[0] = (uint64_t)random() << 31 ^ (uint64_t)random();
        ck_assert_double_lt(worst(2, 2000, 1, BOARD_WAVE_ALL), 0.02);
        /* Those on every other, third ... tenth server. */
        for (uint32_t step = 2; step <= 10; step++)
            ck_assert_double_lt(worst(2, 2000 / step, step, BOARD_WAVE_ALL), 0.2);
    }
}
END_TEST

START_TEST(a_share_has_its_size_and_is_flat_too)
{
    for (int i = 0; i < 200; i++) {
        board.header->hash_key[0] = (uint64_t)random() << 31 ^ (uint64_t)random();
        board.header->hash_key[1] = (uint64_t)random() << 31 ^ (uint64_t)random();
        for (uint32_t step = 1; step <= 3; step++)
            ck_assert_double_lt(worst(2, 2000, step, UINT32_MAX / 3), 0.2);
        uint32_t picked = 0;
        for (uint32_t t = 0; t < 3000; t++)
            picked += board_wave_pick(&board, 3, t) < UINT32_MAX / 3;
        ck_assert_uint_ge(picked, 995);
        ck_assert_uint_le(picked, 1005);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shm/board_wave");
    TCase *tcase = tcase_create("board_wave");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_wave_is_read_as_it_was_written_until_it_is_called_off);
    tcase_add_test(tcase, workers_are_told_by_another_serial);
    tcase_add_test(tcase, turns_are_flat_within_a_fifth_whatever_the_key);
    tcase_add_test(tcase, a_share_has_its_size_and_is_flat_too);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
