/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An expanded key takes a kilobyte, five times what a session does, so there is one for each suite and
 * direction. It is made when another was in it: a burst on one connection pays once.
 *
 * AES-GCM is common/gcm.h's where this CPU can, else OpenSSL's, as ChaCha20-Poly1305 is; both give the
 * same bytes.
 */
#include "common/gcm.h"
#include "worker/tls_parts.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>

enum {
    SUITES = TLS_CHACHA20_POLY1305 + 1,
    DIRECTIONS = 2,
    COPIED_MAX = 2048, /* up to here a copy is cheaper than one more call into the library */
};

static const struct {
    const char *name;
    size_t key_size;
    bool gcm;
} ciphers[SUITES] = {
    [TLS_AES_128_GCM] = {"AES-128-GCM", 16, true},
    [TLS_AES_256_GCM] = {"AES-256-GCM", 32, true},
    [TLS_CHACHA20_POLY1305] = {"ChaCha20-Poly1305", 32, false},
};

struct kept {
    struct gcm_key *gcm;     /* or: */
    EVP_CIPHER_CTX *context; /* bound to cipher and direction for good */
    uint8_t key[32];         /* the whole key, not a number for it: stale keys cannot be used */
    bool keyed;
};

struct tls_engine {
    struct kept kept[SUITES][DIRECTIONS];
};

/* ---- its parts ---- */

static bool bind_evp(struct tls_engine *engine, unsigned suite)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, ciphers[suite].name, NULL);
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

static bool bind_gcm(struct tls_engine *engine, unsigned suite)
{
    struct kept *kept = engine->kept[suite];

    for (int sealing = 0; sealing < DIRECTIONS; sealing++)
        kept[sealing].gcm = gcm_key_new();
    return kept[0].gcm && kept[1].gcm;
}

static struct tls_engine *engine_new(bool gcm)
{
    struct tls_engine *engine = calloc(1, sizeof *engine);
    bool ok = engine != NULL;

    for (unsigned suite = TLS_AES_128_GCM; ok && suite < SUITES; suite++)
        ok = gcm && ciphers[suite].gcm ? bind_gcm(engine, suite) : bind_evp(engine, suite);
    if (!ok) {
        ERR_clear_error();
        tls_engine_free(&engine);
    }
    return engine;
}

struct tls_engine *tls_engine_new(void)
{
    return engine_new(gcm_init());
}

struct tls_engine *tls_engine_new_evp(void)
{
    return engine_new(false);
}

void tls_engine_free(struct tls_engine **engine)
{
    if (!*engine)
        return;
    for (unsigned suite = TLS_AES_128_GCM; suite < SUITES; suite++) {
        for (int sealing = 0; sealing < DIRECTIONS; sealing++) {
            gcm_key_free(&(*engine)->kept[suite][sealing].gcm);
            EVP_CIPHER_CTX_free((*engine)->kept[suite][sealing].context);
        }
    }
    OPENSSL_cleanse(*engine, sizeof **engine);
    free(*engine);
    *engine = NULL;
}

/* ---- keys ---- */

/*
 * What is kept for a suite and direction, once `key` is its key. *set_key: NULL, or for EVP the key that the
 * next call has to set, which takes the nonce in the same breath.
 */
static struct kept *kept_for(struct tls_engine *engine, unsigned suite, bool sealing,
                             const uint8_t *key, const uint8_t **set_key)
{
    *set_key = NULL;
    ASSERT(suite != TLS_SUITE_NONE && suite < SUITES);
    struct kept *kept = &engine->kept[suite][sealing];
    if (kept->keyed && memcmp(kept->key, key, sizeof kept->key) == 0)
        return kept;
    memcpy(kept->key, key, sizeof kept->key);
    if (kept->gcm)
        gcm_key_set(kept->gcm, key, ciphers[suite].key_size);
    else
        *set_key = kept->key;
    kept->keyed = true;
    return kept;
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
        if (kept->gcm)
            gcm_key_wipe(kept->gcm);
        else /* over the expanded key. It cannot fail: no memory is needed */
            EVP_CipherInit_ex2(kept->context, NULL, zeros, NULL, sealing, NULL);
    }
}

/* ---- OpenSSL's ciphers ---- */

static bool evp_open(EVP_CIPHER_CTX *context, const uint8_t *key, const struct tls_aead *aead,
                     struct slice text, uint8_t *dst)
{
    const uint8_t *in = (const uint8_t *)text.p;
    OSSL_PARAM tag[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (void *)(uintptr_t)(in + text.n),
                                TLS_TAG),
        OSSL_PARAM_END,
    };
    int size = (int)text.n, done;

    /* Without the cipher: naming it again would allocate everything anew. */
    return EVP_CipherInit_ex2(context, NULL, key, aead->nonce, 0, tag) == 1 &&
           EVP_CipherUpdate(context, NULL, &done, aead->extra, aead->extra_size) == 1 &&
           (size == 0 || EVP_CipherUpdate(context, dst, &done, in, size) == 1) &&
           EVP_CipherFinal_ex(context, dst + size, &done) == 1;
}

static bool evp_seal(EVP_CIPHER_CTX *context, const uint8_t *key, const struct tls_aead *aead,
                     struct slice content, const uint8_t *inner_type, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)content.p;
    int size = (int)content.n, done;
    uint8_t *end = out + size + (inner_type ? 1 : 0);
    OSSL_PARAM tag[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, end, TLS_TAG),
        OSSL_PARAM_END,
    };

    if (EVP_CipherInit_ex2(context, NULL, key, aead->nonce, 1, NULL) != 1 ||
        EVP_CipherUpdate(context, NULL, &done, aead->extra, aead->extra_size) != 1)
        return false;
    bool ok = true;
    if (inner_type && size <= COPIED_MAX) {
        memcpy(out, in, content.n);
        out[size] = *inner_type;
        ok = EVP_CipherUpdate(context, out, &done, out, size + 1) == 1;
    } else {
        if (size > 0)
            ok = EVP_CipherUpdate(context, out, &done, in, size) == 1;
        if (ok && inner_type)
            ok = EVP_CipherUpdate(context, out + size, &done, inner_type, 1) == 1;
    }
    return ok && EVP_CipherFinal_ex(context, end, &done) == 1 &&
           EVP_CIPHER_CTX_get_params(context, tag) == 1;
}

/* A call that failed may have set the key, or not: the next one begins anew. */
static bool evp_done(struct kept *kept, bool ok)
{
    kept->keyed = ok;
    if (UNLIKELY(!ok))
        ERR_clear_error();
    return ok;
}

/* ---- one record ---- */

static struct gcm_about about(const struct tls_aead *aead)
{
    return (struct gcm_about){aead->nonce, aead->extra, (size_t)aead->extra_size};
}

bool tls_engine_open(struct tls_engine *engine, const struct tls_aead *aead, struct slice text,
                     uint8_t *dst)
{
    const uint8_t *set_key;
    struct kept *kept = kept_for(engine, aead->suite, false, aead->key, &set_key);

    if (LIKELY(kept->gcm != NULL)) {
        struct gcm_about with = about(aead);
        return gcm_open(kept->gcm, &with, (const uint8_t *)text.p, text.n, dst);
    }
    return evp_done(kept, evp_open(kept->context, set_key, aead, text, dst));
}

bool tls_engine_seal(struct tls_engine *engine, const struct tls_aead *aead, struct slice content,
                     const uint8_t *inner_type, uint8_t *out)
{
    const uint8_t *set_key;
    struct kept *kept = kept_for(engine, aead->suite, true, aead->key, &set_key);

    if (LIKELY(kept->gcm != NULL)) {
        struct gcm_about with = about(aead);
        gcm_seal(kept->gcm, &with, content, inner_type, out);
        return true;
    }
    return evp_done(kept, evp_seal(kept->context, set_key, aead, content, inner_type, out));
}
