/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cipher context takes more than a kilobyte, five times what a session does, so there is one for each
 * suite and direction. Its key is set up when another was in it: a burst on one connection pays once.
 */
#include "worker/tls_parts.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { SUITES = TLS_CHACHA20_POLY1305 + 1, DIRECTIONS = 2 };

static const char *const cipher_names[SUITES] = {
    [TLS_AES_128_GCM] = "AES-128-GCM",
    [TLS_AES_256_GCM] = "AES-256-GCM",
    [TLS_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

struct kept {
    EVP_CIPHER_CTX *context; /* bound to cipher and direction for good */
    uint8_t key[32];         /* the whole key, not a number for it: stale keys cannot be used */
    bool keyed;
};

struct tls_engine {
    struct kept kept[SUITES][DIRECTIONS];
};

static bool bind_suite(struct tls_engine *engine, unsigned suite)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, cipher_names[suite], NULL);
    bool ok = cipher != NULL;

    for (int sealing = 0; ok && sealing < DIRECTIONS; sealing++) {
        struct kept *kept = &engine->kept[suite][sealing];
        kept->context = EVP_CIPHER_CTX_new();
        ok = kept->context &&
             EVP_CipherInit_ex2(kept->context, cipher, NULL, NULL, sealing, NULL) == 1;
    }
    EVP_CIPHER_free(cipher); /* the contexts hold it */
    return ok;
}

struct tls_engine *tls_engine_new(void)
{
    struct tls_engine *engine = calloc(1, sizeof *engine);
    bool ok = engine != NULL;

    for (unsigned suite = TLS_AES_128_GCM; ok && suite < SUITES; suite++)
        ok = bind_suite(engine, suite);
    if (!ok) {
        ERR_clear_error();
        tls_engine_free(&engine);
    }
    return engine;
}

void tls_engine_free(struct tls_engine **engine)
{
    if (!*engine)
        return;
    for (unsigned suite = TLS_AES_128_GCM; suite < SUITES; suite++) {
        for (int sealing = 0; sealing < DIRECTIONS; sealing++)
            EVP_CIPHER_CTX_free((*engine)->kept[suite][sealing].context);
    }
    OPENSSL_cleanse(*engine, sizeof **engine);
    free(*engine);
    *engine = NULL;
}

EVP_CIPHER_CTX *tls_engine_cipher(struct tls_engine *engine, unsigned suite, bool sealing,
                                  const uint8_t key[32])
{
    if (suite == TLS_SUITE_NONE || suite >= SUITES)
        return NULL;
    struct kept *kept = &engine->kept[suite][sealing];
    if (LIKELY(kept->keyed && memcmp(kept->key, key, sizeof kept->key) == 0))
        return kept->context;
    kept->keyed = false;
    /* Without the cipher: naming it again would allocate everything anew. */
    if (EVP_CipherInit_ex2(kept->context, NULL, key, NULL, sealing, NULL) != 1)
        return NULL;
    memcpy(kept->key, key, sizeof kept->key);
    kept->keyed = true;
    return kept->context;
}

/*
 * Whoever's keys of this suite they are: a KeyUpdate may have replaced the session's own since they
 * were set up, and setting them up again costs 0.2 us.
 */
void tls_engine_forget(struct tls_engine *engine, const struct tls_session *session)
{
    static const uint8_t zeros[32];

    if (session->suite == TLS_SUITE_NONE || session->suite >= SUITES)
        return;
    for (int sealing = 0; sealing < DIRECTIONS; sealing++) {
        struct kept *kept = &engine->kept[session->suite][sealing];
        if (!kept->keyed)
            continue;
        kept->keyed = false;
        OPENSSL_cleanse(kept->key, sizeof kept->key);
        /* Over the expanded key. It cannot fail: no memory is needed. */
        EVP_CipherInit_ex2(kept->context, NULL, zeros, NULL, sealing, NULL);
    }
}
