/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/guard.h"

#include "worker/tunnel.h"

void guard_close(struct worker *w, uint32_t tunnel, enum reason reason)
{
    tunnel_close(w, tunnel, reason, false);
}
