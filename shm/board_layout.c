/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_layout.h"

#include <errno.h>
#include <stdbool.h>

int board_layout_fill(struct board_header *header, const struct board_shape *shape)
{
    if (shape->tunnels_max == 0 || shape->tunnels_max > BOARD_LAYOUT_TUNNELS_MAX)
        return -EINVAL;
    header->version = BOARD_VERSION;
    header->header_size = BOARD_HEADER_SIZE;
    header->size = board_layout_size(shape->tunnels_max);
    header->slots_max = BOARD_SLOTS_MAX;
    header->tunnels_max = shape->tunnels_max;
    header->backends_max = BOARD_BACKENDS_MAX;
    header->upstreams_max = BOARD_UPSTREAMS_MAX;
    header->sites_max = BOARD_SITES_MAX;
    header->ring_points_max = BOARD_RING_POINTS_MAX;
    header->events_per_writer = BOARD_EVENTS_PER_WRITER;
    header->event_writers = BOARD_EVENT_WRITERS;
    header->counter_count = COUNTER_COUNT;
    header->reason_count = REASON_COUNT;
    header->slots_off = BOARD_SLOTS_OFF;
    header->backends_off = BOARD_BACKENDS_OFF;
    header->cells_off = BOARD_CELLS_OFF;
    header->upstreams_off = BOARD_UPSTREAMS_OFF;
    header->queues_off = BOARD_QUEUES_OFF;
    header->checks_off = BOARD_CHECKS_OFF;
    header->sites_off = BOARD_SITES_OFF;
    header->certificates_off = BOARD_CERTIFICATES_OFF;
    header->rings_off = BOARD_RINGS_OFF;
    header->events_off = BOARD_EVENTS_OFF;
    header->gauges_off = BOARD_GAUGES_OFF;
    header->paces_off = BOARD_PACES_OFF;
    header->tunnels_off = BOARD_TUNNELS_OFF;
    header->care_off = board_layout_care_off(shape->tunnels_max);
    return 0;
}

static bool same_offsets(const struct board_header *a, const struct board_header *b)
{
    return a->slots_off == b->slots_off && a->backends_off == b->backends_off &&
           a->cells_off == b->cells_off && a->upstreams_off == b->upstreams_off &&
           a->queues_off == b->queues_off && a->checks_off == b->checks_off &&
           a->sites_off == b->sites_off && a->certificates_off == b->certificates_off &&
           a->rings_off == b->rings_off && a->events_off == b->events_off &&
           a->gauges_off == b->gauges_off && a->paces_off == b->paces_off &&
           a->tunnels_off == b->tunnels_off;
}

static bool same_counts(const struct board_header *a, const struct board_header *b)
{
    return a->slots_max == b->slots_max && a->backends_max == b->backends_max &&
           a->upstreams_max == b->upstreams_max && a->sites_max == b->sites_max &&
           a->ring_points_max == b->ring_points_max &&
           a->events_per_writer == b->events_per_writer && a->event_writers == b->event_writers;
}

int board_layout_check(const struct board_header *header, uint64_t size)
{
    if (header->magic != BOARD_MAGIC)
        return -EPROTO;
    if (header->version != BOARD_VERSION)
        return -EPROTONOSUPPORT;
    /* One version and one shape make one layout: compare with it instead of judging each number. */
    struct board_header expected = {0};
    const struct board_shape shape = {.tunnels_max = header->tunnels_max};
    if (board_layout_fill(&expected, &shape) < 0)
        return -EBADMSG;
    if (header->care_off == 0) /* it ends where that would begin; it may have grown since */
        expected.size = expected.care_off;
    else if (header->care_off != expected.care_off)
        return -EBADMSG;
    if (header->header_size != expected.header_size || header->size != expected.size ||
        size < expected.size)
        return -EBADMSG;
    /* Another program's master may know other numbers of them. */
    if (header->counter_count > BOARD_COUNTERS_MAX || header->reason_count > BOARD_REASONS_MAX)
        return -EBADMSG;
    return same_counts(header, &expected) && same_offsets(header, &expected) ? 0 : -EBADMSG;
}
