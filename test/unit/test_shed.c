/* SPDX-License-Identifier: Apache-2.0 */
#include "master/shed.h"

#include "common/clock.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { GENERATION = 7 };

static struct board board;
static struct shed_before before;

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = 2048};
    char name[64];
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-shed-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    board_slot(&board, 0)->starts = 1;
    board_slot(&board, 1)->starts = 1;
}

static void teardown(void)
{
    board_fini(&board);
}

static uint32_t upstream(const char *name, uint32_t shed, uint32_t rate)
{
    int at = board_upstream_register(&board, GENERATION, slice_of(name));
    ck_assert_int_ge(at, 0);
    board_upstream(&board, (uint32_t)at)->shed = shed;
    board_upstream(&board, (uint32_t)at)->shed_rate = rate;
    return (uint32_t)at;
}

static void open_one(uint32_t backend, uint32_t slot)
{
    uint32_t at = board_slot(&board, slot)->tunnels_high++;
    struct board_tunnel *tunnel = board_tunnel(&board, slot, at);
    board_slot(&board, slot)->tunnels_open++;
    tunnel->backend = (uint16_t)backend;
    tunnel->id = board_tunnel_id(slot, 0, at);
    board_cell(&board, slot, backend)->tunnels++;
}

/* A server with tunnels in both slots. */
static struct board_backend *server(uint32_t of, const char *name, uint32_t weight,
                                    uint32_t tunnels)
{
    struct slice group = slice_of(board_upstream(&board, of)->name);
    int at = board_backend_register(&board, GENERATION, group, slice_of(name));
    ck_assert_int_ge(at, 0);
    struct board_backend *backend = board_backend(&board, (uint32_t)at);
    backend->weight = weight;
    backend->upstream_index = of;
    for (uint32_t i = 0; i < tunnels; i++)
        open_one((uint32_t)at, i % 2);
    return backend;
}

/* How many of its tunnels a wave takes. */
static uint32_t taken(const struct board_backend *backend, const struct board_wave *wave)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < 2; slot++) {
        for (uint32_t i = 0; i < board_slot(&board, slot)->tunnels_high; i++)
            count += board_backend(&board, board_tunnel(&board, slot, i)->backend) == backend &&
                     board_wave_pick(&board, slot, i) < wave->share;
    }
    return count;
}

static bool has_wave(const struct board_backend *backend, struct board_wave *wave)
{
    return board_wave_read(&backend->wave, wave);
}

START_TEST(who_has_more_than_a_share_gives_it_to_one_that_is_added)
{
    uint32_t up = upstream("chat", 100, 10);
    const struct board_backend *one = server(up, "one", 1, 600);
    const struct board_backend *two = server(up, "two", 2, 300);
    struct board_wave wave;
    uint64_t begin_ms = clock_mono_ms();
    shed_note(&board, GENERATION, &before);
    const struct board_backend *three = server(up, "three", 1, 0);
    uint32_t serial = board.header->wave_serial;
    shed_begin(&board, GENERATION, &before);
    ck_assert(has_wave(one, &wave));
    ck_assert_uint_eq(wave.floor, 225);    /* of 900, with weight 1 of 4 */
    ck_assert_uint_eq(wave.for_ms, 37500); /* 375, ten a second */
    ck_assert_uint_eq(taken(one, &wave), 375);
    ck_assert_uint_eq(wave.mark & 0xff, REASON_SHED);
    ck_assert_uint_ge(wave.from_ms, begin_ms);
    ck_assert_uint_ne(wave.opened_before_real_ms, 0);
    ck_assert(!has_wave(two, &wave)); /* its share is 450 */
    ck_assert(!has_wave(three, &wave));
    ck_assert_uint_ne(board.header->wave_serial, serial);
}
END_TEST

START_TEST(the_rate_is_for_all_servers_together)
{
    uint32_t up = upstream("chat", 100, 100);
    const struct board_backend *one = server(up, "one", 1, 300);
    const struct board_backend *two = server(up, "two", 1, 300);
    struct board_wave wave;
    shed_note(&board, GENERATION, &before);
    server(up, "three", 1, 0);
    shed_begin(&board, GENERATION, &before);
    ck_assert(has_wave(one, &wave));
    ck_assert_uint_eq(wave.for_ms, 2000);
    ck_assert_uint_eq(taken(one, &wave), 100);
    ck_assert(has_wave(two, &wave));
    ck_assert_uint_eq(wave.for_ms, 2000);
    ck_assert_uint_eq(taken(two, &wave), 100);
}
END_TEST

START_TEST(no_more_than_its_percent_is_shed)
{
    uint32_t up = upstream("chat", 10, 10);
    const struct board_backend *one = server(up, "one", 1, 600);
    struct board_wave wave;
    shed_note(&board, GENERATION, &before);
    server(up, "two", 1, 0);
    shed_begin(&board, GENERATION, &before);
    ck_assert(has_wave(one, &wave));
    ck_assert_uint_eq(taken(one, &wave), 60);
    ck_assert_uint_eq(wave.floor, 300);
    ck_assert_uint_eq(wave.for_ms, 6000);
}
END_TEST

/* The upstream has `more` after shed_note. Returns whether its first server sheds. */
static bool sheds(uint32_t shed, uint32_t flags, uint32_t health)
{
    uint32_t up = upstream("chat", shed, 10);
    const struct board_backend *one = server(up, "one", 1, 600);
    struct board_wave wave;
    shed_note(&board, GENERATION, &before);
    struct board_backend *two = server(up, "two", 1, 0);
    two->flags = flags;
    two->health = health;
    shed_begin(&board, GENERATION, &before);
    return has_wave(one, &wave);
}

START_TEST(without_shed_nothing_is)
{
    ck_assert(!sheds(0, 0, BACKEND_UNCHECKED));
}
END_TEST

START_TEST(a_server_that_takes_no_tunnels_is_no_reason)
{
    const uint32_t flags[] = {BACKEND_DOWN, BACKEND_BACKUP, BACKEND_DRAIN, BACKEND_TOLD_DRAIN};
    ck_assert(!sheds(100, flags[_i], BACKEND_UNCHECKED));
}
END_TEST

START_TEST(nor_is_one_that_fails_its_checks)
{
    ck_assert(!sheds(100, 0, BACKEND_FAILING));
}
END_TEST

START_TEST(nor_one_that_was_there_before_and_is_well_again)
{
    uint32_t up = upstream("chat", 100, 10);
    const struct board_backend *one = server(up, "one", 1, 600);
    struct board_backend *two = server(up, "two", 1, 0);
    struct board_wave wave;
    two->health = BACKEND_FAILING;
    shed_note(&board, GENERATION, &before);
    two->health = BACKEND_UP;
    shed_begin(&board, GENERATION, &before);
    ck_assert(!has_wave(one, &wave));
}
END_TEST

START_TEST(one_that_drains_no_more_is_as_good_as_a_new_one)
{
    uint32_t up = upstream("chat", 100, 10);
    const struct board_backend *one = server(up, "one", 1, 600);
    struct board_backend *two = server(up, "two", 1, 0);
    struct board_wave wave;
    two->flags = BACKEND_TOLD_DRAIN;
    shed_note(&board, GENERATION, &before);
    two->flags = 0;
    shed_begin(&board, GENERATION, &before);
    ck_assert(has_wave(one, &wave));
    ck_assert_uint_eq(wave.floor, 300);
}
END_TEST

START_TEST(other_upstreams_and_servers_that_are_gone_are_left_alone)
{
    uint32_t chat = upstream("chat", 100, 10), other = upstream("other", 100, 10);
    const struct board_backend *one = server(other, "one", 1, 600);
    server(other, "two", 1, 0);
    struct board_backend *gone = server(chat, "gone", 1, 600);
    struct board_wave wave;
    shed_note(&board, GENERATION, &before);
    gone->used = GENERATION - 1;
    server(chat, "new", 1, 0);
    shed_begin(&board, GENERATION, &before);
    ck_assert(!has_wave(one, &wave));
    ck_assert(!has_wave(gone, &wave));
}
END_TEST

START_TEST(a_wave_that_an_operator_has_asked_for_goes_on)
{
    uint32_t up = upstream("chat", 100, 10);
    struct board_backend *one = server(up, "one", 1, 600);
    struct board_wave wave = {.from_ms = clock_mono_ms(),
                              .for_ms = 60000,
                              .share = BOARD_WAVE_ALL,
                              .mark = REASON_CLOSED_BY_OPERATOR};
    board_wave_set(&one->wave, &wave);
    shed_note(&board, GENERATION, &before);
    server(up, "two", 1, 0);
    shed_begin(&board, GENERATION, &before);
    ck_assert(has_wave(one, &wave));
    ck_assert_uint_eq(wave.mark & 0xff, REASON_CLOSED_BY_OPERATOR);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("master/shed");
    TCase *tcase = tcase_create("shed");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_has_more_than_a_share_gives_it_to_one_that_is_added);
    tcase_add_test(tcase, the_rate_is_for_all_servers_together);
    tcase_add_test(tcase, no_more_than_its_percent_is_shed);
    tcase_add_test(tcase, without_shed_nothing_is);
    tcase_add_loop_test(tcase, a_server_that_takes_no_tunnels_is_no_reason, 0, 4);
    tcase_add_test(tcase, nor_is_one_that_fails_its_checks);
    tcase_add_test(tcase, nor_one_that_was_there_before_and_is_well_again);
    tcase_add_test(tcase, one_that_drains_no_more_is_as_good_as_a_new_one);
    tcase_add_test(tcase, other_upstreams_and_servers_that_are_gone_are_left_alone);
    tcase_add_test(tcase, a_wave_that_an_operator_has_asked_for_goes_on);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
