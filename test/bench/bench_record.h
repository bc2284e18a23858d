/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's records once OpenSSL has done the handshake: TLS 1.3 with AES-128-GCM, by common/gcm.h.
 * With OpenSSL's the load costs more than the proxy, which then waits for it and wakes up for each
 * message. No KeyUpdate: a benchmark is over before.
 */
#ifndef TEST_BENCH_BENCH_RECORD_H
#define TEST_BENCH_BENCH_RECORD_H

#include "common/compiler.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

struct bench_record;

/* Remember the secrets of handshakes under this context for bench_record_take. */
void bench_record_watch(SSL_CTX *context);

/* Keys of a connection whose handshake is over, from its SSL object, which is not needed any more. */
struct bench_record *bench_record_take(SSL *ssl);
void bench_record_free(struct bench_record **record);

/* As bench_io_recv, bench_io_send. Like SSL_write, after -EAGAIN the same bytes must be sent again. */
ssize_t bench_record_recv(struct bench_record *record, int fd, uint8_t *out, size_t n);

ssize_t bench_record_send(struct bench_record *record, int fd, const uint8_t *bytes, size_t n);

/* Has the last read left bytes in the socket? */
bool bench_record_more(const struct bench_record *record);

#endif
