/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frame tracker (RFC 6455 5.2): follows frame headers in one direction of a tunnel
 * without touching payload, so that we always know where a frame ends. Plain data: it lives in a
 * tunnel's arena record and is a pure function of the bytes seen. No I/O, no heap.
 */
#ifndef COMMON_WS_FRAME_H
#define COMMON_WS_FRAME_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opcodes (RFC 6455 11.8). */
enum { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* Bits of ws_track.flags. */
enum {
    WS_IN_MESSAGE = 1 << 0, /* a fragmented message is open: the last data frame had no FIN */
    WS_SAW_CLOSE = 1 << 1,  /* a whole Close frame has passed */
    WS_BROKEN = 1 << 2,     /* bytes that cannot be frames were seen (length with the top bit set):
                               tracking has stopped, the bytes still pass */
    WS_TAKEN = 1 << 3,      /* a Close has begun that is not passed on, nor is what follows it: set
                               by ws_walk(), kept by the tracker */
};

struct ws_track {
    uint64_t left;   /* header phase: the extended length as far as read; payload phase: payload
                        bytes still to come */
    uint32_t frames; /* whole frames that have passed, mod 2^32 */
    uint8_t need;    /* header bytes still to come of the current header; 0: in payload, or, with
                        left == 0, at a frame boundary */
    uint8_t head;    /* header bytes read of the current header (0: at a boundary or in payload) */
    uint8_t first;   /* first header byte of the current frame: FIN, RSV, opcode */
    uint8_t flags;
};

_Static_assert(sizeof(struct ws_track) == 16, "part of a tunnel's 128-byte record");

void ws_track_init(struct ws_track *track);

/*
 * Go over n more bytes. Any number of frames, any split. Cost: per frame, not per byte.
 */
void ws_track_feed(struct ws_track *track, const void *bytes, size_t n);

/* True if the bytes so far end with a whole frame: here a frame of our own may be put in. */
bool ws_track_at_boundary(const struct ws_track *track);

#endif
