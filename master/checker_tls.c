/* SPDX-License-Identifier: Apache-2.0 */
#include "master/checker_tls.h"

#include "common/log.h"
#include "common/tls_client.h"
#include "common/tls_why.h"
#include "shm/keys.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    NAME_SIZE = 256, /* a host name has 253 characters at most */
    WHY_SIZE = 80,   /* as the board has room for */
};

struct checker_tls_contexts {
    const struct image *image;
    struct keys keys;
    struct tls_client_context *items; /* by upstream */
};

struct checker_tls {
    SSL *ssl;
    bool broken; /* OpenSSL forbids all but to free it */
    char why[WHY_SIZE];
};

/* ---- contexts ---- */

int checker_tls_contexts_new(struct checker_tls_contexts **out, const struct image *image,
                             int keys_fd)
{
    struct checker_tls_contexts *c = calloc(1, sizeof(*c));
    *out = c;
    if (!c)
        return -ENOMEM;
    c->image = image;
    c->items = calloc(image->header->upstreams.count + 1u, sizeof(*c->items));
    int rc = !c->items ? -ENOMEM : keys_fd >= 0 ? keys_open(&c->keys, keys_fd) : 0;
    if (rc == 0 && c->keys.header && c->keys.header->generation != image->header->generation)
        rc = -ESTALE;
    if (rc < 0)
        checker_tls_contexts_free(out);
    return rc;
}

void checker_tls_contexts_free(struct checker_tls_contexts **contexts)
{
    struct checker_tls_contexts *c = *contexts;
    *contexts = NULL;
    if (!c)
        return;
    for (uint32_t i = 0; c->items && i < c->image->header->upstreams.count; i++)
        SSL_CTX_free(c->items[i].context);
    free(c->items);
    keys_close(&c->keys);
    free(c);
}

/* Many servers end without close_notify; an answer's head is whole or not, whoever cuts it. */
static SSL_CTX *bear_truncation(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (context)
        SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return context;
}

static SSL_CTX *context_for(struct checker_tls_contexts *c, uint32_t number)
{
    const struct image_upstream *upstream = image_upstream(c->image, number);
    const struct tls_client client = {
        .verify = upstream->tls_flags & UPSTREAM_TLS_VERIFY,
        .authorities = image_slice(c->image, upstream->tls_ca),
        .chain = image_slice(c->image, upstream->tls_chain),
        .key = keys_get(&c->keys, upstream->tls_key),
        .make = bear_truncation,
    };
    if (c->items[number].tried)
        return c->items[number].context;
    int rc = tls_client_make(c->items, c->image->header->upstreams.count, number, &client);
    if (rc < 0) {
        struct slice name = image_slice(c->image, upstream->name);
        const char *why = ERR_reason_error_string(ERR_peek_error());
        log_write(LOG_LEVEL_ERROR, "check_tls_failed", "upstream=%.*s error=\"%s\"", (int)name.n,
                  name.p, why ? why : strerror(-rc));
        ERR_clear_error();
    }
    return c->items[number].context;
}

/* ---- connections ---- */

static bool set_up_connection(SSL *ssl, int fd, struct slice name)
{
    char text[NAME_SIZE];
    int n = snprintf(text, sizeof(text), "%.*s", (int)name.n, name.p);
    SSL_set_connect_state(ssl);
    return n < (int)sizeof(text) && tls_client_set_name(ssl, text) && SSL_set_fd(ssl, fd) == 1;
}

int checker_tls_connect(struct checker_tls **out, struct checker_tls_contexts *contexts,
                        uint32_t upstream, int fd, struct slice name)
{
    ERR_clear_error();
    SSL_CTX *context = context_for(contexts, upstream);
    struct checker_tls *tls = context ? calloc(1, sizeof(*tls)) : NULL;
    *out = tls;
    if (!tls)
        return -EIO;
    tls->ssl = SSL_new(context);
    bool ok = tls->ssl && set_up_connection(tls->ssl, fd, name);
    if (!ok)
        checker_tls_close(out);
    ERR_clear_error();
    return ok ? 0 : -EIO;
}

/* Words for the error at the head of OpenSSL's queue. */
static void explain(struct checker_tls *tls)
{
    unsigned long error = ERR_peek_error();
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    const char *what = reason == SSL_R_CERTIFICATE_VERIFY_FAILED ? "certificate"
                       : reason > SSL_AD_REASON_OFFSET           ? "tls: the server's alert"
                                                                 : "tls";
    const char *why = tls_why_failed(tls->ssl);
    if (reason == SSL_R_WRONG_VERSION_NUMBER)
        why = "the answer is no TLS";
    snprintf(tls->why, sizeof(tls->why), "%s: %s", what, why);
}

/* What a call of OpenSSL came to that returned `rc` <= 0: 0 for the end, or -errno. */
static int judge(struct checker_tls *tls, int rc)
{
    int error = errno;
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:
        tls->broken = true;
        if (error != 0)
            return -error;
        break;
    default: tls->broken = true;
    }
    explain(tls);
    return -EPROTO;
}

int checker_tls_shake(struct checker_tls *tls)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(tls->ssl);
    if (rc == 1)
        return 0;
    rc = judge(tls, rc);
    if (rc == -EAGAIN || rc == -EPROTO)
        return rc;
    snprintf(tls->why, sizeof(tls->why), "tls: %s",
             rc == 0 ? "closed during the handshake" : strerror(-rc));
    return -EPROTO;
}

ssize_t checker_tls_receive(struct checker_tls *tls, char *bytes, size_t n)
{
    size_t got;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(tls->ssl, bytes, n, &got);
    return rc == 1 ? (ssize_t)got : judge(tls, rc);
}

ssize_t checker_tls_send(struct checker_tls *tls, const char *bytes, size_t n)
{
    size_t sent;
    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(tls->ssl, bytes, n, &sent) == 1)
        return (ssize_t)sent;
    int rc = judge(tls, 0);
    return rc == 0 ? -EPIPE : rc; /* the socket has failed behind a close_notify */
}

bool checker_tls_wants_out(const struct checker_tls *tls)
{
    return SSL_want_write(tls->ssl);
}

const char *checker_tls_why(const struct checker_tls *tls)
{
    return tls->why;
}

void checker_tls_close(struct checker_tls **tls)
{
    struct checker_tls *t = *tls;
    *tls = NULL;
    if (!t)
        return;
    if (t->ssl && !t->broken && !SSL_in_init(t->ssl))
        (void)SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t);
}
