/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places at which a test build kills its worker, one in turn: between any two stores that a successor
 * could find half done. Compiled to nothing unless HOLDFAST_CRASH_POINTS is defined.
 */
#ifndef WORKER_CRASH_POINT_H
#define WORKER_CRASH_POINT_H

#include <stdbool.h>

#define CRASH_POINT_TABLE(X)                                                                       \
    X(relay_op_set)                                                                                \
    X(relay_received)                                                                              \
    X(relay_tracked)                                                                               \
    X(relay_sent)                                                                                  \
    X(relay_rx_stored)                                                                             \
    X(relay_tx_stored)                                                                             \
    X(relay_op_cleared)                                                                            \
    X(park_base)                                                                                   \
    X(park_chunk)                                                                                  \
    X(park_positions)                                                                              \
    X(park_scratch)                                                                                \
    X(made_op_set)                                                                                 \
    X(made_received)                                                                               \
    X(made_output)                                                                                 \
    X(made_sent)                                                                                   \
    X(made_sides)                                                                                  \
    X(made_rx_stored)                                                                              \
    X(made_settled)                                                                                \
    X(made_op_cleared)                                                                             \
    X(made_end_op_set)                                                                             \
    X(made_end_sent)                                                                               \
    X(adopt_made)                                                                                  \
    X(guard_filled)                                                                                \
    X(guard_asked)                                                                                 \
    X(guard_said)                                                                                  \
    X(guard_pong)                                                                                  \
    X(guard_stepped)                                                                               \
    X(guard_cared)                                                                                 \
    X(guard_wanted)                                                                                \
    X(guard_phase)                                                                                 \
    X(guard_counted)                                                                               \
    X(flush_op_set)                                                                                \
    X(flush_sent)                                                                                  \
    X(flush_tx_stored)                                                                             \
    X(flush_chunk_free)                                                                            \
    X(half_eof)                                                                                    \
    X(half_shut)                                                                                   \
    X(open_filled)                                                                                 \
    X(open_watched)                                                                                \
    X(open_public)                                                                                 \
    X(open_committed)                                                                              \
    X(open_counted)                                                                                \
    X(close_marked)                                                                                \
    X(close_closing)                                                                               \
    X(close_fd)                                                                                    \
    X(close_wiped)                                                                                 \
    X(close_settle)                                                                                \
    X(close_settled)                                                                               \
    X(close_free)                                                                                  \
    X(fd_made)                                                                                     \
    X(fd_closing)                                                                                  \
    X(apply_keys)                                                                                  \
    X(apply_image)                                                                                 \
    X(event_handled)                                                                               \
    X(ready_run)                                                                                   \
    X(adopt_positions)                                                                             \
    X(adopt_resolved)                                                                              \
    X(adopt_lists)                                                                                 \
    X(adopt_recounted)                                                                             \
    X(adopt_closed)                                                                                \
    X(adopt_going_on)

#ifdef HOLDFAST_CRASH_POINTS

enum crash_point {
#define X(name) CRASH_POINT_##name,
    CRASH_POINT_TABLE(X)
#undef X
        CRASH_POINT_COUNT
};

/*
 * Worker, at its start: HOLDFAST_CRASH_POINT=name:every makes it kill itself each `every`th time that
 * it comes by that place; name "random" means any place. name:every:segv: by SIGSEGV, not SIGKILL.
 * Two of them with a comma between: whichever comes first. `seed` is one more for each worker of a
 * slot: were they drawn at random, many in a row would now and then die amid their adoption, and the
 * next one be held back for longer than anybody waits.
 */
void crash_point_init(unsigned seed);
void crash_point_pass(enum crash_point point);

/*
 * The control: with HOLDFAST_IGNORE_COUNTS in the environment a successor believes the record instead
 * of the kernel's counts. Then bytes must be lost or doubled, and whoever watches must see it.
 */
bool crash_point_ignores_counts(void);

#define CRASH_POINT(name) crash_point_pass(CRASH_POINT_##name)
#else
#define crash_point_init(seed)       ((void)(seed))
#define crash_point_ignores_counts() false
#define CRASH_POINT(name)            ((void)0)
#endif

#endif
