/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ws_handshake.h"

#include "common/sha1.h"

#include "test/unit/http_case.h"

#include <errno.h>
#include <stdio.h>

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* of RFC 6455 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define UP      "Upgrade: websocket\r\n"
#define CONN    "Connection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define KEYLINE "Sec-WebSocket-Key: " KEY "\r\n"
#define ALL     UP CONN VERSION KEYLINE

static int check_request(const char *line, const char *fields)
{
    struct http_case c;
    char text[1024];

    int len = snprintf(text, sizeof text, "%s\r\nHost: a\r\n%s\r\n", line, fields);
    case_parse(&c, false, text, (size_t)len);
    ck_assert_msg(c.rc == len, "%s: %d %s", text, c.rc, c.head.error);
    return ws_request_check(&c.head, text);
}

START_TEST(the_accept_value_of_the_rfc_is_computed)
{
    char accept[WS_ACCEPT_LEN];

    ck_assert_int_eq(sha1_init(), 0);
    ck_assert_int_eq(sha1_init(), 0);
    for (int i = 0; i < 3; i++) { /* the digest is kept between calls */
        ws_accept_for(SLICE("x3JJHMbDL1EzLkh9GBhXDw=="), accept);
        ck_assert_mem_eq(accept, "HSmrc0sMlYUkAGmm5OPpG2HaGWk=", WS_ACCEPT_LEN);
        ws_accept_for(SLICE(KEY), accept);
        ck_assert_mem_eq(accept, ACCEPT, WS_ACCEPT_LEN);
    }
}
END_TEST

START_TEST(a_digest_is_that_of_both_parts)
{
    static const uint8_t abc[SHA1_LEN] = {0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81,
                                          0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50,
                                          0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d};
    uint8_t digest[SHA1_LEN];

    sha1_of(SLICE("abc"), SLICE(""), digest);
    ck_assert_mem_eq(digest, abc, SHA1_LEN);
    sha1_of(SLICE("a"), SLICE("bc"), digest);
    ck_assert_mem_eq(digest, abc, SHA1_LEN);
}
END_TEST

START_TEST(requests_are_told_apart)
{
    static const struct {
        int wanted;
        const char *line, *fields;
    } rows[] = {
        {0, "GET / HTTP/1.1", ALL},
        {0, "GET http://a/ HTTP/1.1", ALL},
        {0, "GET / HTTP/1.1",
         "UPGRADE: WebSocket\r\nCONNECTION: keep-alive, UPGRADE\r\n" VERSION KEYLINE},
        {0, "GET / HTTP/1.1", "Upgrade: ,websocket ,\r\n" CONN VERSION KEYLINE},
        {0, "GET / HTTP/1.1", UP "Connection: close\r\nConnection: upgrade\r\n" VERSION KEYLINE},
        {0, "GET / HTTP/1.1", ALL "Content-Length: 0\r\n"},
        {0, "GET / HTTP/1.1", ALL "Sec-WebSocket-Extensions: , x; y=\"a,\\\"b\" ,z\r\n"},
        {0, "GET / HTTP/1.1", ALL "Sec-WebSocket-Extensions:\r\n"},
        {0, "GET / HTTP/1.1", ALL "Sec-WebSocket-Protocol: Bearer eyJh, chat\r\n"},
        /* nothing asked for */
        {-ENOMSG, "GET / HTTP/1.1", ""},
        {-ENOMSG, "GET / HTTP/1.1", CONN VERSION KEYLINE},
        {-ENOMSG, "GET / HTTP/1.0", ALL},
        {-ENOMSG, "GET / HTTP/1.0", "Upgrade: h2c\r\n" CONN},
        /* something else asked for */
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n"},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1",
         "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: "
         "AAMAAABkAAQAAP__\r\n"},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: h2c\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: websocket, h2c\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: h2c, websocket\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", UP "Upgrade: h2c\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: h2c\r\n" UP CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", UP UP CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1",
         "Upgrade: websocket, websocket\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: websocket/13\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: websockets\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: web socket\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: \"websocket\"\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade:\r\n" CONN VERSION KEYLINE},
        {-EPROTONOSUPPORT, "GET / HTTP/1.1", "Upgrade: TLS/1.0\r\n" CONN},
        {-EPROTONOSUPPORT, "POST / HTTP/1.1", "Upgrade: h2c\r\n" CONN "Content-Length: 5\r\n"},
        /* another version */
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version: 8\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version: 14\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version: 013\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version: 13, 8\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version: 13, 13\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN KEYLINE "Sec-WebSocket-Version:\r\n"},
        {-EPROTO, "GET / HTTP/1.1", UP CONN "Sec-WebSocket-Key1: 3e6b263  4 17 80\r\n"},
        /* not valid */
        {-EBADMSG, "GET / HTTP/1.1", ALL VERSION},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Sec-WebSocket-Version: 8\r\n"},
        {-EBADMSG, "POST / HTTP/1.1", ALL},
        {-EBADMSG, "HEAD / HTTP/1.1", ALL},
        {-EBADMSG, "get / HTTP/1.1", ALL},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Content-Length: 1\r\n"},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Transfer-Encoding: chunked\r\n"},
        {-EBADMSG, "GET / HTTP/1.1", UP VERSION KEYLINE},
        {-EBADMSG, "GET / HTTP/1.1", UP "Connection: keep-alive\r\n" VERSION KEYLINE},
        {-EBADMSG, "GET / HTTP/1.1", UP "Connection: upgrades, xupgrade\r\n" VERSION KEYLINE},
        {-EBADMSG, "GET / HTTP/1.1", UP CONN VERSION},
        {-EBADMSG, "GET / HTTP/1.1", ALL KEYLINE},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Sec-WebSocket-Extensions: \"x, permessage-deflate\r\n"},
        {-EBADMSG, "GET / HTTP/1.1", ALL "Sec-WebSocket-Extensions: a b, permessage-deflate\r\n"},
        {-EBADMSG, "GET / HTTP/1.1",
         ALL "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: ;y\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = check_request(rows[i].line, rows[i].fields);
        ck_assert_msg(rc == rows[i].wanted, "row %zu: %d, wanted %d: %s %s", i, rc, rows[i].wanted,
                      rows[i].line, rows[i].fields);
    }
}
END_TEST

static int check_key(const char *key)
{
    char fields[256];

    snprintf(fields, sizeof fields, UP CONN VERSION "Sec-WebSocket-Key: %s\r\n", key);
    return check_request("GET / HTTP/1.1", fields);
}

START_TEST(a_key_is_16_bytes_of_base64)
{
    static const char *const bad[] = {
        "",
        "dGhlIHNhbXBsZSBub25j",     /* 15 bytes */
        "AAAAAAAAAAAAAAAAAAAAAAA=", /* 17 */
        "AAAAAAAAAAAAAAAAAAAAAAAA", /* 18 */
        "dGhlIHNhbXBsZSBub25jZQ",   /* no padding */
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ==A",
        "dGhlIHNhbXBsZSBub25=ZQ==",
        (KEY ", " KEY),
        "dGhlIHNhbXBsZSBub25jZQ ==",
        "dGhlIHNhbXBsZSBub25-_Q==", /* the alphabet of URLs */
        "====== a line of this ==",
        "\"dGhlIHNhbXBsZSBub25j\"",
        "SGVsbG8sIHdvcmxkIQ==", /* 13 bytes: a common example that was never right */
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(check_key(bad[i]) == -EBADMSG, "%s", bad[i]);
    ck_assert_int_eq(check_key("AAAAAAAAAAAAAAAAAAAAAA=="), 0);
    ck_assert_int_eq(check_key("++++//////////////////=="), 0);
    ck_assert_int_eq(check_key(KEY), 0);

    /* Every character at every place: 64 are right in front, '=' alone at the end. */
    for (size_t at = 0; at < 24; at++) {
        for (int c = 0x21; c < 0x7f; c++) {
            char key[] = KEY;
            key[at] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
            bool good = at < 22 ? digit : c == '=';
            case_assert(check_key(key) == (good ? 0 : -EBADMSG), "%s", key);
        }
    }
}
END_TEST

#define OFFER                                                                                      \
    "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Protocol: v2.x, Bearer eyJh\r\n"     \
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-q; a=\"1,x-no\"\r\n"  \
    "Sec-WebSocket-Extensions: bbf-usp-protocol\r\n"

static const char *check_response(const char *offer, const char *line, const char *fields)
{
    struct http_case request, response;
    char request_text[1024], response_text[1024];

    int request_len = snprintf(request_text, sizeof request_text,
                               "GET / HTTP/1.1\r\nHost: a\r\n" ALL "%s\r\n", offer);
    case_parse(&request, false, request_text, (size_t)request_len);
    ck_assert_int_eq(request.rc, request_len);
    ck_assert_int_eq(ws_request_check(&request.head, request_text), 0);

    int response_len = snprintf(response_text, sizeof response_text, "%s\r\n%s\r\n", line, fields);
    case_parse(&response, true, response_text, (size_t)response_len);
    ck_assert_msg(response.rc == response_len, "%s: %s", response_text, response.head.error);

    const char *why = "unset";
    int rc = ws_response_check(&request.head, request_text, &response.head, response_text, &why);
    ck_assert_msg(rc == (why ? -EPROTO : 0), "%s: %d, %s", response_text, rc, why);
    return why;
}

#define OK  "HTTP/1.1 101 Switching Protocols"
#define ACC "Sec-WebSocket-Accept: " ACCEPT "\r\n"

START_TEST(right_answers_open_a_tunnel)
{
    static const char *const good[] = {
        UP CONN ACC,
        "upgrade: WEBSOCKET\r\nconnection: keep-alive, upgrade\r\nsec-websocket-accept:\t" ACCEPT
        "\r\n",
        UP CONN ACC "Sec-WebSocket-Protocol: chat\r\n",
        UP CONN ACC "Sec-WebSocket-Protocol: superchat\r\n",
        UP CONN ACC "Sec-WebSocket-Protocol: v2.x\r\n",
        UP CONN ACC "Sec-WebSocket-Protocol: Bearer eyJh\r\n",
        UP CONN ACC "Sec-WebSocket-Extensions: Permessage-Deflate\r\n",
        UP CONN ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        UP CONN ACC "Sec-WebSocket-Extensions: permessage-deflate ; server_no_context_takeover; "
                    "x=\"a,b\\\"\"\r\n",
        UP CONN ACC "Sec-WebSocket-Extensions: x-q, bbf-usp-protocol\r\nSec-WebSocket-Extensions: "
                    "permessage-deflate\r\n",
        UP CONN ACC "Sec-WebSocket-Extensions:\r\n",
        UP CONN ACC "Server: x\r\nDate: y\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const char *why = check_response(OFFER, OK, good[i]);
        ck_assert_msg(!why, "%s: %s", good[i], why);
    }
    ck_assert_ptr_null(check_response("", OK, UP CONN ACC));
}
END_TEST

START_TEST(wrong_answers_open_none)
{
    static const struct {
        const char *why, *line, *fields;
    } rows[] = {
        {"status", "HTTP/1.1 200 OK", UP CONN ACC},
        {"status", "HTTP/1.1 426 Upgrade Required", UP CONN ACC},
        {"status", "HTTP/1.1 100 Continue", UP CONN ACC},
        {"HTTP/1.0", "HTTP/1.0 101 Switching Protocols", UP CONN ACC},
        {"Upgrade", OK, CONN ACC},
        {"Upgrade", OK, "Upgrade: h2c\r\n" CONN ACC},
        {"Upgrade", OK, "Upgrade: websocket, h2c\r\n" CONN ACC},
        {"Upgrade", OK, UP "Upgrade: h2c\r\n" CONN ACC},
        {"Connection", OK, UP ACC},
        {"Connection", OK, UP "Connection: close\r\n" ACC},
        {"body", OK, UP CONN ACC "Content-Length: 0\r\n"},
        {"no Sec-WebSocket-Accept", OK, UP CONN},
        {"several Sec-WebSocket-Accept", OK, UP CONN ACC ACC},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept:\r\n"},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n"},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept: " ACCEPT "=\r\n"},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept: " KEY "\r\n"},
        {"wrong", OK, UP CONN "Sec-WebSocket-Accept: " ACCEPT ", " ACCEPT "\r\n"},
        {"subprotocol", OK, UP CONN ACC "Sec-WebSocket-Protocol: mqtt\r\n"},
        {"subprotocol", OK, UP CONN ACC "Sec-WebSocket-Protocol: Chat\r\n"},
        {"subprotocol", OK, UP CONN ACC "Sec-WebSocket-Protocol: chat, superchat\r\n"},
        {"subprotocol", OK, UP CONN ACC "Sec-WebSocket-Protocol:\r\n"},
        {"subprotocols", OK,
         UP CONN ACC "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"},
        {"extension", OK, UP CONN ACC "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n"},
        {"extension", OK, UP CONN ACC "Sec-WebSocket-Extensions: x-no\r\n"},
        {"extension", OK, UP CONN ACC "Sec-WebSocket-Extensions: client_max_window_bits\r\n"},
        {"extension", OK, UP CONN ACC "Sec-WebSocket-Extensions: x-q, other\r\n"},
        {"extension", OK,
         UP CONN ACC "Sec-WebSocket-Extensions: x-q\r\nSec-WebSocket-Extensions: other\r\n"},
        {"malformed", OK, UP CONN ACC "Sec-WebSocket-Extensions: x-q; a=\"b\r\n"},
        {"malformed", OK, UP CONN ACC "Sec-WebSocket-Extensions: x-q; a=\"b\\\r\n"},
        {"malformed", OK, UP CONN ACC "Sec-WebSocket-Extensions: ;a\r\n"},
        {"malformed", OK, UP CONN ACC "Sec-WebSocket-Extensions: x q\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why = check_response(OFFER, rows[i].line, rows[i].fields);
        ck_assert_msg(why && strstr(why, rows[i].why), "row %zu: %s: %s", i, rows[i].fields, why);
    }
    ck_assert_ptr_nonnull(
        check_response("", OK, UP CONN ACC "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    ck_assert_ptr_nonnull(check_response("", OK, UP CONN ACC "Sec-WebSocket-Protocol: chat\r\n"));
}
END_TEST

START_TEST(an_answer_to_another_request_is_wrong)
{
    static const char plain[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char text[] = OK "\r\n" UP CONN ACC "\r\n";
    struct http_case request, response;
    const char *why = NULL;

    case_parse(&request, false, plain, sizeof plain - 1);
    case_parse(&response, true, text, sizeof text - 1);
    ck_assert_int_eq(ws_response_check(&request.head, plain, &response.head, text, &why), -EPROTO);
    ck_assert_ptr_nonnull(why);
}
END_TEST

#define EXT "Sec-WebSocket-Extensions:"

START_TEST(agreed_extensions_say_which_reserved_bits_are_used)
{
    static const struct {
        const char *fields;
        enum ws_extensions agreed;
    } rows[] = {
        {"", WS_EXTENSIONS_NONE},
        {"Sec-WebSocket-Protocol: permessage-deflate\r\n", WS_EXTENSIONS_NONE},
        {EXT "\r\n", WS_EXTENSIONS_NONE},
        {EXT " , ,\r\n" EXT "\r\n", WS_EXTENSIONS_NONE},
        {EXT " permessage-deflate\r\n", WS_EXTENSIONS_DEFLATE},
        {EXT "permessage-deflate;client_max_window_bits=15; server_no_context_takeover\r\n",
         WS_EXTENSIONS_DEFLATE},
        {EXT " ,permessage-deflate ; x=\"a, other\";y=\"\\\", z\" ,\r\n", WS_EXTENSIONS_DEFLATE},
        {EXT "\r\n" EXT " permessage-deflate\r\n" EXT " ,\r\n", WS_EXTENSIONS_DEFLATE},
        {EXT " x-q\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate2\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflat\r\n", WS_EXTENSIONS_OTHER},
        {EXT " Permessage-Deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate, x-q\r\n", WS_EXTENSIONS_OTHER},
        {EXT " x-q, permessage-deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate, permessage-deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate\r\n" EXT " permessage-deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate\r\n" EXT " x-q\r\n", WS_EXTENSIONS_OTHER},
        {EXT " x-q\r\n" EXT " permessage-deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate; x=\"a\", x-q\r\n", WS_EXTENSIONS_OTHER},
        {EXT " permessage-deflate; x=\"a\r\n", WS_EXTENSIONS_OTHER}, /* malformed */
        {EXT " permessage deflate\r\n", WS_EXTENSIONS_OTHER},
        {EXT " ;permessage-deflate\r\n", WS_EXTENSIONS_OTHER},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024];
        struct http_case c;
        int len = snprintf(text, sizeof text, OK "\r\n" UP CONN ACC "%s\r\n", rows[i].fields);
        case_parse(&c, true, text, (size_t)len);
        ck_assert_int_eq(c.rc, len);
        ck_assert_msg(ws_extensions_of(&c.head, text) == rows[i].agreed, "%s", rows[i].fields);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ws_handshake");
    TCase *tc = tcase_create("ws_handshake");

    tcase_add_test(tc, the_accept_value_of_the_rfc_is_computed);
    tcase_add_test(tc, a_digest_is_that_of_both_parts);
    tcase_add_test(tc, requests_are_told_apart);
    tcase_add_test(tc, a_key_is_16_bytes_of_base64);
    tcase_add_test(tc, right_answers_open_a_tunnel);
    tcase_add_test(tc, wrong_answers_open_none);
    tcase_add_test(tc, an_answer_to_another_request_is_wrong);
    tcase_add_test(tc, agreed_extensions_say_which_reserved_bits_are_used);
    suite_add_tcase(suite, tc);
    return case_run(suite);
}
