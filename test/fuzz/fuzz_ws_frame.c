/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a stream of frames. The tracker must agree with a plain reader of RFC 6455 5.2. */
#include "common/ws_frame.h"

#include "test/fuzz/fuzz.h"

#include <string.h>

struct truth {
    uint32_t frames;
    bool boundary, broken, saw_close;
};

/* Bytes of the frame that begins at data, header included; 0: header cut off; -1: no frame. */
static int64_t frame_size(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    unsigned form = data[1] & 127, extended = form == 126 ? 2 : form == 127 ? 8 : 0;
    int64_t length = form;
    if (extended > 0 && size > 2 && form == 127 && data[2] & 0x80)
        return -1;
    int64_t header = 2 + (int64_t)extended + (data[1] & 0x80 ? 4 : 0);
    if ((int64_t)size < header)
        return 0;
    for (unsigned i = 0; i < extended; i++)
        length = (i == 0 ? 0 : length * 256) + data[2 + i];
    return length > INT64_MAX - header ? INT64_MAX : header + length;
}

static struct truth read_plainly(const uint8_t *data, size_t size)
{
    struct truth truth = {0};
    size_t at = 0;

    while (at < size) {
        int64_t frame = frame_size(data + at, size - at);
        truth.broken = frame < 0;
        if (frame <= 0 || (uint64_t)frame > size - at)
            return truth;
        truth.frames++;
        truth.saw_close |= (data[at] & 15) == WS_CLOSE;
        at += (size_t)frame;
    }
    truth.boundary = true;
    return truth;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ws_track track, cut;
    struct truth truth = read_plainly(data, size);
    size_t middle = fuzz_cut(data, size, 1);

    ws_track_init(&track);
    ws_track_feed(&track, data, size);
    ASSERT(track.frames == truth.frames && ws_track_at_boundary(&track) == truth.boundary);
    ASSERT(((track.flags & WS_BROKEN) != 0) == truth.broken);
    ASSERT(((track.flags & WS_SAW_CLOSE) != 0) == truth.saw_close);

    ws_track_init(&cut);
    ws_track_feed(&cut, data, middle);
    ws_track_feed(&cut, data + middle, size - middle);
    ASSERT(memcmp(&track, &cut, sizeof track) == 0);
    ws_track_init(&cut);
    for (size_t i = 0; i < size; i++)
        ws_track_feed(&cut, data + i, 1);
    ASSERT(memcmp(&track, &cut, sizeof track) == 0);
    return 0;
}
