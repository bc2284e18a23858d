/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program takes over a slot whose arena has the layout before its own: the arena is copied into a
 * new one. Keeper only, while the worker of the old program is parked. Whatever stands in the old
 * arena is checked before it is believed: its writer may have died of a wild store.
 */
#ifndef SHM_ARENA_MIGRATE_H
#define SHM_ARENA_MIGRATE_H

#include "common/compiler.h"
#include "shm/arena.h"

/* A mapped arena of an older layout, and the words by which its parked worker is committed. */
struct arena_old {
    void *base; /* NULL: none */
    size_t size;
    uint32_t version;
    uint32_t *command; /* as in struct arena_header, inside the mapping */
    uint32_t *parked;
};

/*
 * Map an arena that arena_attach has refused for its version. Changes nothing in it; the descriptor
 * stays the caller's. old->version is set whenever the magic was right. Returns 0, -EPROTO (not an
 * arena), -EPROTONOSUPPORT (a layout that cannot be read) or -errno.
 */
int arena_migrate_open(struct arena_old *old, int fd) MUST_CHECK;

/* Unmap; accepts what arena_migrate_open has refused. */
void arena_migrate_close(struct arena_old *old);

/*
 * Make an arena of the current layout from `old_size` mapped bytes of an older one, whose worker is
 * parked: no step in flight, all events handled. Reads `old` only, and of its records the first
 * `records` (board_slot.tunnels_high: reading what was never used would give memory to it). The new one holds the records with
 * their numbers and generations, pending bytes (in other chunks), listeners, mode and sequence
 * numbers; no command and nobody parked. On 0 the caller owns *fd and the mapping in `out`.
 * Returns 0, -EPROTONOSUPPORT (version), -EBUSY (the worker was not at a safe point), -EBADMSG (an
 * index, a range or a layout that cannot be), -ENOSPC (more different timeouts than there are places
 * for rules: the worker takes back, and goes on with them) or -errno; then *fd is -1 and nothing is
 * left behind.
 */
int arena_migrate(const void *old, size_t old_size, uint32_t records, struct arena *out,
                  int *fd) MUST_CHECK;

#endif
