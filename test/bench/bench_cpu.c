/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_cpu.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

static struct bench_cpu cpu_of_thread(pid_t pid, const char *thread)
{
    char path[320];
    struct bench_cpu cpu = {0, 0};
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)pid, thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return cpu;
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &cpu.used_ns, &cpu.waited_ns) != 2)
        cpu = (struct bench_cpu){0, 0};
    fclose(file);
    return cpu;
}

static struct bench_cpu cpu_of_process(pid_t pid)
{
    char path[64];
    struct bench_cpu sum = {0, 0};
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (!threads)
        return sum;
    for (struct dirent *entry = readdir(threads); entry; entry = readdir(threads)) {
        if (entry->d_name[0] == '.')
            continue;
        struct bench_cpu one = cpu_of_thread(pid, entry->d_name);
        sum.used_ns += one.used_ns;
        sum.waited_ns += one.waited_ns;
    }
    closedir(threads);
    return sum;
}

struct bench_cpu bench_cpu_of(const pid_t *pids, uint32_t count)
{
    struct bench_cpu sum = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        struct bench_cpu one = cpu_of_process(pids[i]);
        sum.used_ns += one.used_ns;
        sum.waited_ns += one.waited_ns;
    }
    return sum;
}

struct bench_cpu bench_cpu_minus(struct bench_cpu now, struct bench_cpu before)
{
    return (struct bench_cpu){now.used_ns - before.used_ns, now.waited_ns - before.waited_ns};
}
