/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at a board: the moment, the header as it was then, and copies of entries. Everything read is
 * gossip, perhaps corrupt: callers see private copies whose strings end and whose indices were checked.
 * Observer only; writes nothing shared.
 */
#ifndef SHM_STAT_VIEW_H
#define SHM_STAT_VIEW_H

#include "shm/board.h"

#include <stdbool.h>

enum stat_master {
    STAT_MASTER_RUNNING,
    STAT_MASTER_STOPPED, /* ended in order */
    STAT_MASTER_GONE,    /* its process does not exist */
    STAT_MASTER_SILENT,  /* its process exists, but has not shown life for STAT_SILENT_MS */
};

enum { STAT_SILENT_MS = 5000 };

struct stat_view {
    const struct board *board; /* borrowed */
    const char *name;          /* of the board; borrowed */
    uint64_t mono_ms;          /* when we look */
    uint64_t real_ms;
    struct board_header header; /* copy; strings end */
    enum stat_master master;
    uint64_t silent_ms;     /* since the master's last beat */
    uint32_t backend_count; /* entries that were ever used */
    uint32_t upstream_count;
};

/* Borrows both for the view's life. */
void stat_view_init(struct stat_view *view, const struct board *board, const char *name);

/* "running", "stopped", "gone", "silent". */
const char *stat_view_master_word(const struct stat_view *view);

/* Copy a slot. Returns false if no worker was ever started there. `slot` < BOARD_SLOTS_MAX. */
bool stat_view_slot(const struct stat_view *view, uint32_t slot, struct board_slot *out);

/* Copy an entry, any index. Returns false if it is out of range, free, or just changing hands. */
bool stat_view_backend(const struct stat_view *view, uint32_t index, struct board_backend *out);
bool stat_view_upstream(const struct stat_view *view, uint32_t index, struct board_upstream *out);
bool stat_view_site(const struct stat_view *view, uint32_t index, struct board_site *out);
bool stat_view_certificate(const struct stat_view *view, uint32_t index,
                           struct board_certificate *out);
bool stat_view_tunnel(const struct stat_view *view, uint32_t slot, uint32_t index,
                      struct board_tunnel *out);
/* Of a tunnel that was copied. False: it has none. */
bool stat_view_care(const struct stat_view *view, uint32_t slot, uint32_t index,
                    const struct board_tunnel *tunnel, struct board_care *out);
bool stat_view_event(const struct stat_view *view, uint32_t writer, uint32_t index,
                     struct board_event *out);

/* Copy of a cell; both indices in range. */
void stat_view_cell(const struct stat_view *view, uint32_t slot, uint32_t backend,
                    struct board_cell *out);
/* Copy of what checks have found; the text ends. Index in range. */
void stat_view_check(const struct stat_view *view, uint32_t backend, struct board_check *out);

/* Copy of a queue; both indices in range. */
void stat_view_queue(const struct stat_view *view, uint32_t slot, uint32_t upstream,
                     struct board_queue *out);

/* Of the counters and reasons that we know, those that the board's programs count: the first so many. */
uint32_t stat_view_counters(const struct stat_view *view);
uint32_t stat_view_reasons(const struct stat_view *view);

/* Tunnel records of a slot that may be in use. */
uint32_t stat_view_tunnels_high(const struct stat_view *view, const struct board_slot *slot);

/* Words for the enums of board.h; "?" for numbers outside. */
const char *stat_view_slot_state(uint32_t state);
const char *stat_view_health(uint32_t health);
const char *stat_view_policy(uint32_t policy);

#endif
