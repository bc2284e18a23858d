/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of bench-load. */
#ifndef TEST_BENCH_BENCH_CLIENT_H
#define TEST_BENCH_BENCH_CLIENT_H

#include "test/bench/bench_load.h"

/* Begin to connect an EMPTY client. */
void bench_client_open(struct bench_load *load, struct bench_client *client);

/* Send a message into its OPEN tunnel; none may be under way. */
void bench_client_talk(struct bench_load *load, struct bench_client *client);

void bench_client_event(struct bench_load *load, struct bench_client *client, uint32_t events);

/* Close and free all of them, for an orderly end. */
void bench_client_close_all(struct bench_load *load);

#endif
