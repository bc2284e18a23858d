/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's socket, plain or with TLS: the handshake by OpenSSL, many messages by bench_record.h. Never
 * blocks.
 */
#ifndef TEST_BENCH_BENCH_IO_H
#define TEST_BENCH_BENCH_IO_H

#include "common/compiler.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bench_io {
    int fd;
    SSL *ssl;                    /* NULL: plain, or: */
    struct bench_record *record; /* the handshake is over, and OpenSSL's part with it */
};

/* What the TLS connections of a run have in common. */
struct bench_tls {
    SSL_CTX *context;
    SSL_SESSION *session; /* the first one that can be resumed; NULL: none yet */
    bool light;           /* bench_record.h after the handshake */
};

enum bench_tls_use {
    BENCH_TLS_RESUME,   /* connections use the session of an earlier one */
    BENCH_TLS_SHORT,    /* handshakes are what is measured: OpenSSL does all */
    BENCH_TLS_MESSAGES, /* messages are: they cost as little as can be */
};

/* Make it, or return NULL. */
struct bench_tls *bench_tls_new(enum bench_tls_use use);
void bench_tls_free(struct bench_tls **tls);

/* Put TLS over a connected socket. Returns false without memory. */
bool bench_io_secure(struct bench_io *io, struct bench_tls *tls) MUST_CHECK;

/* Returns 0 when the TLS handshake is done, -EAGAIN, or -EPROTO. */
int bench_io_handshake(struct bench_io *io) MUST_CHECK;

/* After a read of n bytes into `room` of them: may there be more, of which no event will tell? */
bool bench_io_more(const struct bench_io *io, ssize_t n, size_t room);

/* Was the session of an earlier connection used? */
bool bench_io_resumed(const struct bench_io *io);

/* Bytes moved, 0 for the end of input, or -errno. */
ssize_t bench_io_recv(struct bench_io *io, void *out, size_t n);
ssize_t bench_io_send(struct bench_io *io, const void *bytes, size_t n);

/* Close in order: close_notify, then FIN. */
void bench_io_close(struct bench_io *io);

#endif
