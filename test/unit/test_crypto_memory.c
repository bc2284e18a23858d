/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crypto_memory.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Freed memory, which only the kernel may look at: a sanitizer forbids it to us. */
static void look(const void *at, uint8_t *out, size_t n)
{
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(memory, 0);
    ck_assert_int_eq(pread(memory, out, n, (off_t)(uintptr_t)at), (ssize_t)n);
    close(memory);
}

/*
 * Bytes of `at` that are still 0xa5, three or more in a row: an allocator writes its lists into what it got
 * back, mangled by random numbers, and one in sixteen of those has such a byte.
 */
static size_t left(const void *at, size_t n)
{
    uint8_t *copy = malloc(n);
    size_t count = 0, run = 0;
    look(at, copy, n);
    for (size_t i = 0; i < n; i++) {
        run = copy[i] == 0xa5 ? run + 1 : 0;
        count += run == 3 ? 3 : run > 3;
    }
    free(copy);
    return count;
}

START_TEST(freed_memory_is_wiped_to_its_last_byte)
{
    ck_assert_int_eq(crypto_memory_init(), 0);
    for (size_t n = 1; n <= 100000; n = n * 3 + 1) {
        uint8_t *block = OPENSSL_malloc(n);
        size_t room = malloc_usable_size(block);
        uintptr_t at = (uintptr_t)block;
        memset(block, 0xa5, room);
        OPENSSL_free(block);
        ck_assert_uint_eq(left((void *)at, room), 0);
    }
}
END_TEST

START_TEST(memory_that_grows_keeps_its_bytes_and_leaves_none_behind)
{
    ck_assert_int_eq(crypto_memory_init(), 0);
    for (size_t n = 1; n <= 10000; n = n * 2 + 3) {
        uint8_t *block = OPENSSL_malloc(n);
        void *barrier = OPENSSL_malloc(n); /* so that it has to move */
        uintptr_t at = (uintptr_t)block;
        memset(block, 0xa5, n);
        uint8_t *larger = OPENSSL_realloc(block, n * 10);
        ck_assert_ptr_nonnull(larger);
        for (size_t i = 0; i < n; i++)
            ck_assert_uint_eq(larger[i], 0xa5);
        if ((uintptr_t)larger != at)
            ck_assert_uint_eq(left((void *)at, n), 0);
        OPENSSL_free(larger);
        OPENSSL_free(barrier);
    }
}
END_TEST

START_TEST(memory_that_shrinks_is_wiped_behind_its_end)
{
    ck_assert_int_eq(crypto_memory_init(), 0);
    for (size_t n = 16; n <= 100000; n *= 3) {
        uint8_t *block = OPENSSL_malloc(n);
        uintptr_t at = (uintptr_t)block;
        memset(block, 0xa5, n);
        uint8_t *smaller = OPENSSL_realloc(block, n / 4);
        ck_assert_ptr_nonnull(smaller);
        for (size_t i = 0; i < n / 4; i++)
            ck_assert_uint_eq(smaller[i], 0xa5);
        ck_assert_uint_eq(left((void *)at, n), (uintptr_t)smaller == at ? n / 4 : 0);
        ck_assert_ptr_null(OPENSSL_realloc(smaller, 0));
        ck_assert_uint_eq(left((void *)at, n), 0);
    }
    uint8_t *fresh = OPENSSL_realloc(NULL, 10);
    ck_assert_ptr_nonnull(fresh);
    OPENSSL_free(fresh);
}
END_TEST

START_TEST(a_second_call_does_nothing)
{
    ck_assert_int_eq(crypto_memory_init(), 0);
    void *block = OPENSSL_malloc(10);
    ck_assert_int_eq(crypto_memory_init(), 0);
    OPENSSL_free(block);
}
END_TEST

START_TEST(it_is_refused_once_openssl_has_memory)
{
    void *block = OPENSSL_malloc(10);
    ck_assert_int_eq(crypto_memory_init(), -EBUSY);
    OPENSSL_free(block);
}
END_TEST

/* A configuration that OpenSSL would not get past. */
START_TEST(no_configuration_of_openssl_is_read)
{
    char path[] = "/tmp/hf-test-openssl-XXXXXX";
    static const char text[] = "config_diagnostics = 1\nopenssl_conf = top\n"
                               "[top]\nproviders = missing\nalg_section = evil\n"
                               "[missing]\nnothing = gone\n[evil]\nfips_mode = maybe\n";
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, text, sizeof text - 1), (ssize_t)sizeof text - 1);
    close(fd);
    ck_assert_int_eq(setenv("OPENSSL_CONF", path, 1), 0);
    if (_i == 0)
        ck_assert_int_eq(crypto_memory_init(), 0);
    int rc = OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL);
    unlink(path);
    ck_assert_int_eq(rc, _i == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crypto_memory");
    TCase *tcase = tcase_create("crypto_memory");
    tcase_add_test(tcase, freed_memory_is_wiped_to_its_last_byte);
    tcase_add_test(tcase, memory_that_grows_keeps_its_bytes_and_leaves_none_behind);
    tcase_add_test(tcase, memory_that_shrinks_is_wiped_behind_its_end);
    tcase_add_test(tcase, a_second_call_does_nothing);
    tcase_add_test(tcase, it_is_refused_once_openssl_has_memory);
    tcase_add_loop_test(tcase, no_configuration_of_openssl_is_read, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
