/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board is sparse: its pages come when they are written, and when /dev/shm is full, the writer
 * is ended by SIGBUS. So whoever is about to write more of it gives it memory first, and can refuse.
 * All calls may block for as long as the kernel takes to find pages; each returns 0 or -errno: -ENOSPC.
 */
#ifndef SHM_BOARD_RESERVE_H
#define SHM_BOARD_RESERVE_H

#include "shm/board.h"

#include <stdbool.h>

/* Master, before it starts workers: header, slots, and the events of `workers` slots. */
int board_reserve_slots(const struct board *board, uint32_t workers) MUST_CHECK;

/* What a configuration may need at most. */
struct board_demand {
    uint32_t generation;
    uint32_t workers;
    uint32_t backends;
    uint32_t upstreams;
    uint32_t sites;
    uint32_t certificates;
    uint64_t ring_points;
    bool count_clients; /* limits of tunnels of a client: 1 MiB, and 456 KiB for each worker */
    bool pace_clients;  /* limits of their handshakes: 1 MiB */
};

/*
 * Master, before it registers the names of a generation and publishes its rings: all that its workers will
 * write of the board or read there, but for tunnels.
 */
int board_reserve_names(const struct board *board, const struct board_demand *demand) MUST_CHECK;

/* Worker, before it uses records `first` (< tunnels_max) to `end` - 1 of its slot. `fd` is the board. */
int board_reserve_tunnels(const struct board *board, int fd, uint32_t slot, uint32_t first,
                          uint32_t end) MUST_CHECK;

/* Worker, before it uses the board_care of a tunnel of its slot. `fd` is the board. */
int board_reserve_care(const struct board *board, int fd, uint32_t slot,
                       uint32_t tunnel) MUST_CHECK;

#endif
