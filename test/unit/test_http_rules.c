/* SPDX-License-Identifier: Apache-2.0 */
/* What fields mean: framing, Connection, Expect; and how fields are found. */
#include "test/unit/http_case.h"

#include "common/http_parts.h"

#include <stdio.h>

#define POST(fields, refused) ROW("POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n", refused)
#define OLD(fields, refused)  ROW("POST / HTTP/1.0\r\nHost: a\r\n" fields "\r\n", refused)

START_TEST(a_content_length_is_one_plain_number)
{
    static const struct http_row rows[] = {
        POST("Content-Length: 0\r\n", 0),
        POST("Content-Length:\t10 \t\r\n", 0),
        POST("Content-Length: 9223372036854775807\r\n", 0),
        POST("Content-Length: 5\r\ncontent-length: 5\r\n", 0),
        POST("Content-Length: 9223372036854775808\r\n", -400),
        POST("Content-Length: 18446744073709551616\r\n", -400),
        POST("Content-Length: 18446744073709551621\r\n", -400),
        POST("Content-Length: 99999999999999999999999999999999\r\n", -400),
        POST("Content-Length: 5\r\nContent-Length: 6\r\n", -400),
        POST("Content-Length: 5\r\nContent-Length: 05\r\n", -400),
        POST("Content-Length: 5\r\nContent-Length:\r\n", -400),
        POST("Content-Length:\r\n", -400),
        POST("Content-Length: \r\n", -400),
        POST("Content-Length: 1, 1\r\n", -400),
        POST("Content-Length: 1,\r\n", -400),
        POST("Content-Length: ,1\r\n", -400),
        POST("Content-Length: 1;\r\n", -400),
        POST("Content-Length: 1 1\r\n", -400),
        POST("Content-Length: +1\r\n", -400),
        POST("Content-Length: -1\r\n", -400),
        POST("Content-Length: -0\r\n", -400),
        POST("Content-Length: 010\r\n", -400),
        POST("Content-Length: 00\r\n", -400),
        POST("Content-Length: 0x1\r\n", -400),
        POST("Content-Length: 1_0\r\n", -400),
        POST("Content-Length: 1e1\r\n", -400),
        POST("Content-Length: 1.0\r\n", -400),
        POST("Content-Length: \"1\"\r\n", -400),
        POST("Content-Length: 1\0\r\n", -400),
        POST("Content-Length: 1\x0b\r\n", -400),
        POST("Content-Length: 1\xa0\r\n", -400),
        POST("Content-Length: \xd9\xa1\r\n", -400),
        POST("Content-Length : 1\r\n", -400),
        POST("Content-Length\t: 1\r\n", -400),
        POST(" Content-Length: 1\r\n", -400),
        POST("Content-Length:\r\n 1\r\n", -400),
        POST("Content_Length: 1\r\n", -400),
        POST("Content.Length: 1\r\n", -400),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(a_transfer_coding_is_chunked_once_or_nothing)
{
    static const struct http_row rows[] = {
        POST("Transfer-Encoding: chunked\r\n", 0),
        POST("transfer-encoding:\tCHUNKED \t\r\n", 0),
        POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", -400),
        POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", -400),
        POST("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", -400),
        POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", -400),
        POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", -400),
        POST("Transfer-Encoding: chunked, chunked\r\n", -400),
        POST("Transfer-Encoding: gzip, chunked\r\n", -400),
        POST("Transfer-Encoding: chunked, gzip\r\n", -400),
        POST("Transfer-Encoding: chunked, identity\r\n", -400),
        POST("Transfer-Encoding: identity\r\n", -400),
        POST("Transfer-Encoding: identity, chunked\r\n", -400),
        POST("Transfer-Encoding:\r\n", -400),
        POST("Transfer-Encoding: ,chunked\r\n", -400),
        POST("Transfer-Encoding: chunked,\r\n", -400),
        POST("Transfer-Encoding: chunked;a=b\r\n", -400),
        POST("Transfer-Encoding: \"chunked\"\r\n", -400),
        POST("Transfer-Encoding: 'chunked'\r\n", -400),
        POST("Transfer-Encoding: xchunked\r\n", -400),
        POST("Transfer-Encoding: chunkedx\r\n", -400),
        POST("Transfer-Encoding: chunke\r\n", -400),
        POST("Transfer-Encoding: chunked chunked\r\n", -400),
        POST("Transfer-Encoding: cow\r\n", -400),
        POST("Transfer-Encoding: \x0b"
             "chunked\r\n",
             -400),
        POST("Transfer-Encoding: chunked\x0c\r\n", -400),
        POST("Transfer-Encoding: \xa0"
             "chunked\r\n",
             -400),
        POST("Transfer-Encoding: chunked\0\r\n", -400),
        POST("Transfer-Encoding : chunked\r\n", -400),
        POST("Transfer-Encoding\x0b: chunked\r\n", -400),
        POST("Transfer-Encoding:\n chunked\r\n", -400),
        POST("Transfer-Encoding:\r\n chunked\r\n", -400),
        POST("Transfer-\r\nEncoding: chunked\r\n", -400),
        POST("X: y\rTransfer-Encoding: chunked\r\n", -400),
        POST("X: y\nTransfer-Encoding: chunked\r\n", -400),
        POST("Transfer_Encoding: chunked\r\n", -400),
        POST("Transfer~Encoding: chunked\r\n", -400),
        OLD("Transfer-Encoding: chunked\r\n", -400),
        OLD("Transfer-Encoding: identity\r\n", -400),
        OLD("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", -400),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(names_that_some_take_for_a_known_one_are_refused)
{
    static const struct http_row rows[] = {
        POST("X_Forwarded_For: 127.0.0.1\r\n", -400),
        POST("X-Forwarded_For: 127.0.0.1\r\n", -400),
        POST("x.real.ip: 127.0.0.1\r\n", -400),
        POST("Sec_WebSocket_Key: a\r\n", -400),
        POST("Keep!Alive: a\r\n", -400),
        POST("KeepxAlive: a\r\n", 0),
        POST("Keep9Alive: a\r\n", 0),
        POST("X_Other_Name: a\r\n", 0),
        POST("Content__Length: a\r\n", 0),
        POST("Content-Lengthh: a\r\n", 0),
        POST("Contentlength: a\r\n", 0),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(bodies_of_requests_end_as_the_fields_say)
{
    static const struct {
        const char *fields;
        enum http_body body;
        uint64_t length;
        unsigned flags;
    } rows[] = {
        {"", HTTP_BODY_NONE, 0, 0},
        {"Content-Length: 0\r\n", HTTP_BODY_LENGTH, 0, HTTP_HAS_LENGTH},
        {"Content-Length: 123\r\n", HTTP_BODY_LENGTH, 123, HTTP_HAS_LENGTH},
        {"Transfer-Encoding: chunked\r\n", HTTP_BODY_CHUNKED, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char text[128];
        int len =
            snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
        case_parse(&c, false, text, (size_t)len);
        ck_assert_int_eq(c.rc, len);
        ck_assert_int_eq(c.head.body, rows[i].body);
        ck_assert_uint_eq(c.head.content_length, rows[i].length);
        ck_assert_uint_eq(c.head.flags, rows[i].flags);
    }
}
END_TEST

START_TEST(copies_of_a_content_length_are_not_sent_on)
{
    static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                               "Content-Length: 5\r\nContent-Length: 5\r\n\r\n";
    struct http_case c;

    case_parse(&c, false, text, sizeof text - 1);
    ck_assert_int_eq(c.rc, sizeof text - 1);
    ck_assert_int_eq(c.head.fields[1].hop_by_hop, 0);
    ck_assert_int_eq(c.head.fields[2].hop_by_hop, 1);
    ck_assert_int_eq(c.head.fields[3].hop_by_hop, 1);
}
END_TEST

START_TEST(bodies_of_answers_end_as_rfc_9112_6_3_says)
{
    static const struct {
        enum http_method method;
        const char *rest;
        int body; /* enum http_body, or -1: refused */
    } rows[] = {
        {HTTP_GET, "200 OK\r\n", HTTP_BODY_UNTIL_CLOSE},
        {HTTP_GET, "200 OK\r\nContent-Length: 5\r\n", HTTP_BODY_LENGTH},
        {HTTP_GET, "200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", HTTP_BODY_LENGTH},
        {HTTP_GET, "200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", -1},
        {HTTP_GET, "200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP_BODY_CHUNKED},
        {HTTP_GET, "200 OK\r\nTransfer-Encoding: gzip\r\n", -1},
        {HTTP_GET, "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", -1},
        {HTTP_HEAD, "200 OK\r\n", HTTP_BODY_NONE},
        {HTTP_HEAD, "200 OK\r\nContent-Length: 5\r\n", HTTP_BODY_NONE},
        {HTTP_HEAD, "200 OK\r\nTransfer-Encoding: chunked\r\n", HTTP_BODY_NONE},
        {HTTP_HEAD, "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", -1},
        {HTTP_GET, "304 Not Modified\r\nContent-Length: 5\r\n", HTTP_BODY_NONE},
        {HTTP_GET, "204 No Content\r\n", HTTP_BODY_NONE},
        {HTTP_GET, "204 No Content\r\nContent-Length: 0\r\n", HTTP_BODY_NONE},
        {HTTP_GET, "204 No Content\r\nContent-Length: 5\r\n", -1},
        {HTTP_GET, "204 No Content\r\nTransfer-Encoding: chunked\r\n", -1},
        {HTTP_GET, "100 Continue\r\n", HTTP_BODY_NONE},
        {HTTP_GET, "100 Continue\r\nContent-Length: 5\r\n", -1},
        {HTTP_GET, "101 Switching\r\nTransfer-Encoding: chunked\r\n", -1},
        {HTTP_GET, "205 Reset\r\nContent-Length: 0\r\n", HTTP_BODY_LENGTH},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char text[160];
        int len = snprintf(text, sizeof text, "HTTP/1.1 %s\r\n", rows[i].rest);
        case_init(&c, true, CASE_LIMITS);
        http_response_init(&c.head, c.fields, CASE_LIMITS, rows[i].method);
        case_feed(&c, text, (size_t)len);
        ck_assert_msg(c.rc == (rows[i].body < 0 ? -502 : len), "%s: %d", text, c.rc);
        if (c.rc > 0)
            ck_assert_msg(c.head.body == rows[i].body, "%s: %d", text, c.head.body);
    }
    struct http_case old;
    static const char text[] = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    case_parse(&old, true, text, sizeof text - 1);
    ck_assert_int_eq(old.rc, -502);
}
END_TEST

START_TEST(connection_options_become_flags_and_marks)
{
    static const char text[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: , Close,,x-one\r\n"
        "X-Two: 2\r\nTE: trailers\r\nTrailer: x\r\nKeep-Alive: 5\r\n"
        "Connection: UPGRADE ,\tKeep-Alive, te\r\nProxy-Connection: x\r\n"
        "connection: http2-settings\r\nHTTP2-Settings: a\r\nX-ONE: 3\r\n"
        "Upgrade: h2c\r\n\r\n";
    static const uint8_t hop[] = {0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1};
    struct http_case c;

    case_parse_all_ways(&c, false, text, sizeof text - 1);
    ck_assert_int_eq(c.rc, sizeof text - 1);
    ck_assert_int_eq(c.head.flags, HTTP_CLOSE | HTTP_KEEP_ALIVE | HTTP_CONN_UPGRADE);
    ck_assert_uint_eq(c.head.field_count, sizeof hop);
    for (size_t i = 0; i < sizeof hop; i++)
        ck_assert_msg(c.head.fields[i].hop_by_hop == hop[i], "field %zu", i);
}
END_TEST

START_TEST(connection_may_not_name_what_is_not_its_own)
{
    static const struct http_row rows[] = {
        POST("Connection: Content-Length\r\nContent-Length: 5\r\n", -400),
        POST("Connection: close, content-length\r\n", -400),
        POST("Connection: Transfer-Encoding\r\n", -400),
        POST("Connection: Host\r\n", -400),
        POST("Connection: X-Forwarded-For\r\n", -400),
        POST("Connection: X-Real-IP, close\r\n", -400),
        POST("Connection: X_Real_IP\r\n", -400),
        POST("Connection: Keep_Alive\r\n", -400),
        POST("Connection: Cookie\r\n", -400),
        POST("Connection: Sec-WebSocket-Key\r\n", -400),
        POST("Connection: trailer, te, keep-alive, connection, upgrade\r\n", 0),
        POST("Connection: x-any\r\n", 0),
        POST("Connection:\r\n", 0),
        POST("Connection: a b\r\n", -400),
        POST("Connection: \"close\"\r\n", -400),
        POST("Connection: close;x\r\n", -400),
        POST("Connection: \xa0"
             "close\r\n",
             -400),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

START_TEST(connection_options_are_bounded)
{
    for (int count = 63; count <= 66; count++) {
        struct http_case c;
        char text[512] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: ";
        for (int i = 1; i < count; i++)
            strcat(text, "y,");
        strcat(text, "\r\n\r\n");
        case_parse(&c, false, text, strlen(text));
        ck_assert_int_eq(c.rc, count <= 64 ? (int)strlen(text) : -400);
    }
}
END_TEST

START_TEST(only_100_continue_can_be_expected)
{
    static const struct http_row rows[] = {
        POST("Expect: 100-continue\r\n", 0),
        POST("Expect: 100-Continue\r\n", 0),
        POST("Expect:\r\n", 0),
        POST("Expect: 100-continue, x\r\n", -417),
        POST("Expect: 200-ok\r\n", -417),
        POST("Expect: x 100-continue\r\n", -417),
        OLD("Expect: 200-ok\r\n", 0),
    };
    struct http_case c;

    case_check_rows(rows, ARRAY_LEN(rows), false);
    case_parse(&c, false, rows[1].text, rows[1].len);
    ck_assert_int_eq(c.head.flags, HTTP_EXPECT_100);
    case_parse(&c, false, rows[6].text, rows[6].len);
    ck_assert_int_eq(c.head.flags, 0);
}
END_TEST

START_TEST(fields_are_found_by_id_and_by_name)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX-A_b: 1\r\nCookie: c\r\nX-A-B: 2\r\n"
                               "cookie: d\r\n\r\n";
    struct http_case c;

    case_parse(&c, false, text, sizeof text - 1);
    const struct http_head *head = &c.head;
    ck_assert_int_eq(c.rc, sizeof text - 1);
    ck_assert_uint_eq(http_head_count(head, HTTP_FIELD_COOKIE), 2);
    ck_assert_uint_eq(http_head_count(head, HTTP_FIELD_OTHER), 2);
    ck_assert_uint_eq(http_head_count(head, HTTP_FIELD_UPGRADE), 0);
    ck_assert_ptr_null(http_head_find(head, HTTP_FIELD_UPGRADE));
    ck_assert_ptr_eq(http_head_find(head, HTTP_FIELD_COOKIE), &c.fields[2]);
    ck_assert_ptr_eq(http_head_find_name(head, text, SLICE("COOKIE")), &c.fields[2]);
    ck_assert_ptr_eq(http_head_find_name(head, text, SLICE("x_a_b")), &c.fields[1]);
    ck_assert_ptr_eq(http_head_find_name(head, text, SLICE("x-a-b")), &c.fields[3]);
    ck_assert_ptr_null(http_head_find_name(head, text, SLICE("x_a_")));
    ck_assert_ptr_null(http_head_find_name(head, text, SLICE("")));
    ck_assert(slice_eq(http_field_name(text, &c.fields[3]), SLICE("X-A-B")));
    ck_assert(slice_eq(http_field_value(text, &c.fields[3]), SLICE("2")));
}
END_TEST

START_TEST(all_known_names_are_known_in_any_case)
{
    static const char *const names[HTTP_FIELD_ID_COUNT] = {
        [HTTP_FIELD_CONNECTION] = "Connection",
        [HTTP_FIELD_CONTENT_LENGTH] = "Content-Length",
        [HTTP_FIELD_COOKIE] = "Cookie",
        [HTTP_FIELD_DATE] = "Date",
        [HTTP_FIELD_EXPECT] = "Expect",
        [HTTP_FIELD_FORWARDED] = "Forwarded",
        [HTTP_FIELD_HOST] = "Host",
        [HTTP_FIELD_KEEP_ALIVE] = "Keep-Alive",
        [HTTP_FIELD_PROXY_CONNECTION] = "Proxy-Connection",
        [HTTP_FIELD_REFERER] = "Referer",
        [HTTP_FIELD_SEC_WEBSOCKET_ACCEPT] = "Sec-WebSocket-Accept",
        [HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS] = "Sec-WebSocket-Extensions",
        [HTTP_FIELD_SEC_WEBSOCKET_KEY] = "Sec-WebSocket-Key",
        [HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL] = "Sec-WebSocket-Protocol",
        [HTTP_FIELD_SEC_WEBSOCKET_VERSION] = "Sec-WebSocket-Version",
        [HTTP_FIELD_TE] = "TE",
        [HTTP_FIELD_TRAILER] = "Trailer",
        [HTTP_FIELD_TRANSFER_ENCODING] = "Transfer-Encoding",
        [HTTP_FIELD_UPGRADE] = "Upgrade",
        [HTTP_FIELD_USER_AGENT] = "User-Agent",
        [HTTP_FIELD_X_FORWARDED_FOR] = "X-Forwarded-For",
        [HTTP_FIELD_X_FORWARDED_HOST] = "X-Forwarded-Host",
        [HTTP_FIELD_X_FORWARDED_PROTO] = "X-Forwarded-Proto",
        [HTTP_FIELD_X_REAL_IP] = "X-Real-IP",
    };

    for (unsigned id = 1; id < HTTP_FIELD_ID_COUNT; id++) {
        struct slice name = slice_of(names[id]);
        char other[64] = "";
        bool look_alike = true;
        ck_assert_uint_eq(http_field_lookup(name, &look_alike), id);
        ck_assert(!look_alike);
        for (size_t i = 0; i < name.n; i++) {
            memcpy(other, name.p, name.n);
            other[i] = other[i] == '-' ? '-' : (char)(other[i] ^ 0x20);
            ck_assert_uint_eq(http_field_lookup((struct slice){other, name.n}, &look_alike), id);
            other[i] = 'q';
            ck_assert_uint_eq(http_field_lookup((struct slice){other, name.n}, &look_alike), 0);
            ck_assert(!look_alike);
        }
        ck_assert_uint_eq(http_field_lookup((struct slice){name.p, name.n - 1}, &look_alike), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_rules");
    TCase *tc = tcase_create("http_rules");

    tcase_add_test(tc, a_content_length_is_one_plain_number);
    tcase_add_test(tc, a_transfer_coding_is_chunked_once_or_nothing);
    tcase_add_test(tc, names_that_some_take_for_a_known_one_are_refused);
    tcase_add_test(tc, bodies_of_requests_end_as_the_fields_say);
    tcase_add_test(tc, copies_of_a_content_length_are_not_sent_on);
    tcase_add_test(tc, bodies_of_answers_end_as_rfc_9112_6_3_says);
    tcase_add_test(tc, connection_options_become_flags_and_marks);
    tcase_add_test(tc, connection_may_not_name_what_is_not_its_own);
    tcase_add_test(tc, connection_options_are_bounded);
    tcase_add_test(tc, only_100_continue_can_be_expected);
    tcase_add_test(tc, fields_are_found_by_id_and_by_name);
    tcase_add_test(tc, all_known_names_are_known_in_any_case);
    suite_add_tcase(suite, tc);
    return case_run(suite);
}
