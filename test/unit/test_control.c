/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "common/log.h"
#include "shm/control.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int master_end;
static int slot_end;
static int
    samples[CONTROL_FDS_MAX]; /* descriptors to send: each another pipe, so each can be told */

static void set_up(void)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    master_end = ends[0];
    slot_end = ends[1];
    for (uint32_t i = 0; i < CONTROL_FDS_MAX; i++) {
        ck_assert_int_eq(pipe(ends), 0);
        samples[i] = ends[0];
        close(ends[1]);
    }
}

static void tear_down(void)
{
    if (master_end >= 0)
        close(master_end);
    close(slot_end);
    for (uint32_t i = 0; i < CONTROL_FDS_MAX; i++)
        close(samples[i]);
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static bool same_file(int a, int b)
{
    struct stat x;
    struct stat y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

static struct control_message message_of(uint32_t listeners, uint32_t access_log)
{
    struct control_message message = {
        .seq = 9,
        .mode = SLOT_MODE_RUN,
        .log_level = LOG_LEVEL_INFO,
        .listener_count = listeners,
        .has_access_log = access_log,
        .has_keys = access_log, /* what may be left out is left out together */
        .has_tickets = access_log,
    };
    for (uint32_t i = 0; i < listeners && i < ARENA_LISTENERS_MAX; i++)
        message.listeners[i] = (struct arena_listener){.id = 100 + i, .index = i};
    return message;
}

static struct control_fds fds_of(void)
{
    struct control_fds fds = {.image = samples[0],
                              .error_log = samples[1],
                              .access_log = samples[2],
                              .keys = samples[3],
                              .tickets = samples[4]};
    for (uint32_t i = 0; i < ARENA_LISTENERS_MAX; i++)
        fds.listeners[i] = samples[5 + i];
    return fds;
}

static void close_received(const struct control_fds *fds)
{
    if (fds->image >= 0)
        close(fds->image);
    if (fds->error_log >= 0)
        close(fds->error_log);
    if (fds->tickets >= 0)
        close(fds->tickets);
    if (fds->access_log >= 0)
        close(fds->access_log);
    if (fds->keys >= 0)
        close(fds->keys);
    for (uint32_t i = 0; i < ARENA_LISTENERS_MAX; i++) {
        if (fds->listeners[i] >= 0)
            close(fds->listeners[i]);
    }
}

/* Any bytes with any descriptors, as a master that has gone mad would send them. */
static void send_raw(const void *bytes, size_t length, uint32_t fd_count)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(CONTROL_FDS_MAX * 2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {(void *)(uintptr_t)bytes, length};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        int *list = (int *)(void *)CMSG_DATA(cmsg);
        for (uint32_t i = 0; i < fd_count; i++)
            list[i] = samples[i % CONTROL_FDS_MAX];
    }
    ck_assert_int_eq((int)sendmsg(master_end, &header, 0), (int)length);
}

/* What was sent is refused, and no descriptor of it stays open. */
static void refused(int before)
{
    struct control_message message;
    struct control_fds fds;
    ck_assert_int_eq(control_receive(slot_end, &message, &fds), -EPROTO);
    ck_assert_int_eq(open_descriptors(), before);
    ck_assert_int_eq(fds.image, -1);
}

START_TEST(every_descriptor_arrives_in_its_place)
{
    int before = open_descriptors();
    struct control_message sent = message_of(ARENA_LISTENERS_MAX, 1);
    struct control_fds given = fds_of();
    struct control_message got;
    struct control_fds fds;
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), 0);
    ck_assert_mem_eq(&got, &sent, sizeof got);
    ck_assert(same_file(fds.image, given.image));
    ck_assert(same_file(fds.error_log, given.error_log));
    ck_assert(same_file(fds.tickets, given.tickets));
    ck_assert(same_file(fds.access_log, given.access_log));
    ck_assert(same_file(fds.keys, given.keys));
    for (uint32_t i = 0; i < ARENA_LISTENERS_MAX; i++)
        ck_assert(same_file(fds.listeners[i], given.listeners[i]));
    ck_assert_int_eq(open_descriptors(), before + CONTROL_FDS_MAX);
    close_received(&fds);
}
END_TEST

START_TEST(without_what_may_be_left_out_the_listeners_follow_the_error_log)
{
    struct control_message sent = message_of(2, 0);
    struct control_fds given = fds_of();
    struct control_message got;
    struct control_fds fds;
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), 0);
    ck_assert_int_eq(fds.access_log, -1);
    ck_assert_int_eq(fds.keys, -1);
    ck_assert_int_eq(fds.tickets, -1);
    ck_assert(same_file(fds.listeners[1], given.listeners[1]));
    ck_assert_int_eq(fds.listeners[2], -1);
    close_received(&fds);
}
END_TEST

START_TEST(a_second_message_waits_until_the_first_was_read)
{
    struct control_message sent = message_of(1, 1);
    struct control_fds given = fds_of();
    struct control_message got;
    struct control_fds fds;
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
    ck_assert_int_eq(control_send(master_end, &sent, &given), -EAGAIN);
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), 0);
    close_received(&fds);
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), -EAGAIN);
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
}
END_TEST

START_TEST(a_master_that_has_gone_is_seen_after_its_last_message)
{
    struct control_message sent = message_of(0, 0);
    struct control_fds given = fds_of();
    struct control_message got;
    struct control_fds fds;
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
    close(master_end);
    master_end = -1;
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), 0);
    close_received(&fds);
    ck_assert_int_eq(control_receive(slot_end, &got, &fds), -EPIPE);
}
END_TEST

START_TEST(sending_to_a_slot_that_has_gone_is_an_error_and_no_signal)
{
    struct control_message sent = message_of(0, 0);
    struct control_fds given = fds_of();
    int other = dup(slot_end);
    close(slot_end);
    close(other);
    ck_assert_int_eq(control_send(master_end, &sent, &given), -EPIPE);
    slot_end = open("/dev/null", O_RDONLY | O_CLOEXEC);
}
END_TEST

START_TEST(a_message_of_another_size_is_refused_and_leaks_nothing)
{
    char bytes[sizeof(struct control_message) + 64] = {0};
    struct control_message good = message_of(0, 0);
    memcpy(bytes, &good, sizeof good);
    int before = open_descriptors();
    static const size_t sizes[] = {1, sizeof good - 1, sizeof good + 1, sizeof bytes};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        send_raw(bytes, sizes[i], 2);
        refused(before);
    }
}
END_TEST

START_TEST(an_empty_message_with_descriptors_is_refused_and_leaks_nothing)
{
    int before = open_descriptors();
    send_raw("", 0, 5);
    refused(before);
}
END_TEST

START_TEST(too_few_or_too_many_descriptors_are_refused_and_leak_nothing)
{
    struct control_message good = message_of(1, 1);
    int before = open_descriptors();
    static const uint32_t counts[] = {0,  1, 2, 3, 4, 5, 7, CONTROL_FDS_MAX, CONTROL_FDS_MAX + 1,
                                      130};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        send_raw(&good, sizeof good, counts[i]);
        refused(before);
    }
}
END_TEST

START_TEST(values_without_sense_are_refused_and_leak_nothing)
{
    int before = open_descriptors();
    for (int field = 0; field < 7; field++) {
        struct control_message bad = message_of(2, 1);
        switch (field) {
        case 0: bad.mode = SLOT_MODE_STOP + 1; break;
        case 1: bad.log_level = LOG_LEVEL_DEBUG + 1; break;
        case 2: bad.listener_count = UINT32_MAX; break;
        case 3: bad.has_access_log = 2; break;
        case 4: bad.listeners[1].id = 0; break;
        case 5: bad.has_keys = 2; break;
        case 6: bad.has_tickets = 2; break;
        }
        send_raw(&bad, sizeof bad, 7);
        refused(before);
    }
}
END_TEST

START_TEST(a_receiver_without_free_descriptors_keeps_none)
{
    struct control_message sent = message_of(10, 1);
    struct control_fds given = fds_of();
    int before = open_descriptors();
    ck_assert_int_eq(control_send(master_end, &sent, &given), 0);
    int next = dup(0);
    close(next);
    struct rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    struct rlimit tight = {.rlim_cur = (rlim_t)next + 4, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
    struct control_message got;
    struct control_fds fds;
    int result = control_receive(slot_end, &got, &fds);
    setrlimit(RLIMIT_NOFILE, &old);
    ck_assert_int_eq(result, -EPROTO);
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

START_TEST(more_listeners_than_there_are_places_are_not_sent)
{
    struct control_message sent = message_of(ARENA_LISTENERS_MAX + 1, 0);
    struct control_fds given = fds_of();
    ck_assert_int_eq(control_send(master_end, &sent, &given), -EINVAL);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("control");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, every_descriptor_arrives_in_its_place);
    tcase_add_test(tcase, without_what_may_be_left_out_the_listeners_follow_the_error_log);
    tcase_add_test(tcase, a_second_message_waits_until_the_first_was_read);
    tcase_add_test(tcase, a_master_that_has_gone_is_seen_after_its_last_message);
    tcase_add_test(tcase, sending_to_a_slot_that_has_gone_is_an_error_and_no_signal);
    tcase_add_test(tcase, a_message_of_another_size_is_refused_and_leaks_nothing);
    tcase_add_test(tcase, an_empty_message_with_descriptors_is_refused_and_leaks_nothing);
    tcase_add_test(tcase, too_few_or_too_many_descriptors_are_refused_and_leak_nothing);
    tcase_add_test(tcase, values_without_sense_are_refused_and_leak_nothing);
    tcase_add_test(tcase, a_receiver_without_free_descriptors_keeps_none);
    tcase_add_test(tcase, more_listeners_than_there_are_places_are_not_sent);
    Suite *suite = suite_create("control");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
