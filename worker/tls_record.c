/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_parts.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>

enum {
    NONCE_SIZE = 12,
    EXTRA_MAX = 13,     /* additional data of TLS 1.2: seq, type, version, length */
    EXPANSION_13 = 256, /* what a ciphertext may have beyond TLS_PLAIN_MAX (RFC 8446 5.2) */
    EXPANSION_12 = 1024,
    LEGACY_MAJOR = 3, /* every record says 3.3, TLS 1.2 */
    LEGACY_MINOR = 3,
    AES_BLOCK = 16,
    EMPTY_RUN_MAX = 32,
    COPIED_MAX = 2048, /* up to here a copy is cheaper than one more call into the library */
};

/* RFC 8446 5.5 allows 2^24.5 full records; an update costs microseconds, so ours comes early. */
static const uint64_t records_before_update = 1ull << 22;
static const uint64_t records_before_asking = 1ull << 23;
/* The same limit for keys that cannot be changed, in AES blocks, a little before 2^34.5 of them. */
static const uint64_t blocks_before_end = 1ull << 34;

/* What the AEAD is given beside key and text. */
struct aead {
    uint8_t nonce[NONCE_SIZE];
    uint8_t extra[EXTRA_MAX];
    int extra_size;
};

size_t tls_record_content_max(const struct tls_session *session)
{
    return session->max_fragment ? session->max_fragment : TLS_PLAIN_MAX;
}

size_t tls_record_overhead(const struct tls_session *session)
{
    size_t inner_type = session->version == TLS_1_3 ? 1 : 0;

    return TLS_RECORD_HEADER + tls_explicit_nonce(session) + inner_type + TLS_TAG;
}

static bool may_come(const struct tls_session *session, uint8_t type)
{
    if (session->flags & (TLS_RECV_CLOSE | TLS_FATAL))
        return false;
    return type == TLS_APPLICATION ||
           (session->version == TLS_1_2 && (type == TLS_ALERT || type == TLS_HANDSHAKE));
}

int tls_record_need(const struct tls_session *session, const uint8_t *p, size_t n)
{
    bool is_13 = session->version == TLS_1_3;

    if (!is_13 && session->version != TLS_1_2)
        return -TLS_INTERNAL_ERROR;
    if (n > 0 && !may_come(session, p[0]))
        return -TLS_UNEXPECTED_MESSAGE;
    if (n < TLS_RECORD_HEADER)
        return 0;
    if (p[1] != LEGACY_MAJOR || p[2] != LEGACY_MINOR)
        return -TLS_PROTOCOL_VERSION;
    int length = p[3] << 8 | p[4];
    if (length > TLS_PLAIN_MAX + (is_13 ? EXPANSION_13 : EXPANSION_12))
        return -TLS_RECORD_OVERFLOW;
    if (length < TLS_TAG + (is_13 ? 1 : (int)tls_explicit_nonce(session)))
        return -TLS_BAD_RECORD_MAC;
    return TLS_RECORD_HEADER + length;
}

/* RFC 8446 5.3, which RFC 7905 has taken over for TLS 1.2; GCM in TLS 1.2: RFC 5288 3. */
static void make_nonce(const struct tls_dir *dir, uint64_t low, uint8_t nonce[NONCE_SIZE])
{
    uint64_t tail;

    memcpy(nonce, dir->iv, 4);
    memcpy(&tail, dir->iv + 4, sizeof tail);
    tail ^= htobe64(low); /* behind a salt of 4 bytes stand zeros */
    memcpy(nonce + 4, &tail, sizeof tail);
}

/* The additional data of a record (RFC 8446 5.2; RFC 5246 6.2.3.3): `size` is that of the content. */
static void make_extra(struct aead *aead, const struct tls_session *session, uint64_t seq,
                       const uint8_t *header, size_t size)
{
    if (session->version == TLS_1_3) {
        memcpy(aead->extra, header, TLS_RECORD_HEADER);
        aead->extra_size = TLS_RECORD_HEADER;
        return;
    }
    seq = htobe64(seq);
    memcpy(aead->extra, &seq, sizeof seq);
    memcpy(aead->extra + 8, header, 3);
    aead->extra[11] = (uint8_t)(size >> 8);
    aead->extra[12] = (uint8_t)size;
    aead->extra_size = EXTRA_MAX;
}

static void count_blocks(const struct tls_session *session, struct tls_dir *dir, size_t size)
{
    if (tls_explicit_nonce(session) > 0)
        dir->u.blocks += (size + AES_BLOCK - 1) / AES_BLOCK + 2; /* two more for the tag */
}

static bool decrypt(EVP_CIPHER_CTX *cipher, struct aead *aead, const uint8_t *text, int size,
                    uint8_t *dst)
{
    OSSL_PARAM tag[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (void *)(uintptr_t)(text + size),
                                TLS_TAG),
        OSSL_PARAM_END,
    };
    int done;

    return EVP_CipherInit_ex2(cipher, NULL, NULL, aead->nonce, 0, tag) == 1 &&
           EVP_CipherUpdate(cipher, NULL, &done, aead->extra, aead->extra_size) == 1 &&
           (size == 0 || EVP_CipherUpdate(cipher, dst, &done, text, size) == 1) &&
           EVP_CipherFinal_ex(cipher, dst + size, &done) == 1;
}

/* Bytes of content before type and padding (RFC 8446 5.4), or an alert. */
static int strip(const uint8_t *text, int size, enum tls_record_type *type)
{
    while (size > 0 && text[size - 1] == 0)
        size--;
    if (size == 0)
        return -TLS_UNEXPECTED_MESSAGE;
    uint8_t inner = text[size - 1];
    if (inner != TLS_APPLICATION && inner != TLS_HANDSHAKE && inner != TLS_ALERT)
        return -TLS_UNEXPECTED_MESSAGE;
    *type = inner;
    return size - 1;
}

/* May a record of this type and size come now? Keeps the runs that bound what a peer can do for free. */
static int admit(struct tls_session *session, enum tls_record_type type, int size)
{
    if ((size_t)size > tls_record_content_max(session))
        return -TLS_RECORD_OVERFLOW;
    if (size == 0) {
        if (type != TLS_APPLICATION || ++session->empty_run > EMPTY_RUN_MAX)
            return -TLS_UNEXPECTED_MESSAGE;
    } else {
        session->empty_run = 0;
        if (type != TLS_ALERT)
            session->warn_run = 0;
        if (type == TLS_APPLICATION)
            session->update_run = 0;
    }
    /* Nothing may come between the parts of a handshake message (RFC 8446 5.1). */
    if ((session->hs_len > 0 || session->hs_skip > 0) && type != TLS_HANDSHAKE)
        return -TLS_UNEXPECTED_MESSAGE;
    return size;
}

int tls_record_open(struct tls_engine *engine, struct tls_session *session, const uint8_t *record,
                    size_t n, uint8_t *dst, enum tls_record_type *type)
{
    struct tls_dir *dir = &session->rx;
    size_t explicit = tls_explicit_nonce(session);
    const uint8_t *text = record + TLS_RECORD_HEADER + explicit;
    struct aead aead;

    int whole = tls_record_need(session, record, n);
    if (whole < 0)
        return whole;
    if ((size_t)whole != n || dir->seq == UINT64_MAX)
        return -TLS_INTERNAL_ERROR;
    int size = whole - TLS_RECORD_HEADER - (int)explicit - TLS_TAG;
    make_nonce(dir, dir->seq, aead.nonce);
    if (explicit)
        memcpy(aead.nonce + NONCE_SIZE - explicit, record + TLS_RECORD_HEADER, explicit);
    make_extra(&aead, session, dir->seq, record, (size_t)size);

    EVP_CIPHER_CTX *cipher = tls_engine_cipher(engine, session->suite, false, dir->key);
    int content = -TLS_INTERNAL_ERROR;
    if (LIKELY(cipher && decrypt(cipher, &aead, text, size, dst))) {
        dir->seq++;
        count_blocks(session, dir, (size_t)size);
        *type = record[0];
        content = session->version == TLS_1_3 ? strip(dst, size, type) : size;
    } else if (cipher) {
        content = -TLS_BAD_RECORD_MAC;
    }
    if (content >= 0)
        content = admit(session, *type, content);
    if (UNLIKELY(content < 0)) {
        OPENSSL_cleanse(dst, (size_t)size);
        ERR_clear_error();
    }
    return content;
}

/*
 * The text goes to out, where the tag follows it. TLS 1.3 has the type behind the content: small
 * contents are copied, so that both are one piece.
 */
static bool encrypt(EVP_CIPHER_CTX *cipher, struct aead *aead, struct slice content,
                    const uint8_t *inner_type, uint8_t *out)
{
    int size = (int)content.n, done;
    uint8_t *end = out + size + (inner_type ? 1 : 0);
    OSSL_PARAM tag[] = {
        OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, end, TLS_TAG),
        OSSL_PARAM_END,
    };

    if (EVP_CipherInit_ex2(cipher, NULL, NULL, aead->nonce, 1, NULL) != 1 ||
        EVP_CipherUpdate(cipher, NULL, &done, aead->extra, aead->extra_size) != 1)
        return false;
    bool ok = true;
    if (inner_type && size <= COPIED_MAX) {
        memcpy(out, content.p, content.n);
        out[size] = *inner_type;
        ok = EVP_CipherUpdate(cipher, out, &done, out, size + 1) == 1;
    } else {
        if (size > 0)
            ok = EVP_CipherUpdate(cipher, out, &done, (const uint8_t *)content.p, size) == 1;
        if (ok && inner_type)
            ok = EVP_CipherUpdate(cipher, out + size, &done, inner_type, 1) == 1;
    }
    return ok && EVP_CipherFinal_ex(cipher, end, &done) == 1 &&
           EVP_CIPHER_CTX_get_params(cipher, tag) == 1;
}

int tls_record_seal(struct tls_engine *engine, struct tls_session *session,
                    enum tls_record_type type, const uint8_t *in, size_t n, uint8_t *out)
{
    struct tls_dir *dir = &session->tx;
    size_t explicit = tls_explicit_nonce(session);
    size_t whole = n + tls_record_overhead(session), body = whole - TLS_RECORD_HEADER;
    bool is_13 = session->version == TLS_1_3;
    uint8_t inner_type = (uint8_t)type;
    struct aead aead;

    if (session->flags & (TLS_SENT_CLOSE | TLS_FATAL) || dir->seq == UINT64_MAX ||
        n > tls_record_content_max(session))
        return -TLS_INTERNAL_ERROR;
    EVP_CIPHER_CTX *cipher = tls_engine_cipher(engine, session->suite, true, dir->key);
    if (!cipher)
        return -TLS_INTERNAL_ERROR;
    out[0] = is_13 ? TLS_APPLICATION : inner_type;
    out[1] = LEGACY_MAJOR;
    out[2] = LEGACY_MINOR;
    out[3] = (uint8_t)(body >> 8);
    out[4] = (uint8_t)body;
    make_nonce(dir, explicit ? dir->u.nonce_base + dir->seq : dir->seq, aead.nonce);
    if (explicit)
        memcpy(out + TLS_RECORD_HEADER, aead.nonce + NONCE_SIZE - explicit, explicit);
    make_extra(&aead, session, dir->seq, out, n);
    struct slice content = {(const char *)in, n};
    if (!encrypt(cipher, &aead, content, is_13 ? &inner_type : NULL,
                 out + TLS_RECORD_HEADER + explicit)) {
        ERR_clear_error();
        return -TLS_INTERNAL_ERROR;
    }
    dir->seq++;
    count_blocks(session, dir, n);
    return (int)whole;
}

bool tls_record_update_due(const struct tls_session *session, bool *ask)
{
    *ask = session->version == TLS_1_3 && session->rx.seq >= records_before_asking &&
           !(session->flags & (TLS_UPDATE_ASKED | TLS_RECV_CLOSE));
    if (session->version != TLS_1_3 || session->flags & (TLS_SENT_CLOSE | TLS_FATAL))
        return false;
    return *ask || session->flags & TLS_UPDATE_OWED || session->tx.seq >= records_before_update;
}

bool tls_record_worn_out(const struct tls_session *session)
{
    return tls_explicit_nonce(session) > 0 &&
           (session->rx.u.blocks >= blocks_before_end || session->tx.u.blocks >= blocks_before_end);
}

int tls_record_update(struct tls_engine *engine, struct tls_session *session, bool ask,
                      uint8_t *out)
{
    const uint8_t message[] = {TLS_KEY_UPDATE, 0, 0, 1, ask};

    if (session->version != TLS_1_3)
        return -TLS_INTERNAL_ERROR;
    int n = tls_record_seal(engine, session, TLS_HANDSHAKE, message, sizeof message, out);
    if (n < 0 || tls_keys_update(session->suite, &session->tx) < 0)
        return -TLS_INTERNAL_ERROR;
    session->flags &= (uint8_t)~TLS_UPDATE_OWED;
    if (ask)
        session->flags |= TLS_UPDATE_ASKED;
    return n;
}

int tls_record_alert(struct tls_engine *engine, struct tls_session *session, enum tls_alert alert,
                     uint8_t *out)
{
    enum { WARNING = 1, FATAL = 2 };
    bool closing = alert == TLS_CLOSE_NOTIFY;
    const uint8_t message[] = {closing ? WARNING : FATAL, (uint8_t)alert};

    int n = tls_record_seal(engine, session, TLS_ALERT, message, sizeof message, out);
    session->flags |= closing ? TLS_SENT_CLOSE : TLS_FATAL;
    return n;
}
