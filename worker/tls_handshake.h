/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS handshake, done by OpenSSL one record at a time over memory, and the end of it: the keys are
 * exported into a struct tls_session, checked against records that OpenSSL itself has written, and the
 * SSL object is freed; a client's in TLS 1.3 waits for tickets first. OpenSSL never sees application
 * data. No I/O here; heap; dies with the worker.
 */
#ifndef WORKER_TLS_HANDSHAKE_H
#define WORKER_TLS_HANDSHAKE_H

#include "common/slice.h"
#include "worker/tls_record.h"

struct ssl_ctx_st;

/* A name has a dozen parts of 64 characters at most; of those that are not ASCII each byte takes three. */
enum { TLS_PEER_NAME_MAX = 1024 };

/* What is worth knowing after the SSL object is gone. Texts are NUL-terminated. */
struct tls_facts {
    /*
     * SNI, lower case; "" none. Of a resumed TLS 1.2 session OpenSSL tells the name of its first
     * handshake, and only if a server name callback had accepted it (SSL_TLSEXT_ERR_OK).
     */
    char server_name[256];
    char alpn[16];        /* "" none; cut if too long */
    bool resumed;         /* by a session ticket */
    bool client_verified; /* the peer has shown a certificate that verifies */
    /* Of its certificate, RFC 2253. "": none, or too long: cut it might be somebody else's. */
    char peer_subject[TLS_PEER_NAME_MAX];
    char peer_issuer[TLS_PEER_NAME_MAX];
    char peer_serial[64];      /* hexadecimal; likewise */
    char peer_fingerprint[65]; /* SHA-256 of the certificate, hexadecimal */
    uint16_t cipher;           /* IANA number of the suite */
};

struct tls_handshake;

/* The suites that can be exported: what a context may offer (SSL_CTX_set_cipher_list, _ciphersuites). */
#define TLS_HANDSHAKE_SUITES_12 "ECDHE+AESGCM:ECDHE+CHACHA20"
#define TLS_HANDSHAKE_SUITES_13                                                                    \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/*
 * A context for handshakes, the caller's to free (SSL_CTX_free); all others come to nothing at the
 * export. It lets us see the secrets, has TLS 1.2 as the oldest version and one ticket a handshake; no
 * early data, renegotiation, post-handshake authentication, session cache or kernel TLS. Certificates,
 * suites, groups, ALPN, verification and a newer oldest version are the caller's. NULL: no memory.
 */
struct ssl_method_st;
struct ssl_ctx_st *tls_handshake_context(const struct ssl_method_st *method);

/*
 * Begin, as a server or (with `server_name`: SNI and name check; NULL as a server) a client.
 * `session`: of tls_handshake_take_session, borrowed, to be resumed by a client; NULL: none.
 * NULL: no memory.
 */
struct ssl_session_st;
struct tls_handshake *tls_handshake_accept(struct ssl_ctx_st *context);
struct tls_handshake *tls_handshake_connect(struct ssl_ctx_st *context, const char *server_name,
                                            struct ssl_session_st *session);

/* Wipe and free; accepts NULL, nulls the pointer. */
void tls_handshake_free(struct tls_handshake **handshake);

/*
 * Bytes of the whole record at `p` of which n have come; 0: more needed; -EPROTONOSUPPORT: not TLS (an
 * HTTP request, say; told from the first byte); -EMSGSIZE: larger than a handshake's records are: close.
 */
int tls_handshake_need(const struct tls_handshake *handshake, const uint8_t *p, size_t n);

/*
 * Take exactly one record (or, for a client to begin, none: n = 0). Returns 1 (done: export now, no
 * record more), 0 (more is needed) or -EPROTO (failed, or too many records: send what is in the output,
 * then close; *why says in few words, never empty, static: an alert of the peer's, a certificate's fault,
 * or OpenSSL's reason).
 */
int tls_handshake_feed(struct tls_handshake *handshake, const uint8_t *record, size_t n,
                       const char **why);

/* Bytes to be sent to the peer, alerts included; borrowed until the next call. Then: n were sent. */
struct slice tls_handshake_output(const struct tls_handshake *handshake);
void tls_handshake_sent(struct tls_handshake *handshake, size_t n);

/*
 * After 1: make the session and tell the facts. Output that is not sent yet stays to be sent before
 * anything is sealed. Fails closed: -EPROTO if anything does not fit (suite, secrets, self check, bytes
 * left in OpenSSL); *why says what. The handshake still holds the output; the SSL object is gone unless
 * a ticket is awaited.
 */
int tls_handshake_export(struct tls_handshake *handshake, struct tls_engine *engine,
                         struct tls_session *session, struct tls_facts *facts, const char **why);

/*
 * After an export: is this a client of TLS 1.3, whose tickets come behind the handshake and which only
 * the SSL object can read? It stays for that, with all its secrets and 14 KB: free the handshake at the
 * first record that is not tls_handshake_ticket's.
 */
bool tls_handshake_awaits_ticket(const struct tls_handshake *handshake);

/*
 * While a ticket is awaited: take the next whole record since the export, which must be one that has been
 * opened and carries handshake messages. Whatever is wrong with it means only that there is no session.
 * False: no more records, free the handshake. Either way a session may be there to be taken.
 */
bool tls_handshake_ticket(struct tls_handshake *handshake, const uint8_t *record, size_t n);

/*
 * After an export as a client, and after each ticket: the session to be resumed next time, the caller's
 * from now on (SSL_SESSION_free). NULL: none, or it has been taken.
 */
struct ssl_session_st *tls_handshake_take_session(struct tls_handshake *handshake);

#endif
