/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of traffic, and the sequence of frames that a connection of a kind sends. */
#ifndef TEST_TOOLS_WS_LOAD_SHAPE_H
#define TEST_TOOLS_WS_LOAD_SHAPE_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum ws_load_shape_id {
    SHAPE_CHAT,     /* small messages in bursts, with pauses */
    SHAPE_PINGPONG, /* a message, its echo, the next message */
    SHAPE_BULK,     /* large messages */
    SHAPE_SLOW,     /* reads slowly: back-pressure all the way to the server and back */
    SHAPE_SHORT,    /* few messages, Close, and again */
    SHAPE_HALF,     /* FIN behind the last message: echo and FIN must still come */
    SHAPE_IDLE,     /* one message at the very end */
    SHAPE_ABORT,    /* RST amid the traffic */
    SHAPE_PUSH,     /* the server sends, we listen; only alone */
    WS_LOAD_SHAPES,
};

enum ws_load_ending { ENDING_CLOSE, ENDING_FIN, ENDING_RST };

/* What a shape that would take all there is shares with its like (-r, -R). */
enum ws_load_limit { LIMIT_NONE, LIMIT_BYTES, LIMIT_MESSAGES };

struct ws_load_shape {
    const char *name;
    uint32_t weight; /* in the mix */
    uint32_t size_min, size_max;
    uint32_t window;               /* messages in flight, at most */
    uint32_t think_min, think_max; /* milliseconds between bursts */
    uint32_t count_min, count_max; /* messages a connection */
    uint32_t forever; /* percent of the slots whose connections last as long as the run */
    uint32_t ping;    /* percent of the messages that a ping precedes */
    uint32_t split;   /* percent of the frames that are sent in small parts */
    uint8_t ending;   /* enum ws_load_ending */
    bool eager;       /* Close does not wait for the last echo */
    uint8_t limit;    /* enum ws_load_limit */
    bool slow;        /* small receive buffer, read in sips */
    bool fast;        /* counts for the longest gap */
};

const struct ws_load_shape *ws_load_shape(unsigned id);

/* The id of a name; -EINVAL if there is no such shape. */
int ws_load_shape_find(const char *name) MUST_CHECK;

/* The frames of a connection, one after the other: a function of `rng` as it was set. */
struct ws_load_plan {
    uint64_t rng;
    uint64_t left;   /* payload bytes of the message that are not in a frame yet */
    bool in_message; /* the last frame was not the message's last */
};

struct ws_load_step {
    uint8_t first; /* first header byte: FIN and opcode */
    uint64_t size;
};

/* The next data frame. `size`: of every message; 0: as the shape says. */
struct ws_load_step ws_load_shape_step(struct ws_load_plan *plan, const struct ws_load_shape *shape,
                                       uint32_t size);

#endif
