/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_frame.h"

#include "test/tools/ws_load.h"

#include <string.h>

enum {
    PERIOD = 1048583,    /* a prime: no power of two hides a shift */
    STRIDE = 7919 * 131, /* how far apart the patterns of neighbours begin */
    PUSH_PERIOD = 251,   /* of the echo server: see echo_conn.h */
    LEN_16 = 126,
    LEN_64 = 127,
    MASKED = 0x80,
};

/* Constant once it is filled. */
static uint8_t table[PERIOD + WS_LOAD_RUN];
static uint8_t pushed[WS_LOAD_SCRATCH + PUSH_PERIOD];

void ws_load_frame_init(uint64_t seed)
{
    uint64_t rng = seed ^ 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < PERIOD; i++)
        table[i] = (uint8_t)ws_load_random(&rng, 0, 255);
    memcpy(table + PERIOD, table, WS_LOAD_RUN);
    for (size_t i = 0; i < sizeof pushed; i++)
        pushed[i] = (uint8_t)(i % PUSH_PERIOD);
}

const uint8_t *ws_load_frame_pattern(uint64_t id, uint64_t position)
{
    return table + (id * STRIDE + position) % PERIOD;
}

const uint8_t *ws_load_frame_pushed(uint64_t position)
{
    return pushed + position % PUSH_PERIOD;
}

void ws_load_frame_begin(struct ws_load_frame *frame, uint8_t first, uint64_t size, uint32_t mask)
{
    size_t ext = size < LEN_16 ? 0 : size < 65536 ? 2 : 8;

    memset(frame, 0, sizeof *frame);
    frame->active = true;
    frame->size = size;
    frame->header[0] = first;
    frame->header[1] = (uint8_t)(MASKED | (ext == 0 ? size : ext == 2 ? LEN_16 : LEN_64));
    for (size_t i = 0; i < ext; i++)
        frame->header[2 + i] = (uint8_t)(size >> (8 * (ext - 1 - i)));
    memcpy(frame->mask, &mask, sizeof frame->mask);
    memcpy(frame->header + 2 + ext, &mask, sizeof frame->mask);
    frame->header_len = (uint8_t)(2 + ext + sizeof frame->mask);
}

uint64_t ws_load_frame_length(const struct ws_load_frame *frame)
{
    return frame->header_len + frame->size;
}

/* out = in ^ mask, the mask beginning with its byte number `phase`. */
static void apply_mask(uint8_t *out, const uint8_t *in, size_t n, const uint8_t mask[4],
                       unsigned phase)
{
    uint8_t turned[8];
    uint64_t wide, word;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof turned; k++)
        turned[k] = mask[(phase + k) & 3];
    memcpy(&wide, turned, sizeof wide);
    for (; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, in + i, sizeof word);
        word ^= wide;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < n; i++)
        out[i] = in[i] ^ turned[i & 7];
}

size_t ws_load_frame_render(const struct ws_load_frame *frame, uint64_t id, uint8_t *out,
                            size_t room)
{
    size_t n = 0;
    uint64_t at = frame->at;

    if (at < frame->header_len) {
        n = frame->header_len - (size_t)at;
        n = n < room ? n : room;
        memcpy(out, frame->header + at, n);
        at += n;
    }
    if (at < frame->header_len)
        return n;
    uint64_t offset = at - frame->header_len;
    uint64_t left = frame->size - offset;
    size_t more = room - n < left ? room - n : (size_t)left;
    if (more > WS_LOAD_RUN)
        more = WS_LOAD_RUN;
    const uint8_t *payload = frame->control ? frame->control + offset
                                            : ws_load_frame_pattern(id, frame->position + offset);
    apply_mask(out + n, payload, more, frame->mask, (unsigned)(offset & 3));
    return n + more;
}
