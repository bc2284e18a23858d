/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wire: payload as a function of connection and position, frames around it. */
#ifndef TEST_TOOLS_WS_LOAD_FRAME_H
#define TEST_TOOLS_WS_LOAD_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WS_LOAD_RUN = 64 * 1024, /* bytes that stand in a row at any ws_load_pattern */
    WS_LOAD_CONTROL_MAX = 125,
    WS_LOAD_HEADER_MAX = 14,
};

/* A frame that is being sent: any part of it can be made again, so no part of it is kept. */
struct ws_load_frame {
    bool active;
    bool last; /* a message ends with it */
    uint8_t header[WS_LOAD_HEADER_MAX];
    uint8_t header_len;
    uint8_t mask[4];
    uint64_t size;          /* payload bytes */
    uint64_t at;            /* bytes of the frame, header included, that were sent */
    uint64_t position;      /* data frames: of the first payload byte in the connection's stream */
    const uint8_t *control; /* control frames: the payload; NULL: a data frame */
};

/* Fill the pattern; once, at start. */
void ws_load_frame_init(uint64_t seed);

/* Payload bytes of a connection from a position on: WS_LOAD_RUN bytes stand there. */
const uint8_t *ws_load_frame_pattern(uint64_t id, uint64_t position);

/* The same of the echo server's own stream (/push). */
const uint8_t *ws_load_frame_pushed(uint64_t position);

/*
 * Begin a frame (RFC 6455 5.2): `first` is its first byte. `control` is borrowed until the frame is
 * sent; NULL for a data frame, whose payload is the pattern from `position` on.
 */
void ws_load_frame_begin(struct ws_load_frame *frame, uint8_t first, uint64_t size, uint32_t mask);

/* Bytes of the whole frame on the wire. */
uint64_t ws_load_frame_length(const struct ws_load_frame *frame);

/* Write the frame's next bytes, masked, at most `room` of them. Returns how many. */
size_t ws_load_frame_render(const struct ws_load_frame *frame, uint64_t id, uint8_t *out,
                            size_t room);

#endif
