/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How we speak TLS to the servers of upstreams: one opinion for workers, who carry traffic, and for the
 * checker, whose checks are to find what workers will find.
 */
#ifndef COMMON_TLS_CLIENT_H
#define COMMON_TLS_CLIENT_H

#include "common/compiler.h"
#include "common/slice.h"

#include <openssl/ssl.h>
#include <stdbool.h>

enum { TLS_SECURITY_LEVEL = 2 }; /* what common/cert.c has judged by; Debian's default */

/* Borrowed for the call; DER (common/tls_identity.h). */
struct tls_client {
    X509_STORE *store;  /* who is trusted; one reference is taken; NULL: nobody is verified */
    struct slice chain; /* our own certificate, for servers that ask; empty: none */
    struct slice key;   /* its private key */
};

/*
 * Set up a fresh context (TLS_client_method): versions, suites, ALPN http/1.1, verification, our own
 * certificate. The name to look for is for tls_client_set_name. Touches no file, never blocks.
 * Returns 0, -EBADMSG (chain or key cannot be read), -EINVAL or -ENOMEM.
 */
int tls_client_set_up(SSL_CTX *context, const struct tls_client *client) MUST_CHECK;

/*
 * The name that the server's certificate must have, and SNI unless it is an address (RFC 6066 3); copied.
 * False: it can be neither, or there is no memory.
 */
bool tls_client_set_name(SSL *ssl, const char *name) MUST_CHECK;

#endif
