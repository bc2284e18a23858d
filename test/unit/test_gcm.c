/* SPDX-License-Identifier: Apache-2.0 */
#include "common/gcm.h"

#include <check.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 17000 };

static struct gcm_key *key;
static uint8_t text[TEXT_MAX], sealed[TEXT_MAX + 1 + GCM_TAG], opened[TEXT_MAX + 1];

static void set_up(void)
{
    key = gcm_key_new();
    ck_assert_ptr_nonnull(key);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 37 + i / 256);
}

static void tear_down(void)
{
    gcm_key_free(&key);
    ck_assert_ptr_null(key);
}

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
    return n;
}

static struct slice piece(const uint8_t *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}

/* Test cases 1 to 4, 13, 14 and 16 of the specification that McGrew and Viega submitted to NIST. */
static const struct {
    const char *key, *nonce, *extra, *text, *sealed;
} published[] = {
    {"00000000000000000000000000000000", "000000000000000000000000", "", "",
     "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "",
     "00000000000000000000000000000000",
     "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888", "",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b391aafd255",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84a"
     "a05"
     "1ba30b396a0aac973d58e091473f59854d5c2af327cd64a62cf35abd2ba6fab4"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84a"
     "a05"
     "1ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b"
     "525"
     "b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828"
     "838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

START_TEST(published_messages_are_sealed_and_opened)
{
    uint8_t bytes[32], nonce[GCM_NONCE], extra[32], plain[64], expected[64 + GCM_TAG];
    size_t key_size = from_hex(published[_i].key, bytes);
    struct gcm_about about = {nonce, extra, from_hex(published[_i].extra, extra)};
    size_t n = from_hex(published[_i].text, plain);

    from_hex(published[_i].nonce, nonce);
    ck_assert_uint_eq(from_hex(published[_i].sealed, expected), n + GCM_TAG);
    gcm_key_set(key, bytes, key_size);
    gcm_seal(key, &about, piece(plain, n), NULL, sealed);
    ck_assert_mem_eq(sealed, expected, n + GCM_TAG);
    ck_assert(gcm_open(key, &about, sealed, n, opened));
    ck_assert_mem_eq(opened, plain, n);
}
END_TEST

/* What OpenSSL makes of the same. */
static void seal_evp(const EVP_CIPHER *cipher, const uint8_t *bytes, const struct gcm_about *about,
                     const uint8_t *in, size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int done;
    ck_assert_int_eq(EVP_EncryptInit_ex(context, cipher, NULL, bytes, about->nonce), 1);
    EVP_EncryptUpdate(context, NULL, &done, about->extra, (int)about->extra_size);
    if (n > 0)
        ck_assert_int_eq(EVP_EncryptUpdate(context, out, &done, in, (int)n), 1);
    ck_assert_int_eq(EVP_EncryptFinal_ex(context, out + n, &done), 1);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, out + n);
    EVP_CIPHER_CTX_free(context);
}

START_TEST(messages_of_all_sizes_are_those_of_another_implementation)
{
    static uint8_t expected[sizeof sealed];
    const EVP_CIPHER *cipher = _i == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();

    for (size_t n = 0; n < TEXT_MAX; n += n < 600 ? 1 : 509) {
        const uint8_t *nonce = text + n % 50, *extra = text + n % 70;
        struct gcm_about about = {nonce, extra, n % 2 ? 5 : 13};
        gcm_key_set(key, text + n % 90, (size_t)_i);
        seal_evp(cipher, text + n % 90, &about, text, n, expected);
        gcm_seal(key, &about, piece(text, n), NULL, sealed);
        ck_assert_mem_eq(sealed, expected, n + GCM_TAG);
        ck_assert(gcm_open(key, &about, sealed, n, opened));
        ck_assert_mem_eq(opened, text, n);
        /* In two pieces. */
        if (n == 0)
            continue;
        memset(sealed, 0, n);
        gcm_seal(key, &about, piece(text, n - 1), &text[n - 1], sealed);
        ck_assert_mem_eq(sealed, expected, n + GCM_TAG);
        /* In place. */
        memcpy(sealed, text, n);
        gcm_seal(key, &about, piece(sealed, n), NULL, sealed);
        ck_assert_mem_eq(sealed, expected, n + GCM_TAG);
    }
}
END_TEST

START_TEST(what_was_altered_does_not_open)
{
    enum { N = 83 };
    uint8_t nonce[GCM_NONCE] = {1}, extra[5] = {2};
    struct gcm_about about = {nonce, extra, sizeof extra};

    gcm_key_set(key, text, (size_t)_i);
    gcm_seal(key, &about, piece(text, N), NULL, sealed);
    for (size_t bit = 0; bit < (N + GCM_TAG) * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert(!gcm_open(key, &about, sealed, N, opened));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t i = 0; i < sizeof nonce; i++) {
        nonce[i] ^= 1;
        ck_assert(!gcm_open(key, &about, sealed, N, opened));
        nonce[i] ^= 1;
    }
    extra[4] ^= 1;
    ck_assert(!gcm_open(key, &about, sealed, N, opened));
    extra[4] ^= 1;
    gcm_key_set(key, text + 1, (size_t)_i);
    ck_assert(!gcm_open(key, &about, sealed, N, opened));
    gcm_key_set(key, text, (size_t)_i);
    ck_assert(gcm_open(key, &about, sealed, N, opened));
}
END_TEST

/* Bytes beyond the text are nobody's: not read (the sanitizer looks), not written. */
START_TEST(nothing_beside_the_message_is_touched)
{
    uint8_t nonce[GCM_NONCE] = {3};
    struct gcm_about about = {nonce, text, 13};

    gcm_key_set(key, text, 16);
    for (size_t n = 0; n < 300; n++) {
        uint8_t *in = malloc(n + 1), *out = malloc(n + GCM_TAG + 1), *back = malloc(n + 1);
        memcpy(in, text, n);
        out[n + GCM_TAG] = back[n] = 0xa5;
        gcm_seal(key, &about, piece(in, n), NULL, out);
        ck_assert(gcm_open(key, &about, out, n, back));
        ck_assert_mem_eq(back, text, n);
        ck_assert_uint_eq(out[n + GCM_TAG], 0xa5);
        ck_assert_uint_eq(back[n], 0xa5);
        free(in);
        free(out);
        free(back);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gcm");
    TCase *tcase = tcase_create("gcm");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    if (gcm_init()) { /* else there is nothing to test: worker/tls_engine.c then takes OpenSSL */
        tcase_add_loop_test(tcase, published_messages_are_sealed_and_opened, 0,
                            (int)(sizeof published / sizeof published[0]));
        for (int size = 16; size <= 32; size += 16) {
            tcase_add_loop_test(tcase, messages_of_all_sizes_are_those_of_another_implementation,
                                size, size + 1);
            tcase_add_loop_test(tcase, what_was_altered_does_not_open, size, size + 1);
        }
        tcase_add_test(tcase, nothing_beside_the_message_is_touched);
    }
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
