/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tunnel_tls.h"

#include <check.h>
#include <stdlib.h>

enum { TUNNELS = 3, DIRECTIONS = TUNNELS * 2, BEYOND = 4 };

static struct arena_header header;
static struct arena arena;
static struct arena_tunnel tunnels[TUNNELS];
static uint32_t starved[DIRECTIONS + BEYOND], ready[DIRECTIONS];
static struct worker w;

static void set_up(void)
{
    memset(&header, 0, sizeof header);
    memset(tunnels, 0, sizeof tunnels);
    memset(starved, 0xa5, sizeof starved);
    header.tunnels_max = TUNNELS;
    arena.header = &header;
    w = (struct worker){.arena = &arena,
                        .tunnels = tunnels,
                        .tunnels_used = TUNNELS,
                        .starved = starved,
                        .ready = ready,
                        .free_chunk_count = 256};
    for (uint32_t i = 0; i < TUNNELS; i++)
        tunnels[i].state = TUNNEL_OPEN;
}

/* It ends, and the record is another one's. */
static void replace(uint32_t tunnel)
{
    memset(&tunnels[tunnel], 0, sizeof tunnels[tunnel]);
    tunnels[tunnel].state = TUNNEL_OPEN;
}

START_TEST(who_waits_for_chunks_is_run_when_there_are_some)
{
    tunnel_tls_starve(&w, 0, 1);
    tunnel_tls_starve(&w, 2, 0);
    tunnel_tls_starve(&w, 0, 1);
    tunnels[2].state = TUNNEL_FREE;
    tunnel_tls_feed(&w);
    ck_assert_uint_eq(w.ready_count, 1);
    ck_assert_uint_eq(ready[0], 0 << 1 | 1);
    ck_assert_uint_eq(tunnels[0].dir[1].flags, DIR_READY);
}
END_TEST

/* Slow receivers hold the others, and may go on so. */
START_TEST(with_few_chunks_one_is_run_a_turn)
{
    w.free_chunk_count = TUNNEL_CHUNKS_A_STEP - 1;
    for (uint32_t i = 0; i < TUNNELS; i++)
        tunnel_tls_starve(&w, i, 0);
    tunnel_tls_feed(&w);
    ck_assert_uint_eq(w.ready_count, 0);
    w.free_chunk_count = TUNNEL_CHUNKS_A_STEP;
    for (uint32_t turn = 1; turn <= TUNNELS; turn++) {
        tunnel_tls_feed(&w);
        ck_assert_uint_eq(w.ready_count, turn);
        ck_assert_uint_eq(ready[turn - 1], (turn - 1) << 1);
    }
}
END_TEST

START_TEST(with_few_chunks_whose_turn_it_was_waits_behind_all_others)
{
    w.free_chunk_count = TUNNEL_CHUNKS_A_STEP;
    for (uint32_t i = 0; i < TUNNELS; i++)
        tunnel_tls_starve(&w, i, 0);
    for (uint32_t turn = 0; turn < 5 * DIRECTIONS; turn++) {
        uint32_t tunnel = turn % TUNNELS;
        tunnel_tls_feed(&w);
        ck_assert_uint_eq(w.ready_count, 1);
        ck_assert_uint_eq(ready[0], tunnel << 1);
        w.ready_count = 0;
        tunnels[tunnel].dir[0].flags = 0;
        tunnel_tls_starve(&w, tunnel, 0);
    }
}
END_TEST

START_TEST(however_many_tunnels_end_while_they_wait_the_list_has_room_for_all_that_do)
{
    for (uint32_t round = 0; round < 5 * DIRECTIONS; round++) {
        replace(round % 2);
        tunnel_tls_starve(&w, round % 2, 0);
        tunnel_tls_starve(&w, round % 2, 1);
        ck_assert_uint_le(w.starved_count, DIRECTIONS);
    }
    tunnel_tls_starve(&w, 2, 0);
    tunnel_tls_starve(&w, 2, 1);
    for (uint32_t i = 0; i < BEYOND; i++)
        ck_assert_uint_eq(starved[DIRECTIONS + i], 0xa5a5a5a5);
    tunnel_tls_feed(&w);
    ck_assert_uint_eq(w.ready_count, DIRECTIONS); /* each once */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tunnel_tls");
    TCase *tcase = tcase_create("tunnel_tls");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, who_waits_for_chunks_is_run_when_there_are_some);
    tcase_add_test(tcase, with_few_chunks_one_is_run_a_turn);
    tcase_add_test(tcase, with_few_chunks_whose_turn_it_was_waits_behind_all_others);
    tcase_add_test(tcase,
                   however_many_tunnels_end_while_they_wait_the_list_has_room_for_all_that_do);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
