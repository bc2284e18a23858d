/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of our own in a tunnel: pings that find out who is gone, and the Close frames by which a
 * tunnel ends. State in shm/arena_guard.h.
 */
#ifndef WORKER_GUARD_H
#define WORKER_GUARD_H

#include "worker/context.h"

/*
 * End a tunnel by the closing handshake (RFC 6455 7) as its rules say; by FIN where that is not
 * possible. The tunnel may be gone when this returns.
 */
void guard_close(struct worker *w, uint32_t tunnel, enum reason reason);

#endif
