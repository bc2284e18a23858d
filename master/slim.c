/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/slim.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int drop_segments(struct dl_phdr_info *info, size_t size, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        /* Writable ones hold relocations and data: they would come back as the file has them. */
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W)
            continue;
        uintptr_t first = info->dlpi_addr + segment->p_vaddr;
        uintptr_t end = first + segment->p_memsz;
        first &= ~(page - 1);
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
    }
    return 0;
}

void slim_drop_text(void)
{
    (void)dl_iterate_phdr(drop_segments, NULL);
}
