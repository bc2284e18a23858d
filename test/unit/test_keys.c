/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys in their sealed memfd: whole, out of core dumps, and never followed outside. */
#define _GNU_SOURCE 1
#include "shm/keys.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK };

static const struct slice secrets[] = {{"first", 5}, {"", 0}, {"the third", 9}};
static uint8_t good[512];
static size_t size;
static int made;

static void setup(void)
{
    ck_assert_int_eq(keys_create(secrets, ARRAY_LEN(secrets), 7, &made), 0);
    ssize_t n = pread(made, good, sizeof good, 0);
    ck_assert_int_gt(n, 0);
    size = (size_t)n;
}

static void teardown(void)
{
    close(made);
}

static int memfd_of(const void *bytes, size_t n, unsigned seals)
{
    int fd = memfd_create("test-keys", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

/* Use every byte, so that a sanitizer sees what lies outside. */
static volatile uint32_t sum;

/* Open what stands in `good`, and read every key byte by byte. */
static int open_and_walk(size_t n, unsigned seals)
{
    struct keys keys;
    int fd = memfd_of(good, n, seals);
    int rc = keys_open(&keys, fd);
    close(fd);
    if (rc < 0) {
        ck_assert_ptr_null(keys.header);
        return rc;
    }
    for (uint32_t i = 0; i < keys.header->count + 2; i++) {
        struct slice key = keys_get(&keys, i);
        for (size_t j = 0; j < key.n; j++)
            sum += (unsigned char)key.p[j];
    }
    keys_close(&keys);
    ck_assert_ptr_null(keys.header);
    return 0;
}

START_TEST(keys_are_read_as_they_were_written)
{
    struct keys keys;
    ck_assert_int_eq(keys_open(&keys, made), 0);
    ck_assert_uint_eq(keys.header->generation, 7);
    ck_assert_uint_eq(keys.header->count, 3);
    for (uint32_t i = 0; i < ARRAY_LEN(secrets); i++)
        ck_assert(slice_eq(keys_get(&keys, i), secrets[i]));
    ck_assert_uint_eq(keys_get(&keys, 3).n, 0);
    ck_assert_uint_eq(keys_get(&keys, UINT32_MAX).n, 0);
    keys_close(&keys);
    ck_assert_uint_eq(keys_get(&keys, 0).n, 0);
    keys_close(&keys);
}
END_TEST

START_TEST(nobody_can_write_to_them_afterwards)
{
    ck_assert_int_eq(fcntl(made, F_GET_SEALS), SEALS | F_SEAL_SEAL);
    ck_assert_int_eq(pwrite(made, "x", 1, 0), -1);
    ck_assert_ptr_eq(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0), MAP_FAILED);
    ck_assert_int_eq(fcntl(made, F_GETFD), FD_CLOEXEC);
}
END_TEST

/* "dd" among the flags of the mapping in /proc: not in a core dump. */
START_TEST(they_are_in_no_core_dump)
{
    struct keys keys;
    char line[512], begin[32];
    bool ours = false, kept_out = false;
    ck_assert_int_eq(keys_open(&keys, made), 0);
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)(uintptr_t)keys.header);
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (strchr(line, '-') && strspn(line, "0123456789abcdef") >= 8)
            ours = strncmp(line, begin, strlen(begin)) == 0;
        else if (ours && strncmp(line, "VmFlags:", 8) == 0)
            kept_out = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    ck_assert(kept_out);
    keys_close(&keys);
}
END_TEST

START_TEST(what_is_not_sealed_or_too_short_or_something_else_is_refused)
{
    struct keys keys;
    ck_assert_int_eq(open_and_walk(size, SEALS), 0);
    ck_assert_int_eq(open_and_walk(size, F_SEAL_GROW | F_SEAL_SHRINK), -EPROTO);
    ck_assert_int_eq(open_and_walk(size, F_SEAL_WRITE | F_SEAL_GROW), -EPROTO);
    for (size_t n = 0; n < size; n++)
        ck_assert_int_lt(open_and_walk(n, SEALS), 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(keys_open(&keys, null), -EPROTO);
    close(null);
    ck_assert_int_eq(keys_open(&keys, -1), -EBADF);
    good[0] ^= 1;
    ck_assert_int_eq(open_and_walk(size, SEALS), -EPROTO);
    good[0] ^= 1;
    good[8]++;
    ck_assert_int_eq(open_and_walk(size, SEALS), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(no_number_in_any_place_makes_a_reader_leave_them)
{
    uint32_t values[] = {0,          1,          (uint32_t)size - 1, (uint32_t)size,
                         0x7fffffff, 0x80000000, 0xffffffff,         (uint32_t)size + 1};
    uint32_t refused = 0;
    for (size_t i = 0; i + 4 <= size; i++) {
        uint32_t was;
        memcpy(&was, good + i, 4);
        for (size_t j = 0; j < ARRAY_LEN(values); j++) {
            memcpy(good + i, &values[j], 4);
            refused += open_and_walk(size, SEALS) < 0;
        }
        memcpy(good + i, &was, 4);
    }
    ck_assert_uint_gt(refused, 100);
    ck_assert_int_eq(open_and_walk(size, SEALS), 0);
}
END_TEST

START_TEST(more_than_there_is_room_for_is_refused)
{
    struct slice *many = calloc(KEYS_MAX + 1, sizeof *many);
    int fd;
    for (uint32_t i = 0; i <= KEYS_MAX; i++)
        many[i] = (struct slice){"k", 1};
    ck_assert_int_eq(keys_create(many, KEYS_MAX + 1, 1, &fd), -E2BIG);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(keys_create(many, KEYS_MAX, 1, &fd), 0);
    close(fd);
    free(many);
}
END_TEST

START_TEST(a_copy_has_only_the_keys_that_are_wanted)
{
    static const bool wanted[] = {false, false, true};
    struct keys keys;
    uint8_t bytes[sizeof good];
    int fd;
    ck_assert_int_eq(keys_select(made, wanted, ARRAY_LEN(wanted), &fd), 0);
    ck_assert_int_eq(keys_open(&keys, fd), 0);
    ck_assert_uint_eq(keys.header->generation, 7);
    ck_assert_uint_eq(keys.header->count, 3);
    ck_assert_uint_eq(keys_get(&keys, 0).n, 0);
    ck_assert(slice_eq(keys_get(&keys, 2), secrets[2]));
    ssize_t n = pread(fd, bytes, sizeof bytes, 0);
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_null(memmem(bytes, (size_t)n, secrets[0].p, secrets[0].n));
    keys_close(&keys);
    close(fd);
    ck_assert_int_eq(keys_select(made, wanted, 2, &fd), 0); /* nobody has asked for the third */
    ck_assert_int_eq(keys_open(&keys, fd), 0);
    ck_assert_uint_eq(keys_get(&keys, 2).n, 0);
    keys_close(&keys);
    close(fd);
    ck_assert_int_lt(keys_select(-1, wanted, ARRAY_LEN(wanted), &fd), 0);
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(another_generation_has_the_same_keys)
{
    struct keys keys;
    int fd;
    ck_assert_int_eq(keys_renew(made, 8, &fd), 0);
    ck_assert_int_eq(keys_open(&keys, fd), 0);
    ck_assert_uint_eq(keys.header->generation, 8);
    for (uint32_t i = 0; i < ARRAY_LEN(secrets); i++)
        ck_assert(slice_eq(keys_get(&keys, i), secrets[i]));
    keys_close(&keys);
    close(fd);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("keys");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, keys_are_read_as_they_were_written);
    tcase_add_test(tcase, nobody_can_write_to_them_afterwards);
    tcase_add_test(tcase, they_are_in_no_core_dump);
    tcase_add_test(tcase, what_is_not_sealed_or_too_short_or_something_else_is_refused);
    tcase_add_test(tcase, no_number_in_any_place_makes_a_reader_leave_them);
    tcase_add_test(tcase, more_than_there_is_room_for_is_refused);
    tcase_add_test(tcase, a_copy_has_only_the_keys_that_are_wanted);
    tcase_add_test(tcase, another_generation_has_the_same_keys);
    Suite *suite = suite_create("keys");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
