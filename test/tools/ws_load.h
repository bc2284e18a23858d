/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws-load: opens WebSocket tunnels through a proxy to an echo server and checks every byte that comes
 * back. One process, one epoll set, no threads. What is sent is a function of seed, connection and
 * position: nothing is kept to compare with, and a byte that is lost, doubled, moved or another
 * connection's shows. Structures shared by the ws_load_*.c files.
 */
#ifndef TEST_TOOLS_WS_LOAD_H
#define TEST_TOOLS_WS_LOAD_H

#include "common/addr.h"
#include "common/compiler.h"
#include "test/tools/ws_load_frame.h"
#include "test/tools/ws_load_shape.h"
#include "test/tools/ws_load_stat.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_LOAD_SCRATCH = 256 * 1024, /* bytes taken by one recv */
    WS_LOAD_PIECE = 64 * 1024,    /* bytes given to one send */
    WS_LOAD_HEAD_MAX = 4096,      /* of the answer to a handshake */
    WS_LOAD_KEY_LEN = 24,
    WS_LOAD_TIMER_SLOTS = 1024, /* of one millisecond each */
};

enum ws_load_state {
    LOAD_EMPTY,   /* waits for its turn to be opened */
    LOAD_PAUSE,   /* the proxy was not there: waits for its timer to be opened again */
    LOAD_OPENING, /* connect, handshake */
    LOAD_OPEN,    /* messages */
    LOAD_ENDING,  /* Close or FIN is sent: what is missing comes, then the peer's FIN */
    LOAD_DONE,    /* closed, the run is over */
};

struct ws_load_options {
    struct addr target;
    const char *path;
    const char *host;
    uint32_t conns;
    uint32_t active;  /* of these, how many talk; the others are idle */
    uint32_t sources; /* source addresses 127.0.0.1 and up; 1: the kernel's choice */
    uint64_t run_ms;
    uint64_t stall_ms; /* a tunnel that owes something and does not move for so long has stalled */
    uint64_t seed;
    int shape;            /* enum ws_load_shape_id, or -1: the mix */
    uint32_t size;        /* bytes of a message; 0: as the shape says */
    uint32_t window;      /* messages in flight; 0: as the shape says */
    uint32_t count;       /* messages a connection; 0: as the shape says */
    uint64_t bytes_per_s; /* of shapes that are limited; 0: no limit */
    uint64_t messages_per_s;
    uint32_t weights[WS_LOAD_SHAPES];
    bool json;
    int tls;              /* 12, 13: by TLS of that version; 0: in the clear */
    uint32_t key_updates; /* new keys before one of so many sends; 0: never */
    const char *suites;   /* NULL: as OpenSSL likes */
    bool proxy_pings;     /* the proxy pings who is silent */
    uint32_t goodbye;     /* code of the Close by which the proxy ends tunnels; 0: it ends none */
};

/* One tunnel. The slot lives as long as the program; `id` is new for each connection in it. */
struct ws_load_conn {
    int fd;
    uint8_t state;     /* enum ws_load_state */
    uint8_t shape_id;  /* enum ws_load_shape_id */
    bool blocked;      /* the socket takes no more: EPOLLOUT is asked for */
    bool reading;      /* EPOLLIN is asked for */
    bool close_sent;   /* our Close frame is on its way */
    bool close_seen;   /* and was answered */
    bool timing;       /* message number `timed` is being timed */
    bool pinged;       /* a ping was sent since the last message */
    bool told;         /* the proxy's Close has come: no more messages */
    bool awaits_ping;  /* all is said: it ends after one more ping of the proxy's */
    uint32_t interest; /* epoll events asked for */
    uint32_t slot;     /* index in ws_load.conns */
    uint64_t id;       /* picks the pattern and the plan */
    uint32_t count;    /* messages to send */
    uint32_t burst;    /* messages in flight before it waits */
    uint32_t begun;    /* messages whose first frame was begun */
    uint32_t echoed;   /* messages that came back whole */
    uint32_t timed;
    uint32_t pings, pongs;                /* sent; answered */
    uint32_t proxy_pings, pings_before;   /* of the proxy's: all; those before awaits_ping */
    struct ws_load_plan tx_plan, rx_plan; /* the same frames: sent, and expected back */
    uint32_t tx_frames, rx_frames;        /* data frames begun by either */
    uint64_t tx_position, rx_position;    /* payload bytes of data frames */
    struct ws_load_frame out;             /* being sent, if .active */
    uint64_t wire_tx, wire_rx;            /* bytes behind the handshake */
    uint64_t begun_ns;                    /* connect */
    uint64_t timed_ns;
    uint64_t progress_ms;  /* when a byte last moved; pings and answers to them do not count */
    uint64_t send_at_ms;   /* sends nothing before */
    uint64_t resume_at_ms; /* likewise, once the answer that is being sent is out */
    uint64_t read_at_ms;   /* reads nothing before */

    /* The frame that is coming in. */
    uint8_t in_header[10];
    uint8_t in_have; /* header bytes so far */
    bool in_payload;
    uint8_t in_len;          /* of `in_control` */
    uint64_t in_left;        /* payload bytes still to come */
    uint8_t in_control[125]; /* payload of a control frame */
    uint8_t close_len;       /* of our Close frame */
    uint8_t close_payload[32];
    uint8_t pong_len;
    bool pong_due; /* the peer's ping is to be answered with pong_payload */
    uint8_t ping_payload[16];
    uint8_t pong_payload[125];

    char *head; /* answer to the handshake while it comes in */
    uint32_t head_len;
    uint32_t request_sent;
    struct ssl_st *ssl; /* NULL: in the clear */
    bool wants_write;   /* OpenSSL waits for room */
    size_t least;       /* bytes that the next send must have at least */
    char key[WS_LOAD_KEY_LEN + 1];

    uint64_t timer_ms; /* 0: not armed */
    struct ws_load_conn *timer_prev, *timer_next;
};

enum ws_load_fault { FAULT_LOST, FAULT_CORRUPT, FAULT_STALLED, FAULT_COUNT };

struct ws_load_counts {
    uint64_t attempts;
    uint64_t opened;
    uint64_t completed;
    uint64_t aborted; /* by us, on purpose */
    uint64_t faults[FAULT_COUNT];
    uint64_t retried;  /* died in the handshake, as HTTP connections of a killed worker may */
    uint64_t refused;  /* connect was refused: there must always be a listener */
    uint64_t declined; /* answered, but not with a valid 101 */
    uint64_t messages; /* echoed whole */
    uint64_t payload;  /* bytes that were compared */
    uint64_t wire_tx, wire_rx; /* bytes of tunnels, headers included */
    uint64_t frames_tx, frames_rx;
    uint64_t key_updates; /* of ours */
    uint64_t proxy_pings; /* of the proxy's; not in wire_rx and frames_rx */
    uint64_t proxy_pongs; /* our answers: all but those to pings behind our Close or FIN */
    uint64_t told; /* ended in order by the proxy's Close, which is not in wire_rx and frames_rx */
    uint64_t told_mute;               /* of these, our FIN was out: no answer */
    uint64_t mute_bytes, mute_frames; /* what those have sent */
    uint64_t told_bytes;              /* beside the code, in answers to the proxy's Close */
    uint64_t crossed_bytes;           /* likewise, in Closes of ours that the proxy's has crossed */
};

/* Payloads of the proxy's pings, to find one that comes a second time. */
struct ws_load_seen {
    uint64_t *places;
    uint64_t room, count;
};

/* What limited shapes may still send. Goes below 0 by the last piece. */
struct ws_load_meter {
    int64_t bytes;
    int64_t messages;
    uint64_t filled_ns;
};

struct ws_load {
    const struct ws_load_options *options;
    struct ssl_ctx_st *tls; /* NULL: in the clear */
    int epoll_fd;
    uint64_t now_ns;
    uint64_t now_ms;
    uint64_t rng;
    uint64_t next_id;
    struct ws_load_conn *conns;
    uint32_t *queue; /* ring of slots to open */
    uint32_t queue_head, queue_len;
    uint32_t opening; /* handshakes in flight */
    uint32_t open;
    uint32_t done;
    uint32_t shown; /* failures printed */
    bool measuring;
    bool stopping;
    bool interrupted; /* by TERM or INT */
    struct ws_load_counts counts;
    struct ws_load_meter meter;
    struct ws_load_seen seen;
    struct ws_load_stat latency[WS_LOAD_SHAPES];
    struct ws_load_stat handshake;
    uint64_t timer_tick_ms; /* timers up to and including this are done */
    struct ws_load_conn *timers[WS_LOAD_TIMER_SLOTS];
    uint8_t scratch[WS_LOAD_SCRATCH];
};

/* Pseudo-random number between and including both. */
uint64_t ws_load_random(uint64_t *state, uint64_t low, uint64_t high);

#endif
