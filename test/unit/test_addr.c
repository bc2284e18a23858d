/* SPDX-License-Identifier: Apache-2.0 */
#include "common/addr.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Parse what must be right. */
static struct addr good(const char *text, uint16_t port, bool wildcard)
{
    struct addr addr;
    const char *why = "";
    int rc = addr_parse(&addr, slice_of(text), port, wildcard, &why);
    ck_assert_msg(rc == 0, "%s: %s", text, why);
    return addr;
}

static void refuse(const char *text, size_t n, uint16_t port, bool wildcard)
{
    struct addr addr;
    const char *why = NULL;
    int rc = addr_parse(&addr, (struct slice){text, n}, port, wildcard, &why);
    ck_assert_msg(rc == -EINVAL && why && addr.len == 0, "%.*s", (int)n, text);
}

static void prints(const struct addr *addr, const char *text, const char *host)
{
    char out[ADDR_TEXT_MAX];
    ck_assert_uint_eq(addr_print(addr, out), strlen(text));
    ck_assert_str_eq(out, text);
    ck_assert_uint_eq(addr_print_host(addr, out), strlen(host));
    ck_assert_str_eq(out, host);
}

START_TEST(addresses_are_parsed_and_printed_back)
{
    static const char *const rows[][3] = {
        {"10.0.0.1:80", "10.0.0.1:80", "10.0.0.1"},
        {"255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255"},
        {"[::1]:80", "[::1]:80", "::1"},
        {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443", "2001:db8::1"},
        {"[2001:db8:0:1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1", "2001:db8:0:1:1:1:1:1"},
        {"[::ffff:192.0.2.7]:80", "[::ffff:192.0.2.7]:80", "192.0.2.7"},
        {"unix:/run/app.sock", "unix:/run/app.sock", "unix:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr addr = good(rows[i][0], 0, false);
        prints(&addr, rows[i][1], rows[i][2]);
    }
}
END_TEST

START_TEST(every_octet_is_printed_as_the_library_prints_it)
{
    for (unsigned i = 0; i < 256; i++) {
        uint8_t octets[4] = {(uint8_t)i, (uint8_t)(255 - i), (uint8_t)(i * 7), (uint8_t)(i / 10)};
        struct addr addr = {.u.in = {.sin_family = AF_INET}, .len = sizeof(struct sockaddr_in)};
        char wanted[INET_ADDRSTRLEN], out[ADDR_TEXT_MAX];
        memcpy(&addr.u.in.sin_addr, octets, sizeof octets);
        ck_assert_ptr_nonnull(inet_ntop(AF_INET, octets, wanted, sizeof wanted));
        ck_assert_uint_eq(addr_print_host(&addr, out), strlen(wanted));
        ck_assert_str_eq(out, wanted);
    }
}
END_TEST

START_TEST(a_default_port_stands_in_for_a_missing_one)
{
    struct addr v4 = good("10.0.0.1", 80, false);
    struct addr v6 = good("[::1]", 8080, false);
    ck_assert_uint_eq(addr_port(&v4), 80);
    ck_assert_uint_eq(addr_port(&v6), 8080);
    struct addr given = good("10.0.0.1:81", 80, false);
    ck_assert_uint_eq(addr_port(&given), 81);
    refuse("10.0.0.1", 8, 0, false);
    refuse("[::1]", 5, 0, false);
    refuse("*", 1, 0, true);
}
END_TEST

START_TEST(wildcards_are_the_ipv6_wildcard_where_they_are_allowed)
{
    static const char *const texts[] = {"*:80", "80", "[::]:80"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct addr addr = good(texts[i], 0, true);
        prints(&addr, "[::]:80", "::");
    }
    refuse("*:80", 4, 0, false);
    refuse("*:80", 4, 80, false);
    refuse("80", 2, 80, false);
    struct addr v4 = good("0.0.0.0:80", 0, true);
    prints(&v4, "0.0.0.0:80", "0.0.0.0");
}
END_TEST

START_TEST(what_is_no_address_is_refused_with_a_reason)
{
    static const char *const texts[] = {
        "",
        ":80",
        "10.0.0:80",
        "10.0.0.256:80",
        "010.0.0.1:80",
        "host:80",
        "localhost",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:+1",
        "10.0.0.1: 80",
        "10.0.0.1:80 ",
        " 10.0.0.1:80",
        "10.0.0.1:000080",
        "::1",
        "::1:80",
        "[::1",
        "[::1]80",
        "[::1]:",
        "[]:80",
        "[10.0.0.1]:80",
        "[::g]:80",
        "[::1%1]:80",
        "unix:",
        "unix:run/x",
        "*:*",
        "**:80",
        "http://10.0.0.1:80",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999]:80",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        refuse(texts[i], strlen(texts[i]), 80, false);
        refuse(texts[i], strlen(texts[i]), 80, true);
    }
    refuse("unix:/a\0b", 9, 0, false);
    refuse("10.0.0.1\0:80", 12, 0, false);
    refuse("10.0.0.1:8\0", 11, 0, false);
}
END_TEST

START_TEST(a_unix_path_has_107_bytes_at_most_and_can_be_printed)
{
    char text[128] = "unix:/", out[ADDR_TEXT_MAX];
    memset(text + 6, 'x', sizeof(text) - 6);
    refuse(text, 5 + 108, 0, false);
    struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(&addr, (struct slice){text, 5 + 107}, 0, false, &why), 0);
    ck_assert_uint_eq(addr_print(&addr, out), 5 + 107);
    ck_assert(memcmp(out, text, 5 + 107) == 0);
    ck_assert_uint_eq(addr.len, offsetof(struct sockaddr_un, sun_path) + 108);
}
END_TEST

START_TEST(a_peer_without_a_path_is_printed_as_unix)
{
    struct addr addr = {.u.un.sun_family = AF_UNIX, .len = sizeof(sa_family_t)};
    prints(&addr, "unix:", "unix:");
    struct addr full = {.u.un.sun_family = AF_UNIX, .len = sizeof(struct sockaddr_un)};
    memset(full.u.un.sun_path, 'y', sizeof(full.u.un.sun_path));
    char out[ADDR_TEXT_MAX];
    ck_assert_uint_eq(addr_print(&full, out), 5 + sizeof(full.u.un.sun_path));
    struct addr none = {.len = 0};
    prints(&none, "-", "-");
    ck_assert_uint_eq(addr_port(&none), 0);
}
END_TEST

START_TEST(every_prefix_of_an_address_is_read_without_going_past_it)
{
    static const char *const texts[] = {"255.255.255.255:65535", "unix:/run/app.sock",
                                        "[2001:db8::192.0.2.255]:65535"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            char *exact = malloc(n + (n == 0));
            struct addr addr;
            const char *why;
            memcpy(exact, texts[i], n);
            int rc = addr_parse(&addr, (struct slice){exact, n}, 80, true, &why);
            ck_assert_msg(rc == 0 || addr.len == 0, "%.*s", (int)n, exact);
            free(exact);
        }
    }
}
END_TEST

START_TEST(binary_addresses_are_those_of_nginx)
{
    struct addr v4 = good("192.0.2.7:1", 0, false);
    struct addr mapped = good("[::ffff:192.0.2.7]:1", 0, false);
    struct addr v6 = good("[2001:db8::1]:1", 0, false);
    struct addr path = good("unix:/x", 0, false);
    uint8_t out[16];
    ck_assert_uint_eq(addr_binary(&v4, out), 4);
    ck_assert_mem_eq(out, "\xc0\x00\x02\x07", 4);
    memset(out, 0, sizeof(out));
    ck_assert_uint_eq(addr_binary(&mapped, out), 4);
    ck_assert_mem_eq(out, "\xc0\x00\x02\x07", 4);
    ck_assert_uint_eq(addr_binary(&v6, out), 16);
    ck_assert_mem_eq(out, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    ck_assert_uint_eq(addr_binary(&path, out), 0);
}
END_TEST

START_TEST(addresses_are_equal_when_they_mean_the_same)
{
    static const char *const texts[] = {
        "10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80", "[::1]:81",
        "[::2]:80",    "unix:/a",     "unix:/ab",    "unix:/b",  "[::ffff:10.0.0.1]:80"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (size_t j = 0; j < ARRAY_LEN(texts); j++) {
            struct addr a = good(texts[i], 0, false), b = good(texts[j], 0, false);
            ck_assert_msg(addr_eq(&a, &b) == (i == j), "%s %s", texts[i], texts[j]);
        }
    }
    struct addr none = {.len = 0}, some = good("10.0.0.1:80", 0, false);
    ck_assert(addr_eq(&none, &none) && !addr_eq(&none, &some) && !addr_eq(&some, &none));
}
END_TEST

START_TEST(a_mapped_address_is_unmapped_and_others_stay)
{
    struct addr mapped = good("[::ffff:10.0.0.1]:80", 0, false);
    struct addr plain = good("10.0.0.1:80", 0, false);
    struct addr v6 = good("[::1]:80", 0, false), same = v6;
    addr_unmap(&mapped);
    ck_assert(addr_eq(&mapped, &plain));
    ck_assert_uint_eq(mapped.len, sizeof(struct sockaddr_in));
    addr_unmap(&v6);
    ck_assert(addr_eq(&v6, &same));
    addr_unmap(&plain);
    ck_assert(addr_eq(&mapped, &plain));
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("addr");
    tcase_add_test(all, addresses_are_parsed_and_printed_back);
    tcase_add_test(all, every_octet_is_printed_as_the_library_prints_it);
    tcase_add_test(all, a_default_port_stands_in_for_a_missing_one);
    tcase_add_test(all, wildcards_are_the_ipv6_wildcard_where_they_are_allowed);
    tcase_add_test(all, what_is_no_address_is_refused_with_a_reason);
    tcase_add_test(all, a_unix_path_has_107_bytes_at_most_and_can_be_printed);
    tcase_add_test(all, a_peer_without_a_path_is_printed_as_unix);
    tcase_add_test(all, every_prefix_of_an_address_is_read_without_going_past_it);
    tcase_add_test(all, binary_addresses_are_those_of_nginx);
    tcase_add_test(all, addresses_are_equal_when_they_mean_the_same);
    tcase_add_test(all, a_mapped_address_is_unmapped_and_others_stay);
    Suite *suite = suite_create("addr");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
