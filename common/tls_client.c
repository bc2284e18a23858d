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

static int set_verification(SSL_CTX *context, X509_STORE *store)
{
    SSL_CTX_set_verify(context, store ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!store)
        return 0;
    if (X509_STORE_up_ref(store) != 1)
        return -ENOMEM;
    SSL_CTX_set_cert_store(context, store);
    return 0;
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

int tls_client_set_up(SSL_CTX *context, const struct tls_client *client)
{
    int rc = set_protocol(context);
    if (rc == 0)
        rc = set_verification(context, client->store);
    return rc == 0 ? show_ourselves(context, client) : rc;
}

bool tls_client_set_name(SSL *ssl, const char *name)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}
