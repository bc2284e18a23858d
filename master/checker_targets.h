/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers that the checker looks at: when each is due, what its checks came to, and when that
 * changes its health. Everything that outlives the checker stands on the board: a successor goes on
 * where its predecessor was. In the checker only.
 */
#ifndef MASTER_CHECKER_TARGETS_H
#define MASTER_CHECKER_TARGETS_H

#include "shm/board.h"
#include "shm/image.h"

struct checker_target;
struct checker_tls_contexts;

struct checker_targets {
    const struct board *board;
    int epoll;
    struct image *image;              /* owned */
    struct checker_tls_contexts *tls; /* of the image; owned */
    struct checker_target *items;
    uint32_t count;
};

/*
 * Look at the servers of this image from now on; takes it, and its contexts. Checks under way are
 * dropped, and what nobody checks any more is UNCHECKED. Returns 0 or -ENOMEM: then all stays as it was.
 */
int checker_targets_use(struct checker_targets *targets, struct image *image,
                        struct checker_tls_contexts *tls) MUST_CHECK;

/* Begin what is due, end what takes too long. Returns the milliseconds until it has to be called again. */
int checker_targets_run(struct checker_targets *targets);

/* An epoll event whose data is this target's number. */
void checker_targets_event(struct checker_targets *targets, uint64_t number, uint32_t events);

#endif
