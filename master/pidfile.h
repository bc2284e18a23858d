/* SPDX-License-Identifier: Apache-2.0 */
/* The PID file: one number and a newline, 0644, replaced as a whole. */
#ifndef MASTER_PIDFILE_H
#define MASTER_PIDFILE_H

#include "common/compiler.h"

#include <stdint.h>

/*
 * Write our PID. Returns 0, -EEXIST (it names another master that runs: *owner), or -errno.
 */
int pidfile_write(const char *path, int32_t *owner) MUST_CHECK;

/* Read the PID. Returns it, -ENOENT (no such file), -EINVAL (no PID in it) or -errno. */
int32_t pidfile_read(const char *path) MUST_CHECK;

/* Remove the file if it still holds our PID. */
void pidfile_remove(const char *path);

#endif
