/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of session tickets: published whole, read by anybody, written by the master only. */
#define _GNU_SOURCE 1
#include "shm/tickets.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct tickets master;
static int fd;

static void setup(void)
{
    ck_assert_int_eq(tickets_create(&master, &fd), 0);
}

static void teardown(void)
{
    tickets_close(&master);
    close(fd);
}

/* A set in which every byte of a key is `byte`. */
static struct ticket_set set_of(uint32_t count, uint8_t byte)
{
    struct ticket_set set = {.count = count};
    memset(set.keys, byte, count * sizeof set.keys[0]);
    return set;
}

static void is_set_of(const struct ticket_set *set, uint32_t count, uint8_t byte)
{
    struct ticket_set expected = set_of(count, byte);
    ck_assert_uint_eq(set->count, count);
    ck_assert_mem_eq(set->keys, expected.keys, count * sizeof set->keys[0]);
}

START_TEST(what_was_published_last_is_read_through_any_mapping)
{
    struct tickets worker, next;
    struct ticket_set set;
    int shared = tickets_share(fd);
    ck_assert_int_ge(shared, 0);
    ck_assert_int_eq(tickets_open(&worker, shared), 0);
    close(shared);
    tickets_read(&worker, &set);
    ck_assert_uint_eq(set.count, 0);
    for (uint8_t i = 1; i < 20; i++) {
        struct ticket_set fresh = set_of(1 + i % TICKETS_KEYS_MAX, i);
        tickets_publish(&master, &fresh, 100 + i);
        tickets_read(&worker, &set);
        is_set_of(&set, 1 + i % TICKETS_KEYS_MAX, i);
    }
    ck_assert_uint_eq(master.header->changed_ms, 119);
    /* A new program goes on with the same memory. */
    ck_assert_int_eq(tickets_resume(&next, fd), 0);
    struct ticket_set fresh = set_of(2, 77);
    tickets_publish(&next, &fresh, 500);
    tickets_read(&worker, &set);
    is_set_of(&set, 2, 77);
    tickets_close(&next);
    tickets_close(&worker);
    tickets_close(&worker);
    tickets_read(&worker, &set);
    ck_assert_uint_eq(set.count, 0);
}
END_TEST

START_TEST(serial_numbers_go_round_without_losing_a_set)
{
    struct ticket_set set;
    master.header->serial = UINT32_MAX - 1;
    for (uint8_t i = 1; i < 6; i++) {
        struct ticket_set fresh = set_of(1, i);
        tickets_publish(&master, &fresh, 0);
        ck_assert_uint_ne(master.header->serial, 0);
        tickets_read(&master, &set);
        is_set_of(&set, 1, i);
    }
}
END_TEST

START_TEST(a_worker_can_neither_write_nor_resize_them)
{
    int shared = tickets_share(fd);
    ck_assert_int_eq(pwrite(shared, "x", 1, 0), -1);
    ck_assert_ptr_eq(mmap(NULL, sizeof(struct tickets_header), PROT_WRITE, MAP_SHARED, shared, 0),
                     MAP_FAILED);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
    /* A child has not inherited the mapping that can. */
    unsigned char in_core;
    pid_t child = fork();
    if (child == 0)
        _exit(mincore(master.header, 1, &in_core) < 0 && errno == ENOMEM ? 0 : 1);
    int told;
    ck_assert_int_eq(waitpid(child, &told, 0), child);
    ck_assert_int_eq(told, 0);
    if (geteuid() == 0) { /* as another user, through /proc */
        pid_t pid = fork();
        if (pid == 0) {
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", shared);
            _exit(setresuid(65534, 65534, 65534) == 0 && open(path, O_RDWR | O_CLOEXEC) < 0 ? 0
                                                                                            : 1);
        }
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    close(shared);
}
END_TEST

START_TEST(what_is_something_else_is_refused)
{
    struct tickets tickets;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(tickets_open(&tickets, null), -EPROTO);
    close(null);
    ck_assert_int_eq(tickets_open(&tickets, -1), -EBADF);
    master.header->version++;
    ck_assert_int_eq(tickets_open(&tickets, fd), -EPROTONOSUPPORT);
    ck_assert_ptr_null(tickets.header);
    master.header->version--;
    master.header->magic++;
    ck_assert_int_eq(tickets_resume(&tickets, fd), -EPROTO);
    master.header->magic--;
    /* Nonsense in it is no key. */
    struct ticket_set set = set_of(1, 1);
    set.count = TICKETS_KEYS_MAX + 1;
    tickets_publish(&master, &set, 0);
    tickets_read(&master, &set);
    ck_assert_uint_eq(set.count, 0);
}
END_TEST

static NORETURN void write_for_ever(void)
{
    struct tickets writer; /* a mapping of its own: ours is not inherited */
    if (tickets_resume(&writer, fd) < 0)
        _exit(1);
    for (uint8_t byte = 0;; byte++) {
        struct ticket_set fresh = set_of(TICKETS_KEYS_MAX, byte);
        tickets_publish(&writer, &fresh, 0);
    }
}

/* A master that changes keys all the time is killed again and again: no reader ever sees half a set. */
START_TEST(a_reader_sees_whole_sets_whenever_the_writer_dies)
{
    struct ticket_set set = set_of(TICKETS_KEYS_MAX, 1);
    uint32_t seen = 0;
    tickets_publish(&master, &set, 0);
    for (int round = 0; round < 20; round++) {
        pid_t pid = fork();
        if (pid == 0)
            write_for_ever();
        uint32_t before = LOAD_ACQUIRE(&master.header->serial);
        while (LOAD_ACQUIRE(&master.header->serial) - before < 200) {
            tickets_read(&master, &set);
            /* Too many changes while it copied: none is better than half. */
            if (set.count > 0) {
                is_set_of(&set, TICKETS_KEYS_MAX, set.keys[0].name[0]);
                seen++;
            }
        }
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        tickets_read(&master, &set);
        is_set_of(&set, TICKETS_KEYS_MAX, set.keys[0].name[0]);
    }
    ck_assert_uint_gt(seen, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("tickets");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_was_published_last_is_read_through_any_mapping);
    tcase_add_test(tcase, serial_numbers_go_round_without_losing_a_set);
    tcase_add_test(tcase, a_worker_can_neither_write_nor_resize_them);
    tcase_add_test(tcase, what_is_something_else_is_refused);
    tcase_add_test(tcase, a_reader_sees_whole_sets_whenever_the_writer_dies);
    Suite *suite = suite_create("tickets");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
