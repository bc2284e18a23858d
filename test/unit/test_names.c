/* SPDX-License-Identifier: Apache-2.0 */
#include "master/names.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct names_answer answer_of(const char *text, const char *const *addresses, uint32_t count)
{
    struct names_answer answer = {.magic = NAMES_MAGIC, .count = count};
    const char *why;
    memcpy(answer.text, text, strlen(text));
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(
            addr_parse(&answer.addresses[i].address, slice_of(addresses[i]), 80, false, &why), 0);
    return answer;
}

static const char *const some[] = {"10.0.0.2:80", "10.0.0.1:80", "[::1]:80", "10.0.0.2:80"};

START_TEST(what_a_child_says_is_checked)
{
    struct names_answer good = answer_of("a:80", some, 4), bad[9];
    ck_assert(names_is_sound(&good));
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].magic++;
    bad[1].count = 0;
    bad[2].count = NAMES_ADDRESSES_MAX + 1;
    bad[3].text[0] = '\0';
    memset(bad[4].text, 'a', sizeof bad[4].text);
    bad[5].addresses[1].address.u.sa.sa_family = AF_UNIX;
    bad[6].addresses[1].address.len = 1000;
    bad[7].addresses[1].address.u.in.sin_port = 0;
    bad[8].addresses[3].backup = 2;
    for (int i = 0; i < 9; i++)
        ck_assert_msg(!names_is_sound(&bad[i]), "case %d", i);
}
END_TEST

START_TEST(equal_answers_are_equal_in_any_order_and_with_doubles)
{
    static const char *const other[] = {"[::1]:80", "10.0.0.1:80", "10.0.0.2:80"};
    struct names_answer a = answer_of("a", some, 4), b = answer_of("a", other, 3);
    names_sort(&a);
    names_sort(&b);
    ck_assert_uint_eq(a.count, 3);
    ck_assert(names_equal(&a, &b));
    b.addresses[1].weight = 2;
    ck_assert(!names_equal(&a, &b));
}
END_TEST

START_TEST(backups_come_last)
{
    struct names_answer a = answer_of("a", some, 3);
    a.addresses[1].backup = 1; /* 10.0.0.1 */
    names_sort(&a);
    ck_assert_uint_eq(a.addresses[2].backup, 1);
    ck_assert_uint_eq(ntohl(a.addresses[2].address.u.in.sin_addr.s_addr), 0x0a000001);
}
END_TEST

START_TEST(a_set_keeps_the_newest_answer_of_each_name)
{
    struct names names = {0};
    struct names_answer a = answer_of("a", some, 1), b = answer_of("b", some, 2);
    ck_assert_ptr_null(names_find(NULL, "a"));
    ck_assert_ptr_null(names_find(&names, "a"));
    ck_assert_int_eq(names_set(&names, &a), 1);
    ck_assert_int_eq(names_set(&names, &b), 1);
    ck_assert_int_eq(names_set(&names, &a), 0);
    a.count = 2;
    a.addresses[1] = b.addresses[1];
    ck_assert_int_eq(names_set(&names, &a), 1);
    ck_assert_uint_eq(names_find(&names, "a")->count, 2);
    ck_assert_uint_eq(names.count, 2);
    names_fini(&names);
    ck_assert_ptr_null(names_find(&names, "a"));
}
END_TEST

START_TEST(what_the_configuration_has_no_server_for_is_let_go)
{
    struct conf_server first[] = {{.text = "b"}, {.text = "d", .address.len = 16}};
    struct conf_server second[] = {{.text = "e"}};
    struct conf_upstream upstreams[] = {{.servers = first, .server_count = 2},
                                        {.servers = second, .server_count = 1}};
    const struct conf conf = {.upstreams = upstreams, .upstream_count = 2}, none = {0};
    struct names names = {0};
    for (const char *text = "abcde"; *text; text++) {
        const char name[] = {*text, '\0'};
        struct names_answer answer = answer_of(name, some, 1);
        ck_assert_int_eq(names_set(&names, &answer), 1);
    }
    names_keep(&names, &conf);
    ck_assert_uint_eq(names.count, 2);
    ck_assert_ptr_nonnull(names_find(&names, "b"));
    ck_assert_ptr_nonnull(names_find(&names, "e"));
    ck_assert(!names_wanted(&conf, "d")); /* an address is no name */
    names_keep(&names, &none);
    ck_assert_uint_eq(names.count, 0);
    names_fini(&names);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("names");
    TCase *tc = tcase_create("names");
    tcase_add_test(tc, what_a_child_says_is_checked);
    tcase_add_test(tc, equal_answers_are_equal_in_any_order_and_with_doubles);
    tcase_add_test(tc, backups_come_last);
    tcase_add_test(tc, a_set_keeps_the_newest_answer_of_each_name);
    tcase_add_test(tc, what_the_configuration_has_no_server_for_is_let_go);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
