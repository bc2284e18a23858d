/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is that PID what the board says it is? PIDs on the board are gossip: nothing is believed about a
 * process, and nothing is killed, before /proc has confirmed its name and that it descends from us.
 */
#ifndef MASTER_PROCESS_H
#define MASTER_PROCESS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

#define PROCESS_MASTER  "holdfast"
#define PROCESS_KEEPER  "hf-keeper"
#define PROCESS_WORKER  "hf-worker"
#define PROCESS_CHECKER "hf-checker"

/* True if `pid` runs (no zombie) and is called `name`. Reads /proc. */
bool process_is_named(int32_t pid, const char *name);

/* The same, and it is a descendant of the calling process. */
bool process_is_ours(int32_t pid, const char *name);

/* True if `pid` is a child of the calling process that has not ended. */
bool process_is_child(int32_t pid);

/*
 * Send a signal to a process that process_is_ours confirms; a PID that was recycled between check
 * and signal is not hit. Returns 0, -ESRCH (not ours or gone) or -errno.
 */
int process_signal(int32_t pid, const char *name, int signal);

/* SIGKILL for every keeper, worker and checker that descends from the calling process. Walks /proc. */
void process_kill_all(void);

/* The calling process's name in ps and /proc; 15 bytes at most. */
void process_set_name(const char *name);

#endif
