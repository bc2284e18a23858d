/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ws_frame.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* ck_assert_msg without its write to a pipe when all is well: for inner loops. */
#define quiet_assert(c, ...)                                                                       \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

enum { STREAM_MAX = 600000, FRAMES_MAX = 64, HEADER_MAX = 14 };

/* A stream of frames and what is true at its frame boundaries. */
struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len;
    size_t ends[FRAMES_MAX]; /* where each frame ends */
    size_t headers[FRAMES_MAX];
    uint8_t flags[FRAMES_MAX]; /* of the tracker behind each frame */
    uint32_t frames;
};

static struct stream stream;

/* Append a frame of `length` payload bytes, which look like frame headers, with a chosen form. */
static void add_frame(uint8_t first, size_t length, bool masked, unsigned length_bytes)
{
    uint8_t *p = stream.bytes + stream.len;

    *p++ = first;
    if (length_bytes == 0) {
        *p++ = (uint8_t)length;
    } else {
        *p++ = length_bytes == 2 ? 126 : 127;
        for (unsigned i = length_bytes; i > 0; i--)
            *p++ = (uint8_t)(i > sizeof length ? 0 : length >> 8 * (i - 1));
    }
    if (masked) {
        stream.bytes[stream.len + 1] |= 0x80;
        memset(p, 0xff, 4);
        p += 4;
    }
    stream.headers[stream.frames] = (size_t)(p - stream.bytes);
    memset(p, 0x88, length);
    stream.len = (size_t)(p - stream.bytes) + length;
    stream.ends[stream.frames] = stream.len;
    uint8_t flags = stream.frames > 0 ? stream.flags[stream.frames - 1] : 0;
    uint8_t opcode = first & 15;
    if (opcode == WS_CLOSE)
        flags |= WS_SAW_CLOSE;
    else if (opcode < WS_CLOSE)
        flags = (uint8_t)((flags & ~WS_IN_MESSAGE) | (first & 0x80 ? 0 : WS_IN_MESSAGE));
    stream.flags[stream.frames++] = flags;
}

static unsigned shortest(size_t length)
{
    return length < 126 ? 0 : length < 65536 ? 2 : 8;
}

static void build_stream(void)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536};

    memset(&stream, 0, sizeof stream);
    for (int masked = 0; masked < 2; masked++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            add_frame(0x80 | WS_BINARY, sizes[i], masked, shortest(sizes[i]));
        add_frame(WS_TEXT, 3, masked, 0);
        add_frame(0x80 | WS_PING, 4, masked, 0);
        add_frame(WS_CONT, 0, masked, 0);
        add_frame(0x80 | WS_PONG, 0, masked, 0);
        add_frame(0x80 | WS_CONT, 5, masked, 0);
        add_frame(0xf0 | WS_TEXT, 5, masked, 2); /* reserved bits, and longer than need be */
        add_frame(0x83, 0, masked, 8);
        add_frame(0x80 | WS_CLOSE, 2, masked, 0);
        add_frame(0x80 | WS_TEXT, 0, masked, 2);
    }
}

/* What a counter that was told the frames knows after n bytes. */
static void check_state(const struct ws_track *track, size_t n)
{
    uint32_t done = 0;

    while (done < stream.frames && stream.ends[done] <= n)
        done++;
    size_t start = done > 0 ? stream.ends[done - 1] : 0;
    quiet_assert(track->frames == done, "%u frames at %zu, not %u", track->frames, n, done);
    quiet_assert(ws_track_at_boundary(track) == (n == start), "boundary at %zu", n);
    quiet_assert(track->flags == (done > 0 ? stream.flags[done - 1] : 0), "flags at %zu", n);
    if (n == start) {
        quiet_assert(track->left == 0 && track->need == 0 && track->head == 0, "state at %zu", n);
        return;
    }
    bool in_header = n < stream.headers[done];
    quiet_assert((track->need > 0) == in_header, "need at %zu", n);
    quiet_assert(track->head == (in_header ? n - start : 0), "head at %zu", n);
    quiet_assert(track->first == stream.bytes[start], "first at %zu", n);
    quiet_assert(in_header || track->left == stream.ends[done] - n, "left at %zu", n);
}

START_TEST(single_bytes_are_followed_exactly)
{
    struct ws_track track;

    build_stream();
    ws_track_init(&track);
    check_state(&track, 0);
    for (size_t n = 1; n <= stream.len; n++) {
        ws_track_feed(&track, stream.bytes + n - 1, 1);
        check_state(&track, n);
    }
    ck_assert_uint_eq(track.frames, stream.frames);
}
END_TEST

/* Places near a header or an end, where a cut can matter. */
static bool is_near(size_t n)
{
    for (uint32_t i = 0; i < stream.frames; i++) {
        if ((n + HEADER_MAX + 2 >= stream.ends[i] && n <= stream.ends[i] + HEADER_MAX + 2) ||
            n <= HEADER_MAX + 2)
            return true;
    }
    return false;
}

START_TEST(no_cut_changes_the_state)
{
    struct ws_track whole;

    build_stream();
    ws_track_init(&whole);
    ws_track_feed(&whole, stream.bytes, stream.len);
    check_state(&whole, stream.len);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        struct ws_track track;
        if (!is_near(cut) && cut % 97 != 0)
            continue;
        ws_track_init(&track);
        ws_track_feed(&track, stream.bytes, cut);
        check_state(&track, cut);
        ws_track_feed(&track, stream.bytes + cut, stream.len - cut);
        quiet_assert(memcmp(&track, &whole, sizeof track) == 0, "cut at %zu", cut);
    }
}
END_TEST

START_TEST(no_two_cuts_change_the_state)
{
    size_t cuts[4096];
    size_t count = 0;

    build_stream();
    for (size_t n = 0; n <= stream.len; n++) {
        if (is_near(n))
            cuts[count++] = n;
    }
    ck_assert_uint_gt(count, 300);
    for (size_t i = 0; i < count; i++) {
        struct ws_track half;
        ws_track_init(&half);
        ws_track_feed(&half, stream.bytes, cuts[i]);
        for (size_t j = i; j < count; j++) {
            struct ws_track track = half;
            ws_track_feed(&track, stream.bytes + cuts[i], cuts[j] - cuts[i]);
            check_state(&track, cuts[j]);
            ws_track_feed(&track, stream.bytes + cuts[j], stream.len - cuts[j]);
            quiet_assert(track.frames == stream.frames && ws_track_at_boundary(&track),
                         "cuts at %zu and %zu", cuts[i], cuts[j]);
        }
    }
}
END_TEST

START_TEST(nothing_fed_changes_nothing)
{
    struct ws_track track, before;

    ws_track_init(&track);
    ws_track_feed(&track, "\x81", 1);
    before = track;
    ws_track_feed(&track, NULL, 0);
    ck_assert(memcmp(&track, &before, sizeof track) == 0);
}
END_TEST

START_TEST(the_largest_length_is_followed)
{
    static const uint8_t head[] = {0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct ws_track track;

    ws_track_init(&track);
    ws_track_feed(&track, head, sizeof head);
    ck_assert_uint_eq(track.left, INT64_MAX);
    ck_assert(!ws_track_at_boundary(&track));
    ws_track_feed(&track, head, sizeof head);
    ck_assert_uint_eq(track.left, INT64_MAX - sizeof head);
    ck_assert_uint_eq(track.frames, 0);
}
END_TEST

START_TEST(a_length_with_the_top_bit_breaks_the_stream_for_good)
{
    for (unsigned masked = 0; masked < 2; masked++) {
        uint8_t head[] = {0x82, (uint8_t)(127 | masked << 7), 0x80, 0, 0, 0, 0, 0, 0, 1};
        for (size_t cut = 0; cut <= sizeof head; cut++) {
            struct ws_track track;
            ws_track_init(&track);
            ws_track_feed(&track, head, cut);
            ck_assert_int_eq((track.flags & WS_BROKEN) != 0, cut >= 3);
            ws_track_feed(&track, head + cut, sizeof head - cut);
            ck_assert_int_eq(track.flags, WS_BROKEN);
            struct ws_track before = track;
            ws_track_feed(&track, "\x81\x00\x81\x00", 4);
            ck_assert(memcmp(&track, &before, sizeof track) == 0);
            ck_assert(!ws_track_at_boundary(&track));
        }
    }
}
END_TEST

START_TEST(frames_are_counted_modulo_2_32)
{
    struct ws_track track;

    ws_track_init(&track);
    track.frames = UINT32_MAX;
    ws_track_feed(&track, "\x81\x00", 2);
    ck_assert_uint_eq(track.frames, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_frame");
    TCase *tc = tcase_create("ws_frame");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, single_bytes_are_followed_exactly);
    tcase_add_test(tc, no_cut_changes_the_state);
    tcase_add_test(tc, no_two_cuts_change_the_state);
    tcase_add_test(tc, nothing_fed_changes_nothing);
    tcase_add_test(tc, the_largest_length_is_followed);
    tcase_add_test(tc, a_length_with_the_top_bit_breaks_the_stream_for_good);
    tcase_add_test(tc, frames_are_counted_modulo_2_32);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
