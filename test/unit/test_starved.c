/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/starved.h"

#include "worker/tunnel.h"

#include <check.h>
#include <stdlib.h>

enum { TUNNELS = 3, DIRECTIONS = TUNNELS * 2, BEYOND = 4 };

static struct arena_header header;
static struct arena arena;
static struct arena_tunnel tunnels[TUNNELS];
static struct starved waiting[DIRECTIONS + BEYOND];
static uint32_t ready[DIRECTIONS], chunk_ms[8];
static struct worker w;

static void set_up(void)
{
    memset(&header, 0, sizeof header);
    memset(tunnels, 0, sizeof tunnels);
    memset(waiting, 0xa5, sizeof waiting);
    header.tunnels_max = TUNNELS;
    arena.header = &header;
    w = (struct worker){.arena = &arena,
                        .tunnels = tunnels,
                        .tunnels_used = TUNNELS,
                        .starved = {.waiting = waiting},
                        .ready = ready,
                        .chunk_ms = chunk_ms,
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
    starved_add(&w, 0, 1);
    starved_add(&w, 2, 0);
    starved_add(&w, 0, 1);
    tunnels[2].state = TUNNEL_FREE;
    starved_feed(&w);
    ck_assert_uint_eq(w.ready_count, 1);
    ck_assert_uint_eq(ready[0], 0 << 1 | 1);
    ck_assert_uint_eq(tunnels[0].dir[1].flags, DIR_READY);
}
END_TEST

/* Slow receivers hold the others, and may go on so. */
START_TEST(with_few_chunks_one_is_run_a_turn)
{
    w.free_chunk_count = STARVED_CHUNKS_A_STEP - 1;
    for (uint32_t i = 0; i < TUNNELS; i++)
        starved_add(&w, i, 0);
    starved_feed(&w);
    ck_assert_uint_eq(w.ready_count, 0);
    w.free_chunk_count = STARVED_CHUNKS_A_STEP;
    for (uint32_t turn = 1; turn <= TUNNELS; turn++) {
        starved_feed(&w);
        ck_assert_uint_eq(w.ready_count, turn);
        ck_assert_uint_eq(ready[turn - 1], (turn - 1) << 1);
    }
}
END_TEST

START_TEST(with_few_chunks_whose_turn_it_was_waits_behind_all_others)
{
    w.free_chunk_count = STARVED_CHUNKS_A_STEP;
    for (uint32_t i = 0; i < TUNNELS; i++)
        starved_add(&w, i, 0);
    for (uint32_t turn = 0; turn < 5 * DIRECTIONS; turn++) {
        uint32_t tunnel = turn % TUNNELS;
        starved_feed(&w);
        ck_assert_uint_eq(w.ready_count, 1);
        ck_assert_uint_eq(ready[0], tunnel << 1);
        w.ready_count = 0;
        tunnels[tunnel].dir[0].flags = 0;
        starved_add(&w, tunnel, 0);
    }
}
END_TEST

START_TEST(however_many_tunnels_end_while_they_wait_the_list_has_room_for_all_that_do)
{
    for (uint32_t round = 0; round < 5 * DIRECTIONS; round++) {
        replace(round % 2);
        starved_add(&w, round % 2, 0);
        starved_add(&w, round % 2, 1);
        ck_assert_uint_le(w.starved.count, DIRECTIONS);
    }
    starved_add(&w, 2, 0);
    starved_add(&w, 2, 1);
    for (uint32_t i = 0; i < BEYOND; i++)
        ck_assert_uint_eq(waiting[DIRECTIONS + i].entry, 0xa5a5a5a5);
    starved_feed(&w);
    ck_assert_uint_eq(w.ready_count, DIRECTIONS); /* each once */
}
END_TEST

/* To end one for it would crash here: there is no board. That it is done otherwise a scenario shows. */
START_TEST(nobody_is_ended_for_who_does_not_wait_for_long)
{
    enum { HELD = 3, LONG_MS = 1 << 20 };
    tunnels[0].dir[0].chunk = HELD;
    chunk_ms[HELD] = w.now_ms - LONG_MS;
    starved_relieve(&w);
    starved_add(&w, 1, 0);
    starved_add(&w, 2, 0);
    w.now_ms += 1999;
    starved_relieve(&w);
    tunnels[1].state = TUNNEL_CLOSING; /* the first is no longer the first */
    tunnels[2].dir[0].flags = 0;
    starved_add(&w, 2, 1);
    w.now_ms += 1999;
    starved_relieve(&w);
    ck_assert_uint_eq(w.starved.count, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("starved");
    TCase *tcase = tcase_create("starved");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, who_waits_for_chunks_is_run_when_there_are_some);
    tcase_add_test(tcase, with_few_chunks_one_is_run_a_turn);
    tcase_add_test(tcase, with_few_chunks_whose_turn_it_was_waits_behind_all_others);
    tcase_add_test(tcase,
                   however_many_tunnels_end_while_they_wait_the_list_has_room_for_all_that_do);
    tcase_add_test(tcase, nobody_is_ended_for_who_does_not_wait_for_long);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
