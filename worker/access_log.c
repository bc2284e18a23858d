/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1 /* memrchr */
#include "worker/access_log.h"

#include "worker/access_line.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void forget(struct access_log *log, uint32_t n)
{
    log->used -= n;
    memmove(log->buffer, log->buffer + n, log->used);
}

static void say_lost(struct access_log *log, uint64_t lines, int error)
{
    log->lost += lines;
    if (lines == 0 || log->failing)
        return;
    log->failing = true;
    log_limited(&log->limit, LOG_LEVEL_WARN, "access_log_failed", "error=\"%s\" lost=%" PRIu64,
                strerror(error), log->lost);
}

static void say_works(struct access_log *log)
{
    if (log->failing)
        log_limited(&log->limit, LOG_LEVEL_INFO, "access_log_works", "lost=%" PRIu64, log->lost);
    log->failing = false;
}

static uint64_t count_lines(const char *p, uint32_t n)
{
    uint64_t lines = 0;
    for (uint32_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* Bytes of the line that the buffer begins inside of; 0: it begins with a whole line. */
static uint32_t torn_rest(const struct access_log *log)
{
    const char *end = log->torn ? memchr(log->buffer, '\n', log->used) : NULL;
    return end ? (uint32_t)(end + 1 - log->buffer) : 0;
}

/*
 * The buffered lines are lost. The rest of a torn one stays: written later, it makes the line whole,
 * and left out it would spoil the next.
 */
static void lose_lines(struct access_log *log, int error)
{
    uint32_t rest = torn_rest(log);
    uint64_t lines = count_lines(log->buffer + rest, log->used - rest);
    log->used = rest;
    say_lost(log, lines, error);
}

/* How much to offer at once, see access_log_flush. */
static uint32_t piece_len(const struct access_log *log)
{
    if (!log->stream || log->used <= PIPE_BUF)
        return log->used;
    const char *end = memrchr(log->buffer, '\n', PIPE_BUF);
    return end ? (uint32_t)(end + 1 - log->buffer) : PIPE_BUF;
}

/* Returns true while it makes sense to go on. */
static bool write_piece(struct access_log *log)
{
    struct pollfd poller = {.fd = FD_ACCESS_LOG, .events = POLLOUT};
    /* Room in a pipe is room for PIPE_BUF bytes; errors are left to write(2). */
    if (log->blocking && poll(&poller, 1, 0) <= 0)
        return false;
    uint32_t len = piece_len(log);
    ssize_t n = write(FD_ACCESS_LOG, log->buffer, len);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        lose_lines(log, errno);
    if (n <= 0)
        return false;
    log->torn = log->buffer[n - 1] != '\n';
    forget(log, (uint32_t)n);
    if (log->used == 0)
        say_works(log);
    return log->stream && log->used > 0 && (uint32_t)n == len;
}

void access_log_flush(struct access_log *log)
{
    bool more = log->buffer && log->used > 0;
    while (more)
        more = write_piece(log);
}

/* What stands at FD_ACCESS_LOG now. */
static void look_at_descriptor(struct access_log *log)
{
    struct stat st = {0};
    int flags = fcntl(FD_ACCESS_LOG, F_GETFL);
    bool known = fstat(FD_ACCESS_LOG, &st) == 0;
    if (log->torn && (log->device != st.st_dev || log->inode != st.st_ino)) {
        forget(log, torn_rest(log));
        log->lost++;
        log->torn = false;
    }
    log->device = st.st_dev;
    log->inode = st.st_ino;
    log->stream = known && !S_ISREG(st.st_mode);
    log->blocking = log->stream && flags >= 0 && !(flags & O_NONBLOCK);
}

void access_log_configure(struct access_log *log, uint32_t format)
{
    log->format = format;
    if (format == ACCESS_LOG_OFF) {
        access_log_flush(log);
        if (log->used > 0)
            say_lost(log, count_lines(log->buffer, log->used), EAGAIN);
        free(log->buffer);
        log->buffer = NULL;
        log->used = 0;
        log->torn = false;
        log->failing = false;
        return;
    }
    if (!log->buffer)
        log->buffer = malloc(ACCESS_LOG_BUFFER);
    if (!log->buffer)
        log_write(LOG_LEVEL_ERROR, "access_log_failed", "error=\"%s\"", strerror(ENOMEM));
    look_at_descriptor(log);
}

static void append(struct access_log *log, enum access_escape escape,
                   const struct access_piece *pieces, uint32_t count, const char *tail)
{
    char line[ACCESS_LOG_LINE_MAX];
    uint32_t n = (uint32_t)access_line_write(escape, pieces, count, tail,
                                             (struct access_room){line, sizeof line});
    if (n > ACCESS_LOG_BUFFER - log->used)
        access_log_flush(log);
    if (n > ACCESS_LOG_BUFFER - log->used) {
        say_lost(log, 1, EAGAIN);
        return;
    }
    memcpy(log->buffer + log->used, line, n);
    log->used += n;
    if (log->used > ACCESS_LOG_BUFFER / 2)
        access_log_flush(log);
}

/* "2026-11-22T20:15:03.123Z" */
static void print_time(uint64_t real_ms, char *out, size_t size)
{
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm = {0};
    char stamp[40];
    gmtime_r(&seconds, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, size, "%s.%03uZ", stamp, (unsigned)(real_ms % 1000));
}

/* "22/Nov/2026:21:15:03 +0100", local time as nginx's $time_local. */
static void print_local_time(uint64_t real_ms, char *out, size_t size)
{
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm = {0};
    localtime_r(&seconds, &tm);
    if (strftime(out, size, "%d/%b/%Y:%H:%M:%S %z", &tm) == 0)
        out[0] = '\0';
}

static void request_json(struct access_log *log, const struct access_request *r)
{
    char stamp[64];
    char begin[128];
    char numbers[256];
    char tries[64];
    char tail[64] = "\"}\n";
    char client[ADDR_TEXT_MAX];
    const char *protocol = r->method.n == 0 ? "" : r->minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
    print_time(r->ended_real_ms, stamp, sizeof stamp);
    snprintf(begin, sizeof begin, "{\"time\":\"%s\",\"type\":\"request\",\"client\":\"", stamp);
    snprintf(numbers, sizeof numbers,
             "\",\"protocol\":\"%s\",\"status\":%u,\"body_in\":%" PRIu64 ",\"body_out\":%" PRIu64
             ",\"duration_ms\":%" PRIu64 ",\"site\":\"",
             protocol, r->status, r->body_in, r->body_out, r->duration_ms);
    snprintf(tries, sizeof tries, "\",\"tries\":%u,\"reason\":\"", r->tries);
    if (r->tunnel != 0)
        snprintf(tail, sizeof tail, "\",\"tunnel\":\"%" PRIx64 "\"}\n", r->tunnel);
    const struct access_piece pieces[] = {
        {begin, {client, addr_print(r->client, client)}},
        {"\",\"method\":\"", r->method},
        {"\",\"host\":\"", r->host},
        {"\",\"target\":\"", r->target},
        {numbers, r->site},
        {"\",\"upstream\":\"", r->upstream},
        {"\",\"backend\":\"", r->server},
        {tries, slice_of(r->reason)},
        {"\",\"referer\":\"", r->referer},
        {"\",\"user_agent\":\"", r->user_agent},
    };
    append(log, ACCESS_ESCAPE_JSON, pieces, ARRAY_LEN(pieces), tail);
}

/* nginx: $remote_addr - - [$time_local] "$request" $status $body_bytes_sent "referer" "agent" */
static void request_combined(struct access_log *log, const struct access_request *r)
{
    char stamp[64];
    char begin[128];
    char numbers[256];
    char client[ADDR_TEXT_MAX];
    struct access_piece pieces[5];
    uint32_t count = 0;
    bool parsed = r->method.n > 0;
    print_local_time(r->ended_real_ms, stamp, sizeof stamp);
    snprintf(begin, sizeof begin, " - - [%s] \"%s", stamp, parsed ? "" : "-");
    snprintf(numbers, sizeof numbers, "%s\" %03u %" PRIu64 " \"",
             !parsed         ? begin
             : r->minor == 0 ? " HTTP/1.0"
                             : " HTTP/1.1",
             r->status, r->body_out);
    pieces[count++] = (struct access_piece){"", {client, addr_print_host(r->client, client)}};
    if (parsed) {
        pieces[count++] = (struct access_piece){begin, r->method};
        pieces[count++] = (struct access_piece){" ", r->target};
    }
    pieces[count++] = (struct access_piece){numbers, r->referer};
    pieces[count++] = (struct access_piece){"\" \"", r->user_agent};
    append(log, ACCESS_ESCAPE_NGINX, pieces, count, "\"\n");
}

void access_log_request(struct access_log *log, const struct access_request *request)
{
    if (log->buffer && log->format == ACCESS_LOG_JSON)
        request_json(log, request);
    else if (log->buffer && log->format == ACCESS_LOG_COMBINED)
        request_combined(log, request);
}

static void tunnel_json(struct access_log *log, const struct access_tunnel *t)
{
    char stamp[64];
    char begin[128];
    char numbers[256];
    print_time(t->ended_real_ms, stamp, sizeof stamp);
    snprintf(begin, sizeof begin,
             "{\"time\":\"%s\",\"type\":\"tunnel\",\"tunnel\":\"%" PRIx64 "\",\"client\":\"", stamp,
             t->tunnel);
    snprintf(numbers, sizeof numbers,
             "\",\"duration_ms\":%" PRIu64 ",\"rx_bytes\":%" PRIu64 ",\"tx_bytes\":%" PRIu64
             ",\"rx_frames\":%" PRIu64 ",\"tx_frames\":%" PRIu64 ",\"reason\":\"",
             t->duration_ms, t->bytes[0], t->bytes[1], t->frames[0], t->frames[1]);
    const struct access_piece pieces[] = {
        {begin, t->client},
        {"\",\"site\":\"", t->site},
        {"\",\"upstream\":\"", t->upstream},
        {"\",\"backend\":\"", t->server},
        {numbers, slice_of(t->reason)},
    };
    append(log, ACCESS_ESCAPE_JSON, pieces, ARRAY_LEN(pieces), "\"}\n");
}

/* The address without port and brackets: what nginx logs of a client. */
static struct slice host_of(struct slice client)
{
    const char *colon = client.n > 0 ? memrchr(client.p, ':', client.n) : NULL;
    if (!colon || slice_starts(client, SLICE("unix:")))
        return client;
    struct slice host = {client.p, (size_t)(colon - client.p)};
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct slice){host.p + 1, host.n - 2};
    return host;
}

/* A line that readers of the combined format take for a request, with a method of its own. */
static void tunnel_combined(struct access_log *log, const struct access_tunnel *t)
{
    char stamp[64];
    char begin[256];
    char tail[256];
    print_local_time(t->ended_real_ms, stamp, sizeof stamp);
    snprintf(begin, sizeof begin,
             " - - [%s] \"TUNNEL %" PRIx64 "\" 101 %" PRIu64 " \"-\" \"reason=", stamp, t->tunnel,
             t->bytes[1]);
    snprintf(tail, sizeof tail,
             " duration_ms=%" PRIu64 " rx=%" PRIu64 " tx=%" PRIu64 " rx_frames=%" PRIu64
             " tx_frames=%" PRIu64 "\"\n",
             t->duration_ms, t->bytes[0], t->bytes[1], t->frames[0], t->frames[1]);
    const struct access_piece pieces[] = {
        {"", host_of(t->client)},
        {begin, slice_of(t->reason)},
        {" backend=", t->upstream},
        {"/", t->server},
    };
    append(log, ACCESS_ESCAPE_NGINX, pieces, ARRAY_LEN(pieces), tail);
}

void access_log_tunnel(struct access_log *log, const struct access_tunnel *tunnel)
{
    if (log->buffer && log->format == ACCESS_LOG_JSON)
        tunnel_json(log, tunnel);
    else if (log->buffer && log->format == ACCESS_LOG_COMBINED)
        tunnel_combined(log, tunnel);
}
