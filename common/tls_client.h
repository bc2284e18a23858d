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
#include <stdint.h>

enum { TLS_SECURITY_LEVEL = 2 }; /* what common/cert.c has judged by; Debian's default */

/* How an upstream's servers are met. Slices are DER (common/tls_identity.h). */
struct tls_client {
    bool verify;
    struct slice authorities; /* who is trusted, if servers are verified */
    struct slice chain;       /* our own certificate, for servers that ask; empty: none */
    struct slice key;         /* its private key */
    SSL_CTX *(*make)(const SSL_METHOD *method); /* whose the context is: SSL_CTX_new, and more */
};

/* A context of an array, by upstream. All zero: not made yet. Its owner frees `context`. */
struct tls_client_context {
    SSL_CTX *context;         /* NULL: could not be made */
    struct slice authorities; /* that its store holds: borrowed, as long as it is */
    bool tried;               /* once is enough, whatever came of it */
};

/*
 * Make context `number` of `all`: versions, suites, ALPN http/1.1, verification, our own certificate.
 * Those that trust the same authorities (the same bytes in memory) share a store. The name to look for
 * is for tls_client_set_name. Touches no file, never blocks. Returns 0, -EBADMSG (authorities, chain or
 * key cannot be read), -EINVAL or -ENOMEM; OpenSSL's error queue may say more.
 */
int tls_client_make(struct tls_client_context *all, uint32_t count, uint32_t number,
                    const struct tls_client *client) MUST_CHECK;

/*
 * The name that the server's certificate must have, and SNI unless it is an address (RFC 6066 3); copied.
 * "": none is asked for. False: it can be neither, it is empty though the server is verified, or there is
 * no memory.
 */
bool tls_client_set_name(SSL *ssl, const char *name) MUST_CHECK;

#endif
