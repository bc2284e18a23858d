/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_parts.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>

static void put_text(char *out, size_t size, struct slice text)
{
    size_t n = text.n < size ? text.n : size - 1;

    if (n > 0)
        memcpy(out, text.p, n);
    out[n] = '\0';
}

/* Who is meant: all of it or nothing. */
static void put_identity(char *out, size_t size, struct slice text)
{
    put_text(out, size, text.n < size ? text : (struct slice){NULL, 0});
}

static int put_name(char *out, size_t size, const X509_NAME *name)
{
    BIO *text = BIO_new(BIO_s_mem());
    char *bytes;
    bool ok = text && X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253) >= 0;

    if (ok) {
        long n = BIO_get_mem_data(text, &bytes);
        put_identity(out, size, (struct slice){bytes, (size_t)n});
    }
    BIO_free(text);
    return ok ? 0 : -ENOMEM;
}

static int put_serial(char *out, size_t size, const ASN1_INTEGER *serial)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *hex = number ? BN_bn2hex(number) : NULL;

    if (hex)
        put_identity(out, size, slice_of(hex));
    OPENSSL_free(hex);
    BN_free(number);
    return hex ? 0 : -ENOMEM;
}

static int put_fingerprint(char out[65], const X509 *certificate)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[32];

    if (X509_digest(certificate, EVP_sha256(), digest, NULL) != 1)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof digest; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[64] = '\0';
    return 0;
}

static int put_certificate(struct tls_facts *facts, const X509 *certificate)
{
    int rc = put_name(facts->peer_subject, sizeof facts->peer_subject,
                      X509_get_subject_name(certificate));
    if (rc == 0)
        rc = put_name(facts->peer_issuer, sizeof facts->peer_issuer,
                      X509_get_issuer_name(certificate));
    if (rc == 0)
        rc = put_serial(facts->peer_serial, sizeof facts->peer_serial,
                        X509_get0_serialNumber(certificate));
    return rc == 0 ? put_fingerprint(facts->peer_fingerprint, certificate) : rc;
}

int tls_facts_take(SSL *ssl, struct tls_facts *facts)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    const uint8_t *alpn;
    unsigned alpn_size;

    memset(facts, 0, sizeof *facts);
    put_text(facts->server_name, sizeof facts->server_name, slice_of(name ? name : ""));
    for (char *p = facts->server_name; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
    put_text(facts->alpn, sizeof facts->alpn, (struct slice){(const char *)alpn, alpn_size});
    facts->resumed = SSL_session_reused(ssl) == 1;
    facts->cipher = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl));
    if (!certificate)
        return 0;
    facts->client_verified = SSL_get_verify_result(ssl) == X509_V_OK;
    int rc = put_certificate(facts, certificate);
    ERR_clear_error();
    return rc;
}
