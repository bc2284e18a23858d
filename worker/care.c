/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/care.h"

#include "shm/board_reserve.h"

struct board_care *care_of(struct worker *w, uint32_t tunnel)
{
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    struct board_care *care = board_care(w->board, w->slot, tunnel);
    if (!care || pub->flags & TUNNEL_HAS_CARE)
        return care;
    int rc = board_reserve_care(w->board, FD_BOARD, w->slot, tunnel);
    if (rc < 0) {
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "board_full", "tunnel=%u error=%d", tunnel,
                    -rc);
        return NULL;
    }
    /* What an earlier tunnel has left there. Death before the flag: it is zeroed again. */
    *care = (struct board_care){0};
    __atomic_thread_fence(__ATOMIC_RELEASE);
    STORE_RELAXED(&pub->flags, (uint8_t)(pub->flags | TUNNEL_HAS_CARE));
    return care;
}
