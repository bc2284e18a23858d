/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/body.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* For loops: ck_assert tells the runner of each success, too, which takes far longer than the test. */
#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg("%s", #c);                                                                \
    } while (0)

enum { OUTPUT_MAX = 8192 };

/* A body on its way through two small buffers: what has left the second one is in `sent`. */
struct way {
    struct body body;
    struct buf in;
    struct buf out;
    char sent[OUTPUT_MAX];
    size_t sent_len;
    uint32_t sip; /* bytes that the receiver takes at once */
    int rc;
};

static void way_init(struct way *way, uint32_t in_size, uint32_t out_size, uint32_t sip)
{
    memset(way, 0, offsetof(struct way, sent));
    way->sent_len = 0;
    way->rc = 0;
    way->sip = sip;
    way->in = (struct buf){.data = malloc(in_size), .size = in_size};
    way->out = (struct buf){.data = malloc(out_size), .size = out_size};
}

static void way_fini(struct way *way)
{
    free(way->in.data);
    free(way->out.data);
}

static bool drink(struct way *way)
{
    uint32_t n = buf_len(&way->out) < way->sip ? buf_len(&way->out) : way->sip;
    REQUIRE(way->sent_len + n <= sizeof way->sent);
    if (n > 0)
        memcpy(way->sent + way->sent_len, way->out.data + way->out.start, n);
    way->out.start += n;
    way->sent_len += n;
    return n > 0;
}

/* Move on until nothing moves any more; each round the receiver takes a sip. */
static void settle(struct way *way)
{
    for (bool moved = true; moved && way->rc == 0;) {
        uint32_t before = buf_len(&way->in);
        way->rc = body_move(&way->body, &way->in, &way->out);
        REQUIRE(way->out.end <= way->out.size);
        moved = drink(way) || buf_len(&way->in) != before;
    }
    while (drink(way))
        ;
}

/* The sender sends `bytes`, as far as there is room, until all have gone in or nothing moves. */
static void feed(struct way *way, struct slice bytes)
{
    while (way->rc == 0 && bytes.n > 0) {
        size_t n = buf_room(&way->in);
        if (n > bytes.n)
            n = bytes.n;
        REQUIRE(n > 0 || way->body.done); /* stuck */
        if (n == 0)
            return;
        REQUIRE(buf_append(&way->in, (struct slice){bytes.p, n}) == 0);
        bytes.p += n;
        bytes.n -= n;
        settle(way);
    }
}

/* The data of chunks; the trailer section goes to *trailer. Aborts at what is not exactly chunked. */
static size_t unchunk(const char *text, size_t len, char *data, struct slice *trailer)
{
    size_t n = 0;
    for (size_t at = 0;;) {
        char *end;
        unsigned long size = strtoul(text + at, &end, 16);
        REQUIRE(end > text + at && memcmp(end, "\r\n", 2) == 0);
        at = (size_t)(end + 2 - text);
        if (size == 0) {
            REQUIRE(len >= at + 2 && memcmp(text + len - 2, "\r\n", 2) == 0);
            *trailer = (struct slice){text + at, len - 2 - at};
            return n;
        }
        REQUIRE(at + size + 2 <= len && memcmp(text + at + size, "\r\n", 2) == 0);
        memcpy(data + n, text + at, size);
        n += size;
        at += size + 2;
    }
}

struct body_case {
    enum http_body in;
    uint64_t length;
    const char *sent;     /* by the sender, body only */
    const char *body;     /* what that means */
    const char *trailers; /* of a chunked body, with keep_trailer */
};

#define LONG_TEXT "The quick brown fox jumps over the lazy dog, and then it is time to have a rest."

static const struct body_case cases[] = {
    {HTTP_BODY_LENGTH, 80, LONG_TEXT, LONG_TEXT, ""},
    {HTTP_BODY_LENGTH, 1, "x", "x", ""},
    {HTTP_BODY_UNTIL_CLOSE, 0, LONG_TEXT, LONG_TEXT, ""},
    {HTTP_BODY_CHUNKED, 0, "0\r\n\r\n", "", ""},
    {HTTP_BODY_CHUNKED, 0, "5\r\nhello\r\n1\r\n \r\n5;x=\"y\"\r\nworld\r\n0\r\n\r\n", "hello world",
     ""},
    {HTTP_BODY_CHUNKED, 0, "50\r\n" LONG_TEXT "\r\n1\r\n!\r\n000\r\n\r\n", LONG_TEXT "!", ""},
    {HTTP_BODY_CHUNKED, 0, "2\r\nhi\r\n0\r\nX-Sum: 12345678901234567890\r\nX-Two: 2\r\n\r\n", "hi",
     "X-Sum: 12345678901234567890\r\nX-Two: 2\r\n"},
};

static void expect_output(struct way *way, const struct body_case *c, bool keep)
{
    char data[OUTPUT_MAX];
    struct slice trailer = SLICE("");
    size_t n = way->sent_len;
    REQUIRE(way->sent_len < sizeof way->sent);
    way->sent[way->sent_len] = '\0';
    if (way->body.out_chunked)
        n = unchunk(way->sent, way->sent_len, data, &trailer);
    else
        memcpy(data, way->sent, n);
    if (!slice_eq((struct slice){data, n}, slice_of(c->body)))
        ck_abort_msg("%s became %.*s", c->sent, (int)n, data);
    REQUIRE(slice_eq(trailer, slice_of(keep && way->body.out_chunked ? c->trailers : "")));
    REQUIRE(way->body.passed == strlen(c->body));
}

static void expect_case(const struct body_case *c, uint32_t sizes, size_t split, unsigned mode)
{
    static const char next[] = "GET / HTTP/1.1\r\n"; /* the next message stays where it is */
    bool chunked = mode & 1;
    bool keep = mode & 2;
    struct way way;
    char text[512];
    int len =
        snprintf(text, sizeof text, "%s%s", c->sent, c->in == HTTP_BODY_UNTIL_CLOSE ? "" : next);
    /* Tiny buffers and big ones, fast receivers and slow ones. */
    way_init(&way, 17 + sizes % 5, 20 + sizes, mode & 4 ? 1 + sizes % 7 : OUTPUT_MAX);
    body_init(&way.body, c->in, c->length, chunked, 0);
    way.body.keep_trailer = keep;
    feed(&way, (struct slice){text, split});
    REQUIRE(way.rc == 0);
    feed(&way, (struct slice){text + split, (size_t)len - split});
    REQUIRE(way.rc == 0);
    if (c->in == HTTP_BODY_UNTIL_CLOSE) {
        REQUIRE(!way.body.done);
        while (!way.body.done) {
            REQUIRE(body_eof(&way.body, &way.out) == 0);
            drink(&way);
        }
        while (drink(&way))
            ;
    }
    REQUIRE(way.body.done);
    REQUIRE(body_eof(&way.body, &way.out) == 0);
    REQUIRE(slice_starts(SLICE(next), buf_slice(&way.in)));
    expect_output(&way, c, keep);
    way_fini(&way);
}

START_TEST(every_body_arrives_whole_through_any_buffers_and_splits)
{
    const struct body_case *c = &cases[_i];
    for (unsigned mode = 0; mode < 8; mode++) {
        if ((mode & 1) && c->in == HTTP_BODY_LENGTH)
            continue;
        for (uint32_t sizes = 0; sizes < 40; sizes++) {
            for (size_t split = 0; split <= strlen(c->sent); split++)
                expect_case(c, sizes, split, mode);
        }
    }
}
END_TEST

/* Sizes of one digit to four: the room for the size line is reckoned right for each. */
START_TEST(chunks_of_all_sizes_fit_into_their_buffer)
{
    static char text[4200];
    static char data[OUTPUT_MAX];
    memset(text, 'x', sizeof text);
    for (uint32_t size = 20; size < sizeof text + 40; size++) {
        struct way way;
        struct slice trailer;
        way_init(&way, sizeof text, size, OUTPUT_MAX);
        body_init(&way.body, HTTP_BODY_UNTIL_CLOSE, 0, true, 0);
        feed(&way, (struct slice){text, sizeof text < 3 * size ? sizeof text : 3 * size});
        REQUIRE(body_eof(&way.body, &way.out) == 0 && way.body.done);
        drink(&way);
        REQUIRE(unchunk(way.sent, way.sent_len, data, &trailer) == way.body.passed);
        REQUIRE(buf_len(&way.in) == 0 && memcmp(data, text, way.body.passed) == 0);
        way_fini(&way);
    }
}
END_TEST

START_TEST(nothing_moves_where_there_is_no_room)
{
    for (unsigned chunked = 0; chunked < 2; chunked++) {
        struct way way;
        way_init(&way, 64, 64, 64);
        body_init(&way.body, HTTP_BODY_CHUNKED, 0, chunked, 0);
        ck_assert_int_eq(buf_append(&way.in, SLICE("5\r\nhello\r\n0\r\n\r\n")), 0);
        way.out.end = way.out.size;
        ck_assert_int_eq(body_move(&way.body, &way.in, &way.out), 0);
        ck_assert_uint_eq(way.out.end, way.out.size);
        ck_assert(!way.body.done);
        way.out.start = way.out.end;
        ck_assert_int_eq(body_move(&way.body, &way.in, &way.out), 0);
        ck_assert(way.body.done);
        way_fini(&way);
    }
}
END_TEST

START_TEST(buffers_without_memory_are_empty_ones)
{
    static const enum http_body kinds[] = {HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED,
                                           HTTP_BODY_UNTIL_CLOSE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct body body;
        struct buf none = {0};
        char text[] = "5\r\nhello";
        struct buf in = {.data = text, .end = 8, .size = 8};
        body_init(&body, kinds[i], 10, false, 0);
        ck_assert_int_eq(body_move(&body, &none, &none), 0);
        ck_assert_int_eq(body_move(&body, &in, &none), 0);
        ck_assert_uint_eq(body.passed, 0);
        ck_assert_int_eq(body.done, kinds[i] == HTTP_BODY_NONE);
    }
}
END_TEST

START_TEST(no_body_and_an_empty_body_are_done_at_once)
{
    struct way way;
    way_init(&way, 64, 64, 64);
    ck_assert_int_eq(buf_append(&way.in, SLICE("GET")), 0);
    for (unsigned i = 0; i < 2; i++) {
        body_init(&way.body, i ? HTTP_BODY_LENGTH : HTTP_BODY_NONE, 0, false, 0);
        ck_assert(way.body.done);
        ck_assert_int_eq(body_move(&way.body, &way.in, &way.out), 0);
        ck_assert_uint_eq(buf_len(&way.in), 3);
        ck_assert_uint_eq(buf_len(&way.out), 0);
        ck_assert_int_eq(body_eof(&way.body, &way.out), 0);
    }
    way_fini(&way);
}
END_TEST

START_TEST(a_bad_coding_is_refused_at_any_split)
{
    static const char *const bad[] = {
        "x\r\n",
        "5\nhello\r\n",
        "5\r\nhelloworld",
        "5\r\nhello\n0\r\n\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "11111111111111111\r\n",
        "0\r\nHost: x\r\n",
        "0\r\nX: y\r\n z\r\n",
        "0\r\n\n",
        "ffffffffffffffff\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        for (size_t split = 0; split <= strlen(bad[i]); split++) {
            struct way way;
            way_init(&way, 64, 64, 64);
            body_init(&way.body, HTTP_BODY_CHUNKED, 0, split & 1, 0);
            feed(&way, (struct slice){bad[i], split});
            feed(&way, slice_of(bad[i] + split));
            if (way.rc != -EBADMSG || way.body.done)
                ck_abort_msg("%s cut at %zu was taken", bad[i], split);
            way_fini(&way);
        }
    }
}
END_TEST

START_TEST(a_trailer_section_without_end_is_refused)
{
    struct way way;
    char line[128];
    way_init(&way, 256, 256, 256);
    body_init(&way.body, HTTP_BODY_CHUNKED, 0, false, 0);
    feed(&way, SLICE("0\r\n"));
    uint32_t sent = 0;
    for (uint32_t i = 0; way.rc == 0 && i < 1000; i++) {
        int n = snprintf(line, sizeof line, "X-Field-%u: %080u\r\n", i, i);
        feed(&way, (struct slice){line, (size_t)n});
        sent += (uint32_t)n;
    }
    ck_assert_int_eq(way.rc, -EBADMSG);
    ck_assert_uint_le(sent, BODY_TRAILER_MAX + sizeof line);
    ck_assert_uint_gt(sent, BODY_TRAILER_MAX);
    way_fini(&way);
}
END_TEST

START_TEST(more_than_the_maximum_is_refused)
{
    for (uint64_t max = 1; max <= 12; max++) {
        struct way way;
        way_init(&way, 64, 64, 64);
        body_init(&way.body, HTTP_BODY_CHUNKED, 0, true, max);
        feed(&way, SLICE("6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"));
        ck_assert_int_eq(way.rc, max < 11 ? -EFBIG : 0);
        ck_assert_int_eq(way.body.done, max >= 11);
        way_fini(&way);
        way_init(&way, 64, 64, 64);
        body_init(&way.body, HTTP_BODY_UNTIL_CLOSE, 0, false, max);
        feed(&way, SLICE("hello world"));
        ck_assert_int_eq(way.rc, max < 11 ? -EFBIG : 0);
        way_fini(&way);
    }
}
END_TEST

START_TEST(a_body_that_is_cut_off_is_known_as_such)
{
    static const char chunked[] = "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    struct way way;
    for (size_t cut = 0; cut < sizeof chunked - 1; cut++) {
        way_init(&way, 64, 64, 64);
        body_init(&way.body, HTTP_BODY_CHUNKED, 0, true, 0);
        feed(&way, (struct slice){chunked, cut});
        ck_assert_int_eq(way.rc, 0);
        ck_assert_int_eq(body_eof(&way.body, &way.out), -EPIPE);
        way_fini(&way);
    }
    way_init(&way, 64, 64, 64);
    body_init(&way.body, HTTP_BODY_LENGTH, 6, false, 0);
    feed(&way, SLICE("hello"));
    ck_assert_int_eq(body_eof(&way.body, &way.out), -EPIPE);
    feed(&way, SLICE("!"));
    ck_assert_int_eq(body_eof(&way.body, &way.out), 0);
    way_fini(&way);
}
END_TEST

START_TEST(the_last_chunk_waits_for_room)
{
    struct way way;
    way_init(&way, 64, 64, 64);
    body_init(&way.body, HTTP_BODY_UNTIL_CLOSE, 0, true, 0);
    for (uint32_t room = 0; room <= 5; room++) {
        way.out.start = 0;
        way.out.end = way.out.size - room;
        ck_assert_int_eq(body_eof(&way.body, &way.out), 0);
        ck_assert_int_eq(way.body.done, room == 5);
    }
    ck_assert_int_eq(memcmp(way.out.data + 59, "0\r\n\r\n", 5), 0);
    way_fini(&way);
}
END_TEST

START_TEST(a_length_is_never_announced_beside_chunks)
{
    struct body body;
    body_init(&body, HTTP_BODY_LENGTH, 5, true, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *tc = tcase_create("body");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, every_body_arrives_whole_through_any_buffers_and_splits, 0,
                        ARRAY_LEN(cases));
    tcase_add_test(tc, chunks_of_all_sizes_fit_into_their_buffer);
    tcase_add_test(tc, nothing_moves_where_there_is_no_room);
    tcase_add_test(tc, buffers_without_memory_are_empty_ones);
    tcase_add_test(tc, no_body_and_an_empty_body_are_done_at_once);
    tcase_add_test(tc, a_bad_coding_is_refused_at_any_split);
    tcase_add_test(tc, a_trailer_section_without_end_is_refused);
    tcase_add_test(tc, more_than_the_maximum_is_refused);
    tcase_add_test(tc, a_body_that_is_cut_off_is_known_as_such);
    tcase_add_test(tc, the_last_chunk_waits_for_room);
    tcase_add_test_raise_signal(tc, a_length_is_never_announced_beside_chunks, SIGABRT);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
