/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_parts.h"

#include <endian.h>
#include <openssl/crypto.h>

enum {
    NONCE_SIZE = 12,
    EXPANSION_13 = 256, /* what a ciphertext may have beyond TLS_PLAIN_MAX (RFC 8446 5.2) */
    EXPANSION_12 = 1024,
    LEGACY_MAJOR = 3, /* every record says 3.3, TLS 1.2 */
    LEGACY_MINOR = 3,
    AES_BLOCK = 16,
    EMPTY_RUN_MAX = 32,
};

/* RFC 8446 5.5 allows 2^24.5 full records; an update costs microseconds, so ours comes early. */
static const uint64_t records_before_update = 1ull << 22;
static const uint64_t records_before_asking = 1ull << 23;
/* The same limit for keys that cannot be changed, in AES blocks, a little before 2^34.5 of them. */
static const uint64_t blocks_before_end = 1ull << 34;

size_t tls_record_content_max(const struct tls_session *session)
{
    return session->max_fragment ? session->max_fragment : TLS_PLAIN_MAX;
}

size_t tls_record_overhead(const struct tls_session *session)
{
    size_t inner_type = session->version == TLS_1_3 ? 1 : 0;

    return TLS_RECORD_HEADER + tls_explicit_nonce(session) + inner_type + TLS_TAG;
}

bool tls_session_is_known(const struct tls_session *session)
{
    return (session->version == TLS_1_3 || session->version == TLS_1_2) &&
           session->suite > TLS_SUITE_NONE && session->suite <= TLS_CHACHA20_POLY1305;
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
static void make_extra(struct tls_aead *aead, const struct tls_session *session, uint64_t seq,
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
    aead->extra_size = sizeof aead->extra;
}

static void count_blocks(const struct tls_session *session, struct tls_dir *dir, size_t size)
{
    if (tls_explicit_nonce(session) > 0)
        dir->u.blocks += (size + AES_BLOCK - 1) / AES_BLOCK + 2; /* two more for the tag */
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
    struct tls_aead aead = {.suite = session->suite, .key = dir->key};

    int whole = tls_record_need(session, record, n);
    if (whole < 0)
        return whole;
    if ((size_t)whole != n || dir->seq == UINT64_MAX || !tls_session_is_known(session))
        return -TLS_INTERNAL_ERROR;
    int size = whole - TLS_RECORD_HEADER - (int)explicit - TLS_TAG;
    make_nonce(dir, dir->seq, aead.nonce);
    if (explicit)
        memcpy(aead.nonce + NONCE_SIZE - explicit, record + TLS_RECORD_HEADER, explicit);
    make_extra(&aead, session, dir->seq, record, (size_t)size);

    int content = -TLS_BAD_RECORD_MAC;
    if (LIKELY(tls_engine_open(engine, &aead, (struct slice){(const char *)text, (size_t)size},
                               dst))) {
        dir->seq++;
        count_blocks(session, dir, (size_t)size);
        *type = record[0];
        content = session->version == TLS_1_3 ? strip(dst, size, type) : size;
    }
    if (content >= 0)
        content = admit(session, *type, content);
    if (UNLIKELY(content < 0))
        OPENSSL_cleanse(dst, (size_t)size);
    return content;
}

int tls_record_seal(struct tls_engine *engine, struct tls_session *session,
                    enum tls_record_type type, const uint8_t *in, size_t n, uint8_t *out)
{
    struct tls_dir *dir = &session->tx;
    size_t explicit = tls_explicit_nonce(session);
    size_t whole = n + tls_record_overhead(session), body = whole - TLS_RECORD_HEADER;
    bool is_13 = session->version == TLS_1_3;
    uint8_t inner_type = (uint8_t)type;
    struct tls_aead aead = {.suite = session->suite, .key = dir->key};

    if (session->flags & (TLS_SENT_CLOSE | TLS_FATAL) || dir->seq == UINT64_MAX ||
        n > tls_record_content_max(session) || !tls_session_is_known(session))
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
    if (!tls_engine_seal(engine, &aead, content, is_13 ? &inner_type : NULL,
                         out + TLS_RECORD_HEADER + explicit))
        return -TLS_INTERNAL_ERROR;
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
    if (n < 0)
        return n;
    tls_keys_update(session->suite, &session->tx);
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
