/* SPDX-License-Identifier: Apache-2.0 */
#include "master/bury.h"

#include "shm/board_gauge.h"

static void add(uint64_t *counter, uint64_t more)
{
    STORE_RELAXED(counter, *counter + more);
}

static void close_record(const struct board *board, uint32_t slot, struct board_tunnel *tunnel)
{
    struct board_slot *shown = board_slot(board, slot);
    add(&shown->counters[COUNTER_CLOSED_RX_BYTES], tunnel->bytes[0]);
    add(&shown->counters[COUNTER_CLOSED_TX_BYTES], tunnel->bytes[1]);
    add(&shown->counters[COUNTER_CLOSED_RX_FRAMES], tunnel->frames[0]);
    add(&shown->counters[COUNTER_CLOSED_TX_FRAMES], tunnel->frames[1]);
    if (tunnel->backend < BOARD_BACKENDS_MAX) {
        struct board_cell *cell = board_cell(board, slot, tunnel->backend);
        add(&cell->tunnels_closed, 1);
        add(&cell->rx_bytes, tunnel->bytes[0]);
        add(&cell->tx_bytes, tunnel->bytes[1]);
        add(&cell->rx_frames, tunnel->frames[0]);
        add(&cell->tx_frames, tunnel->frames[1]);
    }
    STORE_RELEASE(&tunnel->id, 0);
}

static void close_records(const struct board *board, uint32_t slot)
{
    struct board_slot *shown = board_slot(board, slot);
    uint32_t high = LOAD_RELAXED(&shown->tunnels_high);
    uint32_t seq = LOAD_RELAXED(&shown->close_seq) | 1; /* it may have died between the two sums */
    STORE_RELEASE(&shown->close_seq, seq);
    for (uint32_t t = 0; t < high && t < board->tunnels_max; t++) {
        struct board_tunnel *tunnel = board_tunnel(board, slot, t);
        if (LOAD_ACQUIRE(&tunnel->id) != 0)
            close_record(board, slot, tunnel);
    }
    STORE_RELEASE(&shown->close_seq, seq + 1);
}

/* So that balancing does not go on counting connections of a dead worker. */
static void empty_cells(const struct board *board, uint32_t slot)
{
    for (uint32_t b = 0; b < BOARD_BACKENDS_MAX; b++) {
        if (board_backend(board, b)->upstream[0] == '\0')
            break; /* board.h: none in use stands behind one that was never used */
        struct board_cell *cell = board_cell(board, slot, b);
        STORE_RELAXED(&cell->conns, 0);
        STORE_RELAXED(&cell->tunnels, 0);
    }
}

uint32_t bury_slot(const struct board *board, uint32_t slot)
{
    struct board_slot *shown = board_slot(board, slot);
    uint32_t lost = LOAD_RELAXED(&shown->tunnels_open);
    uint32_t clients = LOAD_RELAXED(&shown->clients_open);
    if (lost > board->tunnels_max)
        lost = board->tunnels_max;
    close_records(board, slot);
    empty_cells(board, slot);
    board_gauge_restore(board, slot, NULL);
    add(&shown->counters[COUNTER_TUNNELS_LOST], lost);
    add(&shown->counters[COUNTER_TUNNELS_CLOSED], lost);
    add(&shown->counters[COUNTER_CLIENTS_CLOSED], (uint64_t)lost + clients);
    add(&shown->reasons[REASON_WORKER_DIED], lost);
    STORE_RELAXED(&shown->tunnels_open, 0);
    STORE_RELAXED(&shown->clients_open, 0);
    STORE_RELAXED(&shown->tunnels_high, 0);
    STORE_RELAXED(&shown->chunks_used, 0);
    STORE_RELAXED(&shown->backend_idle, 0);
    STORE_RELAXED(&shown->state, SLOT_FREE);
    STORE_RELEASE(&shown->worker_pid, 0);
    STORE_RELEASE(&shown->keeper_pid, 0);
    return lost;
}
