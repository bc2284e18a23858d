/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time and waiting for a CPU, as the scheduler counts them, in nanoseconds. */
#ifndef TEST_BENCH_BENCH_CPU_H
#define TEST_BENCH_BENCH_CPU_H

#include <stdint.h>
#include <sys/types.h>

struct bench_cpu {
    uint64_t used_ns;
    uint64_t waited_ns; /* could have run, but another process did */
};

/* Sum over all threads of these processes; one that is gone counts 0. */
struct bench_cpu bench_cpu_of(const pid_t *pids, uint32_t count);

struct bench_cpu bench_cpu_minus(struct bench_cpu now, struct bench_cpu before);

#endif
