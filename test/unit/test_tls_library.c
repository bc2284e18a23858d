/* SPDX-License-Identifier: Apache-2.0 */
/* What handshakes find in their library context: few names, and an HMAC of ours that is OpenSSL's. */
#include "common/crypto_memory.h"
#include "worker/tls_parts.h"

#include <check.h>
#include <openssl/core_names.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
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

static EVP_MAC_CTX *new_mac(OSSL_LIB_CTX *library, const char *digest)
{
    EVP_MAC *mac = EVP_MAC_fetch(library, "HMAC", NULL);
    ck_assert_ptr_nonnull(mac);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_MAC_CTX_set_params(context, params) != 1) {
        EVP_MAC_CTX_free(context);
        context = NULL;
    }
    EVP_MAC_free(mac);
    return context;
}

/* The key comes with the beginning, or as a parameter before it. */
static bool begin(EVP_MAC_CTX *context, bool before, const uint8_t *key, size_t n)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key, n),
        OSSL_PARAM_construct_end(),
    };
    if (!before)
        return EVP_MAC_init(context, key, n, NULL) == 1;
    return EVP_MAC_CTX_set_params(context, params) == 1 &&
           EVP_MAC_init(context, NULL, 0, NULL) == 1;
}

static size_t run(EVP_MAC_CTX *context, const uint8_t *p, size_t n, size_t cut, uint8_t *out)
{
    size_t size = 0;
    ck_assert_int_eq(EVP_MAC_update(context, p, cut), 1);
    ck_assert_int_eq(EVP_MAC_update(context, p + cut, n - cut), 1);
    ck_assert_int_eq(EVP_MAC_final(context, out, &size, EVP_MAX_MD_SIZE), 1);
    return size;
}

START_TEST(our_hmac_is_openssl_s)
{
    uint8_t key[TLS_SECRET_MAX], bytes[300];
    for (size_t i = 0; i < 1000; i++) {
        const char *digest = i % 2 ? "SHA2-256" : "SHA384";
        size_t key_size = 1 + i % sizeof key, n = i % sizeof bytes, cut = n * (i % 5) / 4;
        uint8_t ours[EVP_MAX_MD_SIZE] = {0}, theirs[EVP_MAX_MD_SIZE] = {0};
        EVP_MAC_CTX *a = new_mac(tls_library(), digest), *b = new_mac(NULL, digest);
        ck_assert_int_eq(RAND_bytes(key, sizeof key), 1);
        ck_assert_int_eq(RAND_bytes(bytes, sizeof bytes), 1);
        for (int again = 0; again < 2; again++) {
            ck_assert(begin(a, i % 3 == 0, key, key_size) && begin(b, false, key, key_size));
            size_t size = run(a, bytes, n, cut, ours);
            ck_assert_uint_eq(size, run(b, bytes, n, 0, theirs));
            ck_assert_mem_eq(ours, theirs, sizeof ours);
        }
        EVP_MAC_CTX_free(a);
        EVP_MAC_CTX_free(b);
    }
}
END_TEST

/* It is ours: what handshakes do not ask for is refused, without a crash. */
START_TEST(other_macs_are_refused)
{
    uint8_t key[TLS_SECRET_MAX + 1] = {0}, out[EVP_MAX_MD_SIZE];
    size_t n;
    ck_assert_ptr_null(new_mac(tls_library(), "SHA512"));
    EVP_MAC_CTX *context = new_mac(tls_library(), "SHA256");
    ck_assert_int_ne(EVP_MAC_update(context, key, 1), 1); /* no key yet */
    ck_assert_int_ne(EVP_MAC_final(context, out, &n, sizeof out), 1);
    ck_assert_int_ne(EVP_MAC_init(context, NULL, 0, NULL), 1);
    ck_assert(!begin(context, false, key, sizeof key));
    ck_assert(!begin(context, true, key, sizeof key));
    ck_assert(!begin(context, true, key, 0));
    ck_assert(begin(context, true, key, TLS_SECRET_MAX));
    ck_assert_int_ne(EVP_MAC_final(context, out, &n, 31), 1);
    ck_assert_int_eq(EVP_MAC_final(context, out, &n, 32), 1);
    ck_assert_int_ne(EVP_MAC_final(context, out, &n, 32), 1); /* the key is gone */
    EVP_MAC_CTX_free(context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_library");
    TCase *tcase = tcase_create("tls_library");

    if (crypto_memory_init() < 0 || !tls_library())
        return EXIT_FAILURE;
    tcase_add_test(tcase, ciphers_that_tls_has_no_use_for_have_no_names);
    tcase_add_test(tcase, our_hmac_is_openssl_s);
    tcase_add_test(tcase, other_macs_are_refused);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
