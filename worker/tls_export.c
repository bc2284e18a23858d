/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL has no function that gives away keys and sequence numbers. The secrets of TLS 1.3 are derived
 * by us (tls_kdf.c), its message callback shows records to be counted, and for TLS 1.2 the master
 * secret has a function. None of that promises an order, so nothing is believed: the
 * records that OpenSSL has written under the final keys must open with what was exported.
 */
#include "worker/tls_parts.h"

#include <endian.h>
#include <errno.h>
#include <openssl/err.h>

enum {
    RANDOM_SIZE = 32,
    MESSAGE_HEADER = 4,
    /* A ticket holds the client's certificate, and has 64 KB at most; a client may want 512 bytes a record. */
    OWN_RECORDS_MAX = 256,
};

struct offer {
    uint16_t cipher; /* IANA */
    uint8_t suite;   /* enum tls_suite */
    int version;
};

static const struct offer offers[] = {
    {0x1301, TLS_AES_128_GCM, TLS1_3_VERSION},
    {0x1302, TLS_AES_256_GCM, TLS1_3_VERSION},
    {0x1303, TLS_CHACHA20_POLY1305, TLS1_3_VERSION},
    {0xc02b, TLS_AES_128_GCM, TLS1_2_VERSION},       /* ECDHE_ECDSA */
    {0xc02f, TLS_AES_128_GCM, TLS1_2_VERSION},       /* ECDHE_RSA */
    {0xc02c, TLS_AES_256_GCM, TLS1_2_VERSION},       /* ECDHE_ECDSA */
    {0xc030, TLS_AES_256_GCM, TLS1_2_VERSION},       /* ECDHE_RSA */
    {0xcca9, TLS_CHACHA20_POLY1305, TLS1_2_VERSION}, /* ECDHE_ECDSA */
    {0xcca8, TLS_CHACHA20_POLY1305, TLS1_2_VERSION}, /* ECDHE_RSA */
};

static enum tls_suite suite_of(const SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    uint16_t id = cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0;

    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        if (offers[i].cipher == id && offers[i].version == SSL_version(ssl))
            return offers[i].suite;
    }
    return TLS_SUITE_NONE;
}

/* All steps return NULL or what does not fit. */
static const char *take_13(const struct tls_handshake *handshake, struct tls_session *session,
                           enum tls_suite suite)
{
    size_t size = tls_keys_secret_size(suite);

    if (handshake->rx.secret_size != size || handshake->tx.secret_size != size)
        return "the secrets have not gone by";
    if (handshake->rx.records != 0 || handshake->tx.records > OWN_RECORDS_MAX)
        return "more records than a handshake has";
    tls_session_from_secrets(session, suite, handshake->rx.secret, handshake->tx.secret);
    return NULL;
}

static const char *take_12(const struct tls_handshake *handshake, struct tls_session *session,
                           enum tls_suite suite)
{
    uint8_t master[TLS_MASTER_SECRET], client_random[RANDOM_SIZE], server_random[RANDOM_SIZE];
    const char *why = NULL;

    if (handshake->rx.records != 1 || handshake->tx.records != 1)
        return "more than Finished was sent under the keys";
    if (SSL_SESSION_get_master_key(SSL_get_session(handshake->ssl), master, sizeof master) !=
            sizeof master ||
        SSL_get_client_random(handshake->ssl, client_random, RANDOM_SIZE) != RANDOM_SIZE ||
        SSL_get_server_random(handshake->ssl, server_random, RANDOM_SIZE) != RANDOM_SIZE)
        why = "no master secret";
    else
        tls_session_from_master(session, suite, master, client_random, server_random);
    OPENSSL_cleanse(master, sizeof master);
    return why;
}

static const char *take_keys(const struct tls_handshake *handshake, struct tls_session *session)
{
    SSL *ssl = handshake->ssl;
    enum tls_suite suite = suite_of(ssl);

    if (SSL_is_init_finished(ssl) != 1)
        return "the handshake is not over";
    if (BIO_ctrl_pending(handshake->input) > 0 || SSL_pending(ssl) > 0 || SSL_has_pending(ssl))
        return "bytes are left in OpenSSL";
    if (suite == TLS_SUITE_NONE)
        return "a suite that the record layer does not have";
    session->flags = handshake->client ? TLS_CLIENT_ROLE : 0;
    int fragment = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
    if (fragment != TLSEXT_max_fragment_length_DISABLED)
        session->max_fragment = (uint16_t)(256 << fragment); /* RFC 6066 4: 1 is 512 */
    const char *why = SSL_version(ssl) == TLS1_3_VERSION ? take_13(handshake, session, suite)
                                                         : take_12(handshake, session, suite);
    session->rx.seq = handshake->rx.records;
    session->tx.seq = handshake->tx.records;
    return why;
}

/* Records in what OpenSSL has written; UINT32_MAX if it does not end with one. */
static uint32_t count_records(const uint8_t *p, size_t n)
{
    uint32_t records = 0;

    for (size_t whole; n > 0; p += whole, n -= whole) {
        whole = n < TLS_RECORD_HEADER ? SIZE_MAX : TLS_RECORD_HEADER + (size_t)(p[3] << 8 | p[4]);
        if (whole > n)
            return UINT32_MAX;
        records++;
    }
    return records;
}

/* TLS 1.2 GCM: OpenSSL began its explicit nonces at a random number; we go on from there. */
static void take_nonce(struct tls_session *session, const uint8_t *finished)
{
    uint64_t nonce;

    if (tls_explicit_nonce(session) == 0)
        return;
    memcpy(&nonce, finished + TLS_RECORD_HEADER, sizeof nonce);
    session->tx.u.nonce_base = be64toh(nonce);
}

/* What we look for: messages of one type, each of which begins in a record of its own. */
struct own_messages {
    uint8_t type;
    size_t left; /* bytes of the one that has begun */
};

static bool goes_on(struct own_messages *messages, const uint8_t *p, size_t n)
{
    if (messages->left == 0) {
        if (n < MESSAGE_HEADER || p[0] != messages->type)
            return false;
        messages->left = MESSAGE_HEADER + (size_t)(p[1] << 16 | p[2] << 8 | p[3]);
    }
    if (n > messages->left)
        return false;
    messages->left -= n;
    return true;
}

/*
 * The last records that OpenSSL wrote, as many as were counted, must open with our keys at sequence
 * numbers 0, 1, ...: tickets in TLS 1.3, Finished in TLS 1.2.
 */
static const char *self_check(const struct tls_handshake *handshake, struct tls_engine *engine,
                              struct tls_session *session)
{
    struct tls_session mirror = *session; /* a peer, who opens what we seal */
    struct own_messages messages = {.type = session->version == TLS_1_3 ? TLS_NEW_SESSION_TICKET
                                                                        : TLS_FINISHED};
    uint8_t content[TLS_RECORD_MAX];
    size_t used = 0;
    const uint8_t *p;
    const char *why = NULL;

    size_t n = (size_t)BIO_get_mem_data(handshake->output, &p);
    uint32_t records = count_records(p, n), check = handshake->tx.records;
    if (records == UINT32_MAX || records < check)
        return "self check: not the records that were counted";
    mirror.rx = session->tx;
    mirror.rx.seq = 0;
    for (size_t whole; !why && records > 0; records--, p += whole) {
        enum tls_record_type type;
        whole = TLS_RECORD_HEADER + (size_t)(p[3] << 8 | p[4]);
        if (records > check)
            continue;
        used = whole > used ? whole : used;
        int size = tls_record_open(engine, &mirror, p, whole, content, &type);
        if (size < 1 || type != TLS_HANDSHAKE || !goes_on(&messages, content, (size_t)size))
            why = "self check: the exported keys do not open our own records";
        else
            take_nonce(session, p);
    }
    if (!why && messages.left > 0)
        why = "self check: a message of ours has no end";
    tls_engine_forget(engine, &mirror); /* for opening they are never used again */
    tls_session_wipe(&mirror);
    OPENSSL_cleanse(content, used);
    return why;
}

/*
 * A client's session for the next time. In TLS 1.3 its ticket comes after the handshake, and needs a
 * secret that stays inside OpenSSL: so the SSL object stays, too.
 */
static void finish(struct tls_handshake *handshake)
{
    SSL_SESSION *session = SSL_get0_session(handshake->ssl);

    handshake->exported = true;
    if (handshake->client && SSL_version(handshake->ssl) == TLS1_3_VERSION) {
        tls_handshake_look_away(handshake);
        return;
    }
    if (handshake->client && SSL_SESSION_is_resumable(session))
        handshake->session = SSL_get1_session(handshake->ssl);
    tls_handshake_drop(handshake);
}

int tls_handshake_export(struct tls_handshake *handshake, struct tls_engine *engine,
                         struct tls_session *session, struct tls_facts *facts, const char **why)
{
    ASSERT(handshake->ssl && handshake->done && !handshake->exported);
    memset(session, 0, sizeof *session);
    const char *wrong = take_keys(handshake, session);
    if (!wrong)
        wrong = self_check(handshake, engine, session);
    if (!wrong && tls_facts_take(handshake->ssl, facts) < 0)
        wrong = "no memory";
    if (!wrong) {
        finish(handshake);
        return 0;
    }
    tls_session_wipe(session);
    tls_handshake_drop(handshake);
    *why = wrong;
    return -EPROTO;
}
