/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/vault.h"

#include "shm/memfd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDES_MAX = 1 << 26, PAGE = 4096 };

static uint64_t page_align(uint64_t bytes)
{
    return (bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/* Sparse: an entry costs memory when a tunnel uses it. One place, so that making and checking agree. */
static void lay_out(struct vault_header *header, uint32_t sides_max)
{
    uint64_t array = page_align((uint64_t)sides_max * sizeof(struct vault_side));
    header->sides_max = sides_max;
    header->sides_off[0] = page_align(sizeof *header);
    header->sides_off[1] = header->sides_off[0] + array;
    header->size = header->sides_off[1] + array;
}

int vault_create(uint32_t slot, uint32_t sides_max, int *fd)
{
    struct vault_header plan = {0};
    *fd = -1;
    if (sides_max == 0 || sides_max > SIDES_MAX)
        return -EINVAL;
    lay_out(&plan, sides_max);
    int memfd = memfd_make("holdfast-vault", plan.size);
    if (memfd < 0)
        return memfd;
    plan.magic = VAULT_MAGIC;
    plan.version = VAULT_VERSION;
    plan.slot = slot;
    ssize_t n = pwrite(memfd, &plan, sizeof plan, 0);
    if (n != (ssize_t)sizeof plan) {
        int error = n < 0 ? -errno : -EIO;
        close(memfd);
        return error;
    }
    *fd = memfd;
    return 0;
}

static int check_header(const struct vault_header *header, uint64_t size)
{
    struct vault_header plan = {0};
    if (header->magic != VAULT_MAGIC)
        return -EPROTO;
    if (header->version != VAULT_VERSION)
        return -EPROTONOSUPPORT;
    if (header->sides_max == 0 || header->sides_max > SIDES_MAX)
        return -EPROTO;
    lay_out(&plan, header->sides_max);
    bool fits = plan.size == size && plan.size == header->size &&
                plan.sides_off[0] == header->sides_off[0] &&
                plan.sides_off[1] == header->sides_off[1];
    return fits ? 0 : -EPROTO;
}

int vault_attach(struct vault *vault, int fd)
{
    struct stat st;
    *vault = (struct vault){0};
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct vault_header))
        return -EPROTO;
    uint64_t size = (uint64_t)st.st_size;
    struct vault_header *header = memfd_map(fd, size);
    if (!header)
        return -errno;
    int error = check_header(header, size);
    if (error) {
        munmap(header, size);
        return error;
    }
    vault->header = header;
    for (uint32_t side = 0; side < 2; side++)
        vault->sides[side] = (struct vault_side *)((uint8_t *)header + header->sides_off[side]);
    return 0;
}

int vault_look(int fd)
{
    struct vault vault;
    int rc = vault_attach(&vault, fd);
    if (rc == 0)
        munmap(vault.header, vault.header->size);
    return rc;
}

/* Not a digest: it meets accidents, not enemies. A multiplication a word, none waits for another. */
uint32_t vault_check(const struct tls_session *session)
{
    uint64_t words[sizeof *session / sizeof(uint64_t)];
    uint64_t sum = 0;
    memcpy(words, session, sizeof words);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        sum += words[i] * (0x9e3779b97f4a7c15ull * (2 * i + 1) | 1);
    return (uint32_t)(sum >> 32) ^ (uint32_t)sum;
}
