/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that a step prints to a FILE, for people at a terminal or for the error log. */
#ifndef MASTER_REPORT_H
#define MASTER_REPORT_H

#include "common/log.h"

#include <stdio.h>

/* Collects messages in memory. */
struct report {
    FILE *messages; /* print here; NULL when there is no memory for it */
    char *text;
    size_t size;
};

/* Returns 0 or -errno. */
int report_begin(struct report *report) MUST_CHECK;

/* One log line `event message="..."` for each line that was printed; frees everything. */
void report_log(struct report *report, enum log_level level, const char *event);

#endif
