/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's memory, wiped when it is given back: SSL_free leaves traffic secrets in freed blocks.
 * In force for the process and for whatever is cloned from it; a program that is exec'ed begins anew.
 */
#ifndef COMMON_CRYPTO_MEMORY_H
#define COMMON_CRYPTO_MEMORY_H

#include "common/compiler.h"

/*
 * Before anything else of OpenSSL, in main(); more calls do nothing. Also keeps OpenSSL from reading
 * its openssl.cnf, which may change what worker/tls_handshake.h relies on (kernel TLS, padding), and from
 * knowing ciphers by name as before OpenSSL 3, each of which slows handshakes (worker/tls_library.c).
 * Returns 0, -EBUSY (OpenSSL holds memory already) or -ENOMEM.
 */
int crypto_memory_init(void) MUST_CHECK;

#endif
