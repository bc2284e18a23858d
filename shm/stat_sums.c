/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_sums.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

/* A worker that closes tunnels all the time never holds still for one scan: then near is enough. */
enum { CLOSE_TRIES = 16 };

static void add_tunnel(struct stat_traffic *traffic, struct board_cell *cells, uint32_t cell_count,
                       const struct board_tunnel *tunnel)
{
    for (int i = 0; i < 2; i++) {
        traffic->bytes[i] += tunnel->bytes[i];
        traffic->frames[i] += tunnel->frames[i];
    }
    if (tunnel->backend < cell_count) {
        struct board_cell *cell = &cells[tunnel->backend];
        cell->rx_bytes += tunnel->bytes[0];
        cell->tx_bytes += tunnel->bytes[1];
        cell->rx_frames += tunnel->frames[0];
        cell->tx_frames += tunnel->frames[1];
    }
}

/* Read one worker's slot, cells and live tunnels, once. */
static void read_worker(const struct stat_view *view, uint32_t slot, struct stat_worker *worker,
                        struct board_cell *cells)
{
    struct board_tunnel tunnel;
    worker->present = stat_view_slot(view, slot, &worker->slot);
    if (!worker->present)
        return;
    const uint64_t *counters = worker->slot.counters;
    worker->traffic = (struct stat_traffic){
        {counters[COUNTER_CLOSED_RX_BYTES], counters[COUNTER_CLOSED_TX_BYTES]},
        {counters[COUNTER_CLOSED_RX_FRAMES], counters[COUNTER_CLOSED_TX_FRAMES]}};
    for (uint32_t i = 0; i < view->backend_count; i++)
        stat_view_cell(view, slot, i, &cells[i]);
    uint32_t high = stat_view_tunnels_high(view, &worker->slot);
    for (uint32_t i = 0; i < high; i++) {
        if (stat_view_tunnel(view, slot, i, &tunnel))
            add_tunnel(&worker->traffic, cells, view->backend_count, &tunnel);
    }
}

static void add_cell(struct board_cell *sum, const struct board_cell *cell)
{
    sum->conns += cell->conns;
    sum->tunnels += cell->tunnels;
    sum->closing += cell->closing;
    sum->connects += cell->connects;
    sum->connects_failed += cell->connects_failed;
    sum->requests += cell->requests;
    sum->failures += cell->failures;
    sum->bad_upgrades += cell->bad_upgrades;
    sum->ejections += cell->ejections;
    sum->tunnels_opened += cell->tunnels_opened;
    sum->tunnels_closed += cell->tunnels_closed;
    sum->rx_bytes += cell->rx_bytes;
    sum->tx_bytes += cell->tx_bytes;
    sum->rx_frames += cell->rx_frames;
    sum->tx_frames += cell->tx_frames;
    for (size_t i = 0; i < ARRAY_LEN(sum->status); i++)
        sum->status[i] += cell->status[i];
}

/*
 * Read a worker until no tunnel moved from live to closed meanwhile. A worker that was killed while
 * one moved leaves the number odd until its successor has cleaned up.
 */
static void sum_worker(struct stat_sums *sums, const struct stat_view *view, uint32_t slot,
                       struct board_cell *scratch)
{
    struct stat_worker *worker = &sums->workers[slot];
    const uint32_t *close_seq = &board_slot(view->board, slot)->close_seq;
    for (int tries = 0; tries < CLOSE_TRIES && !worker->consistent; tries++) {
        uint32_t before = LOAD_ACQUIRE(close_seq);
        read_worker(view, slot, worker, scratch);
        if (!worker->present)
            return;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        worker->consistent = (before & 1) == 0 && LOAD_RELAXED(close_seq) == before;
        if (!worker->consistent)
            sched_yield();
    }
    for (uint32_t i = 0; i < sums->backend_count; i++)
        add_cell(&sums->backends[i], &scratch[i]);
}

int stat_sums_init(struct stat_sums *out, const struct stat_view *view)
{
    uint32_t count = view->backend_count;
    *out = (struct stat_sums){.backend_count = count};
    struct board_cell *scratch = NULL;
    /* Aligned as on the board. One more, so that no size is zero. */
    if (posix_memalign((void **)&out->backends, CACHE_LINE, (count + 1) * sizeof *scratch) != 0 ||
        posix_memalign((void **)&scratch, CACHE_LINE, (count + 1) * sizeof *scratch) != 0) {
        stat_sums_fini(out);
        return -ENOMEM;
    }
    memset(out->backends, 0, (count + 1) * sizeof *scratch);
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++)
        sum_worker(out, view, i, scratch);
    free(scratch);
    return 0;
}

void stat_sums_fini(struct stat_sums *sums)
{
    free(sums->backends);
    sums->backends = NULL;
}
