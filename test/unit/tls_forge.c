/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/tls_forge.h"

#include "worker/tls_record.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

static const char *cipher_name(const struct tls_session *session)
{
    static const char *const names[] = {"", "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
    return names[session->suite];
}

static void put(uint8_t *p, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)value;
        value >>= 8;
    }
}

static void seal(const struct tls_session *session, const uint8_t nonce[12], const uint8_t *extra,
                 int extra_n, uint8_t *text, int n)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, cipher_name(session), NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int done;
    bool ok = EVP_EncryptInit_ex(context, cipher, NULL, session->tx.key, nonce) == 1 &&
              EVP_EncryptUpdate(context, NULL, &done, extra, extra_n) == 1 &&
              (n == 0 || EVP_EncryptUpdate(context, text, &done, text, n) == 1) &&
              EVP_EncryptFinal_ex(context, text + n, &done) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, text + n) == 1;
    ASSERT(ok);
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
}

static size_t record_13(struct tls_session *session, uint8_t type, const uint8_t *content, size_t n,
                        size_t pad, uint8_t *out)
{
    size_t inner = n + 1 + pad;
    uint8_t nonce[12];

    put(out, 0x170303, 3);
    put(out + 3, inner + 16, 2);
    if (n > 0)
        memcpy(out + 5, content, n);
    out[5 + n] = type;
    memset(out + 5 + n + 1, 0, pad);
    memset(nonce, 0, sizeof nonce);
    put(nonce + 4, session->tx.seq, 8);
    for (int i = 0; i < 12; i++)
        nonce[i] ^= session->tx.iv[i];
    seal(session, nonce, out, 5, out + 5, (int)inner);
    return 5 + inner + 16;
}

static size_t record_12(struct tls_session *session, uint8_t type, const uint8_t *content, size_t n,
                        uint8_t *out)
{
    size_t explicit = session->suite == TLS_CHACHA20_POLY1305 ? 0 : 8;
    uint8_t nonce[12] = {0}, extra[13];

    out[0] = type;
    put(out + 1, 0x0303, 2);
    put(out + 3, explicit + n + 16, 2);
    if (explicit) {
        memcpy(nonce, session->tx.iv, 4);
        put(nonce + 4, session->tx.u.nonce_base + session->tx.seq, 8);
        memcpy(out + 5, nonce + 4, 8);
    } else {
        put(nonce + 4, session->tx.seq, 8);
        for (int i = 0; i < 12; i++)
            nonce[i] ^= session->tx.iv[i];
    }
    put(extra, session->tx.seq, 8);
    memcpy(extra + 8, out, 3);
    put(extra + 11, n, 2);
    if (n > 0)
        memcpy(out + 5 + explicit, content, n);
    seal(session, nonce, extra, sizeof extra, out + 5 + explicit, (int)n);
    return 5 + explicit + n + 16;
}

size_t tls_forge_record(struct tls_session *session, uint8_t type, const uint8_t *content, size_t n,
                        size_t pad, uint8_t *out)
{
    size_t whole = session->version == TLS_1_3 ? record_13(session, type, content, n, pad, out)
                                               : record_12(session, type, content, n, out);
    session->tx.seq++;
    return whole;
}

/* OpenSSL's own derivation for TLS 1.3, as libssl uses it. */
static void derive(const struct tls_session *session, const uint8_t *secret, const char *label,
                   uint8_t *out, size_t n)
{
    bool is_384 = session->suite == TLS_AES_256_GCM;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char digest[8], prefix[] = "tls13 ", name[16];
    uint8_t key[48];
    size_t key_n = is_384 ? 48 : 32;
    strcpy(digest, is_384 ? "SHA384" : "SHA256");
    strcpy(name, label);
    memcpy(key, secret, key_n);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, key_n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, name, strlen(name)),
        OSSL_PARAM_construct_end(),
    };
    ASSERT(EVP_KDF_derive(context, out, n, params) == 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

void tls_forge_roll(struct tls_session *session)
{
    size_t secret = session->suite == TLS_AES_256_GCM ? 48 : 32;
    uint8_t next[48];

    derive(session, session->tx.u.secret, "traffic upd", next, secret);
    memcpy(session->tx.u.secret, next, secret);
    derive(session, next, "key", session->tx.key, session->suite == TLS_AES_128_GCM ? 16 : 32);
    derive(session, next, "iv", session->tx.iv, 12);
    session->tx.seq = 0;
    session->tx.updates++;
}

struct tls_session tls_forge_mirror(const struct tls_session *session)
{
    struct tls_session mirror = *session;

    mirror.rx = session->tx;
    mirror.tx = session->rx;
    mirror.flags ^= TLS_CLIENT_ROLE;
    return mirror;
}

struct tls_session tls_forge_session(enum tls_version version, enum tls_suite suite, uint8_t seed)
{
    struct tls_session session = {.flags = TLS_CLIENT_ROLE};
    uint8_t random[96];

    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)(seed + 7 * i);
    if (version == TLS_1_3) {
        tls_session_from_secrets(&session, suite, random, random + 48);
    } else {
        tls_session_from_master(&session, suite, random, random, random + 32);
        session.rx.u.nonce_base = seed * 0x0101010101010101ull;
        session.tx.u.nonce_base = session.rx.u.nonce_base ^ 0xff;
    }
    return session;
}
