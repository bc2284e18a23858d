/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS handshake, done by OpenSSL one record at a time over memory, and the end of it: the keys are
 * exported into a struct tls_session, checked against records that OpenSSL itself has written, and the
 * SSL object is freed. OpenSSL never sees application data. No I/O here; heap; dies with the worker.
 */
#ifndef WORKER_TLS_HANDSHAKE_H
#define WORKER_TLS_HANDSHAKE_H

#include "common/slice.h"
#include "worker/tls_record.h"

struct ssl_ctx_st;

/* What is worth knowing after the SSL object is gone. Texts are NUL-terminated, cut if too long. */
struct tls_facts {
    char server_name[256];  /* SNI, lower case; "" none */
    char alpn[16];          /* "" none */
    bool resumed;           /* by a session ticket */
    bool client_verified;   /* the peer has shown a certificate that verifies */
    char peer_subject[256]; /* of its certificate, RFC 2253; "" none */
    char peer_issuer[256];
    char peer_serial[64];      /* hexadecimal */
    char peer_fingerprint[65]; /* SHA-256 of the certificate, hexadecimal */
    uint16_t cipher;           /* IANA number of the suite */
};

struct tls_handshake;

/* A context must have been made by tls_handshake_prepare'd SSL_CTX: with our key callback set. */
void tls_handshake_prepare(struct ssl_ctx_st *context);

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
 * Bytes of the whole record at `p` of which n have come; 0: more needed; negative: not TLS (an HTTP
 * request, say), or larger than a handshake may send now: close.
 */
int tls_handshake_need(const struct tls_handshake *handshake, const uint8_t *p, size_t n);

/*
 * Take exactly one record (or, for a client to begin, none: n = 0). Returns 1 (done: export now, no
 * record more), 0 (more is needed) or -EPROTO (failed: send what is in the output, then close; *why
 * says in few words, never empty).
 */
int tls_handshake_feed(struct tls_handshake *handshake, const uint8_t *record, size_t n,
                       const char **why);

/* Bytes to be sent to the peer, alerts included; borrowed until the next call. Then: n were sent. */
struct slice tls_handshake_output(const struct tls_handshake *handshake);
void tls_handshake_sent(struct tls_handshake *handshake, size_t n);

/*
 * After 1: make the session and tell the facts. Output that is not sent yet stays to be sent before
 * anything is sealed. Fails closed: -EPROTO if anything does not fit (suite, secrets, self check, bytes
 * left in OpenSSL); *why says what. On 0 the SSL object is gone; the handshake still holds the output.
 */
int tls_handshake_export(struct tls_handshake *handshake, struct tls_engine *engine,
                         struct tls_session *session, struct tls_facts *facts, const char **why);

#endif
