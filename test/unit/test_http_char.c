/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http_char.h"

#include "common/http_head.h"

#include <check.h>
#include <stdlib.h>

static bool in(unsigned byte, const char *set)
{
    return byte != 0 && byte < 0x80 && strchr(set, (int)byte);
}

START_TEST(the_table_says_what_the_rfcs_say)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        bool digit = byte >= '0' && byte <= '9';
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        bool visible = byte >= 0x21 && byte <= 0x7e;
        bool token = digit || letter || in(byte, "!#$%&'*+-.^_`|~");
        bool host = digit || letter ||
                    in(byte, "-._~"
                             "!$&'()*+;=");
        unsigned wanted =
            (token ? HTTP_CHAR_TOKEN : 0u) | (visible && byte != '#' ? HTTP_CHAR_TARGET : 0u) |
            (visible || byte == ' ' || byte == '\t' || byte >= 0x80 ? HTTP_CHAR_VALUE : 0u) |
            (host ? HTTP_CHAR_HOST : 0u) | (digit ? HTTP_CHAR_DIGIT : 0u) |
            (digit || in(byte, "abcdefABCDEF") ? HTTP_CHAR_HEX : 0u) |
            (digit || letter || in(byte, "+/") ? HTTP_CHAR_BASE64 : 0u);
        ck_assert_msg(http_char_class[byte] == wanted, "byte %02x", byte);
        ck_assert_int_eq(http_is_tchar((unsigned char)byte), token);
    }
}
END_TEST

/* The fast span against the plain one: every byte at every place of a word, over all alignments. */
START_TEST(eight_bytes_at_a_time_find_what_single_bytes_find)
{
    char text[40];
    unsigned different = 0;

    for (uint32_t start = 0; start < 8; start++) {
        for (uint32_t at = start; at < sizeof text; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, at & 1 ? '\t' : 0xff, sizeof text);
                memset(text + at, at & 2 ? ' ' : '\0', sizeof text - at);
                text[at] = (char)byte;
                for (uint32_t end = at; end <= sizeof text; end++)
                    different += http_char_span_value(text, start, end) !=
                                 http_char_span(text, start, end, HTTP_CHAR_VALUE);
            }
        }
    }
    ck_assert_uint_eq(different, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_char");
    TCase *tc = tcase_create("http_char");

    tcase_add_test(tc, the_table_says_what_the_rfcs_say);
    tcase_add_test(tc, eight_bytes_at_a_time_find_what_single_bytes_find);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
