/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner: lines, limits, and that no cut changes a verdict. */
#include "test/unit/http_case.h"

#include <stdio.h>

static const char upgrade[] = "GET /chat?room=1 HTTP/1.1\r\n"
                              "Host: example.com\r\n"
                              "connection: keep-alive, Upgrade\r\n"
                              "Upgrade: websocket\r\n"
                              "X-Odd:\t a \xc3\xa9 b \t\r\n"
                              "X-Empty:\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                              "SEC-WEBSOCKET-VERSION:13\r\n"
                              "\r\n";

static const char answer[] = "HTTP/1.1 200 All is well\r\n"
                             "Date: today\r\n"
                             "Content-Length: 12\r\n"
                             "Connection: close\r\n"
                             "\r\n";

/* Short, and with one of everything: for the loops over all cuts and all bytes. */
static const char posted[] = "POST http://h:80/a?b HTTP/1.1\r\nHost: h:80\r\nX-y:\ta b\r\n"
                             "Content-Length: 10\r\nConnection: close,x-Y\r\n\r\n";

static void check_field(const struct http_case *c, uint32_t i, const char *name, const char *value,
                        enum http_field_id id)
{
    const struct http_field *field = &c->head.fields[i];

    ck_assert_uint_lt(i, c->head.field_count);
    ck_assert(case_is(upgrade, field->name, field->name_len, name));
    ck_assert(case_is(upgrade, field->value, field->value_len, value));
    ck_assert_int_eq(field->id, id);
}

START_TEST(an_upgrade_request_is_taken_apart)
{
    struct http_case c;

    case_parse(&c, false, upgrade, sizeof upgrade - 1);
    ck_assert_int_eq(c.rc, sizeof upgrade - 1);
    const struct http_head *head = &c.head;
    ck_assert_int_eq(head->method, HTTP_GET);
    ck_assert(slice_eq(http_head_method(head, upgrade), SLICE("GET")));
    ck_assert_int_eq(head->minor, 1);
    ck_assert_int_eq(head->body, HTTP_BODY_NONE);
    ck_assert_int_eq(head->flags, HTTP_KEEP_ALIVE | HTTP_CONN_UPGRADE);
    ck_assert(case_is(upgrade, head->target, head->target_len, "/chat?room=1"));
    ck_assert(case_is(upgrade, head->path, head->path_len, "/chat"));
    ck_assert(case_is(upgrade, head->query, head->query_len, "room=1"));
    ck_assert(case_is(upgrade, head->authority, head->authority_len, "example.com"));
    ck_assert_uint_eq(head->field_count, 7);
    check_field(&c, 0, "Host", "example.com", HTTP_FIELD_HOST);
    check_field(&c, 1, "connection", "keep-alive, Upgrade", HTTP_FIELD_CONNECTION);
    check_field(&c, 2, "Upgrade", "websocket", HTTP_FIELD_UPGRADE);
    check_field(&c, 3, "X-Odd", "a \xc3\xa9 b", HTTP_FIELD_OTHER);
    check_field(&c, 4, "X-Empty", "", HTTP_FIELD_OTHER);
    check_field(&c, 5, "Sec-WebSocket-Key",
                "dGhlIHNhbXBsZSBub25jZQ==", HTTP_FIELD_SEC_WEBSOCKET_KEY);
    check_field(&c, 6, "SEC-WEBSOCKET-VERSION", "13", HTTP_FIELD_SEC_WEBSOCKET_VERSION);
}
END_TEST

START_TEST(an_answer_is_taken_apart)
{
    struct http_case c;

    case_parse(&c, true, answer, sizeof answer - 1);
    ck_assert_int_eq(c.rc, sizeof answer - 1);
    ck_assert_int_eq(c.head.status, 200);
    ck_assert_int_eq(c.head.method, HTTP_GET);
    ck_assert(case_is(answer, c.head.reason, c.head.reason_len, "All is well"));
    ck_assert_int_eq(c.head.body, HTTP_BODY_LENGTH);
    ck_assert_uint_eq(c.head.content_length, 12);
    ck_assert_int_eq(c.head.flags, HTTP_CLOSE | HTTP_HAS_LENGTH);
}
END_TEST

START_TEST(every_prefix_asks_for_more)
{
    for (size_t n = 0; n < sizeof upgrade - 1; n++) {
        struct http_case c;
        case_parse(&c, false, upgrade, n);
        ck_assert_int_eq(c.rc, 0);
    }
    for (size_t n = 0; n < sizeof answer - 1; n++) {
        struct http_case c;
        case_parse(&c, true, answer, n);
        ck_assert_int_eq(c.rc, 0);
    }
}
END_TEST

static void check_two_cuts(bool is_answer, const char *text, size_t len)
{
    struct http_case whole;

    case_parse_all_ways(&whole, is_answer, text, len);
    ck_assert_int_eq(whole.rc, (int)len);
    for (size_t first = 0; first <= len; first++) {
        for (size_t second = first; second <= len; second++) {
            struct http_case c;
            case_init(&c, is_answer, CASE_LIMITS);
            case_feed(&c, text, first);
            case_feed(&c, text, second);
            case_feed(&c, text, len);
            case_assert(case_same(&whole, &c), "cuts at %zu and %zu", first, second);
        }
    }
}

START_TEST(no_one_and_no_two_cuts_change_the_result)
{
    check_two_cuts(false, upgrade, sizeof upgrade - 1);
    check_two_cuts(false, posted, sizeof posted - 1);
    check_two_cuts(true, answer, sizeof answer - 1);
}
END_TEST

/*
 * An oracle that knows nothing of states: what was accepted is lines that end in CR LF, and no
 * control byte stands anywhere else but for tabs.
 */
static void check_clean_lines(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool pair =
            (c == '\r' && text[i + 1] == '\n') || (c == '\n' && i > 0 && text[i - 1] == '\r');
        case_assert((c >= 0x20 && c != 0x7f) || c == '\t' || pair, "byte %02x at %zu", c, i);
    }
}

static void check_every_byte(bool is_answer, const char *text, size_t len)
{
    char *copy = malloc(len);
    unsigned accepted = 0, refused = 0;

    for (size_t at = 0; at < len; at++) {
        memcpy(copy, text, len);
        for (unsigned byte = 0; byte < 256; byte++) {
            struct http_case whole;
            copy[at] = (char)byte;
            case_parse(&whole, is_answer, copy, len);
            case_check_split(&whole, is_answer, copy, len, at);
            case_check_split(&whole, is_answer, copy, len, at + 1);
            case_check_bytewise(&whole, is_answer, copy, len);
            accepted += whole.rc > 0;
            refused += whole.rc < 0;
            if (whole.rc > 0)
                check_clean_lines(copy, (size_t)whole.rc);
        }
    }
    free(copy);
    /* The loop is worth something only if both verdicts are common. */
    ck_assert_uint_gt(accepted, len * 10);
    ck_assert_uint_gt(refused, len * 30);
}

START_TEST(every_byte_at_every_place_has_one_verdict)
{
    check_every_byte(false, posted, sizeof posted - 1);
    check_every_byte(true, answer, sizeof answer - 1);
}
END_TEST

START_TEST(every_byte_put_in_at_every_place_has_one_verdict)
{
    char longer[sizeof posted];

    for (size_t at = 0; at < sizeof posted - 1; at++) {
        memcpy(longer, posted, at);
        memcpy(longer + at + 1, posted + at, sizeof posted - 1 - at);
        for (unsigned byte = 0; byte < 256; byte++) {
            struct http_case whole;
            longer[at] = (char)byte;
            case_parse(&whole, false, longer, sizeof longer);
            case_check_split(&whole, false, longer, sizeof longer, at + 1);
            if (whole.rc > 0)
                check_clean_lines(longer, (size_t)whole.rc);
        }
    }
}
END_TEST

START_TEST(broken_request_lines_are_refused)
{
    static const struct http_row rows[] = {
        ROW("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", -400),
        ROW(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET /\x0bHTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\rHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", -400),
        ROW("GET /\r\nHost: a\r\n\r\n", -400),
        ROW("GET\r\n\r\n", -400),
        ROW("GET HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW(" / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("\x16\x03\x01\x02", -400), /* TLS on a plain port: known by its first byte */
        ROW("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", -501),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(only_versions_1_0_and_1_1_are_spoken)
{
    static const struct http_row rows[] = {
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0),
        ROW("GET / HTTP/1.0\r\nHost: a\r\n\r\n", 0),
        ROW("GET / HTTP/1.2\r\nHost: a\r\n\r\n", -505),
        ROW("GET / HTTP/1.9\r\nHost: a\r\n\r\n", -505),
        ROW("GET / HTTP/0.9\r\nHost: a\r\n\r\n", -505),
        ROW("GET / HTTP/9.1\r\nHost: a\r\n\r\n", -505),
        ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -505),
        ROW("GET / http/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1x\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.10\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/01.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1,1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1\r\nHost: a\r\n\r\n", -400),
        ROW("GET / ICE/1.1\r\nHost: a\r\n\r\n", -400),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(broken_field_lines_are_refused)
{
    static const struct http_row rows[] = {
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\n Host: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX:\rb\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX:\nb\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\n: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\xa0: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\rX", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\n\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nX: \t b\xff\"\\ \t \r\nY:\r\nZ:  \r\n!#$%&'*+-.^_`|~0: "
            "v\r\n\r\n",
            0),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(broken_status_lines_are_refused)
{
    static const struct http_row rows[] = {
        ROW("HTTP/1.1 200 OK\r\n\r\n", 0),
        ROW("HTTP/1.0 200 OK\r\n\r\n", 0),
        ROW("HTTP/1.1 200 \r\n\r\n", 0),
        ROW("HTTP/1.1 200\r\n\r\n", 0), /* seen in the wild, and not ambiguous */
        ROW("HTTP/1.1 404 Non trouv\xe9\r\n\r\n", 0),
        ROW("HTTP/1.1  200 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 20 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 2000 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 099 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 +20 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 200\tOK\r\n\r\n", -502),
        ROW("HTTP/1.1\t200 OK\r\n\r\n", -502),
        ROW("HTTP/1.2 200 OK\r\n\r\n", -502),
        ROW("HTTP/2.0 200 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 200 O\rK\r\n\r\n", -502),
        ROW("HTTP/1.1 200 OK\n\r\n", -502),
        ROW("HTTP/1.1 200 O\0K\r\n\r\n", -502),
        ROW("\r\nHTTP/1.1 200 OK\r\n\r\n", -502),
        ROW("ICY 200 OK\r\n\r\n", -502),
        ROW("HTTP/1.1 200 OK\r\nX : b\r\n\r\n", -502),
        ROW("HTTP/1.1 200 OK\r\nX: b\r\n c\r\n\r\n", -502),
    };

    case_check_rows(rows, ARRAY_LEN(rows), true);
}
END_TEST

START_TEST(empty_lines_before_a_request_are_skipped)
{
    static const char text[] = "\r\n\r\nPUT /x HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_case c;

    case_parse_all_ways(&c, false, text, sizeof text - 1);
    ck_assert_int_eq(c.rc, sizeof text - 1);
    ck_assert_uint_eq(c.head.first_line, 4);
    ck_assert(slice_eq(http_head_method(&c.head, text), SLICE("PUT")));
    ck_assert(case_is(text, c.head.path, c.head.path_len, "/x"));
}
END_TEST

START_TEST(what_follows_a_head_is_left_alone)
{
    static const char text[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET \r\n\0";
    struct http_case c;

    case_parse(&c, false, text, sizeof text - 1);
    ck_assert_int_eq(c.rc, 28);
    ck_assert_int_eq(http_head_parse(&c.head, text, sizeof text - 1), 28);
}
END_TEST

static int parse_limited(const char *text, bool is_answer, struct http_limits limits)
{
    struct http_case c;
    size_t len = strlen(text);

    case_init(&c, is_answer, limits);
    case_feed(&c, text, len);
    for (size_t cut = 0; cut <= len; cut++)
        case_check_split(&c, is_answer, text, len, cut);
    case_check_bytewise(&c, is_answer, text, len);
    return c.rc;
}

START_TEST(limits_hold_to_the_byte)
{
    const char *text = "GET /123456 HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n";
    uint32_t line = 20, head = (uint32_t)strlen(text);

    ck_assert_int_eq(parse_limited(text, false, (struct http_limits){line, head, 2}), (int)head);
    for (uint32_t n = 0; n < line; n++)
        ck_assert_int_eq(parse_limited(text, false, (struct http_limits){n, head, 2}), -414);
    for (uint32_t n = 0; n <= line; n++)
        ck_assert_int_eq(parse_limited(text, false, (struct http_limits){line, n, 2}),
                         n ? -414 : -431);
    for (uint32_t n = line + 2; n < head; n++)
        ck_assert_int_eq(parse_limited(text, false, (struct http_limits){line, n, 2}), -431);
    for (uint32_t n = 0; n < 2; n++)
        ck_assert_int_eq(parse_limited(text, false, (struct http_limits){line, head, n}), -431);
    ck_assert_int_eq(parse_limited("\r\n\r\n\r\n", false, (struct http_limits){line, 6, 2}), -431);
}
END_TEST

START_TEST(limits_of_answers_hold_to_the_byte)
{
    const char *text = "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n";
    uint32_t line = 15, head = (uint32_t)strlen(text);

    ck_assert_int_eq(parse_limited(text, true, (struct http_limits){line, head, 1}), (int)head);
    ck_assert_int_eq(parse_limited(text, true, (struct http_limits){line - 1, head, 1}), -502);
    ck_assert_int_eq(parse_limited(text, true, (struct http_limits){line, head - 1, 1}), -502);
    ck_assert_int_eq(parse_limited(text, true, (struct http_limits){line, head, 0}), -502);
    ck_assert_int_eq(parse_limited("HTTP/1.1 200\r\n\r\n", true, (struct http_limits){11, 99, 1}),
                     -502);
}
END_TEST

START_TEST(a_field_name_longer_than_its_length_can_say_is_refused)
{
    enum { LONG = 70000, START = 16 };
    static char text[START + LONG + 5];
    struct http_field fields[2];
    struct http_head head;

    memcpy(text, "GET / HTTP/1.0\r\n", START);
    memset(text + START, 'n', LONG);
    memcpy(text + START + LONG, ":\r\n\r\n", 5);
    http_request_init(&head, fields, (struct http_limits){100, 100000, 2});
    ck_assert_int_eq(http_head_parse(&head, text, sizeof text), -431);

    memcpy(text + START + UINT16_MAX, ":\r\n\r\n", 5);
    http_request_init(&head, fields, (struct http_limits){100, 100000, 2});
    ck_assert_int_eq(http_head_parse(&head, text, START + UINT16_MAX + 5), START + UINT16_MAX + 5);
    ck_assert_uint_eq(fields[0].name_len, UINT16_MAX);
}
END_TEST

START_TEST(a_dead_head_stays_dead)
{
    struct http_case c;

    case_parse(&c, false, "GET  ", 5);
    ck_assert_int_eq(c.rc, -400);
    ck_assert_int_eq(http_head_parse(&c.head, upgrade, sizeof upgrade - 1), -400);
    case_parse(&c, true, "X", 1);
    ck_assert_int_eq(http_head_parse(&c.head, answer, sizeof answer - 1), -502);
}
END_TEST

START_TEST(methods_are_known_by_their_exact_name)
{
    static const struct {
        const char *name;
        enum http_method id;
        bool idempotent;
    } rows[] = {
        {"GET", HTTP_GET, true},           {"HEAD", HTTP_HEAD, true},
        {"POST", HTTP_POST, false},        {"PUT", HTTP_PUT, true},
        {"DELETE", HTTP_DELETE, true},     {"OPTIONS", HTTP_OPTIONS, true},
        {"TRACE", HTTP_TRACE, true},       {"PATCH", HTTP_PATCH, false},
        {"get", HTTP_METHOD_OTHER, false}, {"GETS", HTTP_METHOD_OTHER, false},
        {"GE", HTTP_METHOD_OTHER, false},  {"M-SEARCH", HTTP_METHOD_OTHER, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char text[64];
        int len = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].name);
        case_parse(&c, false, text, (size_t)len);
        ck_assert_int_eq(c.rc, len);
        ck_assert_int_eq(c.head.method, rows[i].id);
        ck_assert_int_eq(http_method_idempotent(rows[i].id), rows[i].idempotent);
        ck_assert(slice_eq(http_head_method(&c.head, text), slice_of(rows[i].name)));
    }
    ck_assert(!http_method_idempotent(HTTP_CONNECT));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_head");
    TCase *tc = tcase_create("http_head");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, an_upgrade_request_is_taken_apart);
    tcase_add_test(tc, an_answer_is_taken_apart);
    tcase_add_test(tc, every_prefix_asks_for_more);
    tcase_add_test(tc, no_one_and_no_two_cuts_change_the_result);
    tcase_add_test(tc, every_byte_at_every_place_has_one_verdict);
    tcase_add_test(tc, every_byte_put_in_at_every_place_has_one_verdict);
    tcase_add_test(tc, broken_request_lines_are_refused);
    tcase_add_test(tc, only_versions_1_0_and_1_1_are_spoken);
    tcase_add_test(tc, broken_field_lines_are_refused);
    tcase_add_test(tc, broken_status_lines_are_refused);
    tcase_add_test(tc, empty_lines_before_a_request_are_skipped);
    tcase_add_test(tc, what_follows_a_head_is_left_alone);
    tcase_add_test(tc, limits_hold_to_the_byte);
    tcase_add_test(tc, limits_of_answers_hold_to_the_byte);
    tcase_add_test(tc, a_field_name_longer_than_its_length_can_say_is_refused);
    tcase_add_test(tc, a_dead_head_stays_dead);
    tcase_add_test(tc, methods_are_known_by_their_exact_name);
    suite_add_tcase(suite, tc);
    return case_run(suite);
}
