/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC and what TLS 1.3 makes of it: HKDF with labels (RFC 8446 7.1). */
#include "worker/tls_parts.h"

#include <endian.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

enum { LABEL_MAX = 64, CONTEXT_MAX = 64 };

/*
 * Looking the algorithm up costs more than a MAC, so the contexts are kept, and the key that is in each:
 * of a handshake's forty MACs half have the key of the one before, which saves half of their work.
 */
struct kept {
    EVP_MAC_CTX *context;
    uint8_t key[TLS_SECRET_MAX];
    size_t key_size; /* 0: none that matters */
};

static struct kept kept[2]; /* SHA-256, SHA-384 */

static EVP_MAC_CTX *new_hmac(EVP_MAC *hmac, char *digest)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *context = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    if (context && EVP_MAC_CTX_set_params(context, params) != 1) {
        EVP_MAC_CTX_free(context);
        context = NULL;
    }
    return context;
}

int tls_hmac_init(void)
{
    static char digests[2][8] = {"SHA256", "SHA384"};
    if (kept[0].context && kept[1].context)
        return 0;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    for (int i = 0; i < 2; i++) {
        if (!kept[i].context)
            kept[i].context = new_hmac(hmac, digests[i]);
    }
    int rc = !hmac ? -ENOTSUP : !kept[0].context || !kept[1].context ? -ENOMEM : 0;
    EVP_MAC_free(hmac); /* the contexts hold it */
    ERR_clear_error();
    return rc;
}

static bool use_key(struct kept *one, const uint8_t *key, size_t n)
{
    if (one->key_size == n && memcmp(one->key, key, n) == 0)
        return EVP_MAC_init(one->context, NULL, 0, NULL) == 1;
    one->key_size = 0;
    if (EVP_MAC_init(one->context, key, n, NULL) != 1)
        return false;
    memcpy(one->key, key, n);
    one->key_size = n;
    return true;
}

bool tls_hmac(const struct tls_secret *key, const uint8_t *p, size_t n, uint8_t *out)
{
    struct kept *one = &kept[key->hash == TLS_SHA384];
    size_t size;
    ASSERT(key->n > 0 && key->n <= TLS_SECRET_MAX);
    return tls_hmac_init() == 0 && use_key(one, key->p, key->n) &&
           EVP_MAC_update(one->context, p, n) == 1 &&
           EVP_MAC_final(one->context, out, &size, EVP_MAX_MD_SIZE) == 1;
}

void tls_hmac_forget(void)
{
    static const uint8_t zeros[TLS_SECRET_MAX];
    for (int i = 0; i < 2; i++) {
        if (kept[i].key_size == 0)
            continue;
        EVP_MAC_init(kept[i].context, zeros, sizeof zeros, NULL);
        OPENSSL_cleanse(kept[i].key, sizeof kept[i].key);
        kept[i].key_size = 0;
    }
}

static size_t put(uint8_t *to, struct slice bytes)
{
    to[0] = (uint8_t)bytes.n;
    if (bytes.n > 0)
        memcpy(to + 1, bytes.p, bytes.n);
    return bytes.n + 1;
}

bool tls_hkdf_expand(const struct tls_secret *secret, struct slice label, struct slice context,
                     uint8_t *out, size_t n)
{
    uint8_t info[2 + 1 + LABEL_MAX + 1 + CONTEXT_MAX + 1], block[EVP_MAX_MD_SIZE];
    if (label.n > LABEL_MAX || context.n > CONTEXT_MAX || n > secret->hash)
        return false;
    size_t at = 0;
    info[at++] = 0;
    info[at++] = (uint8_t)n;
    at += put(info + at, label);
    at += put(info + at, context);
    info[at++] = 1; /* first block, and the last: no more than a hash is asked for */
    bool ok = tls_hmac(secret, info, at, block);
    if (ok)
        memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}
