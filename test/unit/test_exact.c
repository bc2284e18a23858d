/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "worker/exact.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena_header *header; /* shared with a child, as with a successor */
static int ends[2];

static void set_up(void)
{
    header = mmap(NULL, sizeof *header, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(header, MAP_FAILED);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
}

static void tear_down(void)
{
    munmap(header, sizeof *header);
    close(ends[0]);
    close(ends[1]);
}

START_TEST(what_was_moved_stands_in_the_arena)
{
    char got[64];
    exact_begin(header);
    ck_assert_int_eq(exact_send(header, ends[0], "twelve bytes", 12), 12);
    ck_assert_uint_eq(exact_sent(header), 12);
    ck_assert_uint_eq(exact_received(header), 0);
    ck_assert_int_eq(exact_recv(header, ends[1], got, 7), 7);
    ck_assert_uint_eq(exact_received(header), 7);
    exact_begin(header);
    ck_assert_uint_eq(exact_sent(header), 0);
    ck_assert_uint_eq(exact_received(header), 0);
    ck_assert_int_eq(exact_recv(header, ends[1], got, sizeof got), 5);
    ck_assert_mem_eq(got, "bytes", 5);
}
END_TEST

START_TEST(nothing_to_move_moves_nothing)
{
    char got[8];
    exact_begin(header);
    ck_assert_int_eq(exact_recv(header, ends[0], got, sizeof got), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(exact_received(header), 0);
    while (exact_send(header, ends[0], header, sizeof *header) > 0)
        continue;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(shutdown(ends[0], SHUT_WR), 0);
    ck_assert_int_eq(exact_send(header, ends[0], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
}
END_TEST

/* The peer closed with bytes of ours unread: its last ones come first, as with recv. */
START_TEST(an_error_does_not_hide_the_bytes_before_it)
{
    char got[8];
    ck_assert_int_eq(exact_send(header, ends[0], "unread", 6), 6);
    ck_assert_int_eq(send(ends[1], "last", 4, 0), 4);
    close(ends[1]);
    exact_begin(header);
    ck_assert_int_eq(exact_recv(header, ends[0], got, sizeof got), 4);
    ck_assert_mem_eq(got, "last", 4);
    ck_assert_uint_eq(exact_received(header), 4);
    ends[1] = dup(ends[0]);
}
END_TEST

/* A writer that is killed at any moment: the length that it left is what its socket took. */
START_TEST(a_killed_writer_leaves_the_length_that_the_kernel_took)
{
    static char got[4096];
    for (int round = 0; round < 200; round++) {
        pid_t writer = fork();
        if (writer == 0) {
            for (uint32_t n = 1;; n = n % 1000 + 1) {
                exact_begin(header);
                COMMIT_FENCE();
                if (exact_send(header, ends[0], got, n) == (ssize_t)n) {
                    COMMIT_FENCE();
                    header->size += n;
                    header->sent.msg_len = 0; /* a compiler fence apart: the child is one thread */
                }
            }
        }
        uint64_t received = 0;
        for (int reads = 0; reads < 20 + round; reads++) {
            ssize_t n = recv(ends[1], got, sizeof got, 0);
            received += n > 0 ? (uint64_t)n : 0;
        }
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        for (ssize_t n; (n = recv(ends[1], got, sizeof got, 0)) > 0;)
            received += (uint64_t)n;
        /* Death between the sum and the zero has counted it once too often: nobody can be there twice. */
        uint64_t counted = header->size + exact_sent(header);
        ck_assert(received == counted || received == header->size);
        header->size = 0;
        exact_begin(header);
    }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("exact");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, what_was_moved_stands_in_the_arena);
    tcase_add_test(tcase, nothing_to_move_moves_nothing);
    tcase_add_test(tcase, an_error_does_not_hide_the_bytes_before_it);
    tcase_add_test(tcase, a_killed_writer_leaves_the_length_that_the_kernel_took);
    Suite *suite = suite_create("exact");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
