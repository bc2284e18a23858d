/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/care.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOT = 3, TUNNEL = 40, TUNNELS = 4096 };

static struct board board;
static struct worker worker;

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = TUNNELS};
    char name[64];
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-care-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    ck_assert_int_eq(dup2(board.fd, FD_BOARD), FD_BOARD);
    memset(&worker, 0, sizeof worker);
    worker.board = &board;
    worker.slot = SLOT;
}

static void teardown(void)
{
    board_fini(&board);
}

static blkcnt_t blocks(void)
{
    struct stat st;
    ck_assert_int_eq(fstat(board.fd, &st), 0);
    return st.st_blocks;
}

START_TEST(a_tunnel_has_care_from_when_it_is_asked_for)
{
    struct board_tunnel *pub = board_tunnel(&board, SLOT, TUNNEL);
    board_care(&board, SLOT, TUNNEL)->pings = 7; /* an earlier tunnel's */
    ck_assert_uint_eq(pub->flags, 0);
    struct board_care *care = care_of(&worker, TUNNEL);
    ck_assert_ptr_eq(care, board_care(&board, SLOT, TUNNEL));
    ck_assert_uint_eq(care->pings, 0);
    ck_assert_uint_eq(pub->flags, TUNNEL_HAS_CARE);
    care->pings = 1;
    ck_assert_uint_eq(care_of(&worker, TUNNEL)->pings, 1);
}
END_TEST

START_TEST(nobody_else_pays_for_it)
{
    board_tunnel(&board, SLOT, TUNNEL)->rtt_us = 1;
    blkcnt_t before = blocks();
    ck_assert_ptr_nonnull(care_of(&worker, TUNNEL));
    ck_assert_int_eq(blocks() - before, 4096 / 512);
    ck_assert_ptr_nonnull(care_of(&worker, TUNNEL + 1));
    ck_assert_int_eq(blocks() - before, 4096 / 512);
}
END_TEST

START_TEST(without_memory_there_is_none)
{
    close(FD_BOARD);
    ck_assert_ptr_null(care_of(&worker, TUNNEL));
    ck_assert_uint_eq(board_tunnel(&board, SLOT, TUNNEL)->flags, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("worker/care");
    TCase *tcase = tcase_create("care");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_tunnel_has_care_from_when_it_is_asked_for);
    tcase_add_test(tcase, nobody_else_pays_for_it);
    tcase_add_test(tcase, without_memory_there_is_none);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
