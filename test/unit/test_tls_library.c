/* SPDX-License-Identifier: Apache-2.0 */
/* What handshakes find in their library context: few names. */
#include "common/crypto_memory.h"
#include "worker/tls_parts.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdlib.h>

static void count_cipher(EVP_CIPHER *cipher, void *count)
{
    (void)cipher;
    ++*(int *)count;
}

START_TEST(ciphers_that_tls_has_no_use_for_have_no_names)
{
    int count = 0;
    EVP_CIPHER_do_all_provided(tls_library(), count_cipher, &count);
    ck_assert_int_eq(count, 4);
    /* Those names would have come along from the table of before OpenSSL 3. */
    ck_assert_ptr_null(EVP_get_cipherbyname("AES-256-CBC"));
    ck_assert_ptr_nonnull(EVP_get_digestbyname("SHA256"));
    ck_assert_ptr_eq(tls_library(), tls_library());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_library");
    TCase *tcase = tcase_create("tls_library");

    if (crypto_memory_init() < 0 || !tls_library())
        return EXIT_FAILURE;
    tcase_add_test(tcase, ciphers_that_tls_has_no_use_for_have_no_names);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
