/* SPDX-License-Identifier: Apache-2.0 */
#include "common/slice.h"

#include <check.h>
#include <stdlib.h>

START_TEST(equal_is_byte_for_byte)
{
    struct slice none = {NULL, 0};

    ck_assert(slice_eq(SLICE("ab"), slice_of("ab")));
    ck_assert(!slice_eq(SLICE("ab"), SLICE("aB")));
    ck_assert(!slice_eq(SLICE("ab"), SLICE("abc")));
    ck_assert(!slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    ck_assert(slice_eq(none, SLICE("")));
    ck_assert(slice_eq(none, none));
}
END_TEST

START_TEST(only_letters_of_ascii_have_a_case)
{
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char x = (char)a, y = (char)b;
            bool letter = (a >= 'a' && a <= 'z') || (a >= 'A' && a <= 'Z');
            bool wanted = a == b || (letter && (a ^ b) == 0x20);
            if (slice_ieq((struct slice){&x, 1}, (struct slice){&y, 1}) != wanted)
                ck_abort_msg("%02x and %02x", (unsigned)a, (unsigned)b);
        }
    }
    ck_assert(slice_ieq(SLICE("WebSocket"), SLICE("wEBsOCKET")));
    ck_assert(!slice_ieq(SLICE("websocket"), SLICE("websockets")));
    ck_assert(slice_ieq((struct slice){NULL, 0}, SLICE("")));
}
END_TEST

START_TEST(a_prefix_is_no_longer_than_the_whole)
{
    ck_assert(slice_starts(SLICE("abc"), SLICE("ab")));
    ck_assert(slice_starts(SLICE("abc"), SLICE("abc")));
    ck_assert(slice_starts(SLICE("abc"), SLICE("")));
    ck_assert(slice_starts((struct slice){NULL, 0}, SLICE("")));
    ck_assert(!slice_starts(SLICE("ab"), SLICE("abc")));
    ck_assert(!slice_starts((struct slice){"abc", 2}, SLICE("abc")));
    ck_assert(!slice_starts(SLICE("abc"), SLICE("b")));
}
END_TEST

START_TEST(trim_takes_spaces_and_tabs_only)
{
    ck_assert(slice_eq(slice_trim(SLICE(" \ta b\t ")), SLICE("a b")));
    ck_assert(slice_eq(slice_trim(SLICE("\ra\n")), SLICE("\ra\n")));
    ck_assert(slice_eq(slice_trim(SLICE("\x0b"
                                        "a\xa0")),
                       SLICE("\x0b"
                             "a\xa0")));
    ck_assert_uint_eq(slice_trim(SLICE(" \t ")).n, 0);
    ck_assert_uint_eq(slice_trim((struct slice){NULL, 0}).n, 0);
}
END_TEST

static void check_list(const char *list, const char *const *wanted)
{
    struct slice rest = slice_of(list);
    struct slice element;

    while (slice_next_in_list(&rest, &element)) {
        ck_assert_msg(*wanted && slice_eq(element, slice_of(*wanted)), "%s", list);
        wanted++;
    }
    ck_assert_msg(!*wanted, "%s: %s is missing", list, *wanted ? *wanted : "");
    ck_assert_uint_eq(rest.n, 0);
}

START_TEST(a_list_gives_its_elements_and_no_empty_ones)
{
    check_list("", (const char *const[]){NULL});
    check_list(" , ,\t,", (const char *const[]){NULL});
    check_list("a", (const char *const[]){"a", NULL});
    check_list(",a,", (const char *const[]){"a", NULL});
    check_list(" a ,b\t, c d ,,e", (const char *const[]){"a", "b", "c d", "e", NULL});
    check_list("\"a,b\"", (const char *const[]){"\"a", "b\"", NULL});
}
END_TEST

START_TEST(a_list_has_whole_elements_only)
{
    ck_assert(slice_list_has(SLICE("keep-alive, UPGRADE"), SLICE("upgrade")));
    ck_assert(slice_list_has(SLICE("upgrade"), SLICE("upgrade")));
    ck_assert(!slice_list_has(SLICE("upgrades, xupgrade, up grade"), SLICE("upgrade")));
    ck_assert(!slice_list_has(SLICE(""), SLICE("upgrade")));
    ck_assert(!slice_list_has(SLICE(",,"), SLICE("")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slice");
    TCase *tc = tcase_create("slice");

    tcase_add_test(tc, equal_is_byte_for_byte);
    tcase_add_test(tc, only_letters_of_ascii_have_a_case);
    tcase_add_test(tc, a_prefix_is_no_longer_than_the_whole);
    tcase_add_test(tc, trim_takes_spaces_and_tabs_only);
    tcase_add_test(tc, a_list_gives_its_elements_and_no_empty_ones);
    tcase_add_test(tc, a_list_has_whole_elements_only);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
