/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler gives us beyond C11: annotations, fences and ASSERT. */
#ifndef COMMON_COMPILER_H
#define COMMON_COMPILER_H

#include <stddef.h>
#include <stdint.h>

/* The caller must look at the result. */
#define MUST_CHECK        __attribute__((warn_unused_result))
#define NORETURN          __attribute__((noreturn))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ALIGNED(n)        __attribute__((aligned(n)))
#define LIKELY(x)         __builtin_expect(!!(x), 1)
#define UNLIKELY(x)       __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))
#define CACHE_LINE        64

/*
 * A compiler fence: stores before it stay before it in program order. Enough
 * for the arena, because a killed process leaves behind a prefix of its
 * program order: all stores are visible to whoever maps the memory next.
 */
#define COMMIT_FENCE() __asm__ volatile("" ::: "memory")

/* Publish to and read from other processes. */
#define STORE_RELEASE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define STORE_RELAXED(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define LOAD_RELAXED(p)     __atomic_load_n((p), __ATOMIC_RELAXED)

/*
 * Our own bug, never a peer's: compiled in always. Writes its last words
 * (assert_set_last_words tells where to) and aborts; the keeper respawns.
 */
#define ASSERT(c)                                                                                  \
    do {                                                                                           \
        if (UNLIKELY(!(c)))                                                                        \
            assert_failed(#c, __FILE__, __LINE__, __func__);                                       \
    } while (0)

NORETURN void assert_failed(const char *cond, const char *file, int line, const char *func);

/*
 * Where the last words go beside standard error: `size` bytes at `at`, usually
 * in this process's slot of the board. NULL turns it off. Borrows `at` for good.
 */
void assert_set_last_words(char *at, size_t size);

#endif
