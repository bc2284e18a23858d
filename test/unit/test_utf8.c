/* SPDX-License-Identifier: Apache-2.0 */
#include "common/utf8.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* The character in UTF-8; returns its length. */
static size_t encode(uint32_t c, char out[4])
{
    static const uint8_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(heads[n] | c);
    return n;
}

START_TEST(every_character_is_valid_and_no_beginning_of_one)
{
    char text[4];
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        size_t n = encode(c, text);
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        ck_assert_msg(utf8_valid((struct slice){text, n}) == !surrogate, "U+%x", c);
        for (size_t i = 1; i < n; i++)
            ck_assert_msg(!utf8_valid((struct slice){text, i}), "U+%x", c);
    }
    for (uint32_t c = 0x110000; c < 0x200000; c++)
        ck_assert_msg(!utf8_valid((struct slice){text, encode(c, text)}), "U+%x", c);
}
END_TEST

START_TEST(of_two_bytes_only_ascii_and_whole_characters_are_valid)
{
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t a = (uint8_t)(i >> 8), b = (uint8_t)i;
        char text[2] = {(char)a, (char)b};
        bool valid = (a < 0x80 && b < 0x80) || (a >= 0xc2 && a < 0xe0 && b >= 0x80 && b < 0xc0);
        ck_assert_msg(utf8_valid((struct slice){text, 2}) == valid, "%02x %02x", a, b);
    }
}
END_TEST

START_TEST(overlong_forms_are_refused)
{
    static const char *const bad[] = {"\xc0\x80",      "\xc1\xbf",         "\xe0\x80\x80",
                                      "\xe0\x9f\xbf",  "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
                                      "x\xc3\xa9\xc3", "\xe2\x82x",        "\x80x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!utf8_valid(slice_of(bad[i])), "%zu", i);
    ck_assert(utf8_valid(SLICE("")));
    ck_assert(utf8_valid(SLICE("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 end")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("utf8");
    TCase *tc = tcase_create("utf8");

    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, every_character_is_valid_and_no_beginning_of_one);
    tcase_add_test(tc, of_two_bytes_only_ascii_and_whole_characters_are_valid);
    tcase_add_test(tc, overlong_forms_are_refused);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
