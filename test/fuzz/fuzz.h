/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target is one function that aborts (ASSERT) when a property does not hold. Linked with
 * libFuzzer it is a fuzzer; linked with replay.c it replays its corpus and seeded mutations of it.
 */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include "common/compiler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A number that depends on the input only: where to cut it. At most `size`. */
static inline size_t fuzz_cut(const uint8_t *data, size_t size, uint64_t salt)
{
    uint64_t hash = 0xcbf29ce484222325u ^ salt * 0x9e3779b97f4a7c15u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return (size_t)((hash ^ hash >> 32) % (size + 1));
}

#endif
