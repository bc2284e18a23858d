/* SPDX-License-Identifier: Apache-2.0 */
#include "common/proxy_protocol.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static struct addr addr_of(const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_msg(addr_parse(&addr, slice_of(text), 1, false, &why) == 0, "%s: %s", text, why);
    return addr;
}

/* Parse whole, at every split, and with more behind it. Returns what came out. */
static int parse(struct slice bytes, struct proxy_header *header)
{
    int rc = proxy_protocol_parse(header, bytes.p, bytes.n);
    for (size_t n = 0; rc > 0 && n < (size_t)rc; n++) {
        struct proxy_header cut;
        char *copy = malloc(n + 1); /* exact, so that a sanitizer sees reads behind it */
        memcpy(copy, bytes.p, n);
        ck_assert_msg(proxy_protocol_parse(&cut, copy, n) == 0, "cut at %zu", n);
        free(copy);
    }
    return rc;
}

static void check_source(struct slice bytes, int length, const char *source,
                         const char *destination)
{
    struct proxy_header header;
    char text[ADDR_TEXT_MAX];
    ck_assert_int_eq(parse(bytes, &header), length);
    if (!source) {
        ck_assert_uint_eq(header.source.len, 0);
        return;
    }
    addr_print(&header.source, text);
    ck_assert_str_eq(text, source);
    addr_print(&header.destination, text);
    ck_assert_str_eq(text, destination);
}

START_TEST(version_1_names_source_and_destination)
{
    check_source(SLICE("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET /"), 45,
                 "192.0.2.7:56324", "198.51.100.1:443");
    check_source(SLICE("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n"), 36, "[2001:db8::7]:0",
                 "[::1]:65535");
    check_source(SLICE("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), 37, "192.0.2.7:1", "[::1]:2");
    check_source(SLICE("PROXY UNKNOWN\r\n"), 15, NULL, NULL);
    check_source(SLICE("PROXY UNKNOWN ff:ff whatever 1\r\n"), 32, NULL, NULL);
}
END_TEST

START_TEST(version_1_is_read_strictly)
{
    static const char *const bad[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "GET / HTTP/1.1\r\n",
        "\r\nPROXY UNKNOWN\r\n",
    };
    struct proxy_header header;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(proxy_protocol_parse(&header, bad[i], strlen(bad[i])) == -EPROTO, "%s",
                      bad[i]);
}
END_TEST

START_TEST(version_1_has_at_most_107_bytes)
{
    char line[256];
    struct proxy_header header;
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    ck_assert_int_eq(proxy_protocol_parse(&header, line, 106), 0);
    ck_assert_int_eq(proxy_protocol_parse(&header, line, 107), -EPROTO);
    memcpy(line + 105, "\r\n", 2);
    ck_assert_int_eq(proxy_protocol_parse(&header, line, 107), 107);
    memcpy(line + 105, "x\r\n", 3);
    ck_assert_int_eq(proxy_protocol_parse(&header, line, 108), -EPROTO);
}
END_TEST

START_TEST(version_2_names_source_and_destination)
{
    check_source(SLICE(SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"),
                 28, "192.0.2.7:56324", "198.51.100.1:443");
    check_source(SLICE(SIGNATURE "\x21\x21\0\x24"
                                 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
                                 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x50\x1f\x90"),
                 52, "[2001:db8::7]:80", "[2001:db8::1]:8080");
    /* With a TLV behind the addresses. */
    check_source(
        SLICE(SIGNATURE "\x21\x11\0\x10\xc0\0\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x02\0\x01h"),
        32, "192.0.2.7:56324", "198.51.100.1:443");
}
END_TEST

START_TEST(version_2_may_name_nobody)
{
    check_source(SLICE(SIGNATURE "\x20\0\0\0"), 16, NULL, NULL);       /* LOCAL */
    check_source(SLICE(SIGNATURE "\x20\x11\0\x02xx"), 18, NULL, NULL); /* LOCAL: rest ignored */
    check_source(SLICE(SIGNATURE "\x21\0\0\x03xyz"), 19, NULL, NULL);  /* UNSPEC */
    check_source(SLICE(SIGNATURE "\x21\x31\0\x01x"), 17, NULL, NULL);  /* UNIX */
    check_source(SLICE(SIGNATURE "\x21\x12\0\x0c"
                                 "aaaabbbbccdd"),
                 28, NULL, NULL); /* datagrams */
}
END_TEST

START_TEST(version_2_is_read_strictly)
{
    static const struct slice bad[] = {
        SLICE(SIGNATURE "\x11\x11"), /* version 1 */
        SLICE(SIGNATURE "\x31\x11"), /* version 3 */
        SLICE(SIGNATURE "\x22\x11"), /* unknown command */
        SLICE(SIGNATURE "\x21\x11\0\x0b"
                        "aaaabbbbccd"), /* too short for IPv4 */
        SLICE(SIGNATURE "\x21\x21\0\x0c"
                        "aaaabbbbccdd"), /* too short for IPv6 */
        SLICE(SIGNATURE "\x21\x41\0\0"), /* unknown family */
        SLICE(SIGNATURE "\x21\x13\0\x0c"
                        "aaaabbbbccdd"),     /* unknown transport */
        SLICE(SIGNATURE "\x21\x11\xff\xff"), /* longer than we read */
        SLICE("\r\n\r\n\0\r\nQUIT\r"),
        SLICE("\r\n\r\nX"),
    };
    struct proxy_header header;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(proxy_protocol_parse(&header, bad[i].p, bad[i].n) == -EPROTO, "%zu", i);
}
END_TEST

START_TEST(a_first_byte_decides)
{
    struct proxy_header header;
    ck_assert_int_eq(proxy_protocol_parse(&header, NULL, 0), 0);
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        int wanted = c == 'P' || c == '\r' ? 0 : -EPROTO;
        ck_assert_int_eq(proxy_protocol_parse(&header, &byte, 1), wanted);
    }
}
END_TEST

static void check_round(const char *source, const char *destination)
{
    struct addr from = addr_of(source), to = addr_of(destination);
    const struct proxy_tls tls = {SLICE("TLSv1.3"), false};
    char out[PROXY_WRITE_MAX];
    size_t n = proxy_protocol_write_v1(&from, &to, out);
    check_source((struct slice){out, n}, (int)n, source, destination);
    n = proxy_protocol_write_v2(&from, &to, NULL, out);
    check_source((struct slice){out, n}, (int)n, source, destination);
    size_t with = proxy_protocol_write_v2(&from, &to, &tls, out);
    check_source((struct slice){out, with}, (int)with, source, destination);
    ck_assert_uint_eq(with, n + 3 + 5 + 3 + 7);
}

START_TEST(what_is_written_is_read_again)
{
    check_round("192.0.2.7:56324", "198.51.100.1:443");
    check_round("[2001:db8::7]:1", "[2001:db8::1]:65535");
    check_round("192.0.2.7:56324", "[2001:db8::1]:443");
    check_round("[2001:db8::7]:56324", "198.51.100.1:443");
}
END_TEST

START_TEST(version_1_is_written_as_the_specification_has_it)
{
    struct addr from = addr_of("192.0.2.7:56324"), to = addr_of("198.51.100.1:443");
    struct addr local = addr_of("unix:/x");
    char out[PROXY_WRITE_MAX];
    size_t n = proxy_protocol_write_v1(&from, &to, out);
    ck_assert(
        slice_eq((struct slice){out, n}, SLICE("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n")));
    n = proxy_protocol_write_v1(&local, &to, out);
    ck_assert(slice_eq((struct slice){out, n}, SLICE("PROXY UNKNOWN\r\n")));
    n = proxy_protocol_write_v2(&from, &local, NULL, out);
    ck_assert(slice_eq((struct slice){out, n}, SLICE(SIGNATURE "\x20\0\0\0")));
}
END_TEST

START_TEST(version_2_tells_of_tls)
{
    struct addr from = addr_of("192.0.2.7:1"), to = addr_of("198.51.100.1:2");
    struct proxy_tls tls = {SLICE("TLSv1.2"), false};
    char out[PROXY_WRITE_MAX];
    size_t n = proxy_protocol_write_v2(&from, &to, &tls, out);
    ck_assert_uint_eq(n, 28 + 18);
    ck_assert(memcmp(out + 28, "\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.2", 18) == 0);
    tls.verified = true;
    ck_assert_uint_eq(proxy_protocol_write_v2(&from, &to, &tls, out), n);
    ck_assert(memcmp(out + 28, "\x20\0\x0f\x03\0\0\0\0\x21\0\x07TLSv1.2", 18) == 0);
    tls.version.n = 0;
    ck_assert_uint_eq(proxy_protocol_write_v2(&from, &to, &tls, out), 28);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy_protocol");
    TCase *tc = tcase_create("proxy_protocol");

    tcase_add_test(tc, version_1_names_source_and_destination);
    tcase_add_test(tc, version_1_is_read_strictly);
    tcase_add_test(tc, version_1_has_at_most_107_bytes);
    tcase_add_test(tc, version_2_names_source_and_destination);
    tcase_add_test(tc, version_2_may_name_nobody);
    tcase_add_test(tc, version_2_is_read_strictly);
    tcase_add_test(tc, a_first_byte_decides);
    tcase_add_test(tc, what_is_written_is_read_again);
    tcase_add_test(tc, version_1_is_written_as_the_specification_has_it);
    tcase_add_test(tc, version_2_tells_of_tls);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
