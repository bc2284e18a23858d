/* SPDX-License-Identifier: Apache-2.0 */
#include "common/siphash.h"

#include <check.h>
#include <stdlib.h>

/* Key 00 01 .. 0f, data 00 01 .. of each length: the first of the reference's vectors. */
START_TEST(it_gives_the_values_of_its_authors)
{
    static const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    static const uint64_t wanted[] = {
        0x726fdb47dd0e0e31u, 0x74f839c593dc67fdu, 0x0d6c8009d9a94f5au,
        0x85676696d7fb7e2du, 0xcf2794e0277187b7u, 0x18765564cd99a68du,
        0xcbc9466e58fee3ceu, 0xab0200f58b01d137u, 0x93f5f5799a932462u,
    };
    char data[16];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)i;
    for (size_t n = 0; n < sizeof wanted / sizeof wanted[0]; n++)
        ck_assert_msg(siphash(key, (struct slice){data, n}) == wanted[n], "length %zu", n);
    ck_assert(siphash(key, (struct slice){data, 15}) == 0xa129ca6149be45e5u);
}
END_TEST

START_TEST(another_key_gives_another_value)
{
    static const uint64_t a[2] = {1, 2}, b[2] = {1, 3}, c[2] = {0, 2};
    ck_assert(siphash(a, SLICE("192.0.2.1")) != siphash(b, SLICE("192.0.2.1")));
    ck_assert(siphash(a, SLICE("192.0.2.1")) != siphash(c, SLICE("192.0.2.1")));
    ck_assert(siphash(a, SLICE("192.0.2.1")) == siphash(a, SLICE("192.0.2.1")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("siphash");
    TCase *tc = tcase_create("siphash");

    tcase_add_test(tc, it_gives_the_values_of_its_authors);
    tcase_add_test(tc, another_key_gives_another_value);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
