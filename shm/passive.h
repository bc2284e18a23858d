/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passive checks: what workers conclude about a server from the requests they send it. All of it stands in
 * one word of the board, the pair that nginx keeps: failures in a row, and when the last one was (or when
 * a probe went out). Every change is one compare-and-swap of the whole word. It holds no reservation
 * and names no process: a worker that dies has either made its change or not, both are true states, and
 * the time in it runs out by itself. So all workers see an ejection at once, and none can hold it open.
 */
#ifndef SHM_PASSIVE_H
#define SHM_PASSIVE_H

#include "shm/board.h"

#include <stdbool.h>

struct passive_limits {
    uint32_t max_fails; /* 0: never ejected */
    uint32_t fail_timeout_ms;
};

enum passive_state {
    PASSIVE_IN,    /* use it */
    PASSIVE_OUT,   /* ejected */
    PASSIVE_PROBE, /* ejected, and the time is over: one request may try it, see passive_probe */
};

/*
 * What the word says now. Any process; one load. `now_ms` is monotonic and may be somewhat old: a
 * change made after it counts as made now.
 */
enum passive_state passive_state(const struct board_backend *backend, struct passive_limits limits,
                                 uint64_t now_ms);

/* Failures in a row that the word holds. */
uint32_t passive_fails(const struct board_backend *backend);

/*
 * Worker, on PASSIVE_PROBE: true if the probe is the caller's. Then nobody else gets one for
 * fail_timeout; a caller that dies with it only lets that time pass.
 */
bool passive_probe(struct board_backend *backend, struct passive_limits limits, uint64_t now_ms);

/*
 * Worker: a request failed on it. Failures farther apart than fail_timeout do not add up; each one of
 * an ejected server begins its time anew. Returns true if it is ejected by this one.
 */
bool passive_failed(struct board_backend *backend, struct passive_limits limits, uint64_t now_ms);

/* Worker: it has answered well. Forgets all failures; true if that took back an ejected server. */
bool passive_answered(struct board_backend *backend, struct passive_limits limits);

#endif
