/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/memory.h"

#include "common/compiler.h"

#include <malloc.h>
#include <stddef.h>
#include <stdio.h>

/* jemalloc's, where the program is linked with it; a sanitizer brings an allocator of its own. */
int mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len)
    __attribute__((weak));

enum { ALL_ARENAS = 4096 }; /* MALLCTL_ARENAS_ALL of jemalloc 5 */

void memory_give_back(void)
{
    char name[32];
    if (!mallctl) {
        malloc_trim(0);
        return;
    }
    /* What this thread has freed stands in its cache first. */
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    snprintf(name, sizeof name, "arena.%d.purge", ALL_ARENAS);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}
