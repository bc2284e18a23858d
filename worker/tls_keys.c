/* SPDX-License-Identifier: Apache-2.0 */
/* Key derivation: TLS 1.3's HKDF-Expand-Label and TLS 1.2's PRF, both of HMAC. */
#include "worker/tls_parts.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

enum { IV_SIZE = 12, SALT_SIZE = 4, RANDOM_SIZE = 32, LABEL_MAX = 24 };

/* Looking the algorithm up costs more than a MAC, so the contexts are kept: SHA-256, SHA-384. */
static EVP_MAC_CTX *kept[2];

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

int tls_keys_init(void)
{
    static char digests[2][8] = {"SHA256", "SHA384"};

    if (kept[0] && kept[1])
        return 0;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    for (int i = 0; i < 2; i++) {
        if (!kept[i])
            kept[i] = new_hmac(hmac, digests[i]);
    }
    int rc = !hmac ? -ENOTSUP : !kept[0] || !kept[1] ? -ENOMEM : 0;
    EVP_MAC_free(hmac); /* the contexts hold it */
    ERR_clear_error();
    return rc;
}

size_t tls_keys_secret_size(unsigned suite)
{
    return suite == TLS_AES_256_GCM ? 48 : 32;
}

static size_t key_size(unsigned suite)
{
    return suite == TLS_AES_128_GCM ? 16 : 32;
}

/* The HMAC of a suite, keyed; NULL if the library fails. unkey() it. */
static EVP_MAC_CTX *keyed(unsigned suite, const uint8_t *key, size_t n)
{
    if (tls_keys_init() < 0)
        return NULL;
    EVP_MAC_CTX *mac = kept[suite == TLS_AES_256_GCM];
    return EVP_MAC_init(mac, key, n, NULL) == 1 ? mac : NULL;
}

/* What is kept must not keep a secret. */
static void unkey(EVP_MAC_CTX *mac)
{
    static const uint8_t zeros[TLS_SECRET_MAX];

    if (mac)
        EVP_MAC_init(mac, zeros, sizeof zeros, NULL);
    ERR_clear_error();
}

/* out: EVP_MAX_MD_SIZE bytes. */
static bool mac_of(EVP_MAC_CTX *mac, const uint8_t *p, size_t n, uint8_t *out)
{
    size_t size;

    return EVP_MAC_init(mac, NULL, 0, NULL) == 1 && EVP_MAC_update(mac, p, n) == 1 &&
           EVP_MAC_final(mac, out, &size, EVP_MAX_MD_SIZE) == 1;
}

/* HKDF-Expand-Label (RFC 8446 7.1) with no context, of at most one hash: one block. */
static bool expand(EVP_MAC_CTX *mac, const char *label, uint8_t *out, size_t n)
{
    static const char prefix[] = "tls13 ";
    uint8_t info[LABEL_MAX], block[EVP_MAX_MD_SIZE];
    size_t label_size = strlen(label), at = 0;

    info[at++] = 0;
    info[at++] = (uint8_t)n;
    info[at++] = (uint8_t)(sizeof prefix - 1 + label_size);
    memcpy(info + at, prefix, sizeof prefix - 1);
    at += sizeof prefix - 1;
    memcpy(info + at, label, label_size);
    at += label_size;
    info[at++] = 0; /* no context */
    info[at++] = 1; /* first block */
    bool ok = mac_of(mac, info, at, block);
    if (ok)
        memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

/* Key and IV of the direction's secret, with which the MAC is keyed. */
static bool set_keys(EVP_MAC_CTX *mac, unsigned suite, struct tls_dir *dir)
{
    dir->seq = 0;
    return expand(mac, "key", dir->key, key_size(suite)) && expand(mac, "iv", dir->iv, IV_SIZE);
}

static bool from_secret(unsigned suite, struct tls_dir *dir, const uint8_t *secret)
{
    size_t size = tls_keys_secret_size(suite);
    EVP_MAC_CTX *mac = keyed(suite, secret, size);

    memcpy(dir->u.secret, secret, size);
    return mac && set_keys(mac, suite, dir);
}

int tls_session_from_secrets(struct tls_session *session, enum tls_suite suite,
                             const uint8_t *rx_secret, const uint8_t *tx_secret)
{
    memset(&session->rx, 0, sizeof session->rx);
    memset(&session->tx, 0, sizeof session->tx);
    session->version = TLS_1_3;
    session->suite = (uint8_t)suite;
    bool ok =
        from_secret(suite, &session->rx, rx_secret) && from_secret(suite, &session->tx, tx_secret);
    unkey(kept[suite == TLS_AES_256_GCM]);
    return ok ? 0 : -EIO;
}

int tls_keys_update(unsigned suite, struct tls_dir *dir)
{
    uint8_t next[TLS_SECRET_MAX];
    EVP_MAC_CTX *mac = keyed(suite, dir->u.secret, tls_keys_secret_size(suite));
    bool ok = mac && expand(mac, "traffic upd", next, tls_keys_secret_size(suite)) &&
              from_secret(suite, dir, next);

    unkey(mac);
    OPENSSL_cleanse(next, sizeof next);
    dir->updates++;
    return ok ? 0 : -EIO;
}

/* The PRF of TLS 1.2 (RFC 5246 5): `seed` is label and randoms; the MAC is keyed with the secret. */
static bool expand_prf(EVP_MAC_CTX *mac, const uint8_t *seed, size_t seed_size, size_t hash_size,
                       uint8_t *out, size_t n)
{
    uint8_t input[EVP_MAX_MD_SIZE + 128], block[EVP_MAX_MD_SIZE]; /* A(i), and behind it the seed */
    bool ok = mac_of(mac, seed, seed_size, block);

    memcpy(input + hash_size, seed, seed_size);
    for (size_t at = 0; ok && at < n; at += hash_size) {
        memcpy(input, block, hash_size);
        ok = mac_of(mac, input, hash_size + seed_size, block);
        memcpy(out + at, block, n - at < hash_size ? n - at : hash_size);
        ok = ok && mac_of(mac, input, hash_size, block);
    }
    OPENSSL_cleanse(input, sizeof input);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

int tls_session_from_master(struct tls_session *session, enum tls_suite suite,
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
    EVP_MAC_CTX *mac = keyed(suite, master, TLS_MASTER_SECRET);
    bool ok = mac && expand_prf(mac, seed, sizeof seed, tls_keys_secret_size(suite), block,
                                2 * (key + iv));
    unkey(mac);
    if (ok) { /* RFC 5246 6.3 */
        memcpy(of_client->key, block, key);
        memcpy(of_server->key, block + key, key);
        memcpy(of_client->iv, block + 2 * key, iv);
        memcpy(of_server->iv, block + 2 * key + iv, iv);
    }
    OPENSSL_cleanse(block, sizeof block);
    return ok ? 0 : -EIO;
}

void tls_session_wipe(struct tls_session *session)
{
    OPENSSL_cleanse(session, sizeof *session);
}
