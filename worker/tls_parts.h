/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the TLS files share among themselves: tls_engine.c keeps keys and calls ciphers, tls_hmac.c MACs,
 * tls_library.c gives OpenSSL what it works with, of which tls_kdf.c and tls_mac.c are ours; tls_keys.c
 * derives what we need, tls_record.c seals and opens, tls_control.c reads alerts and KeyUpdates;
 * tls_handshake.c drives OpenSSL, tls_export.c takes the keys out of it, tls_facts.c the rest. Nobody else
 * includes this.
 */
#ifndef WORKER_TLS_PARTS_H
#define WORKER_TLS_PARTS_H

#include "worker/tls_handshake.h"

#include <openssl/ssl.h>

enum { TLS_TAG = 16, TLS_SECRET_MAX = 48, TLS_MASTER_SECRET = 48, TLS_CHANGE_CIPHER_SPEC = 20 };

/* Handshake messages that matter once the handshake is over, and the one that ends it. */
enum { TLS_NEW_SESSION_TICKET = 4, TLS_FINISHED = 20, TLS_KEY_UPDATE = 24 };

/* What the AEAD is given beside the text. */
struct tls_aead {
    unsigned suite;
    const uint8_t *key; /* borrowed; 32 bytes, of which the suite takes what it needs */
    uint8_t nonce[12];
    uint8_t extra[13]; /* additional data of TLS 1.2: seq, type, version, length */
    int extra_size;
};

/*
 * Open the text of a record, behind which its tag stands, into `dst`. False: the tag is wrong (or
 * the library failed); then what is at dst is the caller's to wipe.
 */
bool tls_engine_open(struct tls_engine *engine, const struct tls_aead *aead, struct slice text,
                     uint8_t *dst) MUST_CHECK;

/*
 * Seal content and, behind it, TLS 1.3's inner type (else NULL) to `out`; the tag follows. False: the
 * library failed.
 */
bool tls_engine_seal(struct tls_engine *engine, const struct tls_aead *aead, struct slice content,
                     const uint8_t *inner_type, uint8_t *out) MUST_CHECK;

/* Bytes of a hash, and its name. */
enum tls_hash { TLS_SHA256 = 32, TLS_SHA384 = 48 };

/* What is derived from; borrowed. 1 to TLS_SECRET_MAX bytes. */
struct tls_secret {
    enum tls_hash hash;
    const uint8_t *p;
    size_t n;
};

/* HMAC, as long as the hash; `out` may be `p`. The key is kept for the next one: tls_hmac_forget. */
void tls_hmac(const struct tls_secret *key, const uint8_t *p, size_t n, uint8_t *out);

/*
 * The same of bytes that come by and by; the key is copied, and wiped with the rest. tls_hmac_end frees.
 * tls_hmac_free accepts NULL; both null the pointer. NULL: no memory.
 */
struct tls_hmac;
struct tls_hmac *tls_hmac_new(const struct tls_secret *key);
void tls_hmac_feed(struct tls_hmac *hmac, const uint8_t *p, size_t n);
void tls_hmac_end(struct tls_hmac **hmac, uint8_t *out);
void tls_hmac_free(struct tls_hmac **hmac);

/*
 * HKDF-Expand-Label (RFC 8446 7.1); `label` begins with "tls13 ". At most a hash at a time, which is
 * all that a handshake asks for. False: more, or a label or context over 64. Likewise keeps the secret.
 */
bool tls_hkdf_expand(const struct tls_secret *secret, struct slice label, struct slice context,
                     uint8_t *out, size_t n) MUST_CHECK;

/* No secret is kept from here on. */
void tls_hmac_forget(void);

/* TLS 1.3: the secret that follows this direction's, and its keys (RFC 8446 7.2). */
void tls_keys_update(unsigned suite, struct tls_dir *dir);

/* Bytes of a TLS 1.3 traffic secret: the hash of the suite. */
size_t tls_keys_secret_size(unsigned suite);

/* TLS 1.2 GCM sends 8 bytes of the nonce with each record, the other AEADs none. */
static inline size_t tls_explicit_nonce(const struct tls_session *session)
{
    return session->version == TLS_1_2 && session->suite != TLS_CHACHA20_POLY1305 ? 8 : 0;
}

/* What the handshake has shown of one direction. */
struct tls_leak {
    uint8_t secret[TLS_SECRET_MAX]; /* TLS 1.3: of application data, as it was derived */
    uint8_t secret_size;            /* 0: not yet */
    bool changed;                   /* TLS 1.2: ChangeCipherSpec has passed */
    uint32_t records;               /* under the keys that application data will have */
};

struct tls_handshake {
    SSL *ssl;   /* NULL once exported, but for a client that waits for tickets */
    BIO *input; /* the SSL's */
    BIO *
        output; /* counted by us and by the SSL; all that was written stays: the self check reads it */
    size_t sent;      /* bytes of the output */
    uint32_t records; /* taken */
    bool client;
    bool done;
    bool exported;
    uint32_t tickets; /* that came after the export */
    struct tls_leak rx;
    struct tls_leak tx;
    SSL_SESSION *session; /* counted: a client's, to be resumed; NULL none */
};

/*
 * The library context that handshakes work in, with OpenSSL's algorithms but for most ciphers, tls_kdf and
 * tls_mac. Made at the first call, then always the same; NULL: no memory.
 */
struct ossl_lib_ctx_st *tls_library(void) MUST_CHECK;

/* The derivation of TLS 1.3 and HMAC, as a provider offers them. */
extern const struct ossl_algorithm_st tls_kdf, tls_mac;

/* The hash function that an argument of OpenSSL's names; 0: none that we have. */
enum tls_hash tls_hash_named(const struct ossl_param_st *name);

/* Traffic secrets that are derived from now on are this handshake's; NULL: nobody's, and none is kept. */
void tls_kdf_tell(struct tls_handshake *handshake);

/* The keys are exported: look at the SSL object no more, and wipe what was seen of its secrets. */
void tls_handshake_look_away(struct tls_handshake *handshake);

/* That, and free the SSL object. More calls do nothing. */
void tls_handshake_drop(struct tls_handshake *handshake);

/* What is worth knowing of a handshake that is over. 0 or -ENOMEM. */
int tls_facts_take(SSL *ssl, struct tls_facts *facts) MUST_CHECK;

#endif
