/* SPDX-License-Identifier: Apache-2.0 */
/* Anonymous memory behind a descriptor, that processes share. */
#ifndef SHM_MEMFD_H
#define SHM_MEMFD_H

#include "common/compiler.h"

#include <stdint.h>

/*
 * A memfd of `size` bytes, zeroed, close-on-exec, sealed against resizing: nobody can cut it under a
 * reader, who would die of SIGBUS. Returns the descriptor or -errno.
 */
int memfd_make(const char *name, uint64_t size) MUST_CHECK;

/* Map it shared and writable, kept out of core dumps. Returns NULL with errno set. */
void *memfd_map(int fd, uint64_t size);

#endif
