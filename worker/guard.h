/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of our own in a tunnel, and limits of those of its ends: pings that find out who is gone, the
 * Close frames by which a tunnel is ended, what RFC 6455 and the route's limits forbid. State stands in
 * shm/arena_guard.h; what holds, in shm/arena_rules.h. A tunnel that needs none of it pays one bit that
 * is looked at with its message (CARE_WALK).
 */
#ifndef WORKER_GUARD_H
#define WORKER_GUARD_H

#include "common/ws_walk.h"
#include "worker/context.h"

/* ---- in a step of worker/relay_made.c, in flight: what a successor does again ---- */

/* Journal, before the step; back to it. */
void guard_save(struct worker *w, uint32_t tunnel);
void guard_restore(struct worker *w, uint32_t tunnel);

/* One walk over content of a direction. */
struct guard_walk {
    uint32_t d;
    uint32_t now_ms;   /* of the journal: it must be the same when it is done again */
    const uint8_t *in; /* content, `n` bytes; borrowed */
    uint32_t n;
    bool counts_out; /* the direction's bytes are counted where they go out */
    bool again;      /* by a successor: no time is taken, nothing is shown */
    uint32_t out;    /* result: bytes of output */
    uint32_t heard;  /* of the content, how much is more than an answer to us */
};

/* Takes in content, puts what is passed on, and our own frames, into `to` (n + WS_WALK_EXTRA bytes). */
void guard_walk(struct worker *w, uint32_t tunnel, struct guard_walk *walk, uint8_t *to);

/* ---- between steps ---- */

/* Is there anything that goes to the destination of a direction now, without reading its source? */
bool guard_has_words(const struct worker *w, uint32_t tunnel, uint32_t d);

/* Is the source over its rates, and nothing to be read from it for a while? */
bool guard_is_paused(const struct worker *w, uint32_t tunnel, uint32_t d);

/* The source has ended. True if something goes out first: then run the direction again. */
bool guard_source_ended(struct worker *w, uint32_t tunnel, uint32_t d);

/*
 * After a step: what follows from what it found. True if the tunnel is to be closed in order now, for
 * *reason.
 */
bool guard_advance(struct worker *w, uint32_t tunnel, enum reason *reason);

/* Milliseconds until guard_due has something to do; 0: now; UINT32_MAX: never. */
uint32_t guard_left(const struct worker *w, uint32_t tunnel);

/* Its time has come: ping, give up on a peer, go on with a close. False: the tunnel is gone. */
bool guard_due(struct worker *w, uint32_t tunnel);

/*
 * End a tunnel by the closing handshake (RFC 6455 7) as its rules say; by FIN where that is not
 * possible. The tunnel may be gone when this returns.
 */
void guard_close(struct worker *w, uint32_t tunnel, enum reason reason);

/* ---- a tunnel's life ---- */

/* Its record is filled, OP_OPEN names it. */
void guard_open(struct worker *w, uint32_t tunnel);

/* Is a close of ours under way? */
bool guard_is_closing(const struct worker *w, uint32_t tunnel);

/* Why it ended, if a close of ours was under way; else `reason`. */
enum reason guard_reason(const struct worker *w, uint32_t tunnel, enum reason reason);

/* Does it count as closing on the board? */
bool guard_is_counted(const struct worker *w, uint32_t tunnel);

/* It is closed: it counts no longer as closing. For a close that is done again, too. */
void guard_forget(struct worker *w, uint32_t tunnel);

/* Bytes that a direction's destination got and its source did not send, mod 2^32. */
uint32_t guard_extra(const struct worker *w, uint32_t tunnel, uint32_t d);

/*
 * Adoption: what a dead worker has begun of a close whose phase had not begun is forgotten. Whoever wanted
 * it is due at once again, and finds a guard as before.
 */
void guard_begin_anew(struct worker *w, uint32_t tunnel);

/* Its rules have changed, or a successor takes it over: what follows from them. */
void guard_look_after(struct worker *w, uint32_t tunnel);

/* After a crash: may what stands beside the record be believed? */
bool guard_holds(const struct worker *w, uint32_t tunnel);

#endif
