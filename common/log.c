/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* One log a process: the only state here that is not the caller's. */
static struct {
    int fd;
    enum log_level level;
    char who[16];
    uint64_t lost;
} state = {STDERR_FILENO, LOG_LEVEL_INFO, "main", 0};

static const char *const level_words[] = {"error", "warn", "info", "debug"};

void log_init(int fd, enum log_level level, const char *who)
{
    state.fd = fd;
    state.level = level;
    snprintf(state.who, sizeof state.who, "%s", who);
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

void log_set_fd(int fd)
{
    state.fd = fd;
}

bool log_wanted(enum log_level level)
{
    return level <= state.level;
}

int log_level_parse(struct slice word, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_words); i++) {
        if (slice_eq(word, slice_of(level_words[i]))) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

static size_t format_prefix(char *line, size_t size, enum log_level level, const char *event)
{
    uint64_t now_ms = clock_real_ms();
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm tm;
    gmtime_r(&now_s, &tm);
    char stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(line, size, "%s.%03uZ %s %s %s ", stamp, (unsigned)(now_ms % 1000),
                     level_words[level], state.who, event);
    return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

static void write_line(enum log_level level, const char *event, uint32_t suppressed,
                       const char *fmt, va_list args)
{
    char line[1024];
    size_t room = sizeof line - 32; /* for suppressed=N and the line's end */
    size_t n = format_prefix(line, room, level, event);
    int more = vsnprintf(line + n, room - n, fmt, args);
    if (more > 0)
        n += (size_t)more < room - n ? (size_t)more : room - n - 1;
    if (suppressed > 0)
        n += (size_t)snprintf(line + n, 31, " suppressed=%u", suppressed);
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n++] = '\n';
    /* Whoever reads a pipe that others have opened for us, and stops, is to stop nobody else. */
    struct pollfd sink = {.fd = state.fd, .events = POLLOUT};
    if (poll(&sink, 1, 0) == 0 || write(state.fd, line, n) != (ssize_t)n)
        state.lost++;
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    if (!log_wanted(level))
        return;
    va_list args;
    va_start(args, fmt);
    write_line(level, event, 0, fmt, args);
    va_end(args);
}

void log_limited(struct log_limit *limit, enum log_level level, const char *event, const char *fmt,
                 ...)
{
    if (!log_wanted(level))
        return;
    uint64_t second = clock_mono_ms() / 1000;
    if (second != limit->second) {
        limit->second = second;
        limit->lines = 0;
    }
    if (limit->lines >= LOG_LIMIT_PER_S) {
        limit->suppressed++;
        return;
    }
    limit->lines++;
    va_list args;
    va_start(args, fmt);
    write_line(level, event, limit->suppressed, fmt, args);
    va_end(args);
    limit->suppressed = 0;
}

const char *log_escape(struct slice bytes, char *out, size_t size)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    ASSERT(size >= 8);
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        bool plain = c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
        if (n + (plain ? 1u : 4u) + 4 > size) {
            memcpy(out + n, "...", 3);
            n += 3;
            break;
        }
        if (plain) {
            out[n++] = (char)c;
        } else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    out[n] = '\0';
    return out;
}

uint64_t log_lost(void)
{
    return state.lost;
}
