/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_context.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/tls_client.h"
#include "common/tls_identity.h"
#include "shm/keys.h"
#include "worker/tls_handshake.h"
#include "worker/tls_ticket.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX_LEN = 255,
    SHA256_SIZE = 32,
};

/* What marks of sessions with an upstream's servers are made of. */
struct stance {
    bool known;
    uint8_t authorities[SHA256_SIZE];
    uint8_t shown[SHA256_SIZE]; /* our own certificate */
};

struct tls_contexts {
    uint32_t references;
    struct image *image;
    struct keys keys;
    struct tickets tickets;
    SSL_CTX *server;                     /* NULL: not tried, or it failed */
    bool server_tried;                   /* once is enough */
    bool shows_usual;                    /* it has the certificates of choices_usual */
    struct tls_client_context *backends; /* by upstream */
    struct stance *stances;              /* likewise */
    struct tls_identity *identities;     /* by certificate */
};

/* ---- life ---- */

/* Has this generation private keys? The master makes a memfd for them only then. */
static bool needs_keys(const struct image *image)
{
    bool needs = image->header->certificates.count > 0;
    for (uint32_t i = 0; !needs && i < image->header->upstreams.count; i++)
        needs = image_upstream(image, i)->tls_chain.len > 0;
    return needs;
}

static bool needs_tickets(const struct image *image)
{
    return image->header->certificates.count > 0 && image->header->tls.flags & IMAGE_TLS_TICKETS;
}

static int map_secrets(struct tls_contexts *c, int keys_fd, int tickets_fd)
{
    int rc = needs_keys(c->image) ? keys_open(&c->keys, keys_fd) : 0;
    if (rc == 0 && c->keys.header && c->keys.header->generation != c->image->header->generation)
        rc = -ESTALE;
    if (rc == 0 && needs_tickets(c->image))
        rc = tickets_open(&c->tickets, tickets_fd);
    return rc;
}

int tls_contexts_new(struct tls_contexts **out, struct image *image, int keys_fd, int tickets_fd)
{
    struct tls_contexts *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return -ENOMEM;
    c->references = 1;
    c->image = image_acquire(image);
    c->backends = calloc(image->header->upstreams.count + 1u, sizeof *c->backends);
    c->stances = calloc(image->header->upstreams.count + 1u, sizeof *c->stances);
    c->identities = calloc(image->header->certificates.count + 1u, sizeof *c->identities);
    int rc =
        c->backends && c->stances && c->identities ? map_secrets(c, keys_fd, tickets_fd) : -ENOMEM;
    if (rc < 0)
        tls_contexts_release(&c);
    *out = c;
    return rc;
}

struct tls_contexts *tls_contexts_acquire(struct tls_contexts *c)
{
    ASSERT(c->references > 0);
    c->references++;
    return c;
}

void tls_contexts_release(struct tls_contexts **contexts)
{
    struct tls_contexts *c = *contexts;
    *contexts = NULL;
    if (!c)
        return;
    ASSERT(c->references > 0);
    if (--c->references > 0)
        return;
    SSL_CTX_free(c->server);
    for (uint32_t i = 0; c->backends && i < c->image->header->upstreams.count; i++)
        SSL_CTX_free(c->backends[i].context);
    for (uint32_t i = 0; c->identities && i < c->image->header->certificates.count; i++)
        tls_identity_fini(&c->identities[i]);
    free(c->backends);
    free(c->stances);
    free(c->identities);
    keys_close(&c->keys);
    tickets_close(&c->tickets);
    image_release(&c->image);
    free(c);
}

/* ---- what goes into contexts ---- */

/* A text of the image with a NUL, as OpenSSL wants it; NULL: no memory. */
static char *text_of(const struct image *image, struct image_str str)
{
    struct slice slice = image_slice(image, str);
    return strndup(slice.p, slice.n);
}

/* What tls_handshake_context leaves to us. */
static int set_up(SSL_CTX *context, int min_version)
{
    SSL_CTX_set_security_level(context, TLS_SECURITY_LEVEL);
    return SSL_CTX_set_min_proto_version(context, min_version) == 1 &&
                   SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1
               ? 0
               : -EINVAL;
}

static int set_suites(SSL_CTX *context, const char *ciphers, const char *suites, const char *groups)
{
    if (!ciphers || !suites || !groups)
        return -ENOMEM;
    return SSL_CTX_set_cipher_list(context, ciphers) == 1 &&
                   SSL_CTX_set_ciphersuites(context, suites) == 1 &&
                   SSL_CTX_set1_groups_list(context, groups) == 1
               ? 0
               : -EINVAL;
}

static void failed(const char *what, uint32_t index)
{
    const char *why = ERR_reason_error_string(ERR_peek_error());
    log_write(LOG_LEVEL_ERROR, "tls_failed", "what=%s index=%u error=\"%s\"", what, index,
              why ? why : "out of memory");
    ERR_clear_error();
}

/* ---- a client chooses ---- */

/* The certificate of this number, read when it is first asked for; NULL if it cannot be (logged). */
static const struct tls_identity *identity(struct tls_contexts *c, uint32_t number)
{
    struct tls_identity *one = &c->identities[number];
    const struct image_certificate *certificate = image_certificate(c->image, number);
    if (one->own)
        return one;
    if (tls_identity_read(one, image_slice(c->image, certificate->chain),
                          keys_get(&c->keys, number)) == 0)
        return one;
    failed("certificate", number);
    return NULL;
}

/* The certificates for what the client asks for (SNI). */
static struct image_array choices_of(const struct tls_contexts *c, const SSL *ssl)
{
    char lower[NAME_MAX_LEN];
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t n = name ? strlen(name) : 0;
    if (n > sizeof lower)
        n = 0; /* no name of DNS */
    for (size_t i = 0; i < n; i++)
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + ('a' - 'A')) : name[i];
    return image_find_certificates(c->image, (struct slice){lower, n});
}

/* Yes, we know the name: without this the library forgets it in sessions that are resumed. */
static int accept_name(SSL *ssl, int *alert, void *context)
{
    (void)ssl;
    (void)alert;
    (void)context;
    return SSL_TLSEXT_ERR_OK;
}

/* Those for whoever asks for no name. */
static struct image_array choices_usual(const struct tls_contexts *c)
{
    return image_find_certificates(c->image, (struct slice){NULL, 0});
}

static bool is_usual(const struct tls_contexts *c, struct image_array choices)
{
    struct image_array usual = choices_usual(c);
    bool same = c->shows_usual && choices.count == usual.count;
    for (uint32_t i = 0; same && i < usual.count; i++)
        same = image_choice(c->image, choices, i) == image_choice(c->image, usual, i);
    return same;
}

/* Give OpenSSL one certificate of each kind of key: it takes what the client can verify. */
static int choose_certificate(SSL *ssl, void *contexts)
{
    struct tls_contexts *c = contexts;
    struct image_array choices = choices_of(c, ssl);
    if (is_usual(c, choices))
        return 1;
    SSL_certs_clear(ssl);
    for (uint32_t i = 0; i < choices.count; i++) {
        const struct tls_identity *one = identity(c, image_choice(c->image, choices, i));
        if (!one || SSL_use_cert_and_key(ssl, one->own, one->key, one->chain, 1) != 1)
            return 0;
    }
    return 1;
}

/*
 * The certificates that most clients get stand in the context: OpenSSL compares certificate and key again
 * each time it is given them, which takes 7 us of a handshake's 200.
 */
static void show_usual(struct tls_contexts *c, SSL_CTX *context)
{
    struct image_array choices = choices_usual(c);
    bool all = choices.count > 0;
    for (uint32_t i = 0; all && i < choices.count; i++) {
        const struct tls_identity *one = identity(c, image_choice(c->image, choices, i));
        all = one && SSL_CTX_use_cert_and_key(context, one->own, one->key, one->chain, 1) == 1;
    }
    c->shows_usual = all;
}

/* Only http/1.1: with a client that speaks nothing of it there is nothing to say (RFC 7301 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned int in_len, void *context)
{
    static const unsigned char http_1_1[] = "\x08http/1.1";
    (void)ssl;
    (void)context;
    for (unsigned int i = 0; i < in_len && in[i] < in_len - i; i += in[i] + 1u) {
        if (in[i] != 8 || memcmp(in + i, http_1_1, 9) != 0)
            continue;
        *out = in + i + 1;
        *out_len = in[i];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The OCSP answer for the certificate that was taken, if there is one that clients still believe. */
static int staple(SSL *ssl, void *contexts)
{
    const struct tls_contexts *c = contexts;
    const X509 *taken = SSL_get_certificate(ssl);
    struct image_array choices = choices_of(c, ssl);
    for (uint32_t i = 0; i < choices.count; i++) {
        uint32_t number = image_choice(c->image, choices, i);
        const struct image_certificate *one = image_certificate(c->image, number);
        struct slice answer = image_slice(c->image, one->staple);
        if (c->identities[number].own != taken || answer.n == 0 ||
            clock_real_ms() / 1000 >= one->staple_until_s)
            continue;
        void *copy = OPENSSL_memdup(answer.p, answer.n); /* OpenSSL's to free */
        if (!copy)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)answer.n);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- the server's context ---- */

static int set_client_certificates(struct tls_contexts *c, SSL_CTX *context)
{
    const struct image_tls *tls = &c->image->header->tls;
    if (tls->client_certificate == CLIENT_CERTIFICATE_OFF)
        return 0;
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    X509_STORE *store = tls_identity_store(image_slice(c->image, tls->client_ca), names);
    if (!store) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return -EBADMSG;
    }
    SSL_CTX_set_cert_store(context, store);
    SSL_CTX_set_client_CA_list(context, names);
    int required = tls->client_certificate == CLIENT_CERTIFICATE_REQUIRED;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return 0;
}

/*
 * A ticket carries what was verified when its session began: it counts only where the same would be asked
 * for today, so that a change of client_ca is not passed by.
 */
static int set_session_context(const struct tls_contexts *c, SSL_CTX *context)
{
    const struct image_tls *tls = &c->image->header->tls;
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    unsigned int n = 0;
    struct slice authorities = image_slice(c->image, tls->client_ca);
    if (EVP_Digest(authorities.p, authorities.n, digest, &n, EVP_sha256(), NULL) != 1)
        return -EINVAL;
    digest[0] = (unsigned char)tls->client_certificate;
    return SSL_CTX_set_session_id_context(context, digest, n) == 1 ? 0 : -EINVAL;
}

static int set_tickets(struct tls_contexts *c, SSL_CTX *context)
{
    if (!needs_tickets(c->image)) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1 ? 0 : -EINVAL;
    }
    SSL_CTX_set_timeout(context, (long)c->image->header->tls.ticket_lifetime_s);
    return tls_ticket_use(context, &c->tickets);
}

static int set_up_server(struct tls_contexts *c, SSL_CTX *context)
{
    const struct image_tls *tls = &c->image->header->tls;
    char *ciphers = text_of(c->image, tls->ciphers), *suites = text_of(c->image, tls->suites),
         *groups = text_of(c->image, tls->groups);
    int rc = set_up(context, tls->flags & IMAGE_TLS_1_3_ONLY ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (rc == 0)
        rc = set_suites(context, ciphers, suites, groups);
    if (tls->flags & IMAGE_TLS_OUR_ORDER)
        SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (rc == 0)
        rc = set_client_certificates(c, context);
    if (rc == 0)
        rc = set_session_context(c, context);
    if (rc == 0)
        rc = set_tickets(c, context);
    SSL_CTX_set_tlsext_servername_callback(context, accept_name);
    SSL_CTX_set_cert_cb(context, choose_certificate, c);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    SSL_CTX_set_tlsext_status_cb(context, staple);
    SSL_CTX_set_tlsext_status_arg(context, c);
    free(ciphers);
    free(suites);
    free(groups);
    return rc;
}

struct ssl_ctx_st *tls_contexts_server(struct tls_contexts *c)
{
    if (c->server_tried || c->image->header->certificates.count == 0)
        return c->server;
    c->server_tried = true;
    ERR_clear_error();
    c->server = tls_handshake_context(TLS_server_method());
    if (!c->server || set_up_server(c, c->server) < 0) {
        failed("listeners", 0);
        SSL_CTX_free(c->server);
        c->server = NULL;
    }
    if (c->server)
        show_usual(c, c->server);
    ERR_clear_error();
    return c->server;
}

/* ---- contexts for upstreams ---- */

struct ssl_ctx_st *tls_contexts_backend(struct tls_contexts *c, uint32_t number)
{
    const struct image_upstream *upstream = image_upstream(c->image, number);
    const struct tls_client client = {
        .verify = upstream->tls_flags & UPSTREAM_TLS_VERIFY,
        .authorities = image_slice(c->image, upstream->tls_ca),
        .chain = image_slice(c->image, upstream->tls_chain),
        .key = keys_get(&c->keys, upstream->tls_key),
        .make = tls_handshake_context,
    };
    if (c->backends[number].tried || !(upstream->tls_flags & UPSTREAM_TLS))
        return c->backends[number].context;
    ERR_clear_error();
    if (tls_client_make(c->backends, c->image->header->upstreams.count, number, &client) < 0)
        failed("upstream", number);
    return c->backends[number].context;
}

/* ---- marks of sessions ---- */

static int digest(struct slice bytes, uint8_t out[SHA256_SIZE])
{
    return EVP_Digest(bytes.p, bytes.n, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* Upstreams that trust the same file share its digest, as they share its store. */
static int digest_authorities(const struct tls_contexts *c, const struct image_upstream *upstream,
                              uint8_t out[SHA256_SIZE])
{
    for (uint32_t i = 0; i < c->image->header->upstreams.count; i++) {
        const struct image_upstream *other = image_upstream(c->image, i);
        if (!c->stances[i].known || other->tls_ca.off != upstream->tls_ca.off ||
            other->tls_ca.len != upstream->tls_ca.len)
            continue;
        memcpy(out, c->stances[i].authorities, SHA256_SIZE);
        return 0;
    }
    return digest(image_slice(c->image, upstream->tls_ca), out);
}

static int take_stance(const struct tls_contexts *c, const struct image_upstream *upstream,
                       struct stance *stance)
{
    int rc = stance->known ? 0 : digest_authorities(c, upstream, stance->authorities);
    if (rc == 0 && !stance->known)
        rc = digest(image_slice(c->image, upstream->tls_chain), stance->shown);
    stance->known = rc == 0;
    return rc;
}

int tls_contexts_mark(struct tls_contexts *c, uint32_t number, const struct image_server *server,
                      struct tls_mark *out)
{
    const struct image_upstream *upstream = image_upstream(c->image, number);
    struct stance *stance = &c->stances[number];
    uint8_t all[3 * SHA256_SIZE + 1];
    int rc = take_stance(c, upstream, stance);
    if (rc == 0)
        rc = digest(image_slice(c->image, server->tls_name), all);
    if (rc < 0)
        return rc;
    memcpy(all + SHA256_SIZE, stance->authorities, SHA256_SIZE);
    memcpy(all + 2 * SHA256_SIZE, stance->shown, SHA256_SIZE);
    all[3 * SHA256_SIZE] = (upstream->tls_flags & UPSTREAM_TLS_VERIFY) != 0;
    return digest((struct slice){(const char *)all, sizeof all}, out->bytes);
}
