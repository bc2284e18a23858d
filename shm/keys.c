/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "shm/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Without these somebody could change the keys behind the check. */
enum { SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK };

static int write_at(int fd, const void *p, size_t n, uint64_t at)
{
    ssize_t written;
    do {
        written = pwrite(fd, p, n, (off_t)at);
    } while (written < 0 && errno == EINTR);
    if (written < 0)
        return -errno;
    return (size_t)written == n ? 0 : -EIO;
}

static int write_all(int fd, const struct keys_header *header, size_t head_size,
                     const struct slice *secrets)
{
    int rc = write_at(fd, header, head_size, 0);
    for (uint32_t i = 0; rc == 0 && i < header->count; i++)
        rc = write_at(fd, secrets[i].p, secrets[i].n, header->entries[i].off);
    return rc;
}

int keys_create(const struct slice *secrets, uint32_t count, uint32_t generation, int *fd)
{
    *fd = -1;
    if (count > KEYS_MAX)
        return -E2BIG;
    size_t head_size = sizeof(struct keys_header) + count * sizeof(struct keys_entry);
    struct keys_header *header = calloc(1, head_size);
    if (!header)
        return -ENOMEM;
    *header = (struct keys_header){.magic = KEYS_MAGIC,
                                   .version = KEYS_VERSION,
                                   .generation = generation,
                                   .size = head_size,
                                   .count = count};
    for (uint32_t i = 0; i < count; i++) {
        header->entries[i] =
            (struct keys_entry){.off = (uint32_t)header->size, .len = (uint32_t)secrets[i].n};
        header->size += secrets[i].n;
    }
    int keys = header->size > UINT32_MAX
                   ? (errno = E2BIG, -1)
                   : memfd_create("holdfast-keys", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int rc = keys < 0 ? -errno : write_all(keys, header, head_size, secrets);
    if (rc == 0 && fcntl(keys, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
        rc = -errno;
    free(header);
    if (rc == 0)
        *fd = keys;
    else if (keys >= 0)
        close(keys);
    return rc;
}

static int check(const struct keys_header *header, uint64_t size)
{
    if (header->magic != KEYS_MAGIC)
        return -EPROTO;
    if (header->version != KEYS_VERSION)
        return -EPROTONOSUPPORT;
    uint64_t room = (size - sizeof(*header)) / sizeof(struct keys_entry);
    if (header->size != size || header->count > room)
        return -EBADMSG;
    uint64_t begin = sizeof(*header) + (uint64_t)header->count * sizeof(struct keys_entry);
    for (uint32_t i = 0; i < header->count; i++) {
        const struct keys_entry *entry = &header->entries[i];
        if (entry->off < begin || entry->off > size || entry->len > size - entry->off)
            return -EBADMSG;
    }
    return 0;
}

int keys_open(struct keys *keys, int fd)
{
    struct stat st;
    *keys = (struct keys){NULL, 0};
    if (fstat(fd, &st) < 0)
        return -errno;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || st.st_size < (off_t)sizeof(struct keys_header))
        return -EPROTO;
    size_t size = (size_t)st.st_size;
    /* Private: older kernels refuse a shared mapping of a descriptor that is sealed and writable. */
    void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    int rc = madvise(at, size, MADV_DONTDUMP) < 0 ? -errno : check(at, size);
    if (rc < 0)
        munmap(at, size);
    else
        *keys = (struct keys){at, size};
    return rc;
}

void keys_close(struct keys *keys)
{
    if (keys->header)
        munmap((void *)(uintptr_t)keys->header, (size_t)keys->size);
    *keys = (struct keys){NULL, 0};
}

struct slice keys_get(const struct keys *keys, uint32_t index)
{
    if (!keys->header || index >= keys->header->count)
        return (struct slice){NULL, 0};
    const struct keys_entry *entry = &keys->header->entries[index];
    return (struct slice){(const char *)keys->header + entry->off, entry->len};
}

/* Those that are wanted, of the first `count`; the others become empty. */
static int copy(const struct keys *keys, const bool *wanted, uint32_t count, uint32_t generation,
                int *fd)
{
    uint32_t all = keys->header->count;
    struct slice *secrets = calloc((size_t)all + 1, sizeof *secrets);
    for (uint32_t i = 0; secrets && i < all && i < count; i++) {
        if (!wanted || wanted[i])
            secrets[i] = keys_get(keys, i);
    }
    int rc = secrets ? keys_create(secrets, all, generation, fd) : -ENOMEM;
    free(secrets); /* they point to keys, and hold none */
    return rc;
}

int keys_renew(int from, uint32_t generation, int *fd)
{
    struct keys keys;
    *fd = -1;
    int rc = keys_open(&keys, from);
    if (rc == 0)
        rc = copy(&keys, NULL, UINT32_MAX, generation, fd);
    keys_close(&keys);
    return rc;
}

int keys_select(int from, const bool *wanted, uint32_t count, int *fd)
{
    struct keys keys;
    *fd = -1;
    int rc = keys_open(&keys, from);
    if (rc == 0)
        rc = copy(&keys, wanted, count, keys.header->generation, fd);
    keys_close(&keys);
    return rc;
}
