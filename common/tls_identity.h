/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates and keys as OpenSSL wants them, out of the DER of image and keys (shm/image.h, shm/keys.h). */
#ifndef COMMON_TLS_IDENTITY_H
#define COMMON_TLS_IDENTITY_H

#include "common/compiler.h"
#include "common/slice.h"

#include <openssl/ssl.h>

/* A certificate, who issued it, and its key: what one side shows. All NULL: not read yet. */
struct tls_identity {
    X509 *own;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/* Read both; on 0 the caller owns what stands in *out. Returns 0, or -EBADMSG (then all is NULL). */
int tls_identity_read(struct tls_identity *out, struct slice chain, struct slice key) MUST_CHECK;

/* Free what it owns, and null it. */
void tls_identity_fini(struct tls_identity *identity);

/*
 * A store that trusts these certificates (DER, one behind the other), counted by OpenSSL. `names`, if not
 * NULL, gets their subjects, for a server to name in its request. NULL: one of them cannot be read, or no
 * memory.
 */
X509_STORE *tls_identity_store(struct slice authorities, STACK_OF(X509_NAME) * names);

#endif
