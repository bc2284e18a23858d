/* SPDX-License-Identifier: Apache-2.0 */
/* After a crash, as opposed to a kill, the arena is evidence, not truth: check every record. */
#ifndef WORKER_VERIFY_H
#define WORKER_VERIFY_H

#include "worker/context.h"

/* True if records may be damaged: a signal that a process raises by a bug, or an unknown death. */
bool verify_is_crash(int signal);

/* True if what the worker was handling is to blame: not for an unknown death. */
bool verify_is_strike(int signal);

/*
 * A worker crashed while it handled this tunnel: one strike. With the second within STRIKE_DECAY_S
 * the tunnel is condemned: closed by RST, its bytes unread. Returns true if it was.
 */
enum { STRIKES_MAX = 2, STRIKE_DECAY_S = 60 };
bool verify_strike(struct worker *w, struct arena_tunnel *t);

/*
 * Check all records against their ranges, their sockets' cookies and the kernel's stream positions;
 * condemn those that do not hold. A descriptor whose cookie differs is somebody else's: its number is
 * dropped, not closed. Costs about 5 us a tunnel. Returns how many were condemned, or -errno.
 */
int verify_records(struct worker *w) MUST_CHECK;

/* The record is closed by RST, also by a successor. */
void verify_condemn(struct arena_tunnel *t, enum reason reason);

#endif
