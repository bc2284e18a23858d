/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a session, from TLS 1.3's secrets or by TLS 1.2's PRF; both are of HMAC. */
#include "worker/tls_parts.h"

#include <openssl/evp.h>

enum { IV_SIZE = 12, SALT_SIZE = 4, RANDOM_SIZE = 32 };

size_t tls_keys_secret_size(unsigned suite)
{
    return suite == TLS_AES_256_GCM ? 48 : 32;
}

static size_t key_size(unsigned suite)
{
    return suite == TLS_AES_128_GCM ? 16 : 32;
}

static struct tls_secret secret_of(unsigned suite, const uint8_t *p, size_t n)
{
    return (struct tls_secret){suite == TLS_AES_256_GCM ? TLS_SHA384 : TLS_SHA256, p, n};
}

static void expand(const struct tls_secret *secret, struct slice label, uint8_t *out, size_t n)
{
    bool ok = tls_hkdf_expand(secret, label, (struct slice){NULL, 0}, out, n);
    ASSERT(ok); /* our labels are short, and no key is longer than a hash */
}

/* The direction's keys, and the secret that they come from. */
static void from_secret(unsigned suite, struct tls_dir *dir, const uint8_t *secret)
{
    size_t size = tls_keys_secret_size(suite);
    struct tls_secret key = secret_of(suite, secret, size);

    memcpy(dir->u.secret, secret, size);
    dir->seq = 0;
    expand(&key, SLICE("tls13 key"), dir->key, key_size(suite));
    expand(&key, SLICE("tls13 iv"), dir->iv, IV_SIZE);
}

void tls_session_from_secrets(struct tls_session *session, enum tls_suite suite,
                              const uint8_t *rx_secret, const uint8_t *tx_secret)
{
    memset(&session->rx, 0, sizeof session->rx);
    memset(&session->tx, 0, sizeof session->tx);
    session->version = TLS_1_3;
    session->suite = (uint8_t)suite;
    from_secret(suite, &session->rx, rx_secret);
    from_secret(suite, &session->tx, tx_secret);
    tls_hmac_forget();
}

void tls_keys_update(unsigned suite, struct tls_dir *dir)
{
    uint8_t next[TLS_SECRET_MAX];
    size_t size = tls_keys_secret_size(suite);
    struct tls_secret now = secret_of(suite, dir->u.secret, size);

    expand(&now, SLICE("tls13 traffic upd"), next, size);
    from_secret(suite, dir, next);
    tls_hmac_forget();
    OPENSSL_cleanse(next, sizeof next);
    dir->updates++;
}

/* The PRF of TLS 1.2 (RFC 5246 5): `seed` is label and randoms. */
static void expand_prf(const struct tls_secret *secret, struct slice seed, uint8_t *out, size_t n)
{
    uint8_t input[EVP_MAX_MD_SIZE + 128], block[EVP_MAX_MD_SIZE]; /* A(i), and behind it the seed */
    size_t hash = secret->hash;

    tls_hmac(secret, (const uint8_t *)seed.p, seed.n, block);
    memcpy(input + hash, seed.p, seed.n);
    for (size_t at = 0; at < n; at += hash) {
        memcpy(input, block, hash);
        tls_hmac(secret, input, hash + seed.n, block);
        memcpy(out + at, block, n - at < hash ? n - at : hash);
        tls_hmac(secret, input, hash, block);
    }
    OPENSSL_cleanse(input, sizeof input);
    OPENSSL_cleanse(block, sizeof block);
}

void tls_session_from_master(struct tls_session *session, enum tls_suite suite,
                             const uint8_t master[48], const uint8_t client_random[32],
                             const uint8_t server_random[32])
{
    static const char label[] = "key expansion";
    enum { LABEL_SIZE = sizeof label - 1 };
    uint8_t seed[LABEL_SIZE + 2 * RANDOM_SIZE], block[2 * (32 + IV_SIZE)];
    size_t key = key_size(suite), iv = suite == TLS_CHACHA20_POLY1305 ? IV_SIZE : SALT_SIZE;
    bool client = session->flags & TLS_CLIENT_ROLE;
    struct tls_dir *of_client = client ? &session->tx : &session->rx;
    struct tls_dir *of_server = client ? &session->rx : &session->tx;

    memset(&session->rx, 0, sizeof session->rx);
    memset(&session->tx, 0, sizeof session->tx);
    session->version = TLS_1_2;
    session->suite = (uint8_t)suite;
    memcpy(seed, label, LABEL_SIZE);
    memcpy(seed + LABEL_SIZE, server_random, RANDOM_SIZE);
    memcpy(seed + LABEL_SIZE + RANDOM_SIZE, client_random, RANDOM_SIZE);
    struct tls_secret secret = secret_of(suite, master, TLS_MASTER_SECRET);
    expand_prf(&secret, (struct slice){(const char *)seed, sizeof seed}, block, 2 * (key + iv));
    tls_hmac_forget();
    /* RFC 5246 6.3 */
    memcpy(of_client->key, block, key);
    memcpy(of_server->key, block + key, key);
    memcpy(of_client->iv, block + 2 * key, iv);
    memcpy(of_server->iv, block + 2 * key + iv, iv);
    OPENSSL_cleanse(block, sizeof block);
}

void tls_session_wipe(struct tls_session *session)
{
    OPENSSL_cleanse(session, sizeof *session);
}
