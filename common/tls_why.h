/* SPDX-License-Identifier: Apache-2.0 */
/* Words for handshakes that failed. */
#ifndef COMMON_TLS_WHY_H
#define COMMON_TLS_WHY_H

#include <openssl/ssl.h>

/* Why the last call failed, from OpenSSL's error queue, which is emptied. Static text. */
const char *tls_why_failed(SSL *ssl);

#endif
