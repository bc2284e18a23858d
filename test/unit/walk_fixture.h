/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of frames, and a caller of ws_walk() that keeps its state and does as the header says. */
#ifndef TEST_UNIT_WALK_FIXTURE_H
#define TEST_UNIT_WALK_FIXTURE_H

#include "common/ws_walk.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ck_assert_msg without its write to a pipe when all is well: for inner loops. */
#define quiet_assert(c, ...)                                                                       \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

enum { WALK_STREAM_MAX = 220000, WALK_FRAMES_MAX = 64, WALK_CANARY = 0xa5 };

struct walk_stream {
    uint8_t bytes[WALK_STREAM_MAX];
    size_t len;
    size_t ends[WALK_FRAMES_MAX];
    size_t headers[WALK_FRAMES_MAX]; /* where each frame's payload begins */
    uint32_t frames;
};

struct walker {
    struct ws_walk walk;
    struct ws_track track;
    uint8_t held[WS_HELD_MAX];
    uint8_t held_len;
    uint64_t message;
    /* Of all walks together. */
    uint8_t out[WALK_STREAM_MAX];
    size_t out_len;
    uint32_t messages, controls, pongs;
    bool said;
    enum ws_verdict verdict;
};

static const uint8_t walk_our_pong[WS_PONG_PAYLOAD] = {0x8a, 8, 0x81, 0xff, 0, 1, 2, 3};

static inline unsigned walk_shortest(size_t length)
{
    return length < 126 ? 0 : length < 65536 ? 2 : 8;
}

/* Append a frame in a chosen form. `payload` NULL: bytes that look like frame headers. */
static inline void walk_add(struct walk_stream *stream, uint8_t first, bool masked,
                            unsigned length_bytes, const void *payload, size_t length)
{
    static const uint8_t mask[4] = {0x81, 0x03, 0xfe, 0x8a};
    uint8_t *p = stream->bytes + stream->len;

    *p++ = first;
    *p++ = (uint8_t)((masked ? 0x80 : 0) | (length_bytes == 0   ? (uint8_t)length
                                            : length_bytes == 2 ? 126
                                                                : 127));
    for (unsigned i = length_bytes; i > 0; i--)
        *p++ = (uint8_t)(length >> 8 * (i - 1));
    if (masked) {
        memcpy(p, mask, 4);
        p += 4;
    }
    stream->headers[stream->frames] = (size_t)(p - stream->bytes);
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = payload ? ((const uint8_t *)payload)[i] : (uint8_t)(0x88 + i % 3);
        *p++ = masked ? byte ^ mask[i % 4] : byte;
    }
    stream->len = (size_t)(p - stream->bytes);
    stream->ends[stream->frames++] = stream->len;
}

/* Every form of header, a fragmented message with control frames in it, empty frames. No Close. */
static inline void walk_build(struct walk_stream *stream, bool masked)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536};

    stream->len = stream->frames = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        walk_add(stream, 0x80 | WS_BINARY, masked, walk_shortest(sizes[i]), NULL, sizes[i]);
    walk_add(stream, WS_TEXT, masked, 0, NULL, 3);
    walk_add(stream, 0x80 | WS_PING, masked, 0, NULL, 4);
    walk_add(stream, WS_CONT, masked, 0, NULL, 0);
    walk_add(stream, 0x80 | WS_PONG, masked, 0, NULL, 0);
    walk_add(stream, 0x80 | WS_CONT, masked, 0, NULL, 5);
    walk_add(stream, 0x80 | WS_PONG, masked, 0, NULL, WS_PONG_PAYLOAD);
    walk_add(stream, 0x80 | WS_TEXT, masked, 0, NULL, 9);
}

/* Places where a cut can matter. */
static inline bool walk_is_near(const struct walk_stream *stream, size_t n)
{
    enum { NEAR = 16 };

    for (uint32_t i = 0; i < stream->frames; i++) {
        if (n <= NEAR || (n + 2 >= stream->ends[i] && n <= stream->ends[i] + NEAR))
            return true;
    }
    return false;
}

/* What was kept, at another address. */
static inline void walker_bind(struct walker *w)
{
    w->walk.track = &w->track;
    w->walk.held = w->held;
    w->walk.held_len = &w->held_len;
    w->walk.message = &w->message;
}

static inline void walker_init(struct walker *w, uint32_t flags)
{
    memset(w, 0, offsetof(struct walker, out));
    w->out_len = w->messages = w->controls = w->pongs = 0;
    w->said = false;
    w->verdict = WS_FINE;
    ws_track_init(&w->track);
    w->walk.flags = flags;
    walker_bind(w);
}

static inline void walker_feed(struct walker *w, const uint8_t *in, size_t n)
{
    size_t room = n + WS_WALK_EXTRA;
    struct ws_walk *walk = &w->walk;

    quiet_assert(w->out_len + room < sizeof w->out, "the fixture's room");
    w->out[w->out_len + room] = WALK_CANARY;
    ws_walk(walk, in, (uint32_t)n, w->out + w->out_len);
    quiet_assert(walk->out <= room && w->out[w->out_len + room] == WALK_CANARY, "room");
    quiet_assert(w->held_len <= WS_HELD_MAX, "held");
    w->out_len += walk->out;
    w->messages += walk->messages;
    w->controls += walk->controls;
    if (walk->pong_came) {
        w->pongs++;
        walk->pong = NULL;
    }
    if (walk->said) {
        w->said = true;
        walk->words_len = 0;
        if (walk->flags & WS_WORDS_LAST)
            walk->flags |= WS_DROP;
    }
    if (walk->verdict != WS_FINE) {
        w->verdict = walk->verdict;
        walk->flags |= WS_DROP;
    }
}

static inline void walker_say(struct walker *w, const void *words, size_t n)
{
    w->walk.words = words;
    w->walk.words_len = (uint32_t)n;
}

/* Whether these, and no other bytes came out. */
static inline bool walker_gave(const struct walker *w, const void *bytes, size_t n)
{
    return w->out_len == n && (n == 0 || memcmp(w->out, bytes, n) == 0);
}

static inline int walk_run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);

    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
