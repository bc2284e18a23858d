/* SPDX-License-Identifier: Apache-2.0 */
#include "common/forwarded.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

START_TEST(a_list_is_read_from_its_end)
{
    struct slice list = SLICE(" , 192.0.2.1 ,, b\t,c , ");
    struct slice element;
    ck_assert(forwarded_last(&list, &element) && slice_eq(element, SLICE("c")));
    ck_assert(forwarded_last(&list, &element) && slice_eq(element, SLICE("b")));
    ck_assert(forwarded_last(&list, &element) && slice_eq(element, SLICE("192.0.2.1")));
    ck_assert(!forwarded_last(&list, &element));
    list = SLICE("");
    ck_assert(!forwarded_last(&list, &element));
}
END_TEST

static void check_address(const char *text, const char *wanted)
{
    struct addr addr;
    char printed[ADDR_TEXT_MAX];
    int rc = forwarded_address(slice_of(text), &addr);
    if (!wanted) {
        ck_assert_msg(rc == -EINVAL, "%s", text);
        return;
    }
    ck_assert_msg(rc == 0, "%s", text);
    addr_print_host(&addr, printed);
    ck_assert_str_eq(printed, wanted);
}

START_TEST(an_element_is_an_address_with_or_without_port)
{
    check_address("192.0.2.1", "192.0.2.1");
    check_address("192.0.2.1:80", "192.0.2.1");
    check_address("2001:db8::1", "2001:db8::1");
    check_address("[2001:db8::1]", "2001:db8::1");
    check_address("[2001:db8::1]:443", "2001:db8::1");
    check_address("::ffff:192.0.2.1", "192.0.2.1");
    static const char *const bad[] = {
        "",
        "unknown",
        "_hidden",
        "unix:/x",
        "80",
        "*",
        "*:80",
        "192.0.2",
        "192.0.2.1:x",
        "2001:db8::1:",
        "[2001:db8::1",
        "a.example",
        "[]",
        "2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000:0001"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_address(bad[i], NULL);
}
END_TEST

static void check_print(const char *client, const char *host, const char *proto, const char *wanted)
{
    struct addr addr;
    const char *why;
    char out[128];
    ck_assert_int_eq(addr_parse(&addr, slice_of(client), 1, false, &why), 0);
    int n = forwarded_print(&addr, slice_of(host), slice_of(proto), out, sizeof out);
    ck_assert_int_eq(n, (int)strlen(wanted));
    ck_assert_str_eq(out, wanted);
    for (size_t size = 0; size <= (size_t)n; size++)
        ck_assert_int_eq(forwarded_print(&addr, slice_of(host), slice_of(proto), out, size),
                         -ENOSPC);
}

START_TEST(an_element_is_quoted_where_it_must_be)
{
    check_print("192.0.2.1:5", "example.com", "https",
                "for=192.0.2.1;host=example.com;proto=https");
    check_print("192.0.2.1:5", "example.com:8080", "http",
                "for=192.0.2.1;host=\"example.com:8080\";proto=http");
    check_print("[2001:db8::1]:5", "", "http", "for=\"[2001:db8::1]\";proto=http");
    check_print("[::ffff:192.0.2.1]:5", "", "http", "for=192.0.2.1;proto=http");
    check_print("unix:/x", "a", "http", "for=unknown;host=a;proto=http");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forwarded");
    TCase *tc = tcase_create("forwarded");

    tcase_add_test(tc, a_list_is_read_from_its_end);
    tcase_add_test(tc, an_element_is_an_address_with_or_without_port);
    tcase_add_test(tc, an_element_is_quoted_where_it_must_be);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
