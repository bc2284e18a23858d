/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol COUNT where what is sent is made of what was read: a side of the tunnel is TLS, or its
 * frames are looked at (worker/guard.h). What a step makes of the bytes it has read is a function of
 * the journal (arena_op, vault_op) and of these bytes: a successor goes back to the state before, makes
 * the same output again, byte by byte, and asks the kernel how much of it has left.
 * So no nonce ever meets other bytes, and there is one recv and one send a message, as in the clear.
 */
#ifndef WORKER_RELAY_MADE_H
#define WORKER_RELAY_MADE_H

#include "worker/relay_step.h"

/* One recv and one send of a direction. As relay_run; nothing is pending in it. */
enum relay_result relay_made_once(struct worker *w, uint32_t tunnel, uint32_t d,
                                  enum reason *reason);

/*
 * The last word in a direction whose source has ended: close_notify. True if FIN may follow: it was
 * taken, was said before, or the destination is plain. False: it waits for room.
 */
bool relay_made_say_end(struct worker *w, uint32_t tunnel, uint32_t d);

/*
 * Adoption: do the step in flight again, in which `consumed` bytes were read from the source and `sent`
 * were written to the destination. Returns 0; -ERANGE, -EBADMSG (what is there cannot have come from
 * a step) or -EPROTO (the peer broke TLS): condemn the tunnel. Idempotent: it may be killed and run
 * again.
 */
int relay_made_resolve(struct worker *w, uint32_t tunnel, uint32_t d, uint32_t consumed,
                       uint32_t sent) MUST_CHECK;

#endif
