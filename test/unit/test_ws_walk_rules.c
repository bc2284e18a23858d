/* SPDX-License-Identifier: Apache-2.0 */
/* What a walk forbids, and how passing on ends. */
#include "common/ws_walk.h"

#include "test/unit/walk_fixture.h"

static struct walk_stream stream;
static struct walker walker;

static const uint8_t our_close[] = {0x88, 2, 0x03, 0xe9};
static const uint8_t text[] = {0x81, 2, 'h', 'i'};

struct rule {
    const char *what;
    uint32_t flags; /* beside WS_CHECK */
    const char *good;
    size_t good_len;
    const char *last; /* the frame that is judged */
    size_t last_len;
    bool fine;
};

#define BYTES(literal) (literal), sizeof(literal) - 1
#define M              "mask" /* a masking key */
enum { C = WS_FROM_CLIENT };

static const struct rule rules[] = {
    {"a server's text", 0, BYTES(""), BYTES("\x81\x02hi"), true},
    {"a client's text", C, BYTES(""), BYTES("\x81\x82" M "hi"), true},
    {"a masked server frame", 0, BYTES(""), BYTES("\x81\x82" M "hi"), false},
    {"an unmasked client frame", C, BYTES(""), BYTES("\x81\x02hi"), false},
    {"a masked pong of a server", 0, BYTES(""), BYTES("\x8a\x80" M), false},
    {"an unmasked ping of a client", C, BYTES(""), BYTES("\x89\x00"), false},

    {"RSV1, nothing agreed", 0, BYTES(""), BYTES("\xc1\x00"), false},
    {"RSV2, nothing agreed", 0, BYTES(""), BYTES("\xa1\x00"), false},
    {"RSV3, nothing agreed", 0, BYTES(""), BYTES("\x91\x00"), false},
    {"RSV1 on a message", WS_ALLOW_RSV1, BYTES(""), BYTES("\xc1\x00"), true},
    {"RSV1 on a first fragment", WS_ALLOW_RSV1, BYTES(""), BYTES("\x42\x00"), true},
    {"RSV1 on a later fragment", WS_ALLOW_RSV1, BYTES("\x42\x00"), BYTES("\xc0\x00"), false},
    {"RSV1 on a ping", WS_ALLOW_RSV1, BYTES(""), BYTES("\xc9\x00"), false},
    {"RSV1 on a Close", WS_ALLOW_RSV1, BYTES(""), BYTES("\xc8\x00"), false},
    {"RSV2 beside RSV1", WS_ALLOW_RSV1, BYTES(""), BYTES("\xe1\x00"), false},
    {"RSV3 with deflate only", WS_ALLOW_RSV1, BYTES(""), BYTES("\x91\x00"), false},
    {"every bit, all allowed", WS_ALLOW_RSV, BYTES(""), BYTES("\xf1\x00"), true},
    {"every bit on a ping, all allowed", WS_ALLOW_RSV, BYTES(""), BYTES("\xf9\x00"), true},

    {"text", 0, BYTES(""), BYTES("\x81\x00"), true},
    {"binary", 0, BYTES(""), BYTES("\x82\x00"), true},
    {"opcode 3", 0, BYTES(""), BYTES("\x83\x00"), false},
    {"opcode 4", 0, BYTES(""), BYTES("\x84\x00"), false},
    {"opcode 5", 0, BYTES(""), BYTES("\x85\x00"), false},
    {"opcode 6", 0, BYTES(""), BYTES("\x86\x00"), false},
    {"opcode 7", 0, BYTES(""), BYTES("\x87\x00"), false},
    {"opcode 3, all bits allowed", WS_ALLOW_RSV, BYTES(""), BYTES("\x83\x00"), false},
    {"Close", 0, BYTES(""), BYTES("\x88\x00"), true},
    {"ping", 0, BYTES(""), BYTES("\x89\x00"), true},
    {"pong", 0, BYTES(""), BYTES("\x8a\x00"), true},
    {"opcode 11", 0, BYTES(""), BYTES("\x8b\x00"), false},
    {"opcode 12", 0, BYTES(""), BYTES("\x8c\x00"), false},
    {"opcode 13", 0, BYTES(""), BYTES("\x8d\x00"), false},
    {"opcode 14", 0, BYTES(""), BYTES("\x8e\x00"), false},
    {"opcode 15", 0, BYTES(""), BYTES("\x8f\x00"), false},

    {"a ping without FIN", 0, BYTES(""), BYTES("\x09\x00"), false},
    {"a pong without FIN", 0, BYTES(""), BYTES("\x0a\x00"), false},
    {"a Close without FIN", 0, BYTES(""), BYTES("\x08\x00"), false},
    {"a ping of 126 bytes", 0, BYTES(""), BYTES("\x89\x7e\x00\x7e"), false},
    {"a Close with a long length", 0, BYTES(""), BYTES("\x88\x7f\0\0\0\0\0\1\0\0"), false},
    {"a Close of 1 byte", 0, BYTES(""), BYTES("\x88\x01x"), false},
    {"a masked Close of 1 byte", C, BYTES(""), BYTES("\x88\x81" M "x"), false},
    {"a Close of 2 bytes", 0, BYTES(""), BYTES("\x88\x02\x03\xe8"), true},
    {"a ping of 1 byte", 0, BYTES(""), BYTES("\x89\x01x"), true},

    {"a continuation of nothing", 0, BYTES(""), BYTES("\x80\x00"), false},
    {"a first continuation of nothing", 0, BYTES(""), BYTES("\x00\x00"), false},
    {"a continuation of what has ended", 0, BYTES("\x01\x00\x80\x00"), BYTES("\x80\x00"), false},
    {"a continuation behind a message", 0, BYTES("\x81\x00"), BYTES("\x80\x00"), false},
    {"a continuation", 0, BYTES("\x01\x00"), BYTES("\x00\x00"), true},
    {"a last continuation", 0, BYTES("\x02\x00\x00\x00"), BYTES("\x80\x00"), true},
    {"a message inside another", 0, BYTES("\x01\x00"), BYTES("\x81\x00"), false},
    {"a fragment inside another message", 0, BYTES("\x02\x00\x00\x00"), BYTES("\x02\x00"), false},
    {"a ping inside a message", 0, BYTES("\x01\x00"), BYTES("\x89\x00"), true},
    {"a Close inside a message", 0, BYTES("\x01\x00"), BYTES("\x88\x00"), true},
    {"a continuation behind a ping", 0, BYTES("\x01\x00\x89\x00"), BYTES("\x80\x00"), true},
    {"a message behind one in pieces", 0, BYTES("\x01\x00\x80\x00"), BYTES("\x82\x00"), true},

    {"126 bytes, shortest", 0, BYTES(""), BYTES("\x82\x7e\x00\x7e"), true},
    {"125 bytes in 2", 0, BYTES(""), BYTES("\x82\x7e\x00\x7d"), false},
    {"0 bytes in 2", 0, BYTES(""), BYTES("\x82\x7e\x00\x00"), false},
    {"65536 bytes, shortest", 0, BYTES(""), BYTES("\x82\x7f\0\0\0\0\0\1\0\0"), true},
    {"65535 bytes in 8", 0, BYTES(""), BYTES("\x82\x7f\0\0\0\0\0\0\xff\xff"), false},
    {"0 bytes in 8, masked", C, BYTES(""), BYTES("\x82\xff\0\0\0\0\0\0\0\0" M), false},
    {"the greatest length", 0, BYTES(""), BYTES("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), true},
    {"the top bit", 0, BYTES(""), BYTES("\x82\x7f\x80\0\0\0\0\0\0\1"), false},
    {"the top bit, masked", C, BYTES(""), BYTES("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" M),
     false},
};

/* `cut` bytes into the frame that is judged. */
static void check_rule(const struct rule *rule, size_t cut)
{
    walker_init(&walker, WS_CHECK | rule->flags);
    walker_feed(&walker, (const uint8_t *)rule->good, rule->good_len);
    ck_assert_msg(walker.verdict == WS_FINE && walker.out_len == rule->good_len, "%s", rule->what);
    struct ws_track before = walker.track;
    walker_feed(&walker, (const uint8_t *)rule->last, cut);
    walker_feed(&walker, (const uint8_t *)rule->last + cut, rule->last_len - cut);
    if (rule->fine) {
        ck_assert_msg(walker.verdict == WS_FINE && walker.held_len == 0 &&
                          walker.out_len == rule->good_len + rule->last_len,
                      "%s is forbidden, cut at %zu", rule->what, cut);
        return;
    }
    ck_assert_msg(walker.verdict == WS_BAD_FRAME, "%s is allowed, cut at %zu", rule->what, cut);
    ck_assert_msg(walker.out_len == rule->good_len && walker.held_len == 0, "%s passes",
                  rule->what);
    ws_track_feed(&before, rule->last, rule->last_len);
    before.flags |= before.flags & WS_SAW_CLOSE ? WS_TAKEN : 0;
    ck_assert_msg(memcmp(&before, &walker.track, sizeof before) == 0, "tracker: %s", rule->what);
}

START_TEST(frames_are_held_to_rfc_6455)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        for (size_t cut = 0; cut <= rules[i].last_len; cut++)
            check_rule(&rules[i], cut);
    }
}
END_TEST

START_TEST(without_checks_all_of_it_passes)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *rule = &rules[i];
        walker_init(&walker, rule->flags);
        walker_feed(&walker, (const uint8_t *)rule->good, rule->good_len);
        walker_feed(&walker, (const uint8_t *)rule->last, rule->last_len);
        ck_assert_msg(walker.verdict == WS_FINE &&
                          walker.out_len == rule->good_len + rule->last_len,
                      "%s", rule->what);
    }
}
END_TEST

START_TEST(after_a_bad_frame_nothing_passes_but_our_close)
{
    static const uint8_t bad[] = {0x81, 1, 'a', 0x83, 3, 'x', 'y', 'z', 0x81, 1, 'b'};

    walker_init(&walker, WS_CHECK);
    walker_feed(&walker, bad, sizeof bad);
    ck_assert(walker_gave(&walker, bad, 3));
    ck_assert_uint_eq(walker.messages, 1);
    walker_feed(&walker, text, sizeof text);
    ck_assert(walker_gave(&walker, bad, 3));
    walker_say(&walker, our_close, sizeof our_close);
    walker_feed(&walker, text, sizeof text);
    ck_assert_uint_eq(walker.out_len, 3 + sizeof our_close);
    ck_assert_mem_eq(walker.out + 3, our_close, sizeof our_close);
    walker_feed(&walker, our_close, sizeof our_close); /* the answer */
    ck_assert_uint_eq(walker.out_len, 3 + sizeof our_close);
    ck_assert_uint_eq(walker.track.flags, WS_SAW_CLOSE | WS_TAKEN);
}
END_TEST

static void add_message(const size_t *sizes, size_t count, bool masked)
{
    for (size_t i = 0; i < count; i++) {
        unsigned fin = i + 1 == count ? 0x80 : 0;
        walk_add(&stream, (uint8_t)(fin | (i == 0 ? WS_BINARY : WS_CONT)), masked,
                 walk_shortest(sizes[i]), NULL, sizes[i]);
        walk_add(&stream, 0x80 | WS_PING, masked, 0, NULL, 5);
    }
}

/* A message of these fragments, pings between them, cut anywhere that matters. */
static void check_message(const size_t *sizes, size_t count, uint64_t max_frame,
                          uint64_t max_message, enum ws_verdict verdict, uint32_t passing)
{
    for (int masked = 0; masked < 2; masked++) {
        stream.len = stream.frames = 0;
        add_message(sizes, count, masked);
        size_t passed = passing > 0 ? stream.ends[passing - 1] : 0;
        for (size_t cut = 0; cut <= stream.len; cut++) {
            if (!walk_is_near(&stream, cut))
                continue;
            walker_init(&walker, masked ? WS_FROM_CLIENT | WS_CHECK : 0);
            walker.walk.max_frame = max_frame;
            walker.walk.max_message = max_message;
            walker_feed(&walker, stream.bytes, cut);
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            quiet_assert(walker.verdict == verdict, "verdict %d, cut at %zu", walker.verdict, cut);
            quiet_assert(walker_gave(&walker, stream.bytes, passed), "%zu bytes, cut at %zu",
                         walker.out_len, cut);
            quiet_assert(walker.track.frames == stream.frames &&
                             ws_track_at_boundary(&walker.track),
                         "the tracker goes on, cut at %zu", cut);
        }
    }
}

START_TEST(frames_up_to_the_limit_pass)
{
    static const size_t limits[] = {5, 125, 126, 127, 65535, 65536, 65537};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        size_t n = limits[i], less = n - 1, more = n + 1;
        check_message(&less, 1, n, 0, WS_FINE, 2);
        check_message(&n, 1, n, 0, WS_FINE, 2);
        check_message(&more, 1, n, 0, WS_BIG_FRAME, 0);
        check_message((size_t[]){n, n, more, 1}, 4, n, 0, WS_BIG_FRAME, 4);
    }
}
END_TEST

START_TEST(messages_up_to_the_limit_pass)
{
    static const size_t limits[] = {1, 125, 126, 1000, 65536};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        size_t n = limits[i], half = n / 2, more = n + 1;
        check_message(&n, 1, 0, n, WS_FINE, 2);
        check_message(&more, 1, 0, n, WS_BIG_MESSAGE, 0);
        check_message((size_t[]){half, n - half}, 2, 0, n, WS_FINE, 4);
        check_message((size_t[]){half, n - half, 0, 0}, 4, 0, n, WS_FINE, 8);
        check_message((size_t[]){half, n - half + 1}, 2, 0, n, WS_BIG_MESSAGE, 2);
        check_message((size_t[]){0, half, n - half, 1}, 4, 0, n, WS_BIG_MESSAGE, 6);
    }
}
END_TEST

START_TEST(each_message_is_measured_by_itself)
{
    stream.len = stream.frames = 0;
    for (int i = 0; i < 4; i++) {
        add_message((size_t[]){60, 40}, 2, false);
        add_message((size_t[]){100}, 1, false);
    }
    for (size_t n = 1; n <= stream.len; n++) {
        walker_init(&walker, WS_CHECK);
        walker.walk.max_message = 100;
        for (size_t at = 0; at < stream.len; at += n)
            walker_feed(&walker, stream.bytes + at, n < stream.len - at ? n : stream.len - at);
        quiet_assert(walker.verdict == WS_FINE && walker.out_len == stream.len, "by %zu", n);
        quiet_assert(walker.messages == 8 && walker.controls == 12, "by %zu", n);
    }
}
END_TEST

/* Not checked, so that messages may begin and go on where they must not. */
START_TEST(a_message_is_measured_from_where_it_begins_to_its_end)
{
    static const uint8_t begun[] = {0x01, 3, 'a', 'b', 'c', 0x81, 4, 'a', 'b', 'c', 'd'};
    static const uint8_t ended[] = {0x81, 3, 'a', 'b', 'c', 0x80, 4, 'a', 'b', 'c', 'd'};

    walker_init(&walker, 0);
    walker.walk.max_message = 4;
    walker_feed(&walker, begun, sizeof begun);
    walker_feed(&walker, ended, sizeof ended);
    ck_assert_int_eq(walker.verdict, WS_FINE);
}
END_TEST

START_TEST(a_limit_lowered_amid_a_message_counts_from_its_next_frame)
{
    static const uint8_t first[] = {0x02, 4, 'a', 'b', 'c', 'd'}, next[] = {0x80, 0};

    walker_init(&walker, 0);
    walker.walk.max_message = 4;
    walker_feed(&walker, first, sizeof first);
    ck_assert_uint_eq(walker.message, 4);
    walker.walk.max_message = 3;
    walker_feed(&walker, next, sizeof next);
    ck_assert_int_eq(walker.verdict, WS_BIG_MESSAGE);
}
END_TEST

START_TEST(sums_of_lengths_do_not_overflow)
{
    static const uint8_t huge[] = {0x80, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    walker_init(&walker, 0);
    walker.walk.max_message = UINT64_MAX;
    walker.message = UINT64_MAX - INT64_MAX + 1;
    walker_feed(&walker, huge, sizeof huge);
    ck_assert_int_eq(walker.verdict, WS_BIG_MESSAGE);
    walker_init(&walker, 0);
    walker.walk.max_message = UINT64_MAX;
    walker.message = UINT64_MAX - INT64_MAX;
    walker_feed(&walker, huge, sizeof huge);
    ck_assert_int_eq(walker.verdict, WS_FINE);
}
END_TEST

START_TEST(a_broken_stream_that_is_not_dropped_passes_without_words)
{
    walker_init(&walker, 0);
    ws_track_feed(&walker.track, "\x82\x7f\xff", 3);
    walker_say(&walker, our_close, sizeof our_close);
    walker_feed(&walker, text, sizeof text);
    ck_assert(!walker.said);
    ck_assert(walker_gave(&walker, text, sizeof text));
}
END_TEST

START_TEST(after_too_big_a_frame_our_close_goes_out_at_once)
{
    static const uint8_t big[] = {0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0, 'x', 0x88, 0};

    walker_init(&walker, 0);
    walker.walk.max_frame = 1 << 20;
    walker_feed(&walker, text, sizeof text);
    walker_feed(&walker, big, sizeof big);
    ck_assert_int_eq(walker.verdict, WS_BIG_FRAME);
    ck_assert(walker_gave(&walker, text, sizeof text));
    ck_assert(!ws_track_at_boundary(&walker.track));
    walker_say(&walker, our_close, sizeof our_close);
    walker_feed(&walker, NULL, 0);
    ck_assert(walker.said);
    ck_assert_mem_eq(walker.out + sizeof text, our_close, sizeof our_close);
    ck_assert_uint_eq(walker.out_len, sizeof text + sizeof our_close);
}
END_TEST

START_TEST(a_close_behind_too_big_a_frame_is_seen)
{
    static const uint8_t big[] = {0x82, 4, 'x', 'x', 'x', 'x', 0x88, 2, 0x03, 0xe8};

    for (size_t cut = 0; cut <= sizeof big; cut++) {
        walker_init(&walker, 0);
        walker.walk.max_frame = 3;
        walker_feed(&walker, big, cut);
        walker_feed(&walker, big + cut, sizeof big - cut);
        ck_assert_int_eq(walker.verdict, WS_BIG_FRAME);
        ck_assert_uint_eq(walker.out_len, 0);
        ck_assert(walker.track.flags & WS_SAW_CLOSE);
    }
}
END_TEST

START_TEST(a_length_with_the_top_bit_ends_tracking_or_meets_a_limit)
{
    static const uint8_t broken[] = {0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 1,    2,    3,    4,    0x81, 0,    0x88, 0};

    for (size_t cut = 0; cut <= sizeof broken; cut++) {
        for (int limit = 0; limit < 3; limit++) {
            walker_init(&walker, 0);
            walker.walk.max_frame = limit == 1 ? INT64_MAX : 0;
            walker.walk.max_message = limit == 2 ? INT64_MAX : 0;
            walker_feed(&walker, broken, cut);
            walker_feed(&walker, broken + cut, sizeof broken - cut);
            ck_assert_uint_eq(walker.track.flags, WS_BROKEN);
            ck_assert_int_eq(walker.verdict, limit == 1   ? WS_BIG_FRAME
                                             : limit == 2 ? WS_BIG_MESSAGE
                                                          : WS_FINE);
            walker_say(&walker, our_close, sizeof our_close);
            walker_feed(&walker, text, sizeof text);
            ck_assert_int_eq(walker.said, limit > 0);
            ck_assert_uint_eq(walker.out_len,
                              limit > 0 ? sizeof our_close : sizeof broken + sizeof text);
        }
    }
}
END_TEST

/* Two messages around a Close, and more behind it. */
static size_t build_closing(bool masked)
{
    stream.len = stream.frames = 0;
    walk_add(&stream, 0x80 | WS_TEXT, masked, 0, NULL, 30);
    walk_add(&stream, 0x80 | WS_CLOSE, masked, 0, "\x03\xe8reason", 8);
    walk_add(&stream, 0x80 | WS_TEXT, masked, 0, NULL, 30);
    return stream.ends[0];
}

static void check_taken(size_t a, size_t b, size_t passed)
{
    walker_init(&walker, WS_TAKE_CLOSE);
    walker_feed(&walker, stream.bytes, a);
    walker_feed(&walker, stream.bytes + a, b - a);
    quiet_assert(walker.out_len <= passed, "cuts at %zu, %zu", a, b);
    quiet_assert(((walker.track.flags & WS_SAW_CLOSE) != 0) == (b >= stream.ends[1]),
                 "Close at %zu, %zu", a, b);
    walker_feed(&walker, stream.bytes + b, stream.len - b);
    quiet_assert(walker_gave(&walker, stream.bytes, passed), "cuts at %zu, %zu", a, b);
    quiet_assert(walker.controls == 1 && walker.messages == 1, "counts, cuts at %zu, %zu", a, b);
    walker_say(&walker, our_close, sizeof our_close);
    walker_feed(&walker, text, 1);
    quiet_assert(walker.said && walker.out_len == passed + sizeof our_close, "our Close");
}

START_TEST(a_close_that_is_taken_does_not_pass_wherever_it_is_cut)
{
    for (int masked = 0; masked < 2; masked++) {
        size_t passed = build_closing(masked);
        for (size_t a = 0; a <= stream.len; a++) {
            for (size_t b = a; b <= stream.len; b++)
                check_taken(a, b, passed);
        }
    }
}
END_TEST

START_TEST(the_longest_close_is_taken)
{
    stream.len = stream.frames = 0;
    walk_add(&stream, 0x80 | WS_CLOSE, true, 0, NULL, WS_CONTROL_MAX);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        walker_init(&walker, WS_TAKE_CLOSE | WS_CHECK | WS_FROM_CLIENT);
        walker_feed(&walker, stream.bytes, cut);
        walker_feed(&walker, stream.bytes + cut, stream.len - cut);
        ck_assert_uint_eq(walker.out_len, 0);
        ck_assert_uint_eq(walker.track.flags & ~(unsigned)WS_TAKEN, WS_SAW_CLOSE);
    }
}
END_TEST

START_TEST(a_close_that_has_begun_to_pass_passes_whole)
{
    static const unsigned headers[] = {2, 6};

    for (int masked = 0; masked < 2; masked++) {
        size_t start = build_closing(masked), end = stream.ends[1];
        for (size_t cut = start; cut <= end; cut++) {
            bool begun = cut >= start + headers[masked];
            walker_init(&walker, 0);
            walker_feed(&walker, stream.bytes, cut);
            walker.walk.flags = WS_TAKE_CLOSE;
            walker_say(&walker, text, sizeof text);
            for (size_t n = cut; n < stream.len; n++) {
                walker_feed(&walker, stream.bytes + n, 1);
                ck_assert_int_eq(walker.said, !begun);
            }
            ck_assert_uint_eq(walker.out_len, begun ? stream.len : start + sizeof text);
            if (!begun)
                ck_assert_mem_eq(walker.out + start, text, sizeof text);
            ck_assert_int_eq((walker.track.flags & WS_TAKEN) != 0, !begun);
        }
    }
}
END_TEST

START_TEST(behind_a_close_nothing_passes_if_it_is_to_be_the_last)
{
    static const uint32_t flags[] = {0, WS_CHECK, WS_ENDS_AT_CLOSE,
                                     WS_ENDS_AT_CLOSE | WS_TAKE_CLOSE};

    build_closing(false);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        bool last = flags[i] != 0;
        for (size_t cut = 0; cut <= stream.len; cut++) {
            walker_init(&walker, flags[i] & ~(uint32_t)WS_TAKE_CLOSE);
            walker_feed(&walker, stream.bytes, cut);
            if (cut >= stream.headers[1] + 2)
                walker.walk.flags = flags[i];
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            ck_assert(walker_gave(&walker, stream.bytes, stream.ends[last ? 1 : 2]));
            ck_assert_int_eq(walker.verdict, WS_FINE);
            ck_assert_uint_eq(walker.messages, last ? 1 : 2);
        }
    }
}
END_TEST

/* Of a ping that waits for a frame to end, when that is a Close (5.5.1). */
START_TEST(behind_a_close_no_words_go_in)
{
    for (int checked = 0; checked < 2; checked++) {
        build_closing(false);
        for (size_t cut = stream.headers[1]; cut <= stream.len; cut++) {
            walker_init(&walker, checked ? WS_CHECK : 0);
            walker_feed(&walker, stream.bytes, cut);
            walker_say(&walker, text, sizeof text);
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            walker.walk.flags |= WS_DROP;
            walker_feed(&walker, text, sizeof text);
            ck_assert(!walker.said);
            ck_assert(walker_gave(&walker, stream.bytes, stream.ends[checked ? 1 : 2]));
        }
    }
}
END_TEST

START_TEST(behind_last_words_nothing_passes)
{
    for (int masked = 0; masked < 2; masked++) {
        build_closing(masked);
        for (size_t cut = 0; cut <= stream.ends[0]; cut++) {
            uint8_t header = masked ? 6 : 2;
            size_t place = cut < header ? 0 : stream.ends[0];
            walker_init(&walker, WS_WORDS_LAST);
            walker_feed(&walker, stream.bytes, cut);
            walker_say(&walker, our_close, sizeof our_close);
            walker_feed(&walker, stream.bytes + cut, stream.len - cut);
            ck_assert(walker.said);
            ck_assert_uint_eq(walker.out_len, place + sizeof our_close);
            ck_assert_mem_eq(walker.out + place, our_close, sizeof our_close);
            ck_assert(walker.track.flags & WS_SAW_CLOSE);
            ck_assert_uint_eq(walker.track.frames, 3);
            ck_assert_uint_eq(walker.held_len, 0);
        }
    }
}
END_TEST

START_TEST(what_is_dropped_is_neither_counted_nor_judged)
{
    build_closing(true);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        walker_init(&walker, WS_DROP | WS_CHECK); /* not as from a client */
        walker.walk.max_frame = 1;
        walker_feed(&walker, stream.bytes, cut);
        ck_assert_int_eq((walker.track.flags & WS_SAW_CLOSE) != 0, cut >= stream.ends[1]);
        walker_feed(&walker, stream.bytes + cut, stream.len - cut);
        ck_assert_uint_eq(walker.out_len, 0);
        ck_assert_int_eq(walker.verdict, WS_FINE);
        ck_assert_uint_eq(walker.messages + walker.controls, 0);
    }
}
END_TEST

START_TEST(what_is_held_is_dropped_with_the_rest)
{
    walker_init(&walker, 0);
    walker_feed(&walker, (const uint8_t *)"\x81", 1);
    ck_assert_uint_eq(walker.held_len, 1);
    walker.walk.flags = WS_DROP;
    walker_feed(&walker, (const uint8_t *)"\x00\x88\x00", 3);
    ck_assert_uint_eq(walker.held_len, 0);
    ck_assert_uint_eq(walker.out_len, 0);
    ck_assert_uint_eq(walker.track.frames, 2);
    ck_assert(walker.track.flags & WS_SAW_CLOSE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_walk_rules");
    TCase *tc = tcase_create("ws_walk_rules");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, frames_are_held_to_rfc_6455);
    tcase_add_test(tc, without_checks_all_of_it_passes);
    tcase_add_test(tc, after_a_bad_frame_nothing_passes_but_our_close);
    tcase_add_test(tc, frames_up_to_the_limit_pass);
    tcase_add_test(tc, messages_up_to_the_limit_pass);
    tcase_add_test(tc, each_message_is_measured_by_itself);
    tcase_add_test(tc, a_message_is_measured_from_where_it_begins_to_its_end);
    tcase_add_test(tc, a_limit_lowered_amid_a_message_counts_from_its_next_frame);
    tcase_add_test(tc, sums_of_lengths_do_not_overflow);
    tcase_add_test(tc, a_broken_stream_that_is_not_dropped_passes_without_words);
    tcase_add_test(tc, after_too_big_a_frame_our_close_goes_out_at_once);
    tcase_add_test(tc, a_close_behind_too_big_a_frame_is_seen);
    tcase_add_test(tc, a_length_with_the_top_bit_ends_tracking_or_meets_a_limit);
    tcase_add_test(tc, a_close_that_is_taken_does_not_pass_wherever_it_is_cut);
    tcase_add_test(tc, the_longest_close_is_taken);
    tcase_add_test(tc, a_close_that_has_begun_to_pass_passes_whole);
    tcase_add_test(tc, behind_a_close_nothing_passes_if_it_is_to_be_the_last);
    tcase_add_test(tc, behind_a_close_no_words_go_in);
    tcase_add_test(tc, behind_last_words_nothing_passes);
    tcase_add_test(tc, what_is_dropped_is_neither_counted_nor_judged);
    tcase_add_test(tc, what_is_held_is_dropped_with_the_rest);
    suite_add_tcase(suite, tc);
    return walk_run_suite(suite);
}
