/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: one SO_REUSEPORT socket for each listener and worker slot. The master keeps a
 * copy of each, so they stay bound while workers crash. Master only.
 */
#ifndef MASTER_LISTEN_H
#define MASTER_LISTEN_H

#include "master/master.h"

#include <stdio.h>

/*
 * Bind what `conf` asks for with `workers` slots and is not bound yet; sockets that are open already
 * are taken over into *next, which is to be committed or given up. `patience_ms` > 0: wait so long
 * for an address that is in use, for a master that has just ended.
 * Every address that cannot be bound is printed to `errors`. Returns 0 or the first -errno; nothing
 * new is open then.
 */
struct listen_plan {
    const struct conf *conf;
    uint32_t workers;
    uint32_t patience_ms;
    FILE *errors;
};
int listen_prepare(const struct master *master, const struct listen_plan *plan,
                   struct master_listeners *next) MUST_CHECK;

/* *next is in force now; what is not in it leaves. Takes *next. */
void listen_commit(struct master *master, struct master_listeners *next);

/* Close what listen_prepare has bound, and free *next. */
void listen_give_up(struct master_listeners *next);

/*
 * While slots above the configured number still listen, give new connections to the ones that stay;
 * else to all. After the number of workers or a listener has changed, and when sockets were closed.
 */
void listen_steer(struct master *master);

/* True if this slot is to accept on this listener. */
bool listen_is_wanted(const struct master *master, const struct master_listener *listener,
                      uint32_t slot);

/*
 * Close sockets that no slot is to accept on any more, once the slot has let go of its copy or has
 * had SLOTS_PATIENCE_MS to do so. Call it every turn. Returns true if some are still to be closed.
 */
bool listen_close_unwanted(struct master *master, uint64_t now_ms);

/* Close everything. Nulls the set. */
void listen_close_all(struct master *master);

#endif
