/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of TLS: keys, certificates and OCSP answers, made when the test runs. */
#ifndef TEST_UNIT_CERT_FIXTURE_H
#define TEST_UNIT_CERT_FIXTURE_H

#include "common/crypto_memory.h"
#include "common/slice.h"

#include <check.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { CERT_FIXTURE_DAY = 86400 };

/* A certificate and its key; all of it is freed by cert_fixture_free. */
struct made {
    X509 *x;
    EVP_PKEY *key;
};

/* What to make; zeros: a fresh certificate without names that signs itself. */
struct recipe {
    const char *key;         /* "P-256" (default), "RSA", "RSA-1024", "ED25519", or a curve */
    const char *common_name; /* NULL: none */
    const char *names; /* subjectAltName in OpenSSL's syntax, "DNS:a.example,..."; NULL: none */
    const struct made *issuer; /* NULL: itself */
    int from_days;             /* from today; default: yesterday */
    int to_days;               /* default: in 90 days */
    const EVP_MD *digest;      /* default: SHA-256 */
    bool authority;            /* may issue others */
    long serial;               /* default: 1 */
};

static inline EVP_PKEY *cert_fixture_key(const char *kind)
{
    EVP_PKEY *key;
    if (strcmp(kind, "RSA") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    else if (strcmp(kind, "RSA-1024") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    else if (strcmp(kind, "ED25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
    ck_assert_ptr_nonnull(key);
    return key;
}

static inline void cert_fixture_extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ck_assert_msg(extension != NULL, "%s", value);
    ck_assert_int_eq(X509_add_ext(x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static inline struct made cert_fixture_make(const struct recipe *recipe)
{
    ck_assert_int_eq(crypto_memory_init(), 0);
    EVP_add_cipher(EVP_aes_256_cbc()); /* by name, for encrypted keys: our programs need none */
    struct made made = {X509_new(), cert_fixture_key(recipe->key ? recipe->key : "P-256")};
    const struct made *issuer = recipe->issuer ? recipe->issuer : &made;
    bool edwards = EVP_PKEY_get_base_id(issuer->key) == EVP_PKEY_ED25519;
    X509_NAME *subject = X509_get_subject_name(made.x);
    X509_set_version(made.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.x), recipe->serial ? recipe->serial : 1);
    X509_gmtime_adj(X509_getm_notBefore(made.x),
                    (recipe->from_days ? recipe->from_days : -1) * (long)CERT_FIXTURE_DAY);
    X509_gmtime_adj(X509_getm_notAfter(made.x),
                    (recipe->to_days ? recipe->to_days : 90) * (long)CERT_FIXTURE_DAY);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Test", -1, -1,
                               0);
    if (recipe->common_name)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   (const unsigned char *)recipe->common_name, -1, -1, 0);
    X509_set_issuer_name(made.x, X509_get_subject_name(issuer->x));
    X509_set_pubkey(made.x, made.key);
    cert_fixture_extend(made.x, NID_basic_constraints,
                        recipe->authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (recipe->names)
        cert_fixture_extend(made.x, NID_subject_alt_name, recipe->names);
    const EVP_MD *digest = recipe->digest ? recipe->digest : EVP_sha256();
    ck_assert_int_gt(X509_sign(made.x, issuer->key, edwards ? NULL : digest), 0);
    return made;
}

static inline void cert_fixture_free(struct made *made)
{
    X509_free(made->x);
    EVP_PKEY_free(made->key);
    *made = (struct made){NULL, NULL};
}

/* PEM on the heap, to be freed by the caller. */
static inline char *cert_fixture_text(BIO *bio)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)n);
    BIO_free(bio);
    ck_assert_ptr_nonnull(text);
    return text;
}

static inline char *cert_fixture_pem(const X509 *x)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_X509(bio, x), 1);
    return cert_fixture_text(bio);
}

/* `password` NULL: not encrypted. */
static inline char *cert_fixture_key_pem(const EVP_PKEY *key, const char *password)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_256_cbc() : NULL,
                                                   password, password ? (int)strlen(password) : 0,
                                                   NULL, NULL),
                     1);
    return cert_fixture_text(bio);
}

/* The issuer's OCSP answer, DER; valid until `to_days` from today. Returns its length. */
static inline size_t cert_fixture_ocsp(const struct made *made, const struct made *issuer,
                                       int status, int to_days, unsigned char **der)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), made->x, issuer->x);
    ASN1_TIME *from = X509_gmtime_adj(NULL, -2L * CERT_FIXTURE_DAY);
    ASN1_TIME *to = to_days ? X509_gmtime_adj(NULL, to_days * (long)CERT_FIXTURE_DAY) : NULL;
    ASN1_TIME *revoked = status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL;
    ck_assert_ptr_nonnull(OCSP_basic_add1_status(basic, id, status, 0, revoked, from, to));
    ck_assert_int_eq(OCSP_basic_sign(basic, issuer->x, issuer->key, EVP_sha256(), NULL, 0), 1);
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    *der = NULL;
    int n = i2d_OCSP_RESPONSE(response, der);
    ck_assert_int_gt(n, 0);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return (size_t)n;
}

/* Several texts as one file. */
static inline void cert_fixture_write(const char *path, const void *p, size_t n)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(p, 1, n, file), n);
    ck_assert_int_eq(fclose(file), 0);
}

/* NAME.pem and NAME.key of what was made, the key readable for us alone. */
static inline void cert_fixture_save(const struct made *made, const char *name)
{
    char path[64];
    char *chain = cert_fixture_pem(made->x), *key = cert_fixture_key_pem(made->key, NULL);
    snprintf(path, sizeof path, "%s.pem", name);
    cert_fixture_write(path, chain, strlen(chain));
    snprintf(path, sizeof path, "%s.key", name);
    cert_fixture_write(path, key, strlen(key));
    ck_assert_int_eq(chmod(path, 0600), 0);
    free(chain);
    free(key);
}

/* Make, save and forget. */
static inline void cert_fixture_put(const char *name, const struct recipe *recipe)
{
    struct made made = cert_fixture_make(recipe);
    cert_fixture_save(&made, name);
    cert_fixture_free(&made);
}

#endif
