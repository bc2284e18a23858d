/* SPDX-License-Identifier: Apache-2.0 */
/* Trying a new program before anything is given to it. */
#ifndef MASTER_TRIAL_H
#define MASTER_TRIAL_H

#include "common/compiler.h"

/*
 * Run `program --fits LAYOUTS -c conf_path`: it must start, know the layouts of board, arena and image
 * that are in use, and accept the configuration. What it says goes to standard error. Master only; does
 * not block. Returns its PID or -errno; whoever reaps it learns by its exit status, 0 or not.
 */
int trial_begin(const char *program, const char *conf_path) MUST_CHECK;

/* It takes too long: kill it and all that it has started. It has still to be reaped. */
void trial_kill(int pid);

/* In a child of the master, before it execs what is tried: signals as a program expects them. */
void trial_be_child(void);

/*
 * The other side: can this program take over from one with those layouts ("BOARD.ARENA.IMAGE")? Says on
 * standard error why not. Returns 0, -EINVAL or -EPROTONOSUPPORT.
 */
int trial_fits(const char *layouts) MUST_CHECK;

#endif
