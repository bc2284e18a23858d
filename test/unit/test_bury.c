/* SPDX-License-Identifier: Apache-2.0 */
#include "master/bury.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOT = 2, TUNNELS = 8 };

static struct board board;
static int backend;

static void set_up(void)
{
    char name[64];
    int32_t owner;
    struct board_shape shape = {.tunnels_max = TUNNELS};
    snprintf(name, sizeof name, "/holdfast-test-bury-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    backend = board_backend_register(&board, 1, SLICE("chat"), SLICE("10.0.0.1:80"));
    ck_assert_int_ge(backend, 0);
}

static void tear_down(void)
{
    int fd = board.fd;
    board_fini(&board);
    if (fd >= 0)
        close(fd);
}

static struct board_slot *shown(void)
{
    return board_slot(&board, SLOT);
}

static struct board_cell *cell(void)
{
    return board_cell(&board, SLOT, (uint32_t)backend);
}

/* Two tunnels with bytes and frames, as a worker that was killed leaves them. */
static void leave_two_tunnels(void)
{
    for (uint32_t t = 3; t < 5; t++) {
        struct board_tunnel *tunnel = board_tunnel(&board, SLOT, t);
        *tunnel = (struct board_tunnel){
            .bytes = {100, 200}, .frames = {3, 4}, .backend = (uint16_t)backend};
        tunnel->id = t + 1;
    }
    shown()->starts = 1;
    shown()->tunnels_open = 2;
    shown()->tunnels_high = 5;
    shown()->clients_open = 7;
    cell()->conns = 2;
    cell()->tunnels = 2;
}

START_TEST(tunnels_of_a_dead_slot_are_counted_as_lost)
{
    leave_two_tunnels();
    ck_assert_uint_eq(bury_slot(&board, SLOT), 2);
    ck_assert_uint_eq(shown()->counters[COUNTER_TUNNELS_LOST], 2);
    ck_assert_uint_eq(shown()->counters[COUNTER_TUNNELS_CLOSED], 2);
    ck_assert_uint_eq(shown()->counters[COUNTER_CLIENTS_CLOSED], 9);
    ck_assert_uint_eq(shown()->reasons[REASON_WORKER_DIED], 2);
    ck_assert_uint_eq(shown()->tunnels_open, 0);
    ck_assert_uint_eq(shown()->clients_open, 0);
}
END_TEST

START_TEST(their_bytes_and_frames_move_to_the_counters_once)
{
    leave_two_tunnels();
    ck_assert_uint_eq(bury_slot(&board, SLOT), 2);
    ck_assert_uint_eq(bury_slot(&board, SLOT), 0);
    ck_assert_uint_eq(shown()->counters[COUNTER_CLOSED_RX_BYTES], 200);
    ck_assert_uint_eq(shown()->counters[COUNTER_CLOSED_TX_BYTES], 400);
    ck_assert_uint_eq(shown()->counters[COUNTER_CLOSED_RX_FRAMES], 6);
    ck_assert_uint_eq(shown()->counters[COUNTER_CLOSED_TX_FRAMES], 8);
    ck_assert_uint_eq(cell()->rx_bytes, 200);
    ck_assert_uint_eq(cell()->tunnels_closed, 2);
    ck_assert_uint_eq(board_tunnel(&board, SLOT, 3)->id, 0);
}
END_TEST

START_TEST(balancing_does_not_go_on_counting_a_dead_slot)
{
    leave_two_tunnels();
    ck_assert_uint_eq(board_backend_conns(&board, (uint32_t)backend), 2);
    (void)bury_slot(&board, SLOT);
    ck_assert_uint_eq(board_backend_conns(&board, (uint32_t)backend), 0);
    ck_assert_uint_eq(cell()->tunnels, 0);
}
END_TEST

START_TEST(the_sequence_is_even_afterwards_whatever_it_was_when_the_worker_died)
{
    for (uint32_t before = 40; before < 42; before++) {
        leave_two_tunnels();
        shown()->close_seq = before;
        (void)bury_slot(&board, SLOT);
        ck_assert_uint_eq(shown()->close_seq % 2, 0);
        ck_assert_uint_gt(shown()->close_seq, before);
    }
}
END_TEST

START_TEST(figures_out_of_range_do_no_harm)
{
    leave_two_tunnels();
    shown()->tunnels_open = UINT32_MAX;
    shown()->tunnels_high = UINT32_MAX;
    board_tunnel(&board, SLOT, 4)->backend = UINT16_MAX;
    ck_assert_uint_eq(bury_slot(&board, SLOT), TUNNELS);
    ck_assert_uint_eq(cell()->tunnels_closed, 1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("bury");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, tunnels_of_a_dead_slot_are_counted_as_lost);
    tcase_add_test(tcase, their_bytes_and_frames_move_to_the_counters_once);
    tcase_add_test(tcase, balancing_does_not_go_on_counting_a_dead_slot);
    tcase_add_test(tcase, the_sequence_is_even_afterwards_whatever_it_was_when_the_worker_died);
    tcase_add_test(tcase, figures_out_of_range_do_no_harm);
    Suite *suite = suite_create("bury");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
