/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_reserve.h"

#include "shm/board_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

static int reserve(int fd, uint64_t offset, uint64_t size)
{
    int error = 0;
    do {
        error = size > 0 ? posix_fallocate(fd, (off_t)offset, (off_t)size) : 0;
    } while (error == EINTR);
    return -error;
}

int board_reserve_slots(const struct board *board, uint32_t workers)
{
    uint64_t writers = BOARD_EVENT_WRITERS - BOARD_SLOTS_MAX + workers;
    int error = reserve(board->fd, 0, BOARD_BACKENDS_OFF);
    return error ? error
                 : reserve(board->fd, BOARD_EVENTS_OFF,
                           writers * BOARD_EVENTS_PER_WRITER * sizeof(struct board_event));
}

/* How many entries have ever been used: new ones stand behind them at worst. */
static uint32_t used(const struct board *board, uint32_t max,
                     const char *(*name)(const struct board *, uint32_t))
{
    uint32_t count = 0;
    while (count < max && name(board, count)[0] != '\0')
        count++;
    return count;
}

static const char *backend_name(const struct board *board, uint32_t i)
{
    return board_backend(board, i)->upstream;
}

static const char *upstream_name(const struct board *board, uint32_t i)
{
    return board_upstream(board, i)->name;
}

static const char *site_name(const struct board *board, uint32_t i)
{
    return board_site(board, i)->name;
}

static uint64_t at_most(uint64_t count, uint64_t max)
{
    return count < max ? count : max;
}

/* Has the slot a worker now, or had it one whose counts are still read? */
static bool is_used(const struct board *board, uint32_t slot, uint32_t workers)
{
    return slot < workers || LOAD_RELAXED(&board_slot(board, slot)->starts) != 0;
}

/* What each worker has of its own about backends and upstreams. */
static int reserve_slots(const struct board *board, uint32_t workers, uint64_t backends,
                         uint64_t upstreams)
{
    int error = 0;
    for (uint32_t slot = 0; !error && slot < BOARD_SLOTS_MAX; slot++) {
        uint64_t cells = (uint64_t)slot * BOARD_BACKENDS_MAX * sizeof(struct board_cell);
        uint64_t queues = (uint64_t)slot * BOARD_UPSTREAMS_MAX * sizeof(struct board_queue);
        if (!is_used(board, slot, workers))
            continue;
        error = reserve(board->fd, BOARD_CELLS_OFF + cells, backends * sizeof(struct board_cell));
        if (!error)
            error = reserve(board->fd, BOARD_QUEUES_OFF + queues,
                            upstreams * sizeof(struct board_queue));
    }
    return error;
}

/*
 * Counts of workers. Those of clients only when they are counted, but then all: hashes spread over all
 * pages anyway, a sum reads every slot's, and to read what nobody has written needs memory, too.
 */
static int reserve_gauges(const struct board *board, uint32_t workers, bool count_clients)
{
    struct board_gauges *gauges = board_gauges(board);
    bool clients = count_clients || LOAD_RELAXED(&gauges->clients_seen) != 0;
    uint64_t counts = (clients ? GAUGE_COUNT : GAUGE_CLIENTS) * sizeof(gauges->counts[0][0]);
    int error = reserve(board->fd, BOARD_GAUGES_OFF,
                        clients ? offsetof(struct board_gauges, counts)
                                : offsetof(struct board_gauges, buckets));
    for (uint32_t slot = 0; !error && slot < BOARD_SLOTS_MAX; slot++) {
        if (is_used(board, slot, workers))
            error = reserve(board->fd,
                            BOARD_GAUGES_OFF + offsetof(struct board_gauges, counts) +
                                slot * sizeof(gauges->counts[0]),
                            counts);
    }
    /* From here on it may be that each slot's are read, whatever later configurations say. */
    if (!error && count_clients)
        STORE_RELAXED(&gauges->clients_seen, 1u);
    return error;
}

static int reserve_paces(const struct board *board, uint64_t backends, bool pace_clients)
{
    int error =
        reserve(board->fd, BOARD_PACES_OFF, (PACE_BACKENDS + backends) * sizeof(struct board_pace));
    if (!error && pace_clients)
        error = reserve(board->fd, BOARD_PACES_OFF + offsetof(struct board_paces, clients),
                        sizeof(struct board_paces) - offsetof(struct board_paces, clients));
    return error;
}

int board_reserve_names(const struct board *board, const struct board_demand *demand)
{
    uint64_t backends = at_most(used(board, BOARD_BACKENDS_MAX, backend_name) + demand->backends,
                                BOARD_BACKENDS_MAX);
    uint64_t upstreams = at_most(
        used(board, BOARD_UPSTREAMS_MAX, upstream_name) + demand->upstreams, BOARD_UPSTREAMS_MAX);
    uint64_t sites =
        at_most(used(board, BOARD_SITES_MAX, site_name) + demand->sites, BOARD_SITES_MAX);
    uint64_t half = (uint64_t)BOARD_RING_POINTS_MAX * sizeof(struct ketama_point);
    uint64_t points = at_most(demand->ring_points, BOARD_RING_POINTS_MAX);
    int error = reserve(board->fd, BOARD_BACKENDS_OFF, backends * sizeof(struct board_backend));
    if (!error)
        error = reserve(board->fd, BOARD_CHECKS_OFF, backends * sizeof(struct board_check));
    if (!error)
        error = reserve(board->fd, BOARD_CERTIFICATES_OFF,
                        at_most(demand->certificates, BOARD_CERTIFICATES_MAX) *
                            sizeof(struct board_certificate));
    if (!error)
        error = reserve(board->fd, BOARD_UPSTREAMS_OFF, upstreams * sizeof(struct board_upstream));
    if (!error)
        error = reserve(board->fd, BOARD_SITES_OFF, sites * sizeof(struct board_site));
    if (!error)
        error = reserve(board->fd, BOARD_RINGS_OFF + (demand->generation & 1) * half,
                        points * sizeof(struct ketama_point));
    if (!error)
        error = reserve_gauges(board, demand->workers, demand->count_clients);
    if (!error)
        error = reserve_paces(board, backends, demand->pace_clients);
    return error ? error : reserve_slots(board, demand->workers, backends, upstreams);
}

int board_reserve_tunnels(const struct board *board, int fd, uint32_t slot, uint32_t first,
                          uint32_t end)
{
    uint64_t record = (uint64_t)slot * board->tunnels_max + first;
    uint64_t count = at_most(end, board->tunnels_max) - first;
    return reserve(fd, BOARD_TUNNELS_OFF + record * sizeof(struct board_tunnel),
                   count * sizeof(struct board_tunnel));
}

int board_reserve_care(const struct board *board, int fd, uint32_t slot, uint32_t tunnel)
{
    uint64_t record = (uint64_t)slot * board->tunnels_max + tunnel;
    return reserve(fd,
                   board_layout_care_off(board->tunnels_max) + record * sizeof(struct board_care),
                   sizeof(struct board_care));
}
