/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of the benchmark's programs. */
#ifndef TEST_BENCH_BENCH_NET_H
#define TEST_BENCH_BENCH_NET_H

#include "common/addr.h"

/* Parse "127.0.0.1:80"; the port is 9001 if none is given. Returns false, the reason printed, if it is no address. */
bool bench_net_parse(const char *text, struct addr *out);

/* A listening non-blocking socket whose connections have TCP_NODELAY, or -1 with errno. */
int bench_net_listen(const struct addr *at);

/* As many descriptors as this process may have. */
void bench_net_raise_limit(void);

#endif
