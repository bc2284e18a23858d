/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tls_client.h"

#include "common/tls_identity.h"

#include <errno.h>
#include <openssl/x509v3.h>

/* All that the workers' record layer knows. */
#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384:P-521"

static int set_protocol(SSL_CTX *context)
{
    static const unsigned char protocols[] = "\x08http/1.1";
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Whoever wants to resume a session keeps it himself. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_security_level(context, TLS_SECURITY_LEVEL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, CIPHERS) != 1 ||
        SSL_CTX_set_ciphersuites(context, SUITES) != 1 ||
        SSL_CTX_set1_groups_list(context, GROUPS) != 1)
        return -EINVAL;
    /* 0 means success here. */
    return SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols - 1) == 0 ? 0 : -ENOMEM;
}

/* Upstreams that trust the same file trust the same store: the system's has 140 authorities. */
static X509_STORE *store_for(const struct tls_client_context *all, uint32_t count,
                             struct slice authorities)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!all[i].context || all[i].authorities.n == 0 || all[i].authorities.p != authorities.p ||
            all[i].authorities.n != authorities.n)
            continue;
        X509_STORE *store = SSL_CTX_get_cert_store(all[i].context);
        return X509_STORE_up_ref(store) == 1 ? store : NULL;
    }
    return tls_identity_store(authorities, NULL);
}

/* The context takes the store; NULL: nobody is verified. */
static void set_verification(SSL_CTX *context, X509_STORE *store)
{
    SSL_CTX_set_verify(context, store ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (store)
        SSL_CTX_set_cert_store(context, store);
}

static int show_ourselves(SSL_CTX *context, const struct tls_client *client)
{
    struct tls_identity own;
    if (client->chain.n == 0)
        return 0;
    int rc = tls_identity_read(&own, client->chain, client->key);
    if (rc < 0)
        return rc;
    if (SSL_CTX_use_cert_and_key(context, own.own, own.key, own.chain, 1) != 1)
        rc = -EINVAL;
    tls_identity_fini(&own);
    return rc;
}

static int set_up(SSL_CTX *context, const struct tls_client_context *all, uint32_t count,
                  const struct tls_client *client)
{
    X509_STORE *store = client->verify ? store_for(all, count, client->authorities) : NULL;
    if (client->verify && !store)
        return -EBADMSG;
    set_verification(context, store);
    int rc = set_protocol(context);
    return rc == 0 ? show_ourselves(context, client) : rc;
}

int tls_client_make(struct tls_client_context *all, uint32_t count, uint32_t number,
                    const struct tls_client *client)
{
    struct tls_client_context *made = &all[number];
    SSL_CTX *context = client->make(TLS_client_method());
    int rc = context ? set_up(context, all, count, client) : -ENOMEM;
    made->tried = true;
    if (rc < 0) {
        SSL_CTX_free(context);
        return rc;
    }
    made->context = context;
    made->authorities = client->verify ? client->authorities : (struct slice){NULL, 0};
    return 0;
}

bool tls_client_set_name(SSL *ssl, const char *name)
{
    if (name[0] == '\0')
        return SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE;
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}
