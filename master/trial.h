/* SPDX-License-Identifier: Apache-2.0 */
/* Trying a new program before anything is given to it. */
#ifndef MASTER_TRIAL_H
#define MASTER_TRIAL_H

#include "common/compiler.h"

/*
 * Run `program --fits LAYOUTS -c conf_path`: it must start, know the layouts of board and arena that
 * are in use, and accept the configuration. What it says goes to standard error. Master only; blocks
 * at most TRIAL_MS. Returns 0, -ENOEXEC (it said no, crashed or hung) or -errno.
 */
int trial_run(const char *program, const char *conf_path) MUST_CHECK;

/*
 * The other side: can this program take over from one with those layouts ("BOARD.ARENA.IMAGE")? Says on
 * standard error why not. Returns 0, -EINVAL or -EPROTONOSUPPORT.
 */
int trial_fits(const char *layouts) MUST_CHECK;

#endif
