/* SPDX-License-Identifier: Apache-2.0 */
/* Our key derivation beside OpenSSL's: the same bytes for all that libssl asks for. */
#include "worker/tls_parts.h"

#include <check.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdlib.h>

/* One derivation; NULL or 0 leave an argument out. */
struct ask {
    int mode;
    const char *digest, *label;
    const uint8_t *key, *salt, *data;
    size_t key_size, salt_size, data_size, n;
};

/* One argument more, if there is one. Returns where the next goes. */
static OSSL_PARAM *put(OSSL_PARAM *p, const char *name, const void *bytes, size_t size)
{
    if (bytes)
        *p++ = OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes, size);
    return p;
}

/* In a library context: tls_library()'s has ours, the usual one (NULL) OpenSSL's. */
static int derive(OSSL_LIB_CTX *library, const struct ask *ask, uint8_t *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(library, "TLS13-KDF", NULL);
    ck_assert_ptr_nonnull(kdf);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    int mode = ask->mode;
    OSSL_PARAM params[8], *p = params;
    *p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *p++ =
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)ask->digest, 0);
    p = put(p, OSSL_KDF_PARAM_KEY, ask->key, ask->key_size);
    p = put(p, OSSL_KDF_PARAM_SALT, ask->salt, ask->salt_size);
    p = put(p, OSSL_KDF_PARAM_PREFIX, "tls13 ", 6);
    p = put(p, OSSL_KDF_PARAM_LABEL, ask->label, strlen(ask->label));
    p = put(p, OSSL_KDF_PARAM_DATA, ask->data, ask->data_size);
    *p = OSSL_PARAM_construct_end();
    int rc = EVP_KDF_derive(context, out, ask->n, params);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return rc;
}

static void compare(const struct ask *ask)
{
    uint8_t ours[64] = {0}, theirs[64] = {0};
    ck_assert_int_eq(derive(tls_library(), ask, ours), 1);
    ck_assert_int_eq(derive(NULL, ask, theirs), 1);
    ck_assert_mem_eq(ours, theirs, sizeof ours);
}

static const struct {
    const char *name;
    size_t size;
} hashes[] = {{"SHA2-256", 32}, {"SHA256", 32}, {"SHA2-384", 48}, {"SHA384", 48}};

START_TEST(expansions_are_openssl_s)
{
    static const char *const labels[] = {"key",          "iv",           "finished",   "derived",
                                         "c hs traffic", "s ap traffic", "exp master", ""};
    uint8_t key[48], data[48];
    for (int i = 0; i < 2000; i++) {
        ck_assert_int_eq(RAND_bytes(key, sizeof key), 1);
        ck_assert_int_eq(RAND_bytes(data, sizeof data), 1);
        size_t hash = hashes[i % 4].size;
        compare(&(struct ask){EVP_KDF_HKDF_MODE_EXPAND_ONLY, hashes[i % 4].name, labels[i / 4 % 8],
                              key, NULL, i % 3 ? data : NULL, hash, 0, hash,
                              i % 5 ? hash : 1 + (size_t)i % hash});
        if (i % 7 == 0)
            tls_hmac_forget();
    }
}
END_TEST

/* With and without a secret before it, and with and without fresh bytes of any length. */
START_TEST(extractions_are_openssl_s)
{
    uint8_t key[133], salt[48];
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(RAND_bytes(key, sizeof key), 1);
        ck_assert_int_eq(RAND_bytes(salt, sizeof salt), 1);
        size_t hash = hashes[i % 4].size;
        compare(&(struct ask){EVP_KDF_HKDF_MODE_EXTRACT_ONLY, hashes[i % 4].name, "derived",
                              i % 3 ? key : NULL, i % 5 ? salt : NULL, NULL,
                              1 + (size_t)i % sizeof key, hash, 0, hash});
    }
}
END_TEST

START_TEST(what_a_handshake_does_not_ask_for_is_refused)
{
    uint8_t key[65] = {0}, out[128];
    struct ask ask = {
        EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", key, NULL, NULL, 32, 0, 0, 33};
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1); /* more than a hash */
    ask.n = 32;
    ask.digest = "SHA512";
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
    ask.digest = "SHA256";
    ask.key_size = 64;
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
    ask.key_size = 0;
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
    ask.key_size = 32;
    ask.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
    ask.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    ask.data = key;
    ask.data_size = 64;
    ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
    ask.data_size = 65;
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
    ask.data_size = 64;
    char label[60] = "";
    memset(label, 'x', 58); /* and "tls13 " */
    ask.label = label;
    ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
    label[58] = 'x';
    ck_assert_int_ne(derive(tls_library(), &ask, out), 1);
}
END_TEST

/* Traffic secrets of application data, whoever's they are, and no others. */
START_TEST(the_handshake_at_work_is_told_its_secrets)
{
    static struct tls_handshake handshake;
    uint8_t key[32] = {1}, out[32];
    struct ask ask = {
        EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "c hs traffic", key, NULL, key, 32, 0, 32, 32};
    for (int client = 0; client < 2; client++) {
        handshake = (struct tls_handshake){.client = client};
        tls_kdf_tell(&handshake);
        ask.label = "c hs traffic";
        ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
        ck_assert_uint_eq(handshake.rx.secret_size + handshake.tx.secret_size, 0);
        ask.label = "c ap traffic";
        ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
        struct tls_leak *of_client = client ? &handshake.tx : &handshake.rx;
        struct tls_leak *of_server = client ? &handshake.rx : &handshake.tx;
        ck_assert_uint_eq(of_client->secret_size, 32);
        ck_assert_mem_eq(of_client->secret, out, 32);
        ck_assert_uint_eq(of_server->secret_size, 0);
        ask.label = "s ap traffic";
        ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
        ck_assert_uint_eq(of_server->secret_size, 32);
        ck_assert_mem_eq(of_server->secret, out, 32);
        tls_kdf_tell(NULL);
    }
    handshake = (struct tls_handshake){0};
    ck_assert_int_eq(derive(tls_library(), &ask, out), 1);
    ck_assert_uint_eq(handshake.tx.secret_size, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls_kdf");
    TCase *tcase = tcase_create("tls_kdf");

    if (!tls_library())
        return EXIT_FAILURE;
    tcase_add_test(tcase, expansions_are_openssl_s);
    tcase_add_test(tcase, extractions_are_openssl_s);
    tcase_add_test(tcase, what_a_handshake_does_not_ask_for_is_refused);
    tcase_add_test(tcase, the_handshake_at_work_is_told_its_secrets);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
