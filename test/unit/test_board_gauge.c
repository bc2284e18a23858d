/* SPDX-License-Identifier: Apache-2.0 */
/* Exact limits over processes that race and are killed; places of clients that change hands. */
#include "shm/board_gauge.h"

#include <check.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 6, LIMIT = 3, CLIENTS = 12, ROUNDS = 40000 };

static const struct board_shape shape = {.tunnels_max = 64};
static struct board board;
static char name[32];

/* What is really in, by worker and client; and how often somebody found too many. */
struct truth {
    uint32_t in[WORKERS][CLIENTS];
    uint32_t together[CLIENTS]; /* the same, added up; of no use once a worker was killed */
    uint32_t exceeded;
    uint32_t entered;
    uint32_t refused;
    uint32_t uncounted;
    uint32_t begun; /* workers */
};
static struct truth *truth;

static void setup(void)
{
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-gauge-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    shm_unlink(name); /* now, so that a test that fails leaves nothing */
    for (uint32_t i = 0; i < WORKERS; i++)
        board_slot(&board, i)->starts = 1;
    truth = mmap(NULL, sizeof *truth, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(truth != MAP_FAILED);
}

static void teardown(void)
{
    munmap(truth, sizeof *truth);
    board_fini(&board);
}

START_TEST(a_limit_is_one_on_the_sum_over_all_workers)
{
    for (uint32_t i = 0; i < LIMIT; i++)
        ck_assert(board_gauge_enter(&board, i, GAUGE_ALL, LIMIT));
    ck_assert(!board_gauge_enter(&board, LIMIT, GAUGE_ALL, LIMIT));
    ck_assert_uint_eq(board_gauge_sum(&board, GAUGE_ALL), LIMIT);
    board_gauge_leave(&board, 0, GAUGE_ALL);
    ck_assert(board_gauge_enter(&board, LIMIT, GAUGE_ALL, LIMIT));
    ck_assert(board_gauge_enter(&board, 0, GAUGE_SITES, 1));
    ck_assert(!board_gauge_enter(&board, 1, GAUGE_SITES, 1));
}
END_TEST

START_TEST(without_a_limit_everybody_is_counted)
{
    for (uint32_t i = 0; i < 100; i++)
        ck_assert(board_gauge_enter(&board, i % WORKERS, GAUGE_UPSTREAMS, 0));
    ck_assert_uint_eq(board_gauge_sum(&board, GAUGE_UPSTREAMS), 100);
    ck_assert(!board_gauge_enter(&board, 0, GAUGE_UPSTREAMS, 100));
}
END_TEST

/* Clients of one bucket. */
static uint64_t hash_of(uint32_t client)
{
    return 2 * 5 + 2 * (uint64_t)GAUGE_BUCKETS * (client + 1);
}

START_TEST(clients_are_told_apart)
{
    uint32_t gauge[3];
    ck_assert_int_eq(board_gauge_enter_client(&board, 0, hash_of(0), 1, &gauge[0]), 0);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(0), 1, &gauge[1]), -EBUSY);
    ck_assert_uint_eq(gauge[1], 0);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(1), 1, &gauge[1]), 0);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(1) | GAUGE_CLOSING, 2, &gauge[2]),
                     0);
    ck_assert_uint_eq(gauge[1], gauge[2]);
    ck_assert_uint_ge(gauge[1], GAUGE_CLIENTS);
    board_gauge_leave(&board, 0, gauge[0]);
    ck_assert_int_eq(board_gauge_enter_client(&board, 5, hash_of(0), 1, &gauge[0]), 0);
}
END_TEST

START_TEST(clients_are_spread_over_all_buckets)
{
    enum { MANY = 1 << 16, LEAST = GAUGE_BUCKETS - GAUGE_BUCKETS / 20 };
    static bool used[GAUGE_BUCKETS];
    uint32_t count = 0, gauge;

    for (uint64_t i = 1; i <= MANY; i++) {
        if (board_gauge_enter_client(&board, 0, i * 0x9e3779b97f4a7c15u, 1, &gauge) < 0)
            continue; /* the bucket was full */
        uint32_t bucket = (gauge - GAUGE_CLIENTS) / GAUGE_WAYS;
        count += !used[bucket];
        used[bucket] = true;
    }
    ck_assert_uint_ge(count, LEAST);
}
END_TEST

START_TEST(places_in_use_are_kept_and_others_given_away)
{
    uint32_t gauge, first;
    for (uint32_t i = 0; i < GAUGE_WAYS; i++) {
        ck_assert_int_eq(board_gauge_enter_client(&board, 0, hash_of(i), 1, &gauge), 0);
        if (i == 0)
            first = gauge;
    }
    ck_assert_int_eq(board_gauge_enter_client(&board, 0, hash_of(7), 1, &gauge), -ENOSPC);
    ck_assert_uint_eq(gauge, 0);
    board_gauge_leave(&board, 0, first);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(7), 1, &gauge), 0);
    ck_assert_uint_eq(gauge, first);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(0), 1, &gauge), -ENOSPC);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(6), 1, &gauge), -EBUSY);
}
END_TEST

START_TEST(a_dead_workers_lock_is_found_and_its_mark_taken_off)
{
    struct board_gauges *gauges = board_gauges(&board);
    static uint32_t counts[GAUGE_COUNT];
    uint32_t gauge;
    ck_assert_int_eq(board_gauge_enter_client(&board, 0, hash_of(0), 2, &gauge), 0);
    /* As worker 3 leaves it when it dies while it looks whether the place is free. */
    gauges->locking[3] = 5 + 1;
    gauges->buckets[5].lock = 3 + 1;
    gauges->buckets[5].keys[0] |= GAUGE_CLOSING;
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(0), 2, &gauge), -EBUSY);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(1), 2, &gauge), -EBUSY);
    board_gauge_restore(&board, 3, counts);
    ck_assert_uint_eq(gauges->buckets[5].lock, 0);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(0), 2, &gauge), 0);
    ck_assert_int_eq(board_gauge_enter_client(&board, 1, hash_of(0), 2, &gauge), -EBUSY);
    /* The lock is another worker's by now: it stays. */
    gauges->locking[3] = 5 + 1;
    gauges->buckets[5].lock = 2 + 1;
    board_gauge_restore(&board, 3, counts);
    ck_assert_uint_eq(gauges->buckets[5].lock, 2 + 1);
}
END_TEST

static void note_in(uint32_t slot, uint32_t client)
{
    STORE_RELAXED(&truth->in[slot][client], 1u);
    if (__atomic_add_fetch(&truth->together[client], 1, __ATOMIC_SEQ_CST) > LIMIT)
        __atomic_fetch_add(&truth->exceeded, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&truth->entered, 1, __ATOMIC_RELAXED);
}

/* Gone before it is counted out. */
static void note_out(uint32_t slot, uint32_t client)
{
    __atomic_sub_fetch(&truth->together[client], 1, __ATOMIC_SEQ_CST);
    STORE_RELAXED(&truth->in[slot][client], 0u);
}

/* On a busy core one worker may be done before the next has begun: then there is no race. */
static void begin_together(void)
{
    __atomic_fetch_add(&truth->begun, 1, __ATOMIC_SEQ_CST);
    while (LOAD_RELAXED(&truth->begun) < WORKERS)
        sched_yield();
}

/* In and out at random, holding several; `rounds` 0: until killed. */
static void work(uint32_t slot, uint32_t rounds)
{
    enum { TURN = 200 };
    uint32_t held[CLIENTS] = {0};
    srandom(slot + 1);
    if (rounds > 0)
        begin_together();
    for (uint32_t round = 0; rounds == 0 || round < rounds; round++) {
        if (round % TURN == 0)
            sched_yield();
        uint32_t client = (uint32_t)random() % CLIENTS;
        if (held[client] != 0) {
            note_out(slot, client);
            board_gauge_leave(&board, slot, held[client]);
            held[client] = 0;
            continue;
        }
        int rc = board_gauge_enter_client(&board, slot, hash_of(client), LIMIT, &held[client]);
        if (rc == 0)
            note_in(slot, client);
        else
            __atomic_fetch_add(rc == -EBUSY ? &truth->refused : &truth->uncounted, 1,
                               __ATOMIC_RELAXED);
    }
    for (uint32_t client = 0; client < CLIENTS; client++) {
        if (held[client] == 0)
            continue;
        note_out(slot, client);
        board_gauge_leave(&board, slot, held[client]);
    }
}

static pid_t begin_work(uint32_t slot, uint32_t rounds)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(slot, rounds);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

static void wait_for(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

START_TEST(a_limit_is_never_exceeded_in_a_race)
{
    pid_t pids[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++)
        pids[i] = begin_work(i, ROUNDS);
    for (uint32_t i = 0; i < WORKERS; i++)
        wait_for(pids[i]);
    ck_assert_uint_eq(truth->exceeded, 0);
    ck_assert_uint_gt(truth->entered, 1000);
    ck_assert_uint_gt(truth->refused, 0);
    ck_assert_uint_gt(truth->uncounted, 0); /* 12 clients, 7 places: they changed hands */
    for (uint32_t way = 0; way < GAUGE_WAYS; way++) {
        uint32_t sum = board_gauge_sum(&board, GAUGE_CLIENTS + 5 * GAUGE_WAYS + way);
        ck_assert_uint_eq(sum, 0);
    }
}
END_TEST

/* All workers stand still: who is in? */
static void check_at_rest(const pid_t pids[WORKERS])
{
    int status;
    for (uint32_t i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGSTOP);
        ck_assert_int_eq(waitpid(pids[i], &status, WUNTRACED), pids[i]);
    }
    for (uint32_t client = 0; client < CLIENTS; client++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < WORKERS; i++)
            sum += truth->in[i][client];
        ck_assert_uint_le(sum, LIMIT);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        kill(pids[i], SIGCONT);
}

START_TEST(killed_workers_leave_no_count_and_no_lock_behind)
{
    static uint32_t none[GAUGE_COUNT];
    pid_t pids[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++)
        pids[i] = begin_work(i, 0);
    for (uint32_t death = 0; death < 300; death++) {
        uint32_t slot = death % WORKERS;
        uint32_t before = LOAD_RELAXED(&truth->entered);
        while (LOAD_RELAXED(&truth->entered) < before + 50)
            sched_yield();
        kill(pids[slot], SIGKILL);
        wait_for(pids[slot]);
        memset(truth->in[slot], 0, sizeof truth->in[slot]); /* what it held has died with it */
        board_gauge_restore(&board, slot, none);
        pids[slot] = begin_work(slot, 0);
        check_at_rest(pids);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGKILL);
        wait_for(pids[i]);
        board_gauge_restore(&board, i, none);
    }
    ck_assert_uint_eq(board_gauges(&board)->buckets[5].lock, 0);
    for (uint32_t client = 0; client < GAUGE_WAYS; client++) {
        uint32_t gauge;
        for (uint32_t i = 0; i < LIMIT; i++)
            ck_assert_int_eq(board_gauge_enter_client(&board, i, hash_of(client), LIMIT, &gauge),
                             0);
        ck_assert_int_eq(board_gauge_enter_client(&board, 0, hash_of(client), LIMIT, &gauge),
                         -EBUSY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("board_gauge");
    TCase *tc = tcase_create("board_gauge");

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_limit_is_one_on_the_sum_over_all_workers);
    tcase_add_test(tc, without_a_limit_everybody_is_counted);
    tcase_add_test(tc, clients_are_told_apart);
    tcase_add_test(tc, clients_are_spread_over_all_buckets);
    tcase_add_test(tc, places_in_use_are_kept_and_others_given_away);
    tcase_add_test(tc, a_dead_workers_lock_is_found_and_its_mark_taken_off);
    tcase_add_test(tc, a_limit_is_never_exceeded_in_a_race);
    tcase_add_test(tc, killed_workers_leave_no_count_and_no_lock_behind);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
