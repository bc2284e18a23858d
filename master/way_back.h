/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new program has become the master by exec: there is no other process that could bring the old one
 * back. So until the new one serves, it carries the way back with it: should it fail in order, crash or
 * hang, it execs the program before, with the handover that it was given itself. Master only; state is
 * of the process, for a signal handler has no other.
 */
#ifndef MASTER_WAY_BACK_H
#define MASTER_WAY_BACK_H

#include "common/compiler.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * From here on a crash signal, or WAY_BACK_S without way_back_close(), execs `program` with
 * `--master HANDOVER`, after it has written a 1 (uint32_t) at `mark` of that file, which says so.
 * Takes both descriptors; they must not be close-on-exec.
 */
void way_back_open(int program, int handover, off_t mark);

bool way_back_is_open(void);

/*
 * A descriptor of the handover that the new program may give up before it serves: returns a copy for
 * it to use, close-on-exec, and keeps `fd` open until way_back_close(). `fd` itself when there is no way
 * back or no copy.
 */
int way_back_keep(int fd);

/* Go now. Returns only if there is no way back, or none that could be gone. */
void way_back_go(void);

/* The new program serves, or this is a child of it: forget it, signals are as before. */
void way_back_close(void);

#endif
