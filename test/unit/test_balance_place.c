/* SPDX-License-Identifier: Apache-2.0 */
/* Limits: exact for workers that race, and after one of them is killed. Workers are forked children. */
#include "test/unit/balance_fixture.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, LIMIT = 25 };

/* Counts of what is really in, beside the board; one more never hides in a cell. */
struct truth {
    uint32_t in;
    uint32_t high;
    uint32_t go;
    uint64_t admitted;
};
static struct truth *truth;

static void setup_place(void)
{
    setup();
    truth = mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(truth, MAP_FAILED);
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        board_slot(&fixture.board, slot)->starts = 1;
}

static void teardown_place(void)
{
    munmap(truth, sizeof *truth);
    teardown();
}

static void load_limited(void)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "max_conns = 25;") " ); }");
}

/* One request in slot `slot`; true if it got in. */
static bool enter(uint32_t slot)
{
    struct balance_pick pick;
    struct balance_ask ask = ask_for(SLICE(""));
    uint32_t out;
    ask.slot = slot;
    if (balance_init(&pick, upstream) < 0)
        return false;
    int rc = balance_next(&pick, &ask, &out);
    balance_fini(&pick);
    if (rc == 0) {
        uint32_t in = __atomic_add_fetch(&truth->in, 1, __ATOMIC_SEQ_CST);
        uint32_t high = LOAD_RELAXED(&truth->high);
        while (in > high && !__atomic_compare_exchange_n(&truth->high, &high, in, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
    }
    return rc == 0;
}

static void leave(uint32_t slot)
{
    __atomic_sub_fetch(&truth->in, 1, __ATOMIC_SEQ_CST);
    balance_leave(&fixture.board, slot, backend_of(0));
}

/* Workers that enter and leave as fast as they can, each with many at a time. */
static void race(uint32_t slot, unsigned rounds)
{
    uint32_t mine = 0;
    uint32_t seed = slot * 7919 + 1;
    while (LOAD_ACQUIRE(&truth->go) == 0)
        sched_yield();
    for (unsigned i = 0; i < rounds; i++) {
        seed = seed * 1664525u + 1013904223u;
        if (mine > 0 && (mine > LIMIT / 2 || (seed >> 16) % 3 == 0)) {
            leave(slot);
            mine--;
        } else if (enter(slot)) {
            mine++;
            __atomic_add_fetch(&truth->admitted, 1, __ATOMIC_RELAXED);
        }
    }
    while (mine-- > 0)
        leave(slot);
}

static pid_t start(uint32_t slot, unsigned rounds)
{
    pid_t pid = fork();
    if (pid == 0) {
        race(slot, rounds);
        _exit(0);
    }
    return pid;
}

START_TEST(racing_workers_never_pass_max_conns)
{
    pid_t pids[WORKERS];
    load_limited();
    /* On a busy machine they may not meet at the limit at once: race on until they have. */
    for (int races = 0; races == 0 || (truth->high < LIMIT && races < 50); races++) {
        STORE_RELEASE(&truth->go, 0);
        for (uint32_t slot = 0; slot < WORKERS; slot++)
            pids[slot] = start(slot, 100000);
        STORE_RELEASE(&truth->go, 1);
        for (uint32_t slot = 0; slot < WORKERS; slot++)
            ck_assert_int_eq(waitpid(pids[slot], NULL, 0), pids[slot]);
    }
    ck_assert_uint_eq(truth->high, LIMIT); /* reached, and not passed */
    ck_assert_uint_eq(truth->in, 0);
    ck_assert_uint_eq(board_backend_conns(&fixture.board, backend_of(0)), 0);
    ck_assert_uint_gt(truth->admitted, 10000);
}
END_TEST

static void fill(uint32_t slot)
{
    while (LOAD_ACQUIRE(&truth->go) == 0)
        sched_yield();
    for (unsigned misses = 0; misses < 1;)
        misses += !enter(slot);
    _exit(0);
}

START_TEST(racing_workers_fill_every_place)
{
    load_limited();
    for (unsigned round = 0; round < 100; round++) {
        *truth = (struct truth){0};
        for (uint32_t slot = 0; slot < WORKERS; slot++) {
            board_cell(&fixture.board, slot, backend_of(0))->conns = 0;
            if (fork() == 0)
                fill(slot);
        }
        STORE_RELEASE(&truth->go, 1);
        for (uint32_t slot = 0; slot < WORKERS; slot++)
            ck_assert_int_gt(wait(NULL), 0);
        ck_assert_uint_eq(truth->in, LIMIT);
        ck_assert_uint_eq(board_backend_conns(&fixture.board, backend_of(0)), LIMIT);
    }
}
END_TEST

START_TEST(a_worker_killed_in_the_race_leaves_no_place_too_many)
{
    load_limited();
    for (unsigned round = 0; round < 40; round++) {
        pid_t pids[WORKERS];
        *truth = (struct truth){.go = 1};
        for (uint32_t slot = 0; slot < WORKERS; slot++) {
            board_cell(&fixture.board, slot, backend_of(0))->conns = 0;
            pids[slot] = start(slot, 1u << 30);
        }
        while (LOAD_RELAXED(&truth->admitted) < 200)
            sched_yield();
        ck_assert_int_eq(kill(pids[round % WORKERS], SIGKILL), 0);
        ck_assert_int_eq(waitpid(pids[round % WORKERS], NULL, 0), pids[round % WORKERS]);
        uint64_t before = LOAD_RELAXED(&truth->admitted);
        uint32_t held =
            LOAD_RELAXED(&board_cell(&fixture.board, round % WORKERS, backend_of(0))->conns);
        if (held < LIMIT) { /* else the dead one holds all places until it is adopted */
            while (LOAD_RELAXED(&truth->admitted) < before + 200)
                sched_yield();
        }
        for (uint32_t slot = 0; slot < WORKERS; slot++) {
            if (slot == round % WORKERS)
                continue;
            ck_assert_int_eq(kill(pids[slot], SIGKILL), 0);
            ck_assert_int_eq(waitpid(pids[slot], NULL, 0), pids[slot]);
        }
        /* The truth is told after the count, and taken back before it: it is never the higher one. */
        ck_assert_uint_le(truth->high, LIMIT);
        ck_assert_uint_le(truth->in, board_backend_conns(&fixture.board, backend_of(0)));
    }
}
END_TEST

START_TEST(a_full_server_is_passed_over_and_all_full_is_busy)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "max_conns = 2;") ", " SERVER(
        "10.0.0.2", "max_conns = 1;") " ); }");
    struct balance_pick pick;
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    for (int expected = 0; expected < 2; expected++)
        ck_assert_int_eq(stay_for(&pick, SLICE("")), expected);
    ck_assert_int_eq(stay_for(&pick, SLICE("")), -ENOENT); /* both were tried */
    balance_fini(&pick);
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    ck_assert_int_eq(stay_for(&pick, SLICE("")), 0); /* the other has its one */
    balance_fini(&pick);
    ck_assert_int_eq(one_for(SLICE("")), -EBUSY);
    balance_leave(&fixture.board, SLOT, backend_of(1));
    ck_assert_int_eq(one_for(SLICE("")), 1);
    ck_assert_uint_eq(board_backend_conns(&fixture.board, backend_of(0)), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balance_place");
    TCase *tc = tcase_create("balance_place");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup_place, teardown_place);
    tcase_add_test(tc, racing_workers_never_pass_max_conns);
    tcase_add_test(tc, racing_workers_fill_every_place);
    tcase_add_test(tc, a_worker_killed_in_the_race_leaves_no_place_too_many);
    tcase_add_test(tc, a_full_server_is_passed_over_and_all_full_is_busy);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
