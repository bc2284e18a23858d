/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one direction, one by one (RFC 6455 5): what is passed on, what is taken out (the pong to
 * our ping, what comes after our Close), what is put in between two frames, and which limit is met.
 * A pure function of its arguments: a successor of a dead worker does the same walk again and comes to
 * the same bytes. No I/O, no heap, no clock.
 */
#ifndef COMMON_WS_WALK_H
#define COMMON_WS_WALK_H

#include "common/slice.h"
#include "common/ws_frame.h"

enum {
    WS_CONTROL_MAX = 125,              /* payload of a control frame (5.5) */
    WS_WORDS_MAX = WS_CONTROL_MAX + 6, /* a whole one, masked */
    WS_HELD_MAX = 13,                  /* bytes that may wait for the rest of a frame's beginning */
    WS_PONG_PAYLOAD = 8,               /* of our pings, and so of the pongs that are taken out */
    WS_WALK_EXTRA = WS_WORDS_MAX + WS_HELD_MAX, /* output may be so much longer than input */
};

/* Why a walk stopped passing on. */
enum ws_verdict {
    WS_FINE,
    WS_BAD_FRAME,   /* 1002: not a frame that may stand here */
    WS_BIG_FRAME,   /* 1009 */
    WS_BIG_MESSAGE, /* 1009 */
};

/* What frames are held to; a bit or 0 each. */
enum {
    /* RFC 6455 5.2, 5.4, 5.5 are enforced; what follows the source's Close is dropped. */
    WS_CHECK = 1 << 0,
    WS_FROM_CLIENT = 1 << 1, /* frames must be masked; else they must not be */
    WS_ALLOW_RSV1 = 1 << 2,  /* permessage-deflate: on a message's first frame (RFC 7692) */
    WS_ALLOW_RSV = 1 << 3,   /* any reserved bit is somebody's; reserved opcodes are not */
    /* Nothing is passed on: our Close to the destination went before, or a verdict fell. */
    WS_DROP = 1 << 4,
    /*
     * The source's Close is not passed on, nor what follows it: the tracker becomes WS_TAKEN, for
     * good. A Close that had begun to pass goes on, and, but for WS_ENDS_AT_CLOSE, what follows it.
     */
    WS_TAKE_CLOSE = 1 << 5,
    WS_WORDS_LAST = 1 << 6,    /* `words` are a Close: nothing is passed on after them */
    WS_ENDS_AT_CLOSE = 1 << 7, /* what follows a Close of the source that has passed is dropped */
};

struct ws_walk {
    /* Given. */
    uint32_t flags;
    const uint8_t *words; /* frame to put in at the next boundary, at most WS_WORDS_MAX bytes */
    uint32_t words_len;   /* 0: none */
    const uint8_t
        *pong; /* payload, WS_PONG_PAYLOAD bytes, of the pong to take out, once; NULL: none */
    uint64_t max_frame; /* payload bytes, of control frames, too (pongs to us have WS_PONG_PAYLOAD);
                             0: no limit */
    uint64_t max_message; /* payload bytes of all frames of a message; 0: no limit */
    /* Kept between walks, changed. */
    struct ws_track *track; /* of all that was walked over but what is held */
    uint8_t *held;          /* WS_HELD_MAX bytes: the beginning of a frame; borrowed */
    uint8_t *held_len;
    uint64_t *message; /* bytes of the message under way; NULL unless max_message is set */
    /* Found. All counts are of this walk and of frames whose header came whole in it. */
    uint32_t out;            /* bytes of output */
    uint32_t messages;       /* data messages that began */
    uint32_t controls;       /* control frames of the source, a Close that is taken, too; pongs that
                                were taken out and what WS_DROP drops left out */
    bool said;               /* `words` were put in */
    bool pong_came;          /* and was taken out */
    enum ws_verdict verdict; /* not FINE: from the offending frame on nothing was passed on, and the
                                caller sets WS_DROP from now on. The tracker goes on over what is
                                dropped, bad frames, too: the source may yet answer a Close. */
};

/*
 * Go over n bytes of `in`, behind those that are held. `out` has room for n + WS_WALK_EXTRA bytes and
 * does not overlap `in`, which may be NULL if n is 0. All input is consumed.
 *
 * A frame begins when its header is whole (our pong: when all of it is there); until then it is held.
 * When the source ends, what is held is the caller's to pass on or forget. Limits and checks are
 * applied where a frame begins: one whose header had gone by before the first walk is not judged.
 *
 * Words go in where the source's frames meet: at once, before what is held, if it is at a boundary
 * now (n may be 0 for that). Where nothing of the source passes on any more, the destination stands at
 * a boundary for good and they go in at once, too. So a Close still reaches it after a verdict, however
 * long the frame that is dropped, and whether the stream is broken or not.
 *
 * Behind a Close of the source that has passed on they do not go in at all, in the same walk or later
 * (5.5.1).
 *
 * While all is dropped, a Close of the source still shows in the tracker, as WS_SAW_CLOSE with WS_TAKEN,
 * as long as frames can be told apart. A stream whose tracker is WS_BROKEN passes on as it is, without words. A
 * length with the top bit makes it so; WS_CHECK or a limit has a verdict on it, too.
 */
void ws_walk(struct ws_walk *walk, const uint8_t *in, uint32_t n, uint8_t *out);

/*
 * A control frame, masked if `mask` is not NULL (4 bytes). Returns its length; `out` has
 * WS_WORDS_MAX bytes, n is at most WS_CONTROL_MAX.
 */
uint32_t ws_control_frame(uint8_t opcode, const void *payload, uint32_t n, const uint8_t *mask,
                          uint8_t *out);

/* The payload of a Close: code, then as many whole characters of `reason` (UTF-8) as fit. Returns its
 * length (<= WS_CONTROL_MAX). */
uint32_t ws_close_payload(uint16_t code, struct slice reason, uint8_t out[WS_CONTROL_MAX]);

#endif
