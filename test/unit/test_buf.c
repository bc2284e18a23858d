/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/buf.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

static void pool_fini(struct buf_pool *pool)
{
    buf_pool_resize(pool, 0);
    ck_assert_uint_eq(pool->free_count, 0);
}

static void expect(const struct buf *buf, const char *wanted)
{
    ck_assert_uint_eq(buf_len(buf), strlen(wanted));
    ck_assert(slice_eq(buf_slice(buf), slice_of(wanted)));
}

START_TEST(a_buffer_without_memory_is_empty_and_has_no_room)
{
    struct buf_pool pool = {0};
    struct buf buf = {0};
    buf_pool_resize(&pool, 64);
    ck_assert_uint_eq(buf_len(&buf), 0);
    ck_assert_uint_eq(buf_slice(&buf).n, 0);
    ck_assert_uint_eq(buf_room(&buf), 0);
    ck_assert_int_eq(buf_append(&buf, SLICE("x")), -ENOSPC);
    buf_release_empty(&pool, &buf);
    buf_release(&pool, &buf);
    ck_assert_uint_eq(pool.free_count, 0);
    pool_fini(&pool);
}
END_TEST

/* AddressSanitizer's malloc ends the process where others return NULL. */
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
START_TEST(without_memory_a_buffer_stays_without_room)
{
    const struct rlimit little = {256 << 20, RLIM_INFINITY};
    struct buf_pool pool = {0};
    struct buf buf = {0};
    buf_pool_resize(&pool, 1 << 30);
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &little), 0);
    ck_assert_int_eq(buf_acquire(&pool, &buf), -ENOMEM);
    ck_assert_uint_eq(buf_room(&buf), 0);
    ck_assert_int_eq(buf_append(&buf, SLICE("x")), -ENOSPC);
    buf_release(&pool, &buf);
}
END_TEST
#define HAVE_LITTLE_MEMORY_TEST 1
#endif

START_TEST(acquiring_keeps_what_is_held)
{
    struct buf_pool pool = {0};
    struct buf buf = {0};
    buf_pool_resize(&pool, 64);
    ck_assert_int_eq(buf_acquire(&pool, &buf), 0);
    ck_assert_uint_eq(buf_room(&buf), 64);
    ck_assert_int_eq(buf_append(&buf, SLICE("hello")), 0);
    ck_assert_int_eq(buf_acquire(&pool, &buf), 0);
    buf_release_empty(&pool, &buf);
    expect(&buf, "hello");
    ck_assert_uint_eq(buf_room(&buf), 59);
    buf.start = buf.end;
    buf_release_empty(&pool, &buf);
    ck_assert_ptr_null(buf.data);
    pool_fini(&pool);
}
END_TEST

START_TEST(room_comes_back_when_the_front_is_consumed)
{
    struct buf_pool pool = {0};
    struct buf buf = {0};
    buf_pool_resize(&pool, 8);
    ck_assert_int_eq(buf_acquire(&pool, &buf), 0);
    ck_assert_int_eq(buf_append(&buf, SLICE("12345678")), 0);
    ck_assert_uint_eq(buf_room(&buf), 0);
    ck_assert_int_eq(buf_append(&buf, SLICE("")), 0);
    ck_assert_int_eq(buf_append(&buf, SLICE("9")), -ENOSPC);
    buf.start = 3;
    ck_assert_uint_eq(buf_room(&buf), 3); /* full at the end: moved */
    expect(&buf, "45678");
    ck_assert_int_eq(buf_append(&buf, SLICE("9a")), 0);
    expect(&buf, "456789a");
    buf.start = buf.end;
    ck_assert_uint_eq(buf_room(&buf), 8);
    buf_release(&pool, &buf);
    pool_fini(&pool);
}
END_TEST

/* Every fill, every part consumed, every length appended: all that fits goes in, in order. */
START_TEST(append_takes_all_that_fits)
{
    static const char text[] = "abcdefghijklmnop";
    enum { SIZE = 8 };
    struct buf_pool pool = {0};
    struct buf buf = {0};
    buf_pool_resize(&pool, SIZE);
    for (uint32_t filled = 0; filled <= SIZE; filled++) {
        for (uint32_t consumed = 0; consumed <= filled; consumed++) {
            for (uint32_t more = 0; more <= SIZE + 1; more++) {
                ck_assert_int_eq(buf_acquire(&pool, &buf), 0);
                ck_assert_int_eq(buf_append(&buf, (struct slice){text, filled}), 0);
                buf.start = consumed;
                bool fits = filled - consumed + more <= SIZE;
                ck_assert_int_eq(buf_append(&buf, (struct slice){text + filled, more}),
                                 fits ? 0 : -ENOSPC);
                uint32_t wanted = filled - consumed + (fits ? more : 0);
                ck_assert(slice_eq(buf_slice(&buf), (struct slice){text + consumed, wanted}));
                buf_release(&pool, &buf);
            }
        }
    }
    ck_assert_uint_eq(pool.free_count, 1); /* one buffer served all of it */
    pool_fini(&pool);
}
END_TEST

START_TEST(the_pool_keeps_a_bounded_number)
{
    struct buf_pool pool = {0};
    static struct buf bufs[BUF_POOL_MAX + 10];
    buf_pool_resize(&pool, 32);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        ck_assert_int_eq(buf_acquire(&pool, &bufs[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_release(&pool, &bufs[i]);
    ck_assert_uint_eq(pool.free_count, BUF_POOL_MAX);
    pool_fini(&pool);
}
END_TEST

START_TEST(a_reload_may_change_the_size_under_buffers_in_use)
{
    struct buf_pool pool = {0};
    struct buf old = {0};
    struct buf spare = {0};
    struct buf new = {0};
    buf_pool_resize(&pool, 16);
    ck_assert_int_eq(buf_acquire(&pool, &old), 0);
    ck_assert_int_eq(buf_acquire(&pool, &spare), 0);
    buf_release(&pool, &spare);
    buf_pool_resize(&pool, 16);
    ck_assert_uint_eq(pool.free_count, 1); /* nothing changed */
    buf_pool_resize(&pool, 64);
    ck_assert_uint_eq(pool.free_count, 0);
    ck_assert_uint_eq(buf_room(&old), 16);
    ck_assert_int_eq(buf_acquire(&pool, &new), 0);
    ck_assert_uint_eq(buf_room(&new), 64);
    buf_release(&pool, &old); /* of the old size: not kept */
    ck_assert_uint_eq(pool.free_count, 0);
    buf_release(&pool, &new);
    ck_assert_uint_eq(pool.free_count, 1);
    pool_fini(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tc = tcase_create("buf");
    tcase_add_test(tc, a_buffer_without_memory_is_empty_and_has_no_room);
#ifdef HAVE_LITTLE_MEMORY_TEST
    tcase_add_test(tc, without_memory_a_buffer_stays_without_room);
#endif
    tcase_add_test(tc, acquiring_keeps_what_is_held);
    tcase_add_test(tc, room_comes_back_when_the_front_is_consumed);
    tcase_add_test(tc, append_takes_all_that_fits);
    tcase_add_test(tc, the_pool_keeps_a_bounded_number);
    tcase_add_test(tc, a_reload_may_change_the_size_under_buffers_in_use);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
