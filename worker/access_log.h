/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log: one line a request and one a tunnel at its end, JSON or combined. Buffered, written
 * once a second or when half full; what the disk does not take is counted and dropped, never waited for.
 */
#ifndef WORKER_ACCESS_LOG_H
#define WORKER_ACCESS_LOG_H

#include "common/addr.h"
#include "common/log.h"
#include "common/slice.h"
#include "shm/arena.h"
#include "shm/image.h"

#include <stdbool.h>
#include <stdint.h>

struct access_log {
    char *buffer; /* ACCESS_LOG_BUFFER bytes, NULL while the log is off */
    uint32_t used;
    uint32_t format; /* enum image_log_format */
    bool failing;    /* lines are being lost: said once */
    bool stream;     /* the descriptor is no file but a pipe, a socket or a terminal */
    bool blocking;   /* of a stream: a write might wait */
    bool torn;       /* the buffer begins inside a line, of which the descriptor took the start */
    uint64_t device; /* which file it is, so that the rest of a torn line never goes to another */
    uint64_t inode;
    uint64_t lost;          /* lines that could not be written */
    struct log_limit limit; /* a reader that is just too slow fails and works again all the time */
};

enum { ACCESS_LOG_BUFFER = 65536, ACCESS_LOG_LINE_MAX = 8192 };

/* One request, when it is answered or given up. Peer bytes are escaped here. */
struct access_request {
    const struct addr *client;
    struct slice method, target, host, referer, user_agent; /* empty: unknown */
    struct slice site, upstream, server;                    /* empty: none */
    uint64_t ended_real_ms;
    uint64_t duration_ms;
    uint64_t body_in;   /* bytes of the request's body */
    uint64_t body_out;  /* bytes of the answer's body */
    uint64_t tunnel;    /* id of the tunnel it became, 0: none */
    uint32_t status;    /* 0: the client got no answer */
    uint32_t tries;     /* servers tried */
    uint32_t minor;     /* HTTP/1.minor */
    const char *reason; /* word of shm/reason.h */
};

/* A tunnel at its end; what its public record says. */
struct access_tunnel {
    struct slice client; /* printed address with port */
    struct slice site, upstream, server;
    uint64_t tunnel;
    uint64_t ended_real_ms;
    uint64_t duration_ms;
    uint64_t bytes[2];
    uint64_t frames[2];
    const char *reason;
};

/*
 * Begin (zeroed) or change: format from the image in use, descriptor FD_ACCESS_LOG. To be called again
 * whenever another file stands there. ACCESS_LOG_OFF writes out what is buffered and frees the buffer.
 */
void access_log_configure(struct access_log *log, uint32_t format);

/* Would a line be written? What it is made of need not be gathered otherwise. */
static inline bool access_log_wanted(const struct access_log *log)
{
    return log->buffer != NULL;
}

void access_log_request(struct access_log *log, const struct access_request *request);
void access_log_tunnel(struct access_log *log, const struct access_tunnel *tunnel);

/*
 * Write out what is buffered. Never waits: what the descriptor does not take now stays for the next
 * time; when it fails (full disk, broken pipe) whole lines are lost, counted, and said once.
 * A file gets one write(2); a stream gets whole lines of at most PIPE_BUF, which the kernel takes or
 * leaves as a whole, so that lines of several workers do not mix.
 */
void access_log_flush(struct access_log *log);

#endif
