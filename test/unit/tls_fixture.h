/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS connections in memory: one end is ours (tls_handshake, then a session), the other a plain SSL
 * object of OpenSSL. Certificates are made at the first use.
 */
#ifndef TEST_UNIT_TLS_FIXTURE_H
#define TEST_UNIT_TLS_FIXTURE_H

#include "test/unit/tls_forge.h"
#include "worker/tls_handshake.h"

#include <openssl/ssl.h>

/* Every suite that can come out of a handshake. */
struct tls_case {
    const char *name; /* as OpenSSL has it */
    enum tls_version version;
    enum tls_suite suite;
    uint16_t cipher;
};
enum { TLS_CASES = 9 };
extern const struct tls_case tls_cases[TLS_CASES];

/* Before Check forks: keys take a while. Contexts are the caller's to free. */
void tls_fixture_init(void);

/* With certificates of both kinds for test.example and 127.0.0.1; trusts tls_fixture_identify's. */
SSL_CTX *tls_fixture_server(void);

/* Trusts the server's certificates and checks them. */
SSL_CTX *tls_fixture_client(void);

/* Give a client a certificate: subject "C=XX,CN=client", serial 0x1234. */
void tls_fixture_identify(SSL_CTX *client);

/* One protocol version and suite, and no other. */
void tls_fixture_restrict(SSL *ssl, const struct tls_case *suite);

/* A client's session for resumption, from two plain SSL objects. */
SSL_SESSION *tls_fixture_session(SSL_CTX *server, SSL_CTX *client, const struct tls_case *suite);

enum { TLS_LINK_BUFFER = 1 << 19 };

struct tls_link {
    struct tls_handshake *ours;
    SSL *peer;
    BIO *to_peer;
    BIO *from_peer;
    size_t greeting;                /* bytes that the peer writes as soon as it may */
    uint8_t bytes[TLS_LINK_BUFFER]; /* from the peer, not yet taken by us */
    size_t n;
};

/* Takes `ours`. */
void tls_link_init(struct tls_link *link, struct tls_handshake *ours, SSL_CTX *peer);
void tls_link_fini(struct tls_link *link);

/* Until both are done (1), ours has failed (-EPROTO, *why) or the peer has (0). */
int tls_link_shake(struct tls_link *link, const char **why);

/* After 1: our session; our output is delivered. */
struct tls_session tls_link_export(struct tls_link *link, struct tls_engine *engine,
                                   struct tls_facts *facts);

/* What the peer has written goes behind link->bytes. */
void tls_link_fetch(struct tls_link *link);

/* Open what is in link->bytes: `n` bytes of data must come out. Answers KeyUpdates. */
void tls_link_expect(struct tls_link *link, struct tls_engine *engine, struct tls_session *session,
                     size_t n);

/* Data that is `n` bytes long, either way, compared. */
void tls_link_from_peer(struct tls_link *link, struct tls_engine *engine,
                        struct tls_session *session, size_t n);
void tls_link_to_peer(struct tls_link *link, struct tls_engine *engine, struct tls_session *session,
                      size_t n);

/* close_notify both ways. */
void tls_link_goodbye(struct tls_link *link, struct tls_engine *engine,
                      struct tls_session *session);

#endif
