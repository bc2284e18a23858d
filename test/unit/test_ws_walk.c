/* SPDX-License-Identifier: Apache-2.0 */
/* What passes, what is put in, what is taken out. What is forbidden: test_ws_walk_rules.c. */
#include "common/ws_walk.h"

#include "test/unit/walk_fixture.h"

static struct walk_stream stream;
static struct walker walker, other;

static const uint8_t ping[] = {0x89, 8, 'h', 'o', 'l', 'd', 'f', 'a', 's', 't'};

/* xorshift64*. */
static uint64_t seed;

static size_t below(size_t bound)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (size_t)((seed * 0x2545f4914f6cdd1du >> 16) % bound);
}

/* The first place at or behind n where frames meet; beyond the stream if there is none. */
static size_t meeting_behind(size_t n)
{
    size_t start = 0;

    for (uint32_t i = 0; i < stream.frames && start < n; i++)
        start = stream.ends[i];
    return start >= n ? start : SIZE_MAX;
}

/* Where the frame begins that byte n is in. */
static size_t frame_at(size_t n, uint32_t *frame)
{
    *frame = 0;
    while (*frame < stream.frames && stream.ends[*frame] <= n)
        ++*frame;
    return *frame > 0 ? stream.ends[*frame - 1] : 0;
}

/* After n bytes: all has passed but the beginning of a frame whose header is not whole. */
static void check_state(const struct walker *w, size_t n)
{
    uint32_t frame;
    size_t start = frame_at(n, &frame), passed = n;
    struct ws_track track;

    if (frame < stream.frames && n < stream.headers[frame])
        passed = start;
    ws_track_init(&track);
    ws_track_feed(&track, stream.bytes, passed);
    quiet_assert(w->held_len == n - passed, "%u held at %zu", w->held_len, n);
    quiet_assert(memcmp(w->held, stream.bytes + passed, n - passed) == 0, "held at %zu", n);
    quiet_assert(walker_gave(w, stream.bytes, passed), "passed at %zu", n);
    quiet_assert(memcmp(&track, &w->track, sizeof track) == 0, "tracker at %zu", n);
}

START_TEST(frames_pass_and_headers_are_held_until_whole)
{
    for (int masked = 0; masked < 2; masked++) {
        walk_build(&stream, masked);
        for (size_t cut = 0; cut <= stream.len; cut++) {
            if (!walk_is_near(&stream, cut))
                continue;
            walker_init(&walker, 0);
            walker_feed(&walker, stream.bytes, cut);
            check_state(&walker, cut);
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            check_state(&walker, stream.len);
            quiet_assert(walker.messages == 9 && walker.controls == 3, "counts at %zu", cut);
        }
    }
}
END_TEST

START_TEST(single_bytes_pass_as_well)
{
    for (int masked = 0; masked < 2; masked++) {
        walk_build(&stream, masked);
        walker_init(&walker, WS_CHECK | (masked ? WS_FROM_CLIENT : 0));
        for (size_t n = 0; n < stream.len; n++) {
            walker_feed(&walker, stream.bytes + n, 1);
            if (walk_is_near(&stream, n + 1))
                check_state(&walker, n + 1);
        }
        check_state(&walker, stream.len);
        ck_assert_uint_eq(walker.messages, 9);
        ck_assert_uint_eq(walker.controls, 3);
    }
}
END_TEST

START_TEST(a_header_cut_twice_is_held_together)
{
    walk_build(&stream, true);
    for (uint32_t i = 0; i < stream.frames; i++) {
        size_t start = i > 0 ? stream.ends[i - 1] : 0;
        for (size_t a = start; a <= start + 15 && a <= stream.len; a++) {
            for (size_t b = a; b <= start + 16 && b <= stream.len; b++) {
                walker_init(&walker, 0);
                walker_feed(&walker, stream.bytes, a);
                walker_feed(&walker, stream.bytes + a, b - a);
                check_state(&walker, b);
                walker_feed(&walker, stream.bytes + b, stream.len - b);
                check_state(&walker, stream.len);
            }
        }
    }
}
END_TEST

/* Random bytes, in runs of which many are the beginning of a short frame. */
static size_t draw_stream(uint8_t *bytes, size_t max)
{
    static const uint8_t firsts[] = {0x81, 0x02, 0x80, 0x00, 0x89, 0x8a, 0x83, 0xf2, 0x8f};
    size_t len = 0;

    while (len + 300 < max) {
        bytes[len++] = below(20) > 0 ? firsts[below(sizeof firsts)] : (uint8_t)below(256);
        uint8_t second = below(20) > 0 ? (uint8_t)below(126) : (uint8_t)below(256);
        bytes[len++] = second;
        for (size_t n = second & 127; n > 0; n--)
            bytes[len++] = (uint8_t)below(256);
    }
    return len;
}

START_TEST(with_nothing_to_do_any_stream_passes_cut_anywhere)
{
    for (seed = 1; seed < 400;) {
        uint64_t number = seed;
        size_t len = draw_stream(stream.bytes, 400 + below(6000)), at = 0;
        walker_init(&walker, below(2) ? WS_FROM_CLIENT : 0);
        while (at < len) {
            size_t n = below(below(2) ? 20 : 2000);
            if (n > len - at)
                n = len - at;
            walker_feed(&walker, stream.bytes + at, n);
            at += n;
            quiet_assert(walker.out_len + walker.held_len == at, "stream %lu at %zu", number, at);
        }
        quiet_assert(memcmp(walker.out, stream.bytes, walker.out_len) == 0, "stream %lu", number);
        quiet_assert(memcmp(walker.held, stream.bytes + walker.out_len, walker.held_len) == 0,
                     "stream %lu", number);
        seed = number + 1;
    }
}
END_TEST

/* Words that wait from byte `cut` on, and nothing else to do. */
static void check_words(size_t cut, bool at_once)
{
    size_t place = meeting_behind(cut);
    uint32_t frame;
    size_t start = frame_at(cut, &frame);

    /* What is held has not begun. */
    if (frame < stream.frames && cut < stream.headers[frame])
        place = start;
    walker_init(&walker, 0);
    walker_feed(&walker, stream.bytes, cut);
    walker_say(&walker, ping, sizeof ping);
    if (at_once) {
        walker_feed(&walker, NULL, 0);
        quiet_assert(walker.said == (place <= cut), "words for no byte at %zu", cut);
    }
    walker_feed(&walker, stream.bytes + cut, stream.len - cut);
    quiet_assert(walker.said && walker.out_len == stream.len + sizeof ping, "words at %zu", cut);
    quiet_assert(memcmp(walker.out, stream.bytes, place) == 0, "before words at %zu", cut);
    quiet_assert(memcmp(walker.out + place, ping, sizeof ping) == 0, "words at %zu", cut);
    quiet_assert(
        memcmp(walker.out + place + sizeof ping, stream.bytes + place, stream.len - place) == 0,
        "behind words at %zu", cut);
    quiet_assert(walker.controls == 3, "words are not counted");
}

START_TEST(words_go_in_where_frames_meet_next)
{
    for (int masked = 0; masked < 2; masked++) {
        walk_build(&stream, masked);
        for (size_t cut = 0; cut <= stream.len; cut++) {
            if (!walk_is_near(&stream, cut))
                continue;
            check_words(cut, true);
            check_words(cut, false);
        }
    }
}
END_TEST

START_TEST(words_wait_for_the_end_of_a_frame_in_pieces)
{
    walk_build(&stream, false);
    for (uint32_t i = 0; i < stream.frames; i++) {
        size_t start = i > 0 ? stream.ends[i - 1] : 0;
        if (stream.headers[i] == stream.ends[i])
            continue;
        walker_init(&walker, 0);
        walker_feed(&walker, stream.bytes + start, stream.headers[i] - start);
        walker_say(&walker, ping, sizeof ping);
        for (size_t n = stream.headers[i]; n < stream.ends[i]; n++) {
            quiet_assert(!walker.said, "words amid frame %u", i);
            walker_feed(&walker, stream.bytes + n, 1);
        }
        quiet_assert(walker.said, "words behind frame %u", i);
    }
}
END_TEST

START_TEST(a_frame_of_1_gib_passes_while_words_wait)
{
    enum { PIECE = 65536, GIB = 1 << 30 };
    static uint8_t piece[PIECE], out[PIECE + WS_WALK_EXTRA];
    static const uint8_t head[] = {0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4};
    size_t left = GIB;

    memset(piece, 0x81, sizeof piece);
    walker_init(&walker, WS_CHECK | WS_FROM_CLIENT);
    walker_feed(&walker, head, sizeof head);
    walker_say(&walker, ping, sizeof ping);
    while (left > 0) {
        uint32_t n = left < PIECE ? (uint32_t)left : PIECE - 1; /* no power of two */
        ws_walk(&walker.walk, piece, n, out);
        left -= n;
        quiet_assert(walker.walk.said == (left == 0), "words with %zu bytes to come", left);
        quiet_assert(memcmp(out, piece, n) == 0, "bytes");
        quiet_assert(walker.walk.out == n + (left == 0 ? sizeof ping : 0), "length");
    }
    ck_assert(memcmp(out + walker.walk.out - sizeof ping, ping, sizeof ping) == 0);
}
END_TEST

/* A ping of the peer's, a pong, its next message; cut twice. Returns how many were taken. */
static uint32_t pass_pong(size_t a, size_t b, const uint8_t *pong)
{
    size_t start = stream.ends[0], end = stream.ends[1];

    walker_init(&walker, 0);
    walker.walk.pong = pong;
    walker_feed(&walker, stream.bytes, a);
    walker_feed(&walker, stream.bytes + a, b - a);
    walker_feed(&walker, stream.bytes + b, stream.len - b);
    quiet_assert(walker.held_len == 0 && walker.track.frames == 3, "cuts at %zu, %zu", a, b);
    quiet_assert(walker.controls == 2 - walker.pongs, "controls, cuts at %zu, %zu", a, b);
    if (walker.pongs == 0) {
        quiet_assert(walker_gave(&walker, stream.bytes, stream.len), "cuts at %zu, %zu", a, b);
        return 0;
    }
    quiet_assert(walker.out_len == stream.len - (end - start) &&
                     memcmp(walker.out, stream.bytes, start) == 0 &&
                     memcmp(walker.out + start, stream.bytes + end, stream.len - end) == 0,
                 "cuts at %zu, %zu", a, b);
    return walker.pongs;
}

static void check_pong(uint8_t first, bool masked, unsigned length_bytes, const void *payload,
                       size_t n, uint32_t taken)
{
    stream.len = stream.frames = 0;
    walk_add(&stream, 0x80 | WS_PING, masked, 0, NULL, 3);
    walk_add(&stream, first, masked, length_bytes, payload, n);
    walk_add(&stream, 0x80 | WS_TEXT, masked, 0, NULL, 20);
    for (size_t a = 0; a <= stream.len; a++) {
        for (size_t b = a; b <= stream.len; b++) {
            quiet_assert(pass_pong(a, b, walk_our_pong) == taken, "cuts at %zu, %zu", a, b);
            quiet_assert(pass_pong(a, b, NULL) == 0, "none to take");
        }
    }
}

START_TEST(our_pong_is_taken_out_wherever_it_is_cut)
{
    check_pong(0x8a, false, 0, walk_our_pong, 8, 1);
    check_pong(0x8a, true, 0, walk_our_pong, 8, 1);
}
END_TEST

START_TEST(what_only_resembles_our_pong_passes)
{
    for (int masked = 0; masked < 2; masked++) {
        uint8_t longer[9] = {0};
        memcpy(longer, walk_our_pong, 8);
        check_pong(0x8a, masked, 0, longer, 9, 0);
        check_pong(0x8a, masked, 0, longer, 7, 0);
        check_pong(0x8a, masked, 0, longer, 0, 0);
        check_pong(0x8a, masked, 2, longer, 8, 0); /* longer than need be: not our peers' way */
        check_pong(0x89, masked, 0, longer, 8, 0);
        check_pong(0xca, masked, 0, longer, 8, 0);
        for (int i = 0; i < 8; i++) {
            uint8_t differs[8];
            memcpy(differs, walk_our_pong, 8);
            differs[i] ^= 1;
            check_pong(0x8a, masked, 0, differs, 8, 0);
        }
    }
}
END_TEST

START_TEST(our_pong_is_taken_out_once)
{
    stream.len = stream.frames = 0;
    walk_add(&stream, 0x8a, true, 0, walk_our_pong, 8);
    walk_add(&stream, 0x8a, true, 0, walk_our_pong, 8);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        walker_init(&walker, 0);
        walker.walk.pong = walk_our_pong;
        walker_feed(&walker, stream.bytes, cut);
        walker_feed(&walker, stream.bytes + cut, stream.len - cut);
        ck_assert_uint_eq(walker.pongs, 1);
        ck_assert_uint_eq(walker.controls, 1);
        ck_assert(walker_gave(&walker, stream.bytes + stream.ends[0], stream.ends[0]));
    }
}
END_TEST

START_TEST(a_pong_that_is_held_passes_when_none_is_waited_for_any_more)
{
    stream.len = stream.frames = 0;
    walk_add(&stream, 0x8a, true, 0, walk_our_pong, 8);
    for (size_t cut = 0; cut < stream.len; cut++) {
        walker_init(&walker, 0);
        walker.walk.pong = walk_our_pong;
        walker_feed(&walker, stream.bytes, cut);
        ck_assert_uint_eq(walker.held_len, cut);
        ck_assert_uint_eq(walker.out_len, 0);
        walker.walk.pong = NULL;
        walker_feed(&walker, NULL, 0);
        ck_assert_uint_eq(walker.out_len, cut < 6 ? 0 : cut);
        walker_feed(&walker, stream.bytes + cut, stream.len - cut);
        ck_assert(walker_gave(&walker, stream.bytes, stream.len));
    }
}
END_TEST

START_TEST(words_go_before_a_pong_that_is_held)
{
    static const uint8_t text[] = {0x81, 0};

    stream.len = stream.frames = 0;
    walk_add(&stream, 0x8a, true, 0, walk_our_pong, 8);
    for (size_t cut = 0; cut < stream.len; cut++) {
        walker_init(&walker, 0);
        walker.walk.pong = walk_our_pong;
        walker_feed(&walker, stream.bytes, cut);
        walker_say(&walker, ping, sizeof ping);
        walker_feed(&walker, NULL, 0);
        ck_assert(walker_gave(&walker, ping, sizeof ping));
        walker_feed(&walker, stream.bytes + cut, stream.len - cut);
        ck_assert(walker_gave(&walker, ping, sizeof ping));
        ck_assert_uint_eq(walker.pongs, 1);
        walker_feed(&walker, text, sizeof text);
        ck_assert_uint_eq(walker.out_len, sizeof ping + sizeof text);
    }
}
END_TEST

/* A tracker that has followed a stream before anyone walked. */
START_TEST(a_walk_may_begin_anywhere)
{
    for (int masked = 0; masked < 2; masked++) {
        walk_build(&stream, masked);
        for (size_t cut = 0; cut <= stream.len; cut++) {
            if (!walk_is_near(&stream, cut))
                continue;
            walker_init(&walker, WS_CHECK | (masked ? WS_FROM_CLIENT : 0));
            ws_track_feed(&walker.track, stream.bytes, cut);
            walker_say(&walker, ping, sizeof ping);
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            size_t place = meeting_behind(cut) - cut;
            quiet_assert(walker.verdict == WS_FINE, "cut at %zu", cut);
            quiet_assert(walker.out_len == stream.len - cut + sizeof ping &&
                             memcmp(walker.out + place, ping, sizeof ping) == 0,
                         "cut at %zu", cut);
        }
    }
}
END_TEST

START_TEST(the_same_walk_from_the_same_state_gives_the_same)
{
    walk_build(&stream, true);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        if (!walk_is_near(&stream, cut))
            continue;
        size_t n = stream.len - cut < 3000 ? stream.len - cut : 3000;
        walker_init(&walker, WS_CHECK | WS_FROM_CLIENT);
        walker.walk.max_message = 1 << 20;
        walker.walk.pong = walk_our_pong;
        walker_feed(&walker, stream.bytes, cut);
        walker_say(&walker, ping, sizeof ping);
        other = walker;
        walker_bind(&other);
        walker_feed(&walker, stream.bytes + cut, n);
        walker_feed(&other, stream.bytes + cut, n);
        quiet_assert(walker_gave(&walker, other.out, other.out_len), "bytes, cut at %zu", cut);
        quiet_assert(memcmp(&walker.track, &other.track, sizeof other.track) == 0 &&
                         walker.held_len == other.held_len && walker.message == other.message,
                     "state, cut at %zu", cut);
    }
}
END_TEST

START_TEST(control_frames_are_written_as_they_must_be)
{
    uint8_t out[WS_WORDS_MAX], payload[WS_CONTROL_MAX], mask[4] = {1, 2, 3, 4};

    memset(payload, 'x', sizeof payload);
    ck_assert_uint_eq(ws_control_frame(WS_PING, NULL, 0, NULL, out), 2);
    ck_assert_mem_eq(out, "\x89\x00", 2);
    ck_assert_uint_eq(ws_control_frame(WS_PING, "holdfast", 8, NULL, out), sizeof ping);
    ck_assert_mem_eq(out, ping, sizeof ping);
    ck_assert_uint_eq(ws_control_frame(WS_CLOSE, "ABCDE", 5, mask, out), 11);
    ck_assert_mem_eq(out, "\x88\x85\x01\x02\x03\x04\x40\x40\x40\x40\x44", 11);
    ck_assert_uint_eq(ws_control_frame(WS_PONG, payload, WS_CONTROL_MAX, mask, out), WS_WORDS_MAX);
    walker_init(&walker, WS_CHECK | WS_FROM_CLIENT);
    walker_feed(&walker, out, WS_WORDS_MAX);
    ck_assert_int_eq(walker.verdict, WS_FINE);
    ck_assert_uint_eq(walker.track.frames, 1);
}
END_TEST

START_TEST(a_close_holds_its_code_and_whole_characters)
{
    uint8_t out[WS_CONTROL_MAX];
    char reason[200];

    ck_assert_uint_eq(ws_close_payload(1001, SLICE(""), out), 2);
    ck_assert_mem_eq(out, "\x03\xe9", 2);
    ck_assert_uint_eq(ws_close_payload(1012, SLICE("restart"), out), 9);
    ck_assert_mem_eq(out, "\x03\xf4restart", 9);
    memset(reason, 'a', sizeof reason);
    ck_assert_uint_eq(ws_close_payload(1000, (struct slice){reason, 123}, out), 125);
    ck_assert_uint_eq(ws_close_payload(1000, (struct slice){reason, 124}, out), 125);
    for (size_t at = 119; at < 124; at++) { /* a character of 4 bytes across the limit */
        memset(reason, 'a', sizeof reason);
        memcpy(reason + at, "\xf0\x9f\x92\x99", 4);
        ck_assert_uint_eq(ws_close_payload(1000, (struct slice){reason, 140}, out),
                          2 + (at == 119 || at == 123 ? 123 : at));
    }
    memset(reason, 0x80, sizeof reason); /* no characters at all */
    ck_assert_uint_eq(ws_close_payload(1000, (struct slice){reason, 200}, out), 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_walk");
    TCase *tc = tcase_create("ws_walk");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, frames_pass_and_headers_are_held_until_whole);
    tcase_add_test(tc, single_bytes_pass_as_well);
    tcase_add_test(tc, a_header_cut_twice_is_held_together);
    tcase_add_test(tc, with_nothing_to_do_any_stream_passes_cut_anywhere);
    tcase_add_test(tc, words_go_in_where_frames_meet_next);
    tcase_add_test(tc, words_wait_for_the_end_of_a_frame_in_pieces);
    tcase_add_test(tc, a_frame_of_1_gib_passes_while_words_wait);
    tcase_add_test(tc, our_pong_is_taken_out_wherever_it_is_cut);
    tcase_add_test(tc, our_pong_is_taken_out_once);
    tcase_add_test(tc, what_only_resembles_our_pong_passes);
    tcase_add_test(tc, a_pong_that_is_held_passes_when_none_is_waited_for_any_more);
    tcase_add_test(tc, words_go_before_a_pong_that_is_held);
    tcase_add_test(tc, a_walk_may_begin_anywhere);
    tcase_add_test(tc, the_same_walk_from_the_same_state_gives_the_same);
    tcase_add_test(tc, control_frames_are_written_as_they_must_be);
    tcase_add_test(tc, a_close_holds_its_code_and_whole_characters);
    suite_add_tcase(suite, tc);
    return walk_run_suite(suite);
}
