/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    NAME_MAX_LEN = 253,
    /* What OpenSSL asks for at security level 2, Debian's: RSA 2048, a curve of 224 bits, SHA-2. */
    SECURITY_BITS_MIN = 112,
};

static int bad(char why[CERT_WHY_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);
static int bad(char why[CERT_WHY_MAX], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, CERT_WHY_MAX, fmt, args);
    va_end(args);
    ERR_clear_error();
    return -EINVAL;
}

void cert_bytes_wipe(struct cert_bytes *bytes)
{
    if (bytes->p)
        explicit_bzero(bytes->p, bytes->n);
    free(bytes->p);
    *bytes = (struct cert_bytes){NULL, 0};
}

static int append(struct cert_bytes *to, const uint8_t *p, size_t n)
{
    uint8_t *bigger = realloc(to->p, to->n + n);
    if (!bigger)
        return -ENOMEM;
    memcpy(bigger + to->n, p, n);
    *to = (struct cert_bytes){bigger, to->n + n};
    return 0;
}

/* ---- PEM ---- */

/* One block of a PEM file. */
struct block {
    char *kind;
    char *header;
    unsigned char *data;
    long size;
};

static bool next_block(BIO *pem, struct block *block)
{
    *block = (struct block){NULL, NULL, NULL, 0};
    return PEM_read_bio(pem, &block->kind, &block->header, &block->data, &block->size) == 1;
}

static void free_block(struct block *block)
{
    OPENSSL_free(block->kind);
    OPENSSL_free(block->header);
    OPENSSL_free(block->data); /* wiped: crypto_memory_init */
}

/* Did the file end, or does something stand there that cannot be read? */
static bool ended(void)
{
    unsigned long error = ERR_peek_last_error();
    bool end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return end;
}

static BIO *open_pem(struct slice pem)
{
    return pem.n <= INT_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

static bool is_certificate(const char *kind)
{
    return strcmp(kind, PEM_STRING_X509) == 0 || strcmp(kind, PEM_STRING_X509_OLD) == 0;
}

/* Every certificate of a file, NULL with `why` if one of them is none. */
static STACK_OF(X509) * read_all(struct slice pem, char why[CERT_WHY_MAX])
{
    struct block block;
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *in = open_pem(pem);
    bool fine = all && in;
    why[0] = '\0';
    ERR_clear_error();
    while (fine && next_block(in, &block)) {
        const unsigned char *at = block.data;
        if (is_certificate(block.kind)) {
            X509 *x = d2i_X509(NULL, &at, block.size);
            fine = x && at == block.data + block.size && sk_X509_push(all, x) > 0;
            if (!fine) {
                X509_free(x);
                bad(why, "certificate %d of the file cannot be read", sk_X509_num(all) + 1);
            }
        }
        free_block(&block);
    }
    if (fine && !ended()) {
        bad(why, "the block behind certificate %d is damaged: its base64 cannot be read",
            sk_X509_num(all));
        fine = false;
    }
    if (fine && sk_X509_num(all) == 0) {
        bad(why, "holds no certificate in PEM (no line \"-----BEGIN CERTIFICATE-----\"); openssl "
                 "x509 -inform der turns DER into it");
        fine = false;
    }
    BIO_free(in);
    if (fine)
        return all;
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

static int to_der(struct cert_bytes *out, const STACK_OF(X509) * all)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < sk_X509_num(all); i++) {
        unsigned char *der = NULL;
        int n = i2d_X509(sk_X509_value(all, i), &der);
        rc = n > 0 ? append(out, der, (size_t)n) : -ENOMEM;
        OPENSSL_free(der);
    }
    return rc;
}

int cert_read_authorities(struct cert_bytes *out, struct slice pem, char why[CERT_WHY_MAX])
{
    *out = (struct cert_bytes){NULL, 0};
    STACK_OF(X509) *all = read_all(pem, why);
    if (!all)
        return why[0] ? -EINVAL : -ENOMEM;
    int rc = to_der(out, all);
    sk_X509_pop_free(all, X509_free);
    if (rc < 0)
        cert_bytes_wipe(out);
    return rc;
}

/* ---- what a certificate says ---- */

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* A name that a client may ask for, or a wildcard for one label (RFC 6125 6.4.3): lower case. */
static bool lower_name(const char *from, int length, char out[NAME_MAX_LEN + 1])
{
    if (length <= 0 || length > NAME_MAX_LEN)
        return false;
    for (int i = 0; i < length; i++) {
        char c = from[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    out[length] = '\0';
    const char *name = strncmp(out, "*.", 2) == 0 ? out + 2 : out;
    size_t n = strlen(name);
    return n > 0 && name[0] != '.' && name[n - 1] != '.' && !strstr(name, "..") &&
           (name == out || strchr(name, '.')) &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n &&
           n + (size_t)(name - out) == (size_t)length;
}

static int add_name(struct cert *cert, const char *from, int length)
{
    char name[NAME_MAX_LEN + 1];
    if (!lower_name(from, length, name))
        return 0;
    for (uint32_t i = 0; i < cert->name_count; i++) {
        if (strcmp(cert->names[i], name) == 0)
            return 0;
    }
    char **bigger = realloc(cert->names, (cert->name_count + 1) * sizeof *bigger);
    if (!bigger)
        return -ENOMEM;
    cert->names = bigger;
    cert->names[cert->name_count] = strdup(name);
    return cert->names[cert->name_count] ? (cert->name_count++, 0) : -ENOMEM;
}

static int add_common_name(struct cert *cert, const X509 *x)
{
    const X509_NAME *subject = X509_get_subject_name(x);
    int last = -1;
    for (int at; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0;)
        last = at;
    if (last < 0)
        return 0;
    unsigned char *text = NULL;
    int n =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    int rc = n > 0 ? add_name(cert, (const char *)text, n) : 0;
    OPENSSL_free(text);
    ERR_clear_error();
    return rc;
}

/* A certificate with DNS names has no others: its common name is for people (RFC 6125 6.4.4). */
static int read_names(struct cert *cert, const X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int rc = 0;
    for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            rc = add_name(cert, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
                          ASN1_STRING_length(name->d.dNSName));
    }
    bool without = names == NULL;
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return rc == 0 && without ? add_common_name(cert, x) : rc;
}

static int read_key_type(struct cert *cert, const X509 *x, char why[CERT_WHY_MAX])
{
    const EVP_PKEY *key = X509_get0_pubkey(x);
    if (!key)
        return bad(why, "its public key is of a kind that is not known here");
    cert->bits = (uint32_t)EVP_PKEY_get_bits(key);
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS: cert->type = CERT_RSA; break;
    case EVP_PKEY_EC: cert->type = CERT_ECDSA; break;
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448: cert->type = CERT_EDDSA; break;
    default: return bad(why, "its key is neither RSA nor ECDSA nor EdDSA: TLS cannot use it");
    }
    if (EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN)
        return bad(why,
                   "its %s key of %u bits is too weak: clients refuse it; take RSA of 2048 "
                   "bits or ECDSA P-256",
                   cert_type_word(cert->type), cert->bits);
    char group[32] = "";
    if (cert->type == CERT_ECDSA && EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
        strcmp(group, "prime256v1") != 0 && strcmp(group, "secp384r1") != 0 &&
        strcmp(group, "secp521r1") != 0)
        return bad(why, "its key is on the curve %s, which no client takes; take P-256", group);
    return 0;
}

/* A signature of its own issuer counts for nothing; all others must convince clients. */
static int check_signature(X509 *x, int number, char why[CERT_WHY_MAX])
{
    int bits = 0; /* -1: of a kind that OpenSSL does not know */
    if (X509_check_issued(x, x) == X509_V_OK)
        return 0;
    (void)X509_get_signature_info(x, NULL, NULL, &bits, NULL);
    if (bits >= SECURITY_BITS_MIN)
        return 0;
    return bad(why, "certificate %d of the file is signed with %s, which clients refuse", number,
               OBJ_nid2sn(X509_get_signature_nid(x)));
}

/* What OpenSSL will say of the chain when a worker gives it to a client: it refuses all or nothing. */
static int check_chain(const STACK_OF(X509) * all, char why[CERT_WHY_MAX])
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < sk_X509_num(all); i++) {
        X509 *x = sk_X509_value(all, i);
        const EVP_PKEY *key = X509_get0_pubkey(x);
        if (!key || EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN)
            rc = bad(why,
                     "certificate %d of the file has a key that is too weak, or of an unknown "
                     "kind: clients refuse it",
                     i + 1);
        else
            rc = check_signature(x, i + 1, why);
    }
    return rc;
}

static uint32_t find_stray(const STACK_OF(X509) * all)
{
    for (int i = 1; i < sk_X509_num(all); i++) {
        if (X509_check_issued(sk_X509_value(all, i), sk_X509_value(all, i - 1)) != X509_V_OK)
            return (uint32_t)i + 1;
    }
    return 0;
}

static int describe(struct cert *out, const STACK_OF(X509) * all, char why[CERT_WHY_MAX])
{
    const X509 *own = sk_X509_value(all, 0);
    int rc = read_key_type(out, own, why);
    if (rc == 0)
        rc = check_chain(all, why);
    if (rc == 0)
        rc = read_names(out, own);
    if (rc < 0)
        return rc;
    out->count = (uint32_t)sk_X509_num(all);
    out->stray = find_stray(all);
    out->not_before = seconds_of(X509_get0_notBefore(own));
    out->not_after = seconds_of(X509_get0_notAfter(own));
    return to_der(&out->chain, all);
}

int cert_read(struct cert *out, struct slice pem, char why[CERT_WHY_MAX])
{
    *out = (struct cert){.count = 0};
    STACK_OF(X509) *all = read_all(pem, why);
    if (!all)
        return why[0] ? -EINVAL : -ENOMEM;
    int rc = describe(out, all, why);
    sk_X509_pop_free(all, X509_free);
    ERR_clear_error();
    if (rc < 0)
        cert_fini(out);
    return rc;
}

void cert_fini(struct cert *cert)
{
    cert_bytes_wipe(&cert->chain);
    for (uint32_t i = 0; i < cert->name_count; i++)
        free(cert->names[i]);
    free(cert->names);
    *cert = (struct cert){.count = 0};
}

/* ---- keys ---- */

static bool is_key(const char *kind)
{
    size_t n = strlen(kind), tail = strlen("PRIVATE KEY");
    return n >= tail && strcmp(kind + n - tail, "PRIVATE KEY") == 0;
}

static bool is_encrypted(const struct block *block)
{
    return strcmp(block->kind, PEM_STRING_PKCS8) == 0 || strstr(block->header, "ENCRYPTED");
}

static EVP_PKEY *parse_key(const uint8_t *der, size_t n)
{
    const unsigned char *at = der;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &at, (long)n);
    if (key && at == der + n)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static int take_key(struct cert_bytes *out, const struct block *block, char why[CERT_WHY_MAX])
{
    if (is_encrypted(block))
        return bad(why, "the key is encrypted, and nobody could type its password when the "
                        "machine starts; openssl pkey writes it without one");
    EVP_PKEY *key = parse_key(block->data, (size_t)block->size);
    if (!key)
        return bad(why, "the key cannot be read");
    EVP_PKEY_free(key);
    return append(out, block->data, (size_t)block->size);
}

int cert_read_key(struct cert_bytes *out, struct slice pem, char why[CERT_WHY_MAX])
{
    struct block block;
    *out = (struct cert_bytes){NULL, 0};
    BIO *in = open_pem(pem);
    if (!in)
        return -ENOMEM;
    int rc = 1;
    while (rc > 0 && next_block(in, &block)) {
        if (is_key(block.kind))
            rc = take_key(out, &block, why);
        free_block(&block);
    }
    BIO_free(in);
    ERR_clear_error();
    if (rc > 0)
        return bad(why, "holds no private key in PEM (no line \"-----BEGIN PRIVATE KEY-----\"); "
                        "openssl pkey -inform der turns DER into it");
    return rc;
}

/* The first certificate of a chain. */
static X509 *own_certificate(const struct cert *cert)
{
    const unsigned char *at = cert->chain.p;
    return d2i_X509(NULL, &at, (long)cert->chain.n);
}

bool cert_fits_key(const struct cert *cert, const struct cert_bytes *key)
{
    X509 *own = own_certificate(cert);
    EVP_PKEY *private = parse_key(key->p, key->n);
    bool fits = own && private && X509_check_private_key(own, private) == 1;
    EVP_PKEY_free(private);
    X509_free(own);
    ERR_clear_error();
    return fits;
}

/* ---- OCSP ---- */

/* The answer for this serial number, NULL if there is none. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const ASN1_INTEGER *serial)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *asked = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &asked,
                          (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one));
        if (asked && ASN1_INTEGER_cmp(asked, serial) == 0)
            return one;
    }
    return NULL;
}

static int judge_answer(OCSP_BASICRESP *basic, const X509 *own, int64_t *until,
                        char why[CERT_WHY_MAX])
{
    ASN1_GENERALIZEDTIME *next = NULL;
    OCSP_SINGLERESP *one = find_answer(basic, X509_get0_serialNumber(own));
    if (!one)
        return bad(why, "is about another certificate: clients would refuse the connection");
    int status = OCSP_single_get0_status(one, NULL, NULL, NULL, &next);
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return bad(why, "says that the certificate is %s: clients would refuse the connection",
                   status == V_OCSP_CERTSTATUS_REVOKED ? "revoked" : "unknown to its issuer");
    if (!next)
        return bad(why, "does not say until when it holds, so clients would not believe it");
    *until = seconds_of(next);
    return 0;
}

int cert_check_staple(const struct cert *cert, struct slice der, int64_t *until,
                      char why[CERT_WHY_MAX])
{
    const unsigned char *at = (const unsigned char *)der.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.n);
    OCSP_BASICRESP *basic = response ? OCSP_response_get1_basic(response) : NULL;
    X509 *own = own_certificate(cert);
    int rc;
    *until = 0;
    if (!basic || at != (const unsigned char *)der.p + der.n)
        rc = bad(why, "is not a successful OCSP answer in DER; openssl ocsp -respout writes one");
    else
        rc = own ? judge_answer(basic, own, until, why) : -ENOMEM;
    X509_free(own);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return rc;
}
