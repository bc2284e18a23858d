/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http_chunk.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TRAILER_MAX = 200, OUT_MAX = 4096 };

/* ck_assert_msg without its write to a pipe when all is well: for inner loops. */
#define quiet_assert(c, ...)                                                                       \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

/* All that came out of a body, and where and how it ended. */
struct body {
    char data[OUT_MAX];
    size_t data_len;
    char trailer[OUT_MAX];
    size_t trailer_len;
    size_t used;
    int rc; /* MORE, END or an error */
    const char *error;
};

/* Feed one piece, in memory of its own, until it is used up or the body is over. */
static void feed(struct http_chunk *chunk, struct body *body, const char *text, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);
    size_t at = 0;

    memcpy(piece, text, len);
    do {
        size_t consumed;
        struct slice out;
        body->rc = http_chunk_step(chunk, piece + at, len - at, &consumed, &out);
        if (body->rc < 0)
            break;
        quiet_assert(consumed <= len - at, "consumed too much");
        at += consumed;
        bool piece_of_it = body->rc == HTTP_CHUNK_DATA || body->rc == HTTP_CHUNK_TRAILER;
        quiet_assert(piece_of_it == (out.n > 0), "event %d with %zu bytes", body->rc, out.n);
        if (body->rc == HTTP_CHUNK_DATA) {
            quiet_assert(out.p + out.n == piece + at, "data beside the input");
            memcpy(body->data + body->data_len, out.p, out.n);
            body->data_len += out.n;
        } else if (body->rc == HTTP_CHUNK_TRAILER) {
            memcpy(body->trailer + body->trailer_len, out.p, out.n);
            body->trailer_len += out.n;
        }
    } while (body->rc == HTTP_CHUNK_DATA || body->rc == HTTP_CHUNK_TRAILER);
    quiet_assert(body->rc != HTTP_CHUNK_MORE || at == len, "more wanted, input left");
    body->used += at;
    body->error = chunk->error;
    free(piece);
}

static void begin(struct http_chunk *chunk, struct body *body)
{
    memset(body, 0, sizeof *body);
    memset(chunk, 0xa5, sizeof *chunk);
    http_chunk_init(chunk, TRAILER_MAX);
}

static struct body decode(const char *text, size_t len)
{
    struct http_chunk chunk;
    struct body body;

    begin(&chunk, &body);
    feed(&chunk, &body, text, len);
    return body;
}

static bool same(const struct body *a, const struct body *b)
{
    if (a->rc != b->rc || a->error != b->error)
        return false;
    if (a->rc < 0)
        return true;
    return a->used == b->used && a->data_len == b->data_len && a->trailer_len == b->trailer_len &&
           memcmp(a->data, b->data, a->data_len) == 0 &&
           memcmp(a->trailer, b->trailer, a->trailer_len) == 0;
}

static void check_cuts(const struct body *whole, const char *text, size_t len, size_t one,
                       size_t two)
{
    struct http_chunk chunk;
    struct body body;

    begin(&chunk, &body);
    feed(&chunk, &body, text, one);
    if (body.rc == HTTP_CHUNK_MORE)
        feed(&chunk, &body, text + one, two - one);
    if (body.rc == HTTP_CHUNK_MORE)
        feed(&chunk, &body, text + two, len - two);
    quiet_assert(same(whole, &body), "cuts at %zu and %zu: %d %d", one, two, whole->rc, body.rc);
}

static void check_bytewise(const struct body *whole, const char *text, size_t len)
{
    struct http_chunk chunk;
    struct body body;

    begin(&chunk, &body);
    for (size_t i = 0; i < len && body.rc == HTTP_CHUNK_MORE; i++)
        feed(&chunk, &body, text + i, 1);
    quiet_assert(same(whole, &body), "single bytes: %d %d", whole->rc, body.rc);
}

static struct body decode_all_ways(const char *text, size_t len)
{
    struct body whole = decode(text, len);

    for (size_t cut = 0; cut <= len; cut++)
        check_cuts(&whole, text, len, cut, len);
    check_bytewise(&whole, text, len);
    return whole;
}

static const char good[] = "5\r\nhello\r\n"
                           "01; a=b ;c = \"d\\\"e\";f\r\n,\r\n"
                           "06\r\n world\r\n"
                           "000;x\r\n"
                           "X-Sum: a\tb\r\n"
                           "Vary:\r\n"
                           "\r\n";

START_TEST(data_and_trailers_come_out)
{
    struct body body = decode_all_ways(good, sizeof good - 1);

    ck_assert_int_eq(body.rc, HTTP_CHUNK_END);
    ck_assert_uint_eq(body.used, sizeof good - 1);
    ck_assert(slice_eq((struct slice){body.data, body.data_len}, SLICE("hello, world")));
    ck_assert(slice_eq((struct slice){body.trailer, body.trailer_len},
                       SLICE("X-Sum: a\tb\r\nVary:\r\n")));
}
END_TEST

START_TEST(no_two_cuts_change_the_result)
{
    struct body whole = decode(good, sizeof good - 1);

    for (size_t one = 0; one < sizeof good; one++)
        for (size_t two = one; two < sizeof good; two++)
            check_cuts(&whole, good, sizeof good - 1, one, two);
}
END_TEST

START_TEST(every_prefix_asks_for_more)
{
    for (size_t n = 0; n < sizeof good - 1; n++)
        ck_assert_int_eq(decode(good, n).rc, HTTP_CHUNK_MORE);
}
END_TEST

/* Is good[at] a byte of body? */
static bool is_data(size_t at)
{
    static const char *const parts[] = {"hello", ",", " world"};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t start = (size_t)(strstr(good, parts[i]) - good);
        if (at >= start && at < start + strlen(parts[i]))
            return true;
    }
    return false;
}

START_TEST(every_byte_at_every_place_has_one_verdict)
{
    char text[sizeof good];
    unsigned verdicts[2] = {0};

    for (size_t at = 0; at < sizeof good - 1; at++) {
        memcpy(text, good, sizeof text);
        for (unsigned byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            struct body whole = decode(text, sizeof text - 1);
            check_cuts(&whole, text, sizeof text - 1, at, at + 1);
            check_bytewise(&whole, text, sizeof text - 1);
            verdicts[whole.rc < 0]++;
            if (whole.rc != HTTP_CHUNK_END)
                continue;
            /* A CR or LF of the coding that is not needed would be a way to smuggle. */
            bool line_byte = byte == '\r' || byte == '\n' || good[at] == '\r' || good[at] == '\n';
            quiet_assert(!line_byte || text[at] == good[at] || is_data(at), "byte %02x at %zu",
                         byte, at);
        }
    }
    ck_assert_uint_gt(verdicts[0], 1000);
    ck_assert_uint_gt(verdicts[1], 1000);
}
END_TEST

START_TEST(what_follows_the_body_is_left_alone)
{
    static const char text[] = "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
    struct body body = decode_all_ways(text, sizeof text - 1);

    ck_assert_int_eq(body.rc, HTTP_CHUNK_END);
    ck_assert_uint_eq(body.used, 11);
}
END_TEST

START_TEST(after_its_end_a_body_takes_nothing)
{
    struct http_chunk chunk;
    size_t consumed;
    struct slice out;

    http_chunk_init(&chunk, 0);
    ck_assert_int_eq(http_chunk_step(&chunk, "0\r\n\r\n0", 6, &consumed, &out), HTTP_CHUNK_END);
    ck_assert_uint_eq(consumed, 5);
    ck_assert_int_eq(http_chunk_step(&chunk, "0", 1, &consumed, &out), HTTP_CHUNK_END);
    ck_assert_uint_eq(consumed, 0);
}
END_TEST

START_TEST(broken_codings_are_refused)
{
#define BODY(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
    static const struct slice rows[] = {
        BODY("1 ;a\r\nx"),
        BODY("5;a\r\nhello\r\n6 ;b"),
        BODY("\r\n"),
        BODY(" 1\r\na\r\n"),
        BODY("1 \r\na\r\n"),
        BODY("1\t\r\na\r\n"),
        BODY("\t1\r\na\r\n"),
        BODY("+1\r\na\r\n"),
        BODY("-1\r\na\r\n"),
        BODY("-0\r\n\r\n"),
        BODY("0x1\r\na\r\n"),
        BODY("1_0\r\n"),
        BODY("g\r\n"),
        BODY("1h\r\na"),
        BODY("\xd9\xa1\r\n"),
        BODY(";a\r\n"),
        BODY("1\na\r\n"),
        BODY("1\ra\r\n"),
        BODY("1\r\ra"),
        BODY("1\n\ra"),
        BODY("1\0\r\na"),
        BODY("1\r\na\n0\r\n\r\n"),
        BODY("1\r\na\r0\r\n\r\n"),
        BODY("1\r\nab\r\n"),
        BODY("2\r\na\r\n0\r\n\r\n"),
        BODY("1\r\na0\r\n\r\n"),
        BODY("1\r\na\r\r0\r\n\r\n"),
        BODY("1\r\na\r\n\r\n0\r\n\r\n"),
        BODY("1;\r\na"),
        BODY("1; \r\na"),
        BODY("1;;a\r\na"),
        BODY("1;a \r\na"),
        BODY("1;a=\r\na"),
        BODY("1;a=b \r\na"),
        BODY("1;a=b c\r\na"),
        BODY("1;a b\r\na"),
        BODY("1;a=\"b\r\na"),
        BODY("1;a=\"b\"c\r\na"),
        BODY("1;a=\"b\\\r\"\r\na"),
        BODY("1;a=\"b\n\"\r\na"),
        BODY("1;a=\"b\0\"\r\na"),
        BODY("1;a\n\r\na"),
        BODY("1;a\r\r\na"),
        BODY("1;a\rb\r\na"),
        BODY("1;\na\r\na"),
        BODY("1;a=(\r\na"),
        BODY("1;=b\r\na"),
        BODY("0\n\r\n"),
        BODY("0\r\r\n"),
        BODY("0\r\n\n"),
        BODY("0\r\n\ra"),
        BODY("0\r\n a: b\r\n\r\n"),
        BODY("0\r\n: b\r\n\r\n"),
        BODY("0\r\na : b\r\n\r\n"),
        BODY("0\r\na\r\n\r\n"),
        BODY("0\r\na: b\n\r\n"),
        BODY("0\r\na: b\rc\r\n\r\n"),
        BODY("0\r\na: b\r\n c\r\n\r\n"),
        BODY("0\r\na: \0\r\n\r\n"),
        BODY("0\r\na\xa0: b\r\n\r\n"),
        BODY("10000000000000000\r\n"),
        BODY("00000000000000001\r\n"),
        BODY("8000000000000000\r\n"),
        BODY("ffffffffffffffff\r\n"),
        BODY("100000000000000005\r\n"),
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct body body = decode_all_ways(rows[i].p, rows[i].n);
        ck_assert_msg(body.rc == -EBADMSG && body.error, "row %zu: %d %s", i, body.rc, rows[i].p);
    }
}
END_TEST

START_TEST(sizes_are_hexadecimal_and_up_to_2_63_minus_1)
{
    static const struct {
        const char *size;
        uint64_t wanted;
    } rows[] = {
        {"1", 1},
        {"a", 10},
        {"A", 10},
        {"fF", 255},
        {"0000000000000001", 1},
        {"123456789", 0x123456789},
        {"7fffffffffffffff", INT64_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_chunk chunk;
        size_t consumed;
        struct slice out;
        char text[32];
        size_t len = strlen(rows[i].size);
        memcpy(text, rows[i].size, len);
        memcpy(text + len, "\r\nx", 3);
        http_chunk_init(&chunk, 0);
        ck_assert_int_eq(http_chunk_step(&chunk, text, len + 3, &consumed, &out), HTTP_CHUNK_DATA);
        ck_assert_uint_eq(consumed, len + 3);
        ck_assert_uint_eq(out.n, 1);
        ck_assert_uint_eq(chunk.left, rows[i].wanted - 1);
    }
}
END_TEST

START_TEST(chunks_may_be_many)
{
    struct http_chunk chunk;
    struct body body;

    begin(&chunk, &body);
    for (int i = 0; i < 1000; i++) {
        feed(&chunk, &body, "003\r\nabc\r\n", 10);
        ck_assert_int_eq(body.rc, HTTP_CHUNK_MORE);
    }
    ck_assert_uint_eq(body.data_len, 3000);
    feed(&chunk, &body, "0\r\n\r\n", 5);
    ck_assert_int_eq(body.rc, HTTP_CHUNK_END);
}
END_TEST

START_TEST(fields_that_frame_or_route_are_refused_in_trailers)
{
    static const char *const bad[] = {
        "Content-Length",           "transfer-encoding", "HOST",
        "Content_Length",           "X-Forwarded-For",   "TE",
        "Sec-WebSocket-Extensions", "Connection",        "Cookie",
    };
    static const char *const good_names[] = {
        "X",
        "Content-Lengthy",
        "Content-Lengt",
        "Sec-WebSocket-Extensionsx",
        "T",
        "Digest",
        "A-Name-That-Is-Much-Longer-Than-Any-That-We-Know-And-Than-The-Place-For-It",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[128] = "0\r\nX: y\r\n";
        strcat(strcat(text, bad[i]), ": 1\r\n\r\n");
        ck_assert_msg(decode_all_ways(text, strlen(text)).rc == -EBADMSG, "%s", bad[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(good_names); i++) {
        char text[128] = "0\r\nX: y\r\n";
        strcat(strcat(text, good_names[i]), ": 1\r\n\r\n");
        ck_assert_msg(decode_all_ways(text, strlen(text)).rc == HTTP_CHUNK_END, "%s",
                      good_names[i]);
    }
}
END_TEST

START_TEST(extensions_are_bounded_between_data)
{
    static char text[2048];

    /* "1;aaa...a\r\n": 1024 bytes of size line pass, one more does not. */
    for (size_t line = 1024; line <= 1025; line++) {
        memset(text, 'a', sizeof text);
        memcpy(text, "1;", 2);
        memcpy(text + line - 2, "\r\nx\r\n0\r\n\r\n", 11);
        struct body body = decode_all_ways(text, line + 9);
        ck_assert_int_eq(body.rc, line == 1024 ? HTTP_CHUNK_END : -EMSGSIZE);
    }
    /* Data in between starts the count again. */
    struct http_chunk chunk;
    struct body body;
    begin(&chunk, &body);
    memset(text, 'a', sizeof text);
    memcpy(text, "1;", 2);
    memcpy(text + 1000, "\r\nx\r\n", 5);
    for (int i = 0; i < 10; i++) {
        feed(&chunk, &body, text, 1005);
        ck_assert_int_eq(body.rc, HTTP_CHUNK_MORE);
    }
    ck_assert_uint_eq(body.data_len, 10);
}
END_TEST

START_TEST(trailers_are_bounded)
{
    char text[512];

    for (size_t trailer = TRAILER_MAX; trailer <= TRAILER_MAX + 1; trailer++) {
        memset(text, 'a', sizeof text);
        memcpy(text, "0\r\nX:", 5);
        memcpy(text + 3 + trailer - 2, "\r\n\r\n", 4);
        struct body body = decode_all_ways(text, trailer + 5);
        ck_assert_int_eq(body.rc, trailer == TRAILER_MAX ? HTTP_CHUNK_END : -EMSGSIZE);
    }
}
END_TEST

START_TEST(a_dead_decoder_stays_dead)
{
    struct http_chunk chunk;
    size_t consumed;
    struct slice out;

    http_chunk_init(&chunk, 0);
    ck_assert_int_eq(http_chunk_step(&chunk, "x", 1, &consumed, &out), -EBADMSG);
    ck_assert_int_eq(http_chunk_step(&chunk, "0\r\n\r\n", 5, &consumed, &out), -EBADMSG);
    ck_assert_uint_eq(consumed, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_chunk");
    TCase *tc = tcase_create("http_chunk");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, data_and_trailers_come_out);
    tcase_add_test(tc, no_two_cuts_change_the_result);
    tcase_add_test(tc, every_prefix_asks_for_more);
    tcase_add_test(tc, every_byte_at_every_place_has_one_verdict);
    tcase_add_test(tc, what_follows_the_body_is_left_alone);
    tcase_add_test(tc, after_its_end_a_body_takes_nothing);
    tcase_add_test(tc, broken_codings_are_refused);
    tcase_add_test(tc, sizes_are_hexadecimal_and_up_to_2_63_minus_1);
    tcase_add_test(tc, chunks_may_be_many);
    tcase_add_test(tc, fields_that_frame_or_route_are_refused_in_trailers);
    tcase_add_test(tc, extensions_are_bounded_between_data);
    tcase_add_test(tc, trailers_are_bounded);
    tcase_add_test(tc, a_dead_decoder_stays_dead);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
