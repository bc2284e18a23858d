/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/passive.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct board_backend *backend; /* shared with children */
static const struct passive_limits limits = {.max_fails = 3, .fail_timeout_ms = 1000};

static void setup(void)
{
    backend =
        mmap(NULL, sizeof *backend, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(backend, MAP_FAILED);
}

static void teardown(void)
{
    munmap(backend, sizeof *backend);
}

START_TEST(as_many_failures_as_max_fails_eject)
{
    ck_assert(!passive_failed(backend, limits, 5000));
    ck_assert(!passive_failed(backend, limits, 5500));
    ck_assert_int_eq(passive_state(backend, limits, 5500), PASSIVE_IN);
    ck_assert_uint_eq(passive_fails(backend), 2);
    ck_assert(passive_failed(backend, limits, 6500));
    ck_assert_int_eq(passive_state(backend, limits, 6500), PASSIVE_OUT);
    ck_assert(!passive_failed(backend, limits, 6600)); /* it is out already */
}
END_TEST

START_TEST(failures_far_apart_do_not_add_up)
{
    for (uint64_t now = 5000; now < 50000; now += 1001)
        ck_assert(!passive_failed(backend, limits, now));
    ck_assert_uint_eq(passive_fails(backend), 1);
}
END_TEST

START_TEST(no_max_fails_means_never)
{
    const struct passive_limits never = {.max_fails = 0, .fail_timeout_ms = 1000};
    for (uint32_t i = 0; i < 10; i++)
        ck_assert(!passive_failed(backend, never, 5000));
    ck_assert_int_eq(passive_state(backend, never, 5000), PASSIVE_IN);
}
END_TEST

START_TEST(the_time_of_an_ejection_ends_and_begins_anew_with_each_failure)
{
    for (uint32_t i = 0; i < 3; i++)
        passive_failed(backend, limits, 5000);
    ck_assert_int_eq(passive_state(backend, limits, 6000), PASSIVE_OUT);
    ck_assert_int_eq(passive_state(backend, limits, 6001), PASSIVE_PROBE);
    ck_assert(!passive_failed(backend, limits, 6500)); /* of a request that was under way */
    ck_assert_int_eq(passive_state(backend, limits, 7500), PASSIVE_OUT);
    ck_assert_int_eq(passive_state(backend, limits, 7501), PASSIVE_PROBE);
}
END_TEST

START_TEST(a_clock_that_is_behind_changes_nothing)
{
    for (uint32_t i = 0; i < 3; i++)
        passive_failed(backend, limits, 5000);
    ck_assert_int_eq(passive_state(backend, limits, 3), PASSIVE_OUT);
    ck_assert(!passive_probe(backend, limits, 3));
}
END_TEST

START_TEST(one_probe_at_a_time)
{
    for (uint32_t i = 0; i < 3; i++)
        passive_failed(backend, limits, 5000);
    ck_assert(!passive_probe(backend, limits, 6000));
    ck_assert(passive_probe(backend, limits, 6001));
    ck_assert(!passive_probe(backend, limits, 6001));
    ck_assert_int_eq(passive_state(backend, limits, 6002), PASSIVE_OUT);
    /* The prober died: nobody misses it for longer than fail_timeout. */
    ck_assert(passive_probe(backend, limits, 7002));
}
END_TEST

START_TEST(a_good_answer_clears_it_at_once)
{
    ck_assert(!passive_answered(backend, limits));
    passive_failed(backend, limits, 5000);
    ck_assert(!passive_answered(backend, limits)); /* it was not out */
    ck_assert_uint_eq(passive_fails(backend), 0);
    for (uint32_t i = 0; i < 3; i++)
        passive_failed(backend, limits, 5000);
    ck_assert(passive_answered(backend, limits));
    ck_assert(!passive_answered(backend, limits));
    ck_assert_int_eq(passive_state(backend, limits, 5000), PASSIVE_IN);
}
END_TEST

/* Children do `work` at the same time; returns the sum of what they returned. */
static int at_once(int (*work)(void), int children)
{
    int sum = 0;
    for (int i = 0; i < children; i++) {
        if (fork() == 0)
            _exit(work());
    }
    for (int i = 0; i < children; i++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        sum += WEXITSTATUS(status);
    }
    return sum;
}

static int fail_often(void)
{
    const struct passive_limits many = {.max_fails = 30000, .fail_timeout_ms = 1000};
    int ejected = 0;
    for (int i = 0; i < 10000; i++)
        ejected += passive_failed(backend, many, 5000);
    return ejected;
}

static int probe_often(void)
{
    int probes = 0;
    for (uint64_t now = 5000; now < 105000; now++)
        probes += passive_state(backend, limits, now) == PASSIVE_PROBE &&
                  passive_probe(backend, limits, now);
    return probes;
}

START_TEST(racing_workers_lose_no_failure_and_one_of_them_ejects)
{
    ck_assert_int_eq(at_once(fail_often, 4), 1);
    ck_assert_uint_eq(passive_fails(backend), 40000);
}
END_TEST

START_TEST(racing_workers_share_one_probe_for_each_time)
{
    for (uint32_t i = 0; i < 3; i++)
        passive_failed(backend, limits, 5000);
    int probes = at_once(probe_often, 4);
    ck_assert_int_ge(probes, 1);
    ck_assert_int_le(probes, 100); /* 100 s, a probe a second at most */
}
END_TEST

START_TEST(a_worker_killed_at_any_moment_leaves_a_true_word)
{
    for (unsigned round = 0; round < 50; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t now = 5000;; now++) {
                passive_failed(backend, limits, now);
                passive_probe(backend, limits, now);
                passive_answered(backend, limits);
            }
        }
        while (round % 2 == 0 && LOAD_RELAXED(&backend->passive) == 0)
            ;
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        ck_assert_uint_le(passive_fails(backend), 1);
        passive_answered(backend, limits);
        ck_assert_int_eq(passive_state(backend, limits, 5000), PASSIVE_IN);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("passive");
    TCase *tc = tcase_create("passive");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, as_many_failures_as_max_fails_eject);
    tcase_add_test(tc, failures_far_apart_do_not_add_up);
    tcase_add_test(tc, no_max_fails_means_never);
    tcase_add_test(tc, the_time_of_an_ejection_ends_and_begins_anew_with_each_failure);
    tcase_add_test(tc, a_clock_that_is_behind_changes_nothing);
    tcase_add_test(tc, one_probe_at_a_time);
    tcase_add_test(tc, a_good_answer_clears_it_at_once);
    tcase_add_test(tc, racing_workers_lose_no_failure_and_one_of_them_ejects);
    tcase_add_test(tc, racing_workers_share_one_probe_for_each_time);
    tcase_add_test(tc, a_worker_killed_at_any_moment_leaves_a_true_word);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
