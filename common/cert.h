/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, private keys and OCSP answers as files hold them: parsed, judged and turned into DER for
 * the image. Knows no process and does no I/O; errors are sentences for people. Keys that it parses are
 * wiped where crypto_memory_init has been called.
 */
#ifndef COMMON_CERT_H
#define COMMON_CERT_H

#include "common/cert_type.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { CERT_WHY_MAX = 256 };

/* Bytes on the heap. */
struct cert_bytes {
    uint8_t *p;
    size_t n;
};

/* A chain, and what its first certificate says. */
struct cert {
    struct cert_bytes chain; /* DER, one behind the other: the site's own, then who issued it */
    uint32_t count;          /* of certificates in it */
    uint32_t stray;          /* number of the first that did not issue the one before it; 0: none */
    uint32_t type;           /* enum cert_type */
    uint32_t bits;           /* of its key */
    int64_t not_before;      /* seconds since the epoch */
    int64_t not_after;
    char **names; /* DNS names, lower case: subjectAltName, or without that the common name */
    uint32_t name_count;
};

/*
 * Read a chain in PEM; blocks of other kinds are passed over. On 0 the caller owns *out.
 * Returns 0, -ENOMEM, or -EINVAL with `why`: no certificate, one that cannot be read, or one that clients
 * refuse (weak key, weak signature, a curve that TLS does not know).
 */
int cert_read(struct cert *out, struct slice pem, char why[CERT_WHY_MAX]) MUST_CHECK;

/* Free what it owns; a zeroed one is fine. */
void cert_fini(struct cert *cert);

/* Certificates that are trusted, in PEM: into DER, one behind the other. Returns as cert_read. */
int cert_read_authorities(struct cert_bytes *out, struct slice pem,
                          char why[CERT_WHY_MAX]) MUST_CHECK;

/* The first private key in PEM, into DER. Returns as cert_read; an encrypted one is refused. */
int cert_read_key(struct cert_bytes *out, struct slice pem, char why[CERT_WHY_MAX]) MUST_CHECK;

/* Does the key belong to the chain's first certificate? Both were read by these functions. */
bool cert_fits_key(const struct cert *cert, const struct cert_bytes *key);

/*
 * Judge an OCSP answer (DER) for the chain's first certificate: does it say "good" of it? *until is when
 * clients stop to believe it, in seconds since the epoch. Returns 0 or -EINVAL with `why`.
 */
int cert_check_staple(const struct cert *cert, struct slice der, int64_t *until,
                      char why[CERT_WHY_MAX]) MUST_CHECK;

/* Overwrite and free; a zeroed one is fine. */
void cert_bytes_wipe(struct cert_bytes *bytes);

#endif
