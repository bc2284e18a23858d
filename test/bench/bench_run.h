/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of bench-load. */
#ifndef TEST_BENCH_BENCH_RUN_H
#define TEST_BENCH_BENCH_RUN_H

#include "test/bench/bench_load.h"

/* Run through all phases. Returns 0 or -errno of what could not even begin. */
int bench_run(struct bench_load *load) MUST_CHECK;

#endif
