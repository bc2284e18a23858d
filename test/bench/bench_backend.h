/* SPDX-License-Identifier: Apache-2.0 */
/* The backends of bench-load: one answer to each request, an echo of each frame, or pushed messages. */
#ifndef TEST_BENCH_BENCH_BACKEND_H
#define TEST_BENCH_BENCH_BACKEND_H

#include "test/bench/bench_load.h"

/* Take the connections that wait at this listener. */
void bench_backend_accept(struct bench_load *load, int listen_fd);

void bench_backend_event(struct bench_load *load, struct bench_backend *backend, uint32_t events);

/* Send a message into each tunnel. */
void bench_backend_push(struct bench_load *load);

/* Free what was closed; after a batch of events. */
void bench_backend_free_dead(struct bench_load *load);

/* Close and free all of them, for an orderly end. */
void bench_backend_close_all(struct bench_load *load);

#endif
