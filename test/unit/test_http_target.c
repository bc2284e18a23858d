/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets and Host. */
#include "test/unit/http_case.h"

#include "common/http_parts.h"

#include <stdio.h>

START_TEST(targets_are_taken_apart)
{
    static const struct {
        const char *line, *authority, *path, *query;
    } rows[] = {
        {"GET / HTTP/1.1", "a.b", "/", ""},
        {"GET /? HTTP/1.1", "a.b", "/", ""},
        {"GET /x/y?q=1?2/3 HTTP/1.1", "a.b", "/x/y", "q=1?2/3"},
        {"GET //x//../. HTTP/1.1", "a.b", "//x//../.", ""},
        {"GET /%20%41%fF HTTP/1.1", "a.b", "/%20%41%fF", ""},
        {"GET /%?%%00\\ HTTP/1.1", NULL, NULL, NULL},
        {"GET /a?%%00\\|{} HTTP/1.1", "a.b", "/a", "%%00\\|{}"},
        {"GET /a{}|^`[]\"<> HTTP/1.1", "a.b", "/a{}|^`[]\"<>", ""},
        {"GET http://a.b HTTP/1.1", "a.b", "/", ""},
        {"GET http://a.b/ HTTP/1.1", "a.b", "/", ""},
        {"GET http://a.b?q HTTP/1.1", "a.b", "/", "q"},
        {"GET https://A.b/x?q HTTP/1.1", "A.b", "/x", "q"},
        {"GET HTTP://a.b/x HTTP/1.1", "a.b", "/x", ""},
        {"OPTIONS * HTTP/1.1", "a.b", "*", ""},
        {"OPTIONS /x HTTP/1.1", "a.b", "/x", ""},
        {"GET * HTTP/1.1", NULL, NULL, NULL},
        {"OPTIONS ** HTTP/1.1", NULL, NULL, NULL},
        {"OPTIONS *?q HTTP/1.1", NULL, NULL, NULL},
        {"GET x HTTP/1.1", NULL, NULL, NULL},
        {"GET a.b:80 HTTP/1.1", NULL, NULL, NULL},
        {"GET ?q HTTP/1.1", NULL, NULL, NULL},
        {"GET /x#y HTTP/1.1", NULL, NULL, NULL},
        {"GET /\xc3\xa9 HTTP/1.1", NULL, NULL, NULL},
        {"GET /\x7f HTTP/1.1", NULL, NULL, NULL},
        {"GET /a\\b HTTP/1.1", NULL, NULL, NULL},
        {"GET /%0 HTTP/1.1", NULL, NULL, NULL},
        {"GET /% HTTP/1.1", NULL, NULL, NULL},
        {"GET /%g0 HTTP/1.1", NULL, NULL, NULL},
        {"GET /%0g HTTP/1.1", NULL, NULL, NULL},
        {"GET /%00 HTTP/1.1", NULL, NULL, NULL},
        {"GET /%u0041 HTTP/1.1", NULL, NULL, NULL},
        {"GET ftp://a.b/ HTTP/1.1", NULL, NULL, NULL},
        {"GET http:/a.b/ HTTP/1.1", NULL, NULL, NULL},
        {"GET http:// HTTP/1.1", NULL, NULL, NULL},
        {"GET http:///x HTTP/1.1", NULL, NULL, NULL},
        {"GET http://?x HTTP/1.1", NULL, NULL, NULL},
        {"GET http://u@a.b/ HTTP/1.1", NULL, NULL, NULL},
        {"GET http://u:p@a.b/ HTTP/1.1", NULL, NULL, NULL},
        {"GET http://a.c/ HTTP/1.1", NULL, NULL, NULL},
        {"GET http://a.b:80/ HTTP/1.1", NULL, NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char text[128];
        int len = snprintf(text, sizeof text, "%s\r\nHost: a.b\r\n\r\n", rows[i].line);
        case_parse_all_ways(&c, false, text, (size_t)len);
        ck_assert_msg(c.rc == (rows[i].path ? len : -400), "%s: %d", rows[i].line, c.rc);
        if (c.rc < 0)
            continue;
        bool right = case_is(text, c.head.authority, c.head.authority_len, rows[i].authority) &&
                     case_is(text, c.head.path, c.head.path_len, rows[i].path) &&
                     case_is(text, c.head.query, c.head.query_len, rows[i].query);
        ck_assert_msg(right, "%s", rows[i].line);
        bool absolute = strstr(rows[i].line, "://") != NULL;
        ck_assert_int_eq((c.head.flags & HTTP_TARGET_ABSOLUTE) != 0, absolute);
    }
}
END_TEST

START_TEST(only_a_host_and_a_port_make_an_authority)
{
    static const char *const good[] = {
        "a",
        "A.B.example",
        "a_b.c",
        "0.0.0.0=5000",
        "1.2.3.4",
        "1.2.3.4:80",
        "a:0",
        "a:65535",
        "a:",
        "xn--bcher-kva.example:8080",
        "a!$&'()*+;=~-",
        "[::1]",
        "[::1]:443",
        "[::]",
        "[::1]:",
        "[::ffff:1.2.3.4]",
        "[2001:db8:0:0:0:0:0:1]",
    };
    static const char *const bad[] = {
        "",
        ":80",
        "a:65536",
        "a:123456",
        "a:8o",
        "a:-1",
        "a:+1",
        "a: 80",
        "a b",
        "a,b",
        "a%41",
        "a@b",
        "u:p@b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "a:1:2",
        "[]",
        "[",
        "]",
        "[::1",
        "::1",
        "[::1]a",
        "[::1]]",
        "[::1]:x",
        "[1.2.3.4]",
        "[:::]",
        "[::1%25eth0]",
        "[v1.a]",
        "[12345::]",
        "[2001:0db8:0000:0000:0000:0000:0000:0000:0001]",
        "b\xc3\xbc.de",
        "a\"b",
        "a<b",
        "a|b",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        ck_assert_msg(!http_target_bad_authority(slice_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(http_target_bad_authority(slice_of(bad[i])), "%s", bad[i]);
    ck_assert(http_target_bad_authority(SLICE("[::1\0]")));
}
END_TEST

START_TEST(one_host_is_wanted)
{
    static const struct http_row rows[] = {
        ROW("GET / HTTP/1.1\r\n\r\n", -400),
        ROW("GET / HTTP/1.0\r\n\r\n", 0),
        ROW("GET http://a/ HTTP/1.1\r\n\r\n", -400),
        ROW("GET http://a/ HTTP/1.0\r\n\r\n", 0),
        ROW("GET / HTTP/1.1\r\nHost:\r\n\r\n", -400),
        ROW("GET / HTTP/1.0\r\nHost:\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", -400),
        ROW("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", -400),
        ROW("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", -400),
        ROW("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", -400),
        ROW("GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n", -400),
        ROW("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", -400),
        ROW("GET http://a/ HTTP/1.1\r\nHost: A\r\n\r\n", 0),
        ROW("GET http://[::1]:8080/foo HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 0),
    };

    case_check_rows(rows, ARRAY_LEN(rows), false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_target");
    TCase *tc = tcase_create("http_target");

    tcase_add_test(tc, targets_are_taken_apart);
    tcase_add_test(tc, only_a_host_and_a_port_make_an_authority);
    tcase_add_test(tc, one_host_is_wanted);
    suite_add_tcase(suite, tc);
    return case_run(suite);
}
