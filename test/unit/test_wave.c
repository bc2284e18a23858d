/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/wave.h"

#include "common/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOT = 1, TUNNEL = 5, BACKEND = 2, HOUR_MS = 3600000 };

static struct board board;
static struct arena arena;
static struct worker worker;
static enum reason reason;
static int fd;

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = 64};
    char name[64];
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-wave-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    ck_assert_int_eq(arena_create(&arena, SLOT, 64, &fd), 0);
    memset(&worker, 0, sizeof worker);
    worker.board = &board;
    worker.arena = &arena;
    worker.tunnels = arena.tunnels;
    worker.me = board_slot(&board, SLOT);
    worker.me->starts = 1;
    worker.slot = SLOT;
    worker.mono_ms = 1000000000;
    worker.real_ms = 5000000000;
    arena.tunnels[TUNNEL].state = TUNNEL_OPEN;
    arena.tunnels[TUNNEL].rules = 1;
    arena.tunnels[TUNNEL].backend = BACKEND;
    board_cell(&board, SLOT, BACKEND)->tunnels = 100;
    board_tunnel(&board, SLOT, TUNNEL)->opened_real_ms = worker.real_ms - HOUR_MS;
}

static void teardown(void)
{
    board_fini(&board);
    close(fd);
}

static uint32_t left(void)
{
    return wave_left(&worker, TUNNEL, &reason);
}

static void pass(uint32_t ms)
{
    worker.mono_ms += ms;
    worker.real_ms += ms;
}

/* A wave on the tunnel's server: now and for `for_ms`. */
static struct board_wave begin(uint32_t for_ms)
{
    struct board_wave wave = {.from_ms = worker.mono_ms,
                              .for_ms = for_ms,
                              .share = BOARD_WAVE_ALL,
                              .mark = REASON_CLOSED_BY_OPERATOR};
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    return wave;
}

static uint32_t turn_of(uint64_t window_ms)
{
    return (uint32_t)(window_ms * board_wave_turn(&board, SLOT, TUNNEL) >> 32);
}

START_TEST(nothing_ends_a_tunnel_by_itself)
{
    ck_assert_uint_eq(left(), UINT32_MAX);
}
END_TEST

START_TEST(in_a_wave_a_tunnel_has_one_turn_whenever_it_is_asked)
{
    begin(10000);
    uint32_t turn = turn_of(10000);
    ck_assert_uint_eq(left(), turn);
    ck_assert_int_eq(reason, REASON_CLOSED_BY_OPERATOR);
    pass(turn - 1);
    ck_assert_uint_eq(left(), 1);
    pass(1);
    ck_assert_uint_eq(left(), 0);
    pass(HOUR_MS); /* whoever comes late finds it due */
    ck_assert_uint_eq(left(), 0);
}
END_TEST

START_TEST(QUIT_is_a_wave_of_all_tunnels)
{
    struct board_wave wave = {.from_ms = worker.mono_ms,
                              .for_ms = 10000,
                              .share = BOARD_WAVE_ALL,
                              .mark = REASON_SHUTDOWN};
    board_wave_set(&board.header->quit, &wave);
    ck_assert_uint_eq(left(), turn_of(10000));
    ck_assert_int_eq(reason, REASON_SHUTDOWN);
}
END_TEST

START_TEST(a_wave_takes_tunnels_that_seem_older_than_the_machine)
{
    worker.real_ms +=
        UINT64_C(50) * 365 * 24 * HOUR_MS; /* its clock was set after the tunnel began */
    begin(10000);
    ck_assert_uint_eq(left(), turn_of(10000));
}
END_TEST

START_TEST(the_earliest_end_counts)
{
    struct board_wave wave = begin(HOUR_MS);
    wave.for_ms = 1000;
    wave.mark = REASON_SHUTDOWN;
    board_wave_set(&board.header->quit, &wave);
    ck_assert_uint_eq(left(), turn_of(1000));
    ck_assert_int_eq(reason, REASON_SHUTDOWN);
}
END_TEST

START_TEST(who_came_later_is_left_alone_where_the_wave_says_so)
{
    struct board_wave wave = begin(10000);
    wave.opened_before_real_ms = worker.real_ms - HOUR_MS;
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    ck_assert_uint_eq(left(), UINT32_MAX);
    wave.opened_before_real_ms++;
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    ck_assert_uint_eq(left(), turn_of(10000));
}
END_TEST

START_TEST(who_comes_amid_a_wave_has_a_turn_in_what_is_left_of_it)
{
    begin(10000);
    pass(4000);
    board_tunnel(&board, SLOT, TUNNEL)->opened_real_ms = worker.real_ms;
    ck_assert_uint_eq(left(), turn_of(6000));
    pass(6001);
    board_tunnel(&board, SLOT, TUNNEL)->opened_real_ms = worker.real_ms;
    ck_assert_uint_eq(left(), 0);
}
END_TEST

START_TEST(only_a_share_is_picked)
{
    struct board_wave wave = begin(10000);
    wave.share = board_wave_pick(&board, SLOT, TUNNEL);
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    ck_assert_uint_eq(left(), UINT32_MAX);
    wave.share++;
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    ck_assert_uint_eq(left(), turn_of(10000));
}
END_TEST

START_TEST(who_is_picked_stays_when_its_server_has_no_more_than_its_share)
{
    struct board_wave wave = begin(10000);
    wave.floor = 100;
    board_wave_set(&board_backend(&board, BACKEND)->wave, &wave);
    ck_assert_uint_eq(left(), turn_of(10000)); /* others may come before its turn */
    pass(turn_of(10000));
    ck_assert_uint_eq(left(), UINT32_MAX);
    board_cell(&board, SLOT, BACKEND)->tunnels = 101;
    ck_assert_uint_eq(left(), 0);
    pass(HOUR_MS); /* and long after the wave that is nobody's concern */
    ck_assert_uint_eq(left(), UINT32_MAX);
}
END_TEST

START_TEST(a_drain_ends_at_its_time_and_begins_a_window_before)
{
    struct board_backend *backend = board_backend(&board, BACKEND);
    backend->drain_until_ms = worker.mono_ms + HOUR_MS;
    backend->drain_spread_ms = 10000;
    ck_assert_uint_eq(left(), HOUR_MS - 10000 + turn_of(10000));
    ck_assert_int_eq(reason, REASON_DRAINED);
    backend->drain_spread_ms = 0;
    ck_assert_uint_eq(left(), HOUR_MS);
    backend->drain_until_ms = 0;
    ck_assert_uint_eq(left(), UINT32_MAX);
}
END_TEST

START_TEST(max_age_is_shorter_by_up_to_its_spread)
{
    arena.rules[1].max_age_ms = 2 * HOUR_MS;
    ck_assert_uint_eq(left(), HOUR_MS);
    ck_assert_int_eq(reason, REASON_MAX_AGE);
    arena.rules[1].max_age_spread_ms = 1000;
    ck_assert_uint_eq(left(), HOUR_MS - turn_of(1000));
    pass(3 * HOUR_MS);
    ck_assert_uint_eq(left(), 0);
}
END_TEST

START_TEST(a_clock_that_was_set_back_makes_nobody_old)
{
    arena.rules[1].max_age_ms = HOUR_MS;
    board_tunnel(&board, SLOT, TUNNEL)->opened_real_ms = worker.real_ms + HOUR_MS;
    ck_assert_uint_eq(left(), HOUR_MS);
}
END_TEST

START_TEST(a_clock_that_is_set_makes_nobody_older_or_younger)
{
    const int64_t steps[] = {
        1000 * (int64_t)HOUR_MS, -2000 * (int64_t)HOUR_MS, -HOUR_MS, HOUR_MS, 1001, -1001};
    struct board_tunnel *pub = board_tunnel(&board, SLOT, TUNNEL);
    arena.rules[1].max_age_ms = 2 * HOUR_MS;
    worker.real_ms = 5000 * (uint64_t)HOUR_MS;
    worker.tunnels_used = TUNNEL + 1;
    pub->opened_real_ms = worker.real_ms - HOUR_MS;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        uint64_t ahead_ms = worker.real_ms - worker.mono_ms;
        worker.real_ms += (uint64_t)steps[i];
        wave_look_at_clock(&worker, ahead_ms);
        ck_assert_uint_eq(left(), HOUR_MS);
    }
    uint64_t ahead_ms = worker.real_ms - worker.mono_ms;
    worker.real_ms = 1; /* it was opened before that clock began */
    wave_look_at_clock(&worker, ahead_ms);
    ck_assert_uint_eq(pub->opened_real_ms, 0);
}
END_TEST

START_TEST(time_that_passes_is_no_clock_that_is_set)
{
    struct board_tunnel *pub = board_tunnel(&board, SLOT, TUNNEL);
    uint64_t opened_ms = pub->opened_real_ms;
    worker.real_ms = worker.mono_ms + 5000 * (uint64_t)HOUR_MS;
    worker.tunnels_used = TUNNEL + 1;
    wave_look_at_clock(&worker, 0); /* the first time */
    uint64_t ahead_ms = worker.real_ms - worker.mono_ms;
    worker.real_ms += HOUR_MS + 1000; /* and a second of drift */
    worker.mono_ms += HOUR_MS;
    wave_look_at_clock(&worker, ahead_ms);
    ck_assert_uint_eq(pub->opened_real_ms, opened_ms);
}
END_TEST

START_TEST(one_that_is_being_closed_is_not_asked_again)
{
    begin(0);
    ck_assert_uint_eq(left(), 0);
    arena.tunnels[TUNNEL].dir[0].care = CARE_GUARD;
    ck_assert_uint_eq(left(), 0);
    arena.guards[TUNNEL].phase = GUARD_TELL;
    ck_assert_uint_eq(left(), UINT32_MAX);
}
END_TEST

START_TEST(a_far_end_is_asked_for_again)
{
    begin(UINT32_MAX);
    board.header->hash_key[0] = 0;
    board.header->hash_key[0] = UINT32_MAX - board_wave_turn(&board, SLOT, TUNNEL);
    ck_assert_uint_eq(left(), 1 << 30);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("worker/wave");
    TCase *tcase = tcase_create("wave");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_ends_a_tunnel_by_itself);
    tcase_add_test(tcase, in_a_wave_a_tunnel_has_one_turn_whenever_it_is_asked);
    tcase_add_test(tcase, QUIT_is_a_wave_of_all_tunnels);
    tcase_add_test(tcase, a_wave_takes_tunnels_that_seem_older_than_the_machine);
    tcase_add_test(tcase, the_earliest_end_counts);
    tcase_add_test(tcase, who_came_later_is_left_alone_where_the_wave_says_so);
    tcase_add_test(tcase, who_comes_amid_a_wave_has_a_turn_in_what_is_left_of_it);
    tcase_add_test(tcase, only_a_share_is_picked);
    tcase_add_test(tcase, who_is_picked_stays_when_its_server_has_no_more_than_its_share);
    tcase_add_test(tcase, a_drain_ends_at_its_time_and_begins_a_window_before);
    tcase_add_test(tcase, max_age_is_shorter_by_up_to_its_spread);
    tcase_add_test(tcase, a_clock_that_was_set_back_makes_nobody_old);
    tcase_add_test(tcase, a_clock_that_is_set_makes_nobody_older_or_younger);
    tcase_add_test(tcase, time_that_passes_is_no_clock_that_is_set);
    tcase_add_test(tcase, one_that_is_being_closed_is_not_asked_again);
    tcase_add_test(tcase, a_far_end_is_asked_for_again);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
