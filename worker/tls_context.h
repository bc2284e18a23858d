/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What OpenSSL needs for handshakes, made from one generation of the configuration: its image, its private
 * keys and the keys of session tickets. Counted, as the image is. Made lazily: nothing of OpenSSL is touched
 * before the first handshake asks; then the default's certificates are read, others when a client first
 * comes for them, so that a
 * successor serves its tunnels before it spends milliseconds here. Worker only; heap.
 */
#ifndef WORKER_TLS_CONTEXT_H
#define WORKER_TLS_CONTEXT_H

#include "common/compiler.h"
#include "shm/image.h"

struct ssl_ctx_st;
struct tls_contexts;

/*
 * Contexts of an image, of which a reference is taken. Maps what stands behind both descriptors (FD_KEYS,
 * FD_TICKETS), which stay the caller's; they are not looked at if the image has no use for them.
 * The caller owns *out with one reference. Returns 0, -ESTALE (the keys are of another generation), what
 * keys_open and tickets_open return, or -ENOMEM.
 */
int tls_contexts_new(struct tls_contexts **out, struct image *image, int keys_fd,
                     int tickets_fd) MUST_CHECK;

/* One more reference; returns its argument. */
struct tls_contexts *tls_contexts_acquire(struct tls_contexts *contexts);

/* One reference less, all freed and secrets wiped with the last; nulls the pointer, accepts NULL. */
void tls_contexts_release(struct tls_contexts **contexts);

/*
 * The context of TLS listeners: it picks certificates by SNI, ALPN http/1.1, and all else by the image.
 * Borrowed: a handshake holds a reference of its own to `contexts` for as long as its SSL object lives,
 * because the callbacks work on them. NULL: the image has no certificate, or it failed (logged, once).
 */
struct ssl_ctx_st *tls_contexts_server(struct tls_contexts *contexts);

/*
 * The context for connections to an upstream, by its index in the image; borrowed likewise. Verification is
 * on as the image says: the name to look for is image_server.tls_name, and the handshake's to set.
 * NULL: the upstream has no TLS, or it failed (logged, once).
 */
struct ssl_ctx_st *tls_contexts_backend(struct tls_contexts *contexts, uint32_t upstream);

/* A digest of what a session with a server is made by: verification, authorities, name, what we show. */
struct tls_mark {
    uint8_t bytes[32];
};

/*
 * The mark for a server of an upstream of this image. Sessions are resumed under the same mark only: the
 * library asks no certificate and no name again. Returns 0 or -ENOMEM; then *out is nobody's mark.
 */
int tls_contexts_mark(struct tls_contexts *contexts, uint32_t upstream,
                      const struct image_server *server, struct tls_mark *out) MUST_CHECK;

#endif
