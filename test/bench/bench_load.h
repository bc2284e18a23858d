/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-load: clients and backends of the benchmark in one process and one epoll loop, so that they cost
 * less than the proxy between them, and each end knows what the other did. Structures shared by the
 * bench_*.c files; what each file exports stands below.
 *
 * A message is one frame of fixed size; its first 8 bytes are the time it was sent, which is how it is
 * known again. Masks are zero, as RFC 6455 5.3 does not forbid a proxy to relay: the backend echoes a
 * payload as it came and writes only a new header in front.
 */
#ifndef TEST_BENCH_BENCH_LOAD_H
#define TEST_BENCH_BENCH_LOAD_H

#include "common/addr.h"
#include "common/compiler.h"
#include "test/bench/bench_cpu.h"
#include "test/bench/bench_io.h"
#include "test/tools/ws_load_stat.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    BENCH_STAMP = 8, /* bytes of a message that are its time */
    BENCH_SIZE_MAX = 1 << 20,
    BENCH_SCRATCH = 256 * 1024,
    BENCH_HEAD_MAX = 4096,
    BENCH_BACKENDS_MAX = 8,
    BENCH_WATCHED_MAX = 64,
    BENCH_CLIENT_HEADER = 4, /* a client's header is longer by its mask */
};

enum bench_mode {
    MODE_ECHO,  /* tunnels, of which some send a message as soon as the last has come back */
    MODE_PUSH,  /* the backends send a message into each tunnel; when all have arrived, again */
    MODE_SETUP, /* connect, upgrade, one echo, close; again */
    MODE_HTTP,  /* requests on kept connections */
    MODE_HOLD,  /* open tunnels and keep them, do as standard input says */
};

/* What an event's pointer leads to; first member of all of them. */
enum bench_kind { KIND_CLIENT, KIND_BACKEND, KIND_LISTENER, KIND_STDIN };

struct bench_options {
    enum bench_mode mode;
    struct addr target;
    struct addr backends[BENCH_BACKENDS_MAX];
    uint32_t backend_count;
    struct addr source; /* first address that clients connect from; len 0: the kernel's choice */
    uint32_t sources;   /* how many of them, one after the other */
    bool tls;
    bool resume;      /* TLS: all but the first connection resume its session */
    uint32_t conns;   /* clients */
    uint32_t active;  /* MODE_ECHO: of these, how many talk; MODE_HOLD: how many are opened first */
    uint32_t opening; /* connections that are being opened at a time */
    uint32_t size;    /* bytes of a message or of an answer's body */
    uint64_t warm_ms, run_ms;
    bool gated; /* begin when a line comes from standard input: then all backends listen */
    pid_t watched[BENCH_WATCHED_MAX]; /* the proxy's processes */
    uint32_t watched_count;
};

enum client_state {
    CLIENT_EMPTY,      /* no socket */
    CLIENT_CONNECTING, /* until the socket is writable */
    CLIENT_SECURING,   /* TLS handshake */
    CLIENT_UPGRADING,  /* the request is sent, 101 is awaited */
    CLIENT_OPEN,       /* a tunnel */
    CLIENT_ASKING,     /* MODE_HTTP */
};

/* A client. Its slot lives as long as the program. */
struct bench_client {
    uint8_t kind;  /* KIND_CLIENT */
    uint8_t state; /* enum client_state */
    bool busy;     /* a message or request is under way */
    bool talks;
    struct bench_io io;
    uint32_t out_at;   /* bytes of the frame that were sent */
    uint32_t in_at;    /* bytes of the awaited frame or answer that have come */
    uint32_t in_total; /* of an answer: all its bytes, 0: not known yet */
    uint64_t stamp;    /* of the message under way */
    uint64_t begun_ns; /* connect */
    char *head;        /* an answer's head while it comes in */
    uint32_t head_len;
};

/* A connection that a backend has accepted. Heap. */
struct bench_backend {
    uint8_t kind; /* KIND_BACKEND */
    bool tunnel;  /* upgraded */
    bool dead;
    bool readable;
    int fd;
    uint8_t header[14]; /* of the frame that is coming in */
    uint32_t header_len;
    uint64_t left; /* payload bytes of it to come */
    char *held;    /* output that the socket did not take */
    uint32_t held_at, held_len;
    uint32_t index; /* in bench_load.tunnels, once upgraded */
    struct bench_backend *prev, *next;
    struct bench_backend *next_dead;
};

/* What an event of a listener or of standard input leads to. */
struct bench_source {
    uint8_t kind; /* KIND_LISTENER, KIND_STDIN */
    int fd;
};

enum bench_phase { PHASE_GATED, PHASE_RAMP, PHASE_WARM, PHASE_RUN, PHASE_HOLD, PHASE_OVER };

struct bench_load {
    const struct bench_options *options;
    int epoll_fd;
    enum bench_phase phase;
    uint64_t phase_ns; /* when it began */
    struct bench_tls *tls;
    struct bench_client *clients;
    uint32_t next_empty; /* slots from here on may be empty */
    uint32_t opening;
    uint32_t open;
    uint32_t wanted;                /* how many are to be open */
    uint32_t talking;               /* MODE_HOLD: messages under way */
    uint32_t talk_next;             /* MODE_HOLD: next slot to talk; `wanted`: all have */
    uint32_t push_due;              /* MODE_PUSH: messages of this round still to arrive */
    struct bench_backend **tunnels; /* backends' ends of tunnels */
    uint32_t tunnel_count, tunnel_room;
    struct bench_backend *first_backend;
    struct bench_backend *graveyard;
    struct bench_source sources[BENCH_BACKENDS_MAX + 1];
    uint32_t source_count;

    uint64_t done;   /* messages, tunnels or answers, in PHASE_RUN */
    uint64_t faults; /* what should never happen */
    uint64_t resumed;
    uint64_t ramp_ns, run_ns;
    struct bench_cpu proxy_cpu, own_cpu; /* before; after: between */
    struct ws_load_stat latency;

    uint8_t *frame; /* a client's frame, ready but for its stamp */
    uint32_t frame_len;
    uint8_t *answer; /* HTTP: what a backend answers */
    uint32_t answer_len;
    uint8_t scratch[BENCH_SCRATCH];
};

/* Something that must not happen has: say it (the first few times) and count it. */
void bench_fault(struct bench_load *load, const char *what, int error);

/* Bytes of a frame header of this payload size, without a mask; written to `out` unless it is NULL. */
uint32_t bench_frame_header(uint8_t *out, uint64_t size);

#endif
