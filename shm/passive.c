/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/passive.h"

/* Failures in the top 16 bits, milliseconds in the others: enough for 8,900 years of uptime. */
enum { MS_BITS = 48, FAILS_MAX = UINT16_MAX };
#define MS_MASK ((UINT64_C(1) << MS_BITS) - 1)

static uint64_t word_of(uint32_t fails, uint64_t at_ms)
{
    return (uint64_t)fails << MS_BITS | (at_ms & MS_MASK);
}

static uint32_t fails_of(uint64_t word)
{
    return (uint32_t)(word >> MS_BITS);
}

/* Has the time since the word's passed? Another worker's clock may be ahead of the caller's: no. */
static bool is_over(uint64_t word, struct passive_limits limits, uint64_t now_ms)
{
    uint64_t at_ms = word & MS_MASK;
    return now_ms > at_ms && now_ms - at_ms > limits.fail_timeout_ms;
}

static bool is_out(uint64_t word, struct passive_limits limits)
{
    return limits.max_fails > 0 && fails_of(word) >= limits.max_fails;
}

/* On false *word is what stands there now. */
static bool replace(struct board_backend *backend, uint64_t *word, uint64_t with)
{
    return __atomic_compare_exchange_n(&backend->passive, word, with, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

enum passive_state passive_state(const struct board_backend *backend, struct passive_limits limits,
                                 uint64_t now_ms)
{
    uint64_t word = LOAD_RELAXED(&backend->passive);
    if (!is_out(word, limits))
        return PASSIVE_IN;
    return is_over(word, limits, now_ms) ? PASSIVE_PROBE : PASSIVE_OUT;
}

uint32_t passive_fails(const struct board_backend *backend)
{
    return fails_of(LOAD_RELAXED(&backend->passive));
}

bool passive_probe(struct board_backend *backend, struct passive_limits limits, uint64_t now_ms)
{
    uint64_t word = LOAD_RELAXED(&backend->passive);
    /* Once is enough: if the word changed, somebody else has the probe, or it is not needed. */
    return is_out(word, limits) && is_over(word, limits, now_ms) &&
           replace(backend, &word, word_of(fails_of(word), now_ms));
}

bool passive_failed(struct board_backend *backend, struct passive_limits limits, uint64_t now_ms)
{
    uint64_t word = LOAD_RELAXED(&backend->passive);
    uint32_t fails;
    do {
        bool apart = !is_out(word, limits) && is_over(word, limits, now_ms);
        fails = apart ? 0 : fails_of(word);
        fails += fails < FAILS_MAX;
    } while (!replace(backend, &word, word_of(fails, now_ms)));
    return is_out(word_of(fails, now_ms), limits) && !is_out(word, limits);
}

bool passive_answered(struct board_backend *backend, struct passive_limits limits)
{
    uint64_t word = LOAD_RELAXED(&backend->passive);
    while (word != 0 && !replace(backend, &word, 0))
        ;
    return is_out(word, limits);
}
