/* SPDX-License-Identifier: Apache-2.0 */
/* Telling slots what they shall do: whole desired states over their control sockets. Master only. */
#ifndef MASTER_SLOTS_H
#define MASTER_SLOTS_H

#include "master/master.h"

/* How long one state may stay unapplied before others stop waiting for it. */
enum { SLOTS_PATIENCE_MS = 1000 };

/* Before anything else: nothing runs, every descriptor is -1. */
void slots_init(struct master *master);

/* The slot shall have this mode (and all else as the master has it now): a newer state to send. */
void slots_want(struct master *master, uint32_t slot, enum slot_mode mode);

/*
 * The slot has left the configuration: it drains once handshakes that are under way on its sockets
 * have had time to end. New ones are steered to other slots meanwhile.
 */
enum { SLOTS_HANDSHAKE_MS = 500 };
void slots_leave(struct master *master, uint32_t slot);

/* Drain the slots whose time has come. Every turn. Returns true if some still wait for it. */
bool slots_drain_due(struct master *master, uint64_t now_ms);

/* slots_want for every slot that runs. */
void slots_want_all(struct master *master, enum slot_mode mode);

/*
 * Every slot that runs is sent its state once more, its mode and plans as they are: something on the board
 * has changed that workers look at then.
 */
void slots_want_again(struct master *master);

/* The mode of a slot that is to run: RUN, or PAUSED after WINCH. */
enum slot_mode slots_mode(const struct master *master);

/*
 * Send what is unsent; send again what was lost with a worker that died before it applied it, or
 * was not applied for long. Never blocks. Call it every turn.
 */
void slots_tell(struct master *master, uint64_t now_ms);

/* True if the slot has applied its newest state, or does not run. */
bool slots_has_applied(const struct master *master, uint32_t slot);

/* True if every slot that runs has applied its newest state. */
bool slots_all_applied(const struct master *master);

/* True if no slot that runs uses a generation older than the published one. */
bool slots_follow(const struct master *master);

#endif
