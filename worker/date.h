/* SPDX-License-Identifier: Apache-2.0 */
/* The Date field of answers. */
#ifndef WORKER_DATE_H
#define WORKER_DATE_H

#include "common/slice.h"

#include <stdint.h>

struct worker;

enum { DATE_LEN = 29 }; /* IMF-fixdate (RFC 9110 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT" */

/* A second, and how it is written: once for all answers of that second. */
struct date {
    uint64_t s; /* since the epoch; 0: none yet */
    char text[DATE_LEN + 1];
};

/* Now, by the clock of this loop turn. Points into the worker; good until the next turn. */
struct slice date_now(struct worker *worker);

#endif
