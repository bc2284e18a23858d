/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1 /* mincore */
#include "worker/timer.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* For loops: ck_assert tells the runner of each success, too, which takes far longer than the test. */
#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg("%s", #c);                                                                \
    } while (0)

enum {
    IDS = 300,
    DAY_MS = 86400 * 1000,
};

static const uint32_t days24_ms = 24u * DAY_MS;

/* A wheel and, beside it, the plainest thing that could be right: a list with 64-bit times. */
struct model {
    struct timer_wheel wheel;
    uint64_t now_ms;
    uint64_t due_ms[IDS]; /* 0: not armed */
    uint32_t seed;
    uint32_t fired;
    uint32_t meddle; /* one in so many callbacks changes other timers; 0: none */
};

static uint32_t random_below(struct model *model, uint32_t n)
{
    model->seed = model->seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)model->seed * n >> 32);
}

static void model_init(struct model *model, uint64_t now_ms, uint32_t seed)
{
    memset(model, 0, sizeof *model);
    model->now_ms = now_ms;
    model->seed = seed;
    ck_assert_int_eq(timer_init(&model->wheel, IDS, (uint32_t)now_ms), 0);
}

static void model_fini(struct model *model)
{
    munmap(model->wheel.nodes, IDS * sizeof(struct timer_node));
}

static void model_set(struct model *model, uint32_t id, uint32_t delay_ms)
{
    timer_set(&model->wheel, id, (uint32_t)model->now_ms, delay_ms);
    model->due_ms[id] = model->now_ms + delay_ms;
}

static void model_clear(struct model *model, uint32_t id)
{
    timer_clear(&model->wheel, id);
    model->due_ms[id] = 0;
}

/* Around every bound that the wheel has: a tick, a turn, half of 2^32 ms. */
static uint32_t random_delay(struct model *model)
{
    switch (random_below(model, 6)) {
    case 0: return random_below(model, 3 * TIMER_TICK_MS);
    case 1: return random_below(model, 5000);
    case 2: return TIMER_SLOTS * TIMER_TICK_MS - 100 + random_below(model, 200);
    case 3: return random_below(model, 4 * TIMER_SLOTS * TIMER_TICK_MS);
    case 4: return random_below(model, days24_ms);
    default: return days24_ms - random_below(model, 100);
    }
}

static void random_change(struct model *model)
{
    uint32_t id = random_below(model, IDS);
    if (random_below(model, 3) == 0)
        model_clear(model, id);
    else
        model_set(model, id, random_delay(model));
}

static void model_expired(void *context, uint32_t id)
{
    struct model *model = context;
    REQUIRE(id < IDS && model->due_ms[id] != 0); /* armed */
    REQUIRE(model->due_ms[id] <= model->now_ms); /* not early */
    model->due_ms[id] = 0;
    model->fired++;
    if (model->meddle == 0 || random_below(model, model->meddle) != 0)
        return;
    for (uint32_t i = 0; i < 8; i++)
        random_change(model);
    model_set(model, id, random_delay(model));
}

/* Rounded up to a tick, and one tick more for what was set when its tick was done already. */
static uint64_t latest(uint64_t due_ms)
{
    return (due_ms + TIMER_TICK_MS - 1) / TIMER_TICK_MS * TIMER_TICK_MS + TIMER_TICK_MS;
}

static void model_advance(struct model *model, uint32_t step_ms)
{
    uint64_t first_ms = UINT64_MAX;
    model->now_ms += step_ms;
    timer_run(&model->wheel, (uint32_t)model->now_ms, model_expired, model);
    for (uint32_t id = 0; id < IDS; id++) {
        REQUIRE(model->due_ms[id] == 0 || latest(model->due_ms[id]) > model->now_ms); /* not late */
        if (model->due_ms[id] != 0 && model->due_ms[id] < first_ms)
            first_ms = model->due_ms[id];
    }
    uint32_t limit_ms = random_below(model, 2000);
    uint32_t wait_ms = timer_wait(&model->wheel, (uint32_t)model->now_ms, limit_ms);
    REQUIRE(wait_ms <= limit_ms);
    REQUIRE(first_ms == UINT64_MAX || model->now_ms + wait_ms <= latest(first_ms));
    REQUIRE(first_ms != UINT64_MAX || wait_ms == limit_ms);
}

static uint32_t random_step(struct model *model)
{
    switch (random_below(model, 40)) {
    case 0: return random_below(model, 3 * DAY_MS); /* the machine was stopped */
    case 1: return TIMER_SLOTS * TIMER_TICK_MS - 50 + random_below(model, 100);
    case 2: return random_below(model, TIMER_SLOTS * TIMER_TICK_MS * 2);
    default: return random_below(model, 300);
    }
}

static void play(uint64_t start_ms, uint32_t seed, uint32_t meddle)
{
    struct model model;
    model_init(&model, start_ms, seed);
    model.meddle = meddle;
    for (uint32_t turn = 0; turn < 6000; turn++) {
        for (uint32_t i = random_below(&model, 5); i > 0; i--)
            random_change(&model);
        model_advance(&model, random_step(&model));
    }
    ck_assert_uint_gt(model.fired, 3000);
    ck_assert_uint_gt(model.now_ms - start_ms, (uint64_t)150 * DAY_MS); /* wrapped three times */
    model_fini(&model);
}

START_TEST(timers_fire_when_a_plain_list_would)
{
    play(1, (uint32_t)_i, 0);
}
END_TEST

START_TEST(callbacks_may_set_and_clear_any_timer)
{
    play((uint64_t)_i << 31, (uint32_t)_i, 2);
}
END_TEST

/* Ticks are of 32 ms: a machine's first wrap must not stop the clock. */
START_TEST(time_goes_on_when_32_bits_wrap)
{
    for (uint32_t before = 0; before < 4 * TIMER_TICK_MS; before++) {
        struct model model;
        model_init(&model, (1ull << 32) - 2 * TIMER_TICK_MS - before, before);
        for (uint32_t id = 0; id < IDS; id++)
            model_set(&model, id, id);
        for (uint32_t i = 0; i < IDS + 3 * TIMER_TICK_MS; i++)
            model_advance(&model, 1);
        REQUIRE(model.fired == IDS);
        model_set(&model, 0, 1000); /* and goes on behind it */
        model_advance(&model, 999);
        REQUIRE(model.fired == IDS);
        model_advance(&model, 1 + TIMER_TICK_MS);
        REQUIRE(model.fired == IDS + 1);
        model_fini(&model);
    }
}
END_TEST

START_TEST(the_wait_is_exact_for_a_timer_within_the_limit)
{
    for (uint32_t delay = 1; delay < 3000; delay++) {
        struct model model;
        model_init(&model, delay * 7919ull, delay);
        model_set(&model, 5, delay);
        uint64_t fires_ms = latest(model.due_ms[5]) - TIMER_TICK_MS;
        uint64_t soonest = (model.now_ms / TIMER_TICK_MS + 1) * TIMER_TICK_MS;
        uint64_t wait_ms = (fires_ms < soonest ? soonest : fires_ms) - model.now_ms;
        REQUIRE(timer_wait(&model.wheel, (uint32_t)model.now_ms, 5000) == wait_ms);
        REQUIRE(timer_wait(&model.wheel, (uint32_t)model.now_ms, 100) ==
                (wait_ms < 100 ? wait_ms : 100));
        model_advance(&model, (uint32_t)wait_ms - 1);
        REQUIRE(model.fired == 0);
        model_advance(&model, 1);
        REQUIRE(model.fired == 1);
        REQUIRE(timer_wait(&model.wheel, (uint32_t)model.now_ms, 5000) == 5000);
        model_fini(&model);
    }
}
END_TEST

START_TEST(a_cleared_or_rearmed_timer_does_not_fire)
{
    struct model model;
    model_init(&model, 1000000, 1);
    model_clear(&model, 7); /* never armed */
    model_set(&model, 7, 100);
    model_set(&model, 8, 100);
    model_clear(&model, 7);
    model_clear(&model, 7);
    model_set(&model, 8, 500);
    ck_assert_uint_gt(timer_wait(&model.wheel, 1000000, 1000), 400); /* nor does it wake us */
    model_advance(&model, 400);
    ck_assert_uint_eq(model.fired, 0);
    model_advance(&model, 200);
    ck_assert_uint_eq(model.fired, 1);
    model_advance(&model, 10 * TIMER_SLOTS * TIMER_TICK_MS);
    ck_assert_uint_eq(model.fired, 1);
    model_fini(&model);
}
END_TEST

enum { MANY = 300000 };

static void count_expired(void *context, uint32_t id)
{
    (void)id;
    ++*(uint32_t *)context;
}

/* All in one slot, cleared in every order; if one change looked at the others this would take hours. */
START_TEST(cost_does_not_grow_with_the_number_of_timers)
{
    struct timer_wheel wheel;
    uint32_t fired = 0;
    uint32_t now_ms = 12345;
    ck_assert_int_eq(timer_init(&wheel, MANY, now_ms), 0);
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t id = 0; id < MANY; id++)
            timer_set(&wheel, id, now_ms, days24_ms);
        for (uint32_t i = 0; i < MANY; i++)
            timer_clear(&wheel, round == 0 ? i : round == 1 ? MANY - 1 - i : i * 7919u % MANY);
        REQUIRE(timer_wait(&wheel, now_ms, 1000) == 1000);
    }
    /* Waiting for one turn looks at each once. */
    for (uint32_t id = 0; id < MANY; id++)
        timer_set(&wheel, id, now_ms, days24_ms - id % 100000);
    for (uint32_t tick = 0; tick < TIMER_SLOTS; tick++)
        timer_run(&wheel, now_ms += TIMER_TICK_MS, count_expired, &fired);
    ck_assert_uint_eq(fired, 0);
    timer_run(&wheel, 12345 + days24_ms + 2 * TIMER_TICK_MS, count_expired, &fired);
    ck_assert_uint_eq(fired, MANY);
    munmap(wheel.nodes, MANY * sizeof(struct timer_node));
}
END_TEST

START_TEST(memory_is_touched_for_armed_timers_only)
{
    enum { CAPACITY = 16 << 20, PAGE = 4096 };
    static unsigned char resident[(size_t)CAPACITY * sizeof(struct timer_node) / PAGE];
    struct timer_wheel wheel;
    uint32_t pages = 0;
    ck_assert_int_eq(timer_init(&wheel, CAPACITY, 0), 0);
    for (uint32_t id = 0; id < CAPACITY; id += CAPACITY / 4)
        timer_set(&wheel, id, 0, 1000);
    ck_assert_int_eq(mincore(wheel.nodes, CAPACITY * sizeof(struct timer_node), resident), 0);
    for (size_t i = 0; i < sizeof resident; i++)
        pages += resident[i] & 1;
    ck_assert_uint_eq(pages, 4);
    munmap(wheel.nodes, CAPACITY * sizeof(struct timer_node));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timer");
    TCase *tc = tcase_create("timer");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, timers_fire_when_a_plain_list_would, 0, 8);
    tcase_add_loop_test(tc, callbacks_may_set_and_clear_any_timer, 0, 8);
    tcase_add_test(tc, time_goes_on_when_32_bits_wrap);
    tcase_add_test(tc, the_wait_is_exact_for_a_timer_within_the_limit);
    tcase_add_test(tc, a_cleared_or_rearmed_timer_does_not_fire);
    tcase_add_test(tc, cost_does_not_grow_with_the_number_of_timers);
    tcase_add_test(tc, memory_is_touched_for_armed_timers_only);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
