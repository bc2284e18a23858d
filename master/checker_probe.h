/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One check of one server: a connection from connect to its end. Never blocks; the caller waits for its
 * descriptor and its deadline. In the checker only.
 */
#ifndef MASTER_CHECKER_PROBE_H
#define MASTER_CHECKER_PROBE_H

#include "common/addr.h"
#include "shm/image.h"

#include <stdbool.h>

struct checker_probe;
struct checker_tls_contexts;

enum checker_verdict {
    CHECKER_MORE, /* it goes on: wait for its descriptor */
    CHECKER_GOOD,
    CHECKER_BAD, /* checker_probe_why says why */
};

/* What to check. All borrowed until the probe's end. */
struct checker_plan {
    const struct addr *address;
    const struct image_health *health;
    struct slice method;
    struct slice path;
    struct slice host;
    struct checker_tls_contexts *tls; /* NULL: in the clear, as tcp checks always are */
    struct slice tls_name;            /* that the server's certificate must have */
    uint32_t upstream;                /* whose context it is */
};

/* Begin. *out is NULL when memory is out (CHECKER_BAD). The caller ends it with _end, whatever came. */
enum checker_verdict checker_probe_begin(struct checker_probe **out,
                                         const struct checker_plan *plan);

/* Its descriptor, -1 without, and the epoll events to wait for. */
int checker_probe_fd(const struct checker_probe *probe);
uint32_t checker_probe_wants(const struct checker_probe *probe);

/* An event has come; or its time is over: then GOOD or BAD. */
enum checker_verdict checker_probe_event(struct checker_probe *probe, uint32_t events);
enum checker_verdict checker_probe_timeout(struct checker_probe *probe);

/* One sentence. From the beginning to what decided it, in microseconds. */
const char *checker_probe_why(const struct checker_probe *probe);
uint32_t checker_probe_latency_us(const struct checker_probe *probe);

/* Close and free; nulls, accepts NULL. */
void checker_probe_end(struct checker_probe **probe);

#endif
