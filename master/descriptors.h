/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor table of a slot: fixed numbers below FD_DYNAMIC (shm/arena.h), free above. */
#ifndef MASTER_DESCRIPTORS_H
#define MASTER_DESCRIPTORS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Keeper, before its first clone: put the slot's end of the control socket and the error log where
 * they belong, fill every other number from 3 to FD_DYNAMIC - 1 with /dev/null, close the rest, and
 * grow the table to `limit` descriptors: growing a table that is shared stalls for milliseconds.
 * Standard input and output become /dev/null, with `detached` standard error, too.
 * Takes everything that is open. Returns 0 or -errno.
 */
int descriptors_arrange(int control, int error_log, bool detached, uint64_t limit) MUST_CHECK;

/* Keeper, while nobody shares its table: make room for `limit` descriptors. Returns 0 or -errno. */
int descriptors_grow(uint64_t limit) MUST_CHECK;

/* Move `fd` to a fixed number, closing what stood there. Returns 0 or -errno (fd is closed, too). */
int descriptors_place(int fd, int number) MUST_CHECK;

/*
 * Put a pidfd of `pid` at a fixed number below FD_DYNAMIC, even when no other number is free: the
 * number given up is the lowest free one. Nobody else may open descriptors meanwhile.
 * Returns 0 or -errno; then the number holds /dev/null again.
 */
int descriptors_place_pidfd(int32_t pid, int number) MUST_CHECK;

#endif
