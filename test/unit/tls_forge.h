/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as a hostile peer may seal them, made without the code that is under test: any type, any
 * padding, more content than is allowed. Knows only the keys in struct tls_session.
 */
#ifndef TEST_UNIT_TLS_FORGE_H
#define TEST_UNIT_TLS_FORGE_H

#include "shm/vault.h"

#include <stddef.h>

/* ck_assert_msg without its write to a pipe when all is well: for inner loops. */
#define quiet_assert(c, ...)                                                                       \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

enum { TLS_FORGE_OVERHEAD = 5 + 8 + 1 + 16 };

/*
 * One record under session->tx, whose sequence number moves. Returns its length; `out` has room for
 * n + pad + TLS_FORGE_OVERHEAD. Padding is TLS 1.3's.
 */
size_t tls_forge_record(struct tls_session *session, uint8_t type, const uint8_t *content, size_t n,
                        size_t pad, uint8_t *out);

/* The next generation of session->tx (TLS 1.3), as after a KeyUpdate. */
void tls_forge_roll(struct tls_session *session);

/* The same session as the other side has it. */
struct tls_session tls_forge_mirror(const struct tls_session *session);

/* A session with keys of its own, of random bytes made from `seed`. */
struct tls_session tls_forge_session(enum tls_version version, enum tls_suite suite, uint8_t seed);

#endif
