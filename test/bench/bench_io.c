/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_io.h"

#include "common/gcm.h"
#include "test/bench/bench_record.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* One suite and one group for all proxies, so that no row depends on what they would prefer. */
static const char SUITE[] = "TLS_AES_128_GCM_SHA256";
static const char GROUP[] = "X25519";

/*
 * OpenSSL hands us a ticket: the first one is what all later connections resume. As a cache it would
 * spoil a ticket of TLS 1.3 after its first use (RFC 8446 C.4 advises clients so), so it is none then.
 */
static int new_session(SSL *ssl, SSL_SESSION *session)
{
    SSL_CTX *context = SSL_get_SSL_CTX(ssl);
    struct bench_tls *tls = SSL_CTX_get_app_data(context);
    if (tls->session)
        return 0;
    tls->session = session;
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return 1; /* taken */
}

struct bench_tls *bench_tls_new(enum bench_tls_use use)
{
    struct bench_tls *tls = calloc(1, sizeof *tls);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!tls || !context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, SUITE) != 1 ||
        SSL_CTX_set1_groups_list(context, GROUP) != 1) {
        SSL_CTX_free(context);
        free(tls);
        return NULL;
    }
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* One recv for a record's header and body. */
    SSL_CTX_set_read_ahead(context, 1);
    tls->light = use == BENCH_TLS_MESSAGES && gcm_init();
    if (tls->light)
        bench_record_watch(context);
    if (use == BENCH_TLS_RESUME) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, new_session);
    }
    SSL_CTX_set_app_data(context, tls);
    tls->context = context;
    return tls;
}

void bench_tls_free(struct bench_tls **tls)
{
    if (!*tls)
        return;
    SSL_SESSION_free((*tls)->session);
    SSL_CTX_free((*tls)->context);
    free(*tls);
    *tls = NULL;
}

bool bench_io_secure(struct bench_io *io, struct bench_tls *tls)
{
    SSL *ssl = SSL_new(tls->context);
    if (!ssl || SSL_set_fd(ssl, io->fd) != 1 ||
        (tls->session && SSL_set_session(ssl, tls->session) != 1)) {
        SSL_free(ssl);
        return false;
    }
    SSL_set_connect_state(ssl);
    io->ssl = ssl;
    return true;
}

/* What a return value of OpenSSL means to us. */
static ssize_t result_of(const struct bench_io *io, int rc)
{
    int error = errno;
    switch (SSL_get_error(io->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: return error != 0 ? -error : -ECONNRESET;
    default: ERR_clear_error(); return -EPROTO;
    }
}

int bench_io_handshake(struct bench_io *io)
{
    const struct bench_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(io->ssl));
    int rc = SSL_do_handshake(io->ssl);
    if (rc == 1 && tls->light) {
        io->record = bench_record_take(io->ssl);
        SSL_free(io->ssl);
        io->ssl = NULL;
    }
    if (rc == 1)
        return 0;
    return result_of(io, rc) == -EAGAIN ? -EAGAIN : -EPROTO;
}

bool bench_io_resumed(const struct bench_io *io)
{
    return io->ssl && SSL_session_reused(io->ssl);
}

bool bench_io_more(const struct bench_io *io, ssize_t n, size_t room)
{
    if (io->record)
        return bench_record_more(io->record);
    return io->ssl || (size_t)n == room; /* TLS may hold a further record */
}

ssize_t bench_io_recv(struct bench_io *io, void *out, size_t n)
{
    if (io->record)
        return bench_record_recv(io->record, io->fd, out, n);
    if (!io->ssl) {
        ssize_t got = recv(io->fd, out, n, 0);
        return got < 0 ? -errno : got;
    }
    int got = SSL_read(io->ssl, out, (int)n);
    return got > 0 ? got : result_of(io, got);
}

ssize_t bench_io_send(struct bench_io *io, const void *bytes, size_t n)
{
    if (io->record)
        return bench_record_send(io->record, io->fd, bytes, n);
    if (!io->ssl) {
        ssize_t sent = send(io->fd, bytes, n, MSG_NOSIGNAL);
        return sent < 0 ? -errno : sent;
    }
    int sent = SSL_write(io->ssl, bytes, (int)n);
    return sent > 0 ? sent : result_of(io, sent);
}

void bench_io_close(struct bench_io *io)
{
    if (io->ssl) {
        SSL_shutdown(io->ssl);
        SSL_free(io->ssl);
        io->ssl = NULL;
    }
    bench_record_free(&io->record);
    close(io->fd);
    io->fd = -1;
}
