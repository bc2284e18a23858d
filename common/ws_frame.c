/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ws_frame.h"

#include <string.h>

enum { FIN = 0x80, OPCODE = 0x0f, CONTROL = 0x08, MASK = 0x80, LENGTH = 0x7f };
enum { LENGTH_16 = 126, LENGTH_64 = 127 }; /* the length stands in the next 2 or 8 bytes */

void ws_track_init(struct ws_track *track)
{
    memset(track, 0, sizeof *track);
}

bool ws_track_at_boundary(const struct ws_track *track)
{
    /* A broken stream stays amid its last header for ever. */
    return track->need == 0 && track->left == 0;
}

/*
 * Bytes of the extended length, from the size of the whole header: 2, or 4 and 10 with an extended
 * length, and 4 more with a masking key. So the mask bit needs no place in the record.
 */
static unsigned extended_bytes(unsigned header_bytes)
{
    switch (header_bytes) {
    case 4:
    case 8: return 2;
    case 10:
    case 14: return 8;
    default: return 0;
    }
}

static void end_frame(struct ws_track *track)
{
    unsigned opcode = track->first & OPCODE;

    track->frames++;
    if (opcode == WS_CLOSE)
        track->flags |= WS_SAW_CLOSE;
    if (opcode & CONTROL)
        return; /* may stand amid a fragmented message, RFC 6455 5.4 */
    if (track->first & FIN)
        track->flags &= (uint8_t)~WS_IN_MESSAGE;
    else
        track->flags |= WS_IN_MESSAGE;
}

static void second_byte(struct ws_track *track, uint8_t byte)
{
    uint8_t length = byte & LENGTH;

    track->need = byte & MASK ? 4 : 0;
    track->left = 0;
    if (length == LENGTH_16)
        track->need = (uint8_t)(track->need + 2);
    else if (length == LENGTH_64)
        track->need = (uint8_t)(track->need + 8);
    else
        track->left = length;
}

static void header_byte(struct ws_track *track, uint8_t byte)
{
    unsigned at = track->head++;

    if (at == 0) {
        track->first = byte;
        track->need = 1;
        return;
    }
    if (at == 1) {
        second_byte(track, byte);
    } else {
        unsigned extended = extended_bytes(at + track->need);
        if (at - 2 < extended)
            track->left = track->left << 8 | byte;
        if (at == 2 && extended == 8 && byte & 0x80) {
            track->flags |= WS_BROKEN;
            return;
        }
        track->need--;
    }
    if (track->need > 0)
        return;
    track->head = 0;
    if (track->left == 0)
        end_frame(track);
}

void ws_track_feed(struct ws_track *track, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    while (n > 0 && (track->flags & WS_BROKEN) == 0) {
        if (track->need > 0 || track->left == 0) {
            header_byte(track, *p++);
            n--;
            continue;
        }
        size_t skip = track->left < n ? (size_t)track->left : n;
        p += skip;
        n -= skip;
        track->left -= skip;
        if (track->left == 0)
            end_frame(track);
    }
}
