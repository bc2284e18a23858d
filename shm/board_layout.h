/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the areas of the board stand. Only shm/board*.c and the board's tests include this. All areas
 * but the last two have a fixed place in one layout version; only what there is for each tunnel depends
 * on the shape. So nobody has to trust an offset that he reads from the segment.
 */
#ifndef SHM_BOARD_LAYOUT_H
#define SHM_BOARD_LAYOUT_H

#include "shm/board.h"
#include "shm/board_gauge.h"
#include "shm/board_pace.h"

/* More could not be numbered in an arena op record, and would need 64 times this many bytes. */
enum { BOARD_LAYOUT_TUNNELS_MAX = 1 << 22 };

#define BOARD_LAYOUT_PAGE(n) (((uint64_t)(n) + 4095u) & ~(uint64_t)4095u)

/* Each area begins on a page of its own: untouched areas cost no memory. */
#define BOARD_SLOTS_OFF BOARD_LAYOUT_PAGE(BOARD_HEADER_SIZE)
#define BOARD_BACKENDS_OFF                                                                         \
    (BOARD_SLOTS_OFF + BOARD_LAYOUT_PAGE(BOARD_SLOTS_MAX * sizeof(struct board_slot)))
#define BOARD_CELLS_OFF                                                                            \
    (BOARD_BACKENDS_OFF + BOARD_LAYOUT_PAGE(BOARD_BACKENDS_MAX * sizeof(struct board_backend)))
#define BOARD_UPSTREAMS_OFF                                                                        \
    (BOARD_CELLS_OFF + BOARD_LAYOUT_PAGE((uint64_t)BOARD_SLOTS_MAX * BOARD_BACKENDS_MAX *          \
                                         sizeof(struct board_cell)))
#define BOARD_QUEUES_OFF                                                                           \
    (BOARD_UPSTREAMS_OFF + BOARD_LAYOUT_PAGE(BOARD_UPSTREAMS_MAX * sizeof(struct board_upstream)))
#define BOARD_CHECKS_OFF                                                                           \
    (BOARD_QUEUES_OFF + BOARD_LAYOUT_PAGE((uint64_t)BOARD_SLOTS_MAX * BOARD_UPSTREAMS_MAX *        \
                                          sizeof(struct board_queue)))
#define BOARD_SITES_OFF                                                                            \
    (BOARD_CHECKS_OFF + BOARD_LAYOUT_PAGE(BOARD_BACKENDS_MAX * sizeof(struct board_check)))
#define BOARD_CERTIFICATES_OFF                                                                     \
    (BOARD_SITES_OFF + BOARD_LAYOUT_PAGE(BOARD_SITES_MAX * sizeof(struct board_site)))
#define BOARD_RINGS_OFF                                                                            \
    (BOARD_CERTIFICATES_OFF +                                                                      \
     BOARD_LAYOUT_PAGE((uint64_t)BOARD_CERTIFICATES_MAX * sizeof(struct board_certificate)))
#define BOARD_EVENTS_OFF                                                                           \
    (BOARD_RINGS_OFF +                                                                             \
     BOARD_LAYOUT_PAGE(2ull * BOARD_RING_POINTS_MAX * sizeof(struct ketama_point)))
#define BOARD_GAUGES_OFF                                                                           \
    (BOARD_EVENTS_OFF + BOARD_LAYOUT_PAGE((uint64_t)BOARD_EVENT_WRITERS *                          \
                                          BOARD_EVENTS_PER_WRITER * sizeof(struct board_event)))
#define BOARD_PACES_OFF   (BOARD_GAUGES_OFF + BOARD_LAYOUT_PAGE(sizeof(struct board_gauges)))
#define BOARD_TUNNELS_OFF (BOARD_PACES_OFF + BOARD_LAYOUT_PAGE(sizeof(struct board_paces)))

/* The last two areas, one behind the other. */
static inline uint64_t board_layout_care_off(uint32_t tunnels_max)
{
    uint64_t tunnels = (uint64_t)BOARD_SLOTS_MAX * tunnels_max;
    return BOARD_TUNNELS_OFF + BOARD_LAYOUT_PAGE(tunnels * sizeof(struct board_tunnel));
}
static inline uint64_t board_layout_size(uint32_t tunnels_max)
{
    uint64_t tunnels = (uint64_t)BOARD_SLOTS_MAX * tunnels_max;
    return board_layout_care_off(tunnels_max) +
           BOARD_LAYOUT_PAGE(tunnels * sizeof(struct board_care));
}

/*
 * Fill in version, sizes and offsets for a shape; leaves `magic` and what the master tells alone.
 * Any memory. Returns 0, or -EINVAL for a shape that cannot be laid out.
 */
int board_layout_fill(struct board_header *header, const struct board_shape *shape) MUST_CHECK;

/*
 * Is this the header of a board that we can read, in a segment of `size` bytes?
 * Returns 0, -EPROTO (magic), -EPROTONOSUPPORT (version), -EBADMSG (sizes or offsets).
 */
int board_layout_check(const struct board_header *header, uint64_t size) MUST_CHECK;

#endif
