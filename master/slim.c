/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/slim.h"

#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- text and constants ---- */

static int drop_segments(struct dl_phdr_info *info, size_t size, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    (void)context;
    /* Backwards: the table that we read stands in the first segment, and would bring it back. */
    for (int i = info->dlpi_phnum - 1; i >= 0; i--) {
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

/* ---- relocations ---- */

struct relro {
    int fd; /* the copies, one behind the other */
    off_t end;
    bool place; /* second pass: all copies are made and sealed */
    int error;
};

/* Past the library's write: a sanitizer forbids it the gaps between the variables of a page. */
static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = syscall(SYS_write, fd, bytes + done, size - done);
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

static int move_relro(struct dl_phdr_info *info, size_t size, void *context)
{
    struct relro *relro = context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_GNU_RELRO)
            continue;
        /* Whole pages only, rounded as the loader does: those it has made read-only. */
        uintptr_t first = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
        if (first >= end)
            continue;
        if (!relro->place)
            relro->error = write_all(relro->fd, (const uint8_t *)first, end - first);
        else if (mmap((void *)first, end - first, PROT_READ, MAP_PRIVATE | MAP_FIXED, relro->fd,
                      relro->end) == MAP_FAILED)
            relro->error = -errno;
        relro->end += (off_t)(end - first);
        if (relro->error)
            return 1;
    }
    return 0;
}

void slim_share_relocations(void)
{
    struct relro relro = {.fd = memfd_create("holdfast-relro", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (relro.fd < 0)
        relro.error = -errno;
    else
        (void)dl_iterate_phdr(move_relro, &relro);
    if (!relro.error &&
        fcntl(relro.fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        relro.error = -errno;
    if (!relro.error) {
        relro.place = true;
        relro.end = 0;
        (void)dl_iterate_phdr(move_relro, &relro);
    }
    if (relro.fd >= 0)
        close(relro.fd);
    if (relro.error)
        log_write(LOG_LEVEL_WARN, "not_slim", "error=\"%s\"", strerror(-relro.error));
}
