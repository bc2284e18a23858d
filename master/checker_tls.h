/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of checks: contexts made of one generation of the configuration, and one connection each. A check
 * sees what a worker would see: both go by common/tls_client.h. Nothing here opens a file or blocks; no
 * session is resumed, so that each check looks at the certificate. In the checker only.
 */
#ifndef MASTER_CHECKER_TLS_H
#define MASTER_CHECKER_TLS_H

#include "common/compiler.h"
#include "shm/image.h"

#include <stdbool.h>
#include <sys/types.h>

struct checker_tls_contexts;
struct checker_tls;

/*
 * Contexts for the upstreams of an image, which is borrowed until they are freed. Maps what stands behind
 * `keys_fd` (-1: none), which stays the caller's. The caller owns *out.
 * Returns 0, -ESTALE (the keys are of another generation), what keys_open returns, or -ENOMEM.
 */
int checker_tls_contexts_new(struct checker_tls_contexts **out, const struct image *image,
                             int keys_fd) MUST_CHECK;

/* Free; nulls, accepts NULL. No connection may be left. */
void checker_tls_contexts_free(struct checker_tls_contexts **contexts);

/*
 * A connection to a server of an upstream, by its index in the image, over a connected non-blocking socket,
 * which stays the caller's. `name` is what the certificate must have. The upstream's context is made when
 * the first one comes. Returns 0, the caller owns *out, or -EIO: the context failed (logged, once), or there
 * is no memory.
 */
int checker_tls_connect(struct checker_tls **out, struct checker_tls_contexts *contexts,
                        uint32_t upstream, int fd, struct slice name) MUST_CHECK;

/*
 * Go on with the handshake. Returns 0 when it is over, -EAGAIN (wait for the socket), or -EPROTO
 * (checker_tls_why).
 */
int checker_tls_shake(struct checker_tls *tls) MUST_CHECK;

/*
 * As send and recv: bytes, 0 at the end (with or without close_notify), or -errno, of which -EAGAIN is to
 * wait for the socket and -EPROTO is of TLS (checker_tls_why). After -EAGAIN nothing is left in OpenSSL's
 * buffers.
 */
ssize_t checker_tls_receive(struct checker_tls *tls, char *bytes, size_t n) MUST_CHECK;
ssize_t checker_tls_send(struct checker_tls *tls, const char *bytes, size_t n) MUST_CHECK;

/* Does it wait for room in the socket? */
bool checker_tls_wants_out(const struct checker_tls *tls);

/* What went wrong, for people: "certificate: hostname mismatch", "tls: ..."; borrowed from it. */
const char *checker_tls_why(const struct checker_tls *tls);

/* Say goodbye (close_notify) if that can be said at once, and free; nulls, accepts NULL. */
void checker_tls_close(struct checker_tls **tls);

#endif
