/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error log: one line an event, `2026-11-22T20:15:03.123Z info w3 closed reason=idle_timeout ...`.
 * Fixed event word, then key=value. One write(2) a line, so lines of many processes never mix.
 * A line that cannot be written (full disk, closed pipe) is counted, never fatal.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * `who` stands in every line of this process ("master", "w3"); copied, 15 bytes at most.
 * `fd` is borrowed until the next call.
 */
void log_init(int fd, enum log_level level, const char *who);

/* What is logged from now on, and where to. */
void log_set_level(enum log_level level);
void log_set_fd(int fd);

/* Is this level logged? */
bool log_wanted(enum log_level level);
int log_level_parse(struct slice word, enum log_level *out) MUST_CHECK; /* 0 or -EINVAL */

/* Write one line; `fmt` gives the key=value part, may be "". */
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

/*
 * The same for what a peer can trigger: at most `LOG_LIMIT_PER_S` lines a second for each limiter;
 * the next line that passes says how many were left out (suppressed=N).
 */
enum { LOG_LIMIT_PER_S = 10 };
struct log_limit {
    uint64_t second;
    uint32_t lines;
    uint32_t suppressed;
};
void log_limited(struct log_limit *limit, enum log_level level, const char *event, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);

/*
 * Peer bytes made safe for a log line: printable ASCII but space, '"', '\' and '=' as it is, the rest
 * \xHH; cut with "..." behind so that it fits into `size` bytes (at least 8: ASSERT) with a NUL. Returns
 * `out`, so that it can stand in an argument list.
 */
const char *log_escape(struct slice bytes, char *out, size_t size);

/* Lines lost because they could not be written, since the process began. */
uint64_t log_lost(void);

#endif
