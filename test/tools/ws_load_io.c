/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_io.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int ws_load_io_init(struct ws_load *load)
{
    const struct ws_load_options *options = load->options;
    if (!options->tls)
        return 0;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    int version = options->tls == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    load->tls = SSL_CTX_new(TLS_client_method());
    if (!load->tls || SSL_CTX_set_min_proto_version(load->tls, version) != 1 ||
        SSL_CTX_set_max_proto_version(load->tls, version) != 1) {
        ERR_print_errors_fp(stderr);
        return -1;
    }
    SSL_CTX_set_mode(load->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options->suites && SSL_CTX_set_ciphersuites(load->tls, options->suites) != 1 &&
        SSL_CTX_set_cipher_list(load->tls, options->suites) != 1)
        return -1;
    return 0;
}

/* What OpenSSL says of a call that returned `rc` <= 0, as errno; 0: the peer ended in order. */
static int error_of(struct ws_load_conn *conn, int rc)
{
    int saved = errno;
    conn->wants_write = false;
    switch (SSL_get_error(conn->ssl, rc)) {
    case SSL_ERROR_WANT_WRITE: conn->wants_write = true; return EAGAIN;
    case SSL_ERROR_WANT_READ: return EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: ERR_clear_error(); return saved ? saved : EPIPE;
    default: break;
    }
    /* An end without close_notify is a truncation; whatever else comes here is a broken record. */
    int reason = ERR_GET_REASON(ERR_peek_error());
    if (conn->state != LOAD_OPENING && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING)
        ERR_print_errors_fp(stderr);
    ERR_clear_error();
    return reason == SSL_R_UNEXPECTED_EOF_WHILE_READING ? EPIPE : EBADMSG;
}

int ws_load_io_shake(struct ws_load *load, struct ws_load_conn *conn)
{
    if (!load->tls || (conn->ssl && SSL_is_init_finished(conn->ssl)))
        return 1;
    if (!conn->ssl) {
        conn->ssl = SSL_new(load->tls);
        ASSERT(conn->ssl && SSL_set_fd(conn->ssl, conn->fd) == 1);
        SSL_set_tlsext_host_name(conn->ssl, load->options->host);
        SSL_set_connect_state(conn->ssl);
    }
    errno = 0;
    int rc = SSL_do_handshake(conn->ssl);
    if (rc == 1)
        return 1;
    int error = error_of(conn, rc);
    return error == EAGAIN ? 0 : -(error ? error : EPIPE);
}

uint32_t ws_load_io_interest(const struct ws_load_conn *conn)
{
    return conn->ssl && !conn->wants_write ? EPOLLIN : EPOLLOUT;
}

/* Now and then new keys, with or without asking for the peer's (RFC 8446 4.6.3). */
static void update_keys(struct ws_load *load, struct ws_load_conn *conn)
{
    uint32_t every = load->options->key_updates;
    if (every == 0 || conn->least > 0 || SSL_version(conn->ssl) != TLS1_3_VERSION ||
        ws_load_random(&load->rng, 1, every) != 1)
        return;
    int kind =
        ws_load_random(&load->rng, 0, 1) ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
    if (SSL_key_update(conn->ssl, kind) == 1)
        load->counts.key_updates++;
}

ssize_t ws_load_io_send(struct ws_load *load, struct ws_load_conn *conn, const void *bytes,
                        size_t n)
{
    if (!conn->ssl)
        return send(conn->fd, bytes, n, MSG_NOSIGNAL);
    update_keys(load, conn);
    errno = 0;
    int rc = SSL_write(conn->ssl, bytes, (int)n);
    if (rc > 0) {
        conn->least = 0;
        return rc;
    }
    int error = error_of(conn, rc);
    conn->least = error == EAGAIN ? n : 0;
    errno = error ? error : EPIPE;
    return -1;
}

ssize_t ws_load_io_recv(struct ws_load_conn *conn, void *bytes, size_t n)
{
    if (!conn->ssl)
        return recv(conn->fd, bytes, n, 0);
    errno = 0;
    int rc = SSL_read(conn->ssl, bytes, (int)n);
    if (rc > 0)
        return rc;
    errno = error_of(conn, rc);
    return errno ? -1 : 0;
}

bool ws_load_io_buffered(const struct ws_load_conn *conn)
{
    return conn->ssl && SSL_pending(conn->ssl) > 0;
}

size_t ws_load_io_least(const struct ws_load_conn *conn)
{
    return conn->least;
}

void ws_load_io_shutdown(struct ws_load_conn *conn)
{
    if (conn->ssl) {
        SSL_shutdown(conn->ssl);
        ERR_clear_error();
    }
    shutdown(conn->fd, SHUT_WR);
}

void ws_load_io_close(struct ws_load_conn *conn)
{
    SSL_free(conn->ssl);
    conn->ssl = NULL;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}
