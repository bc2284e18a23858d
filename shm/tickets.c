/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "shm/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_TRIES = 8 };

static int map(struct tickets *tickets, int fd, int protection)
{
    void *at = mmap(NULL, sizeof(struct tickets_header), protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    /* A mapping that can write is the master's alone: no keeper and so no worker inherits it. */
    if (madvise(at, sizeof(struct tickets_header), MADV_DONTDUMP) < 0 ||
        (protection & PROT_WRITE &&
         madvise(at, sizeof(struct tickets_header), MADV_DONTFORK) < 0)) {
        int rc = -errno;
        munmap(at, sizeof(struct tickets_header));
        return rc;
    }
    tickets->header = at;
    return 0;
}

int tickets_create(struct tickets *tickets, int *fd)
{
    *tickets = (struct tickets){NULL};
    *fd = memfd_create("holdfast-tickets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return -errno;
    /* The mode keeps a worker from opening its descriptor again for writing, through /proc. */
    int rc = fchmod(*fd, 0600) < 0 || ftruncate(*fd, sizeof(struct tickets_header)) < 0 ||
                     fcntl(*fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0
                 ? -errno
                 : map(tickets, *fd, PROT_READ | PROT_WRITE);
    if (rc < 0) {
        close(*fd);
        *fd = -1;
        return rc;
    }
    tickets->header->version = TICKETS_VERSION;
    STORE_RELEASE(&tickets->header->magic, TICKETS_MAGIC);
    return 0;
}

int tickets_share(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int shared = open(path, O_RDONLY | O_CLOEXEC);
    return shared < 0 ? -errno : shared;
}

static int open_with(struct tickets *tickets, int fd, int protection)
{
    struct stat st;
    *tickets = (struct tickets){NULL};
    if (fstat(fd, &st) < 0)
        return -errno;
    /* Somebody who could shrink it would kill its readers. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || st.st_size != (off_t)sizeof(struct tickets_header))
        return -EPROTO;
    int rc = map(tickets, fd, protection);
    if (rc < 0)
        return rc;
    if (LOAD_ACQUIRE(&tickets->header->magic) != TICKETS_MAGIC)
        rc = -EPROTO;
    else if (tickets->header->version != TICKETS_VERSION)
        rc = -EPROTONOSUPPORT;
    if (rc < 0)
        tickets_close(tickets);
    return rc;
}

int tickets_resume(struct tickets *tickets, int fd)
{
    return open_with(tickets, fd, PROT_READ | PROT_WRITE);
}

int tickets_open(struct tickets *tickets, int fd)
{
    return open_with(tickets, fd, PROT_READ);
}

void tickets_close(struct tickets *tickets)
{
    if (tickets->header)
        munmap(tickets->header, sizeof *tickets->header);
    *tickets = (struct tickets){NULL};
}

void tickets_publish(const struct tickets *tickets, const struct ticket_set *set, uint64_t now_ms)
{
    struct tickets_header *header = tickets->header;
    uint32_t serial = header->serial + 1;
    if (serial == 0)
        serial = 2; /* 0 means none; the parity tells the set */
    /* Death here: nobody looks at this set yet. */
    header->sets[serial & 1] = *set;
    STORE_RELEASE(&header->serial, serial);
    STORE_RELAXED(&header->changed_ms, now_ms);
}

void tickets_read(const struct tickets *tickets, struct ticket_set *out)
{
    for (int tries = 0; tickets->header && tries < READ_TRIES; tries++) {
        uint32_t serial = LOAD_ACQUIRE(&tickets->header->serial);
        if (serial == 0)
            break;
        *out = tickets->header->sets[serial & 1];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (LOAD_RELAXED(&tickets->header->serial) == serial && out->count <= TICKETS_KEYS_MAX)
            return;
    }
    *out = (struct ticket_set){.count = 0};
}
