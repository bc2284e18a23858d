/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of keys that certificates have: what the board shows, and images sort by. */
#ifndef COMMON_CERT_TYPE_H
#define COMMON_CERT_TYPE_H

#include <stdint.h>

/* A client that cannot use one kind may be able to use another. */
enum cert_type { CERT_RSA, CERT_ECDSA, CERT_EDDSA, CERT_TYPE_COUNT };

/* "RSA", "ECDSA", "EdDSA"; "?" for other numbers. */
const char *cert_type_word(uint32_t type);

#endif
