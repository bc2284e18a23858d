/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over workers, backends and live tunnels, consistent with each worker's closing of tunnels
 * (close_seq of board.h). Observer only.
 */
#ifndef SHM_STAT_SUMS_H
#define SHM_STAT_SUMS_H

#include "shm/stat_view.h"

/* Bytes and frames of tunnels, closed and live. */
struct stat_traffic {
    uint64_t bytes[2]; /* [0] from clients, [1] to clients */
    uint64_t frames[2];
};

struct stat_worker {
    bool present;           /* a worker was started in this slot once */
    bool consistent;        /* no tunnel moved while we counted; else figures are near */
    struct board_slot slot; /* copy from the same moment */
    struct stat_traffic traffic;
};

struct stat_sums {
    struct stat_worker workers[BOARD_SLOTS_MAX];
    struct board_cell *backends; /* sums over workers; traffic includes live tunnels */
    uint32_t backend_count;      /* = view's */
};

/* On 0 the caller ends *out with _fini. Returns 0 or -ENOMEM. */
int stat_sums_init(struct stat_sums *out, const struct stat_view *view) MUST_CHECK;
void stat_sums_fini(struct stat_sums *sums);

#endif
