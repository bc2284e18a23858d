/* SPDX-License-Identifier: Apache-2.0 */
/*
 * USR2: a new program for master, keepers and workers; recycle: the same program anew for keepers and
 * workers, after a library update. One slot after the other; PIDs of master and keepers stay. Master
 * only.
 */
#ifndef MASTER_UPGRADE_H
#define MASTER_UPGRADE_H

#include "master/master.h"

enum upgrade_kind { UPGRADE_RECYCLE, UPGRADE_PROGRAM };

/*
 * Begin. The program is tried first: it must start, accept the configuration and know the layouts that
 * are in use. Does not block. Refused while one is under way.
 */
void upgrade_ask(struct master *master, enum upgrade_kind kind);

/* This program was left for a new one that has failed as a master: the slots come back, too. */
void upgrade_go_back(struct master *master);

/* A child was reaped: perhaps it is the program on trial. Returns true if it was. */
bool upgrade_note_exit(struct master *master, int32_t pid, int status);

/*
 * One step further: the next slot when the one before serves again; slots that have changed go back
 * if one fails. When all have a new program, it rehearses being the master, then the master execs it,
 * too. Call it every turn. Returns true while something is under way.
 */
bool upgrade_step(struct master *master, uint64_t now_ms);

#endif
