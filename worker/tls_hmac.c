/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC and what TLS 1.3 makes of it: HKDF with labels (RFC 8446 7.1). With OpenSSL's hash functions as
 * they are, which it calls deprecated: its EVP_MAC takes 0.35 us for what takes 0.15 this way, or 0.08 if
 * the key is that of the MAC before, as it is for half of the fifty of a handshake.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "worker/tls_parts.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum { LABEL_MAX = 64, CONTEXT_MAX = 64, BLOCK_MAX = SHA512_CBLOCK };

/* A hash in the middle of its work. SHA-384 is SHA-512 with other numbers to begin with. */
union state {
    SHA256_CTX sha256;
    SHA512_CTX sha384;
};

static void begin(enum tls_hash hash, union state *state)
{
    if (hash == TLS_SHA384)
        SHA384_Init(&state->sha384);
    else
        SHA256_Init(&state->sha256);
}

static void feed(enum tls_hash hash, union state *state, const uint8_t *p, size_t n)
{
    if (hash == TLS_SHA384)
        SHA384_Update(&state->sha384, p, n);
    else
        SHA256_Update(&state->sha256, p, n);
}

static void end(enum tls_hash hash, union state *state, uint8_t *out)
{
    if (hash == TLS_SHA384)
        SHA384_Final(out, &state->sha384);
    else
        SHA256_Final(out, &state->sha256);
}

/* The last key, and what both hashes have come to with it (RFC 2104). */
static struct {
    struct tls_secret of;        /* `p` does not matter; n = 0: no key */
    uint8_t key[TLS_SECRET_MAX]; /* its bytes */
    union state inner, outer;
} kept;

static void begin_with_key(union state *state, const struct tls_secret *key, uint8_t pad)
{
    uint8_t block[BLOCK_MAX];
    size_t size = key->hash == TLS_SHA384 ? SHA512_CBLOCK : SHA256_CBLOCK;
    memset(block, pad, size);
    for (size_t i = 0; i < key->n; i++)
        block[i] ^= key->p[i];
    begin(key->hash, state);
    feed(key->hash, state, block, size);
    OPENSSL_cleanse(block, size);
}

static void use_key(const struct tls_secret *key)
{
    ASSERT(key->n > 0 && key->n <= TLS_SECRET_MAX);
    if (kept.of.hash == key->hash && kept.of.n == key->n && memcmp(kept.key, key->p, key->n) == 0)
        return;
    begin_with_key(&kept.inner, key, 0x36);
    begin_with_key(&kept.outer, key, 0x5c);
    kept.of = *key;
    memcpy(kept.key, key->p, key->n);
}

void tls_hmac(const struct tls_secret *key, const uint8_t *p, size_t n, uint8_t *out)
{
    use_key(key);
    union state state = kept.inner;
    feed(key->hash, &state, p, n);
    end(key->hash, &state, out);
    state = kept.outer;
    feed(key->hash, &state, out, key->hash);
    end(key->hash, &state, out);
    OPENSSL_cleanse(&state, sizeof state);
}

struct tls_hmac {
    enum tls_hash hash;
    union state inner, outer;
};

struct tls_hmac *tls_hmac_new(const struct tls_secret *key)
{
    struct tls_hmac *hmac = malloc(sizeof *hmac);
    ASSERT(key->n > 0 && key->n <= TLS_SECRET_MAX);
    if (!hmac)
        return NULL;
    hmac->hash = key->hash;
    begin_with_key(&hmac->inner, key, 0x36);
    begin_with_key(&hmac->outer, key, 0x5c);
    return hmac;
}

void tls_hmac_feed(struct tls_hmac *hmac, const uint8_t *p, size_t n)
{
    feed(hmac->hash, &hmac->inner, p, n);
}

void tls_hmac_end(struct tls_hmac **hmac, uint8_t *out)
{
    struct tls_hmac *h = *hmac;
    end(h->hash, &h->inner, out);
    feed(h->hash, &h->outer, out, h->hash);
    end(h->hash, &h->outer, out);
    tls_hmac_free(hmac);
}

void tls_hmac_free(struct tls_hmac **hmac)
{
    if (*hmac)
        OPENSSL_cleanse(*hmac, sizeof **hmac);
    free(*hmac);
    *hmac = NULL;
}

void tls_hmac_forget(void)
{
    if (kept.of.n > 0)
        OPENSSL_cleanse(&kept, sizeof kept);
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
    uint8_t info[2 + 1 + LABEL_MAX + 1 + CONTEXT_MAX + 1], block[TLS_SECRET_MAX];
    if (label.n > LABEL_MAX || context.n > CONTEXT_MAX || n > secret->hash)
        return false;
    size_t at = 0;
    info[at++] = 0;
    info[at++] = (uint8_t)n;
    at += put(info + at, label);
    at += put(info + at, context);
    info[at++] = 1; /* first block, and the last: no more than a hash is asked for */
    tls_hmac(secret, info, at, block);
    memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof block);
    return true;
}
