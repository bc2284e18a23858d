/* SPDX-License-Identifier: Apache-2.0 */
/* What files of certificates, keys and OCSP answers hold, and what is said of those that hold it not. */
#define _GNU_SOURCE 1
#include "common/cert.h"

#include "test/unit/cert_fixture.h"

#include <errno.h>
#include <stdbool.h>

static char why[CERT_WHY_MAX];

static int read_text(struct cert *cert, const char *pem)
{
    memset(why, 0, sizeof why);
    return cert_read(cert, slice_of(pem), why);
}

static struct cert read_made(const struct made *made)
{
    struct cert cert;
    char *pem = cert_fixture_pem(made->x);
    ck_assert_msg(read_text(&cert, pem) == 0, "%s", why);
    free(pem);
    return cert;
}

static void refused(const struct recipe *recipe, const char *reason)
{
    struct cert cert;
    struct made made = cert_fixture_make(recipe);
    char *pem = cert_fixture_pem(made.x);
    ck_assert_int_eq(read_text(&cert, pem), -EINVAL);
    ck_assert_str_eq(why, reason);
    ck_assert_ptr_null(cert.chain.p);
    free(pem);
    cert_fixture_free(&made);
}

START_TEST(a_certificate_tells_its_names_its_key_and_its_dates)
{
    struct made made = cert_fixture_make(&(struct recipe){
        .common_name = "not.this.example",
        .names = "DNS:A.example,DNS:*.B.Example,DNS:a.EXAMPLE,IP:192.0.2.1,email:x@a.example",
        .to_days = 20});
    struct cert cert = read_made(&made);
    int64_t now = (int64_t)time(NULL);
    ck_assert_uint_eq(cert.count, 1);
    ck_assert_uint_eq(cert.stray, 0);
    ck_assert_uint_eq(cert.type, CERT_ECDSA);
    ck_assert_uint_eq(cert.bits, 256);
    ck_assert_uint_eq(cert.name_count, 2);
    ck_assert_str_eq(cert.names[0], "a.example");
    ck_assert_str_eq(cert.names[1], "*.b.example");
    ck_assert_int_le(llabs(cert.not_before - (now - CERT_FIXTURE_DAY)), 60);
    ck_assert_int_le(llabs(cert.not_after - (now + 20 * CERT_FIXTURE_DAY)), 60);
    cert_fini(&cert);
    ck_assert_ptr_null(cert.names);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(the_common_name_counts_only_where_no_alternative_name_stands)
{
    struct made plain = cert_fixture_make(&(struct recipe){.common_name = "Old.Example"});
    struct made address =
        cert_fixture_make(&(struct recipe){.common_name = "old.example", .names = "IP:192.0.2.1"});
    struct made people = cert_fixture_make(&(struct recipe){.common_name = "My Router (2)"});
    struct cert cert = read_made(&plain);
    ck_assert_uint_eq(cert.name_count, 1);
    ck_assert_str_eq(cert.names[0], "old.example");
    cert_fini(&cert);
    cert = read_made(&address);
    ck_assert_uint_eq(cert.name_count, 0);
    cert_fini(&cert);
    cert = read_made(&people);
    ck_assert_uint_eq(cert.name_count, 0);
    cert_fini(&cert);
    cert_fixture_free(&plain);
    cert_fixture_free(&address);
    cert_fixture_free(&people);
}
END_TEST

START_TEST(a_name_that_no_client_can_ask_for_is_passed_over)
{
    struct made made = cert_fixture_make(
        &(struct recipe){.names = "DNS:f*.example,DNS:*.example,DNS:*.com.,DNS:a..b,DNS:*.*.x.y,"
                                  "DNS:a b,DNS:good.example,DNS:*"});
    struct cert cert = read_made(&made);
    ck_assert_uint_eq(cert.name_count, 1);
    ck_assert_str_eq(cert.names[0], "good.example");
    cert_fini(&cert);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(a_name_with_a_nul_in_it_is_no_other_name)
{
    struct made made = cert_fixture_make(&(struct recipe){.common_name = "x"});
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, "good.example\0.evil", 18);
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, name);
    ck_assert_int_eq(X509_add1_ext_i2d(made.x, NID_subject_alt_name, names, 0, 0), 1);
    ck_assert_int_gt(X509_sign(made.x, made.key, EVP_sha256()), 0);
    GENERAL_NAMES_free(names);
    struct cert cert = read_made(&made);
    ck_assert_uint_eq(cert.name_count, 0);
    cert_fini(&cert);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(every_kind_of_key_is_told)
{
    static const struct {
        const char *key;
        uint32_t type, bits;
        const char *word;
    } rows[] = {{"RSA", CERT_RSA, 2048, "RSA"},
                {"P-384", CERT_ECDSA, 384, "ECDSA"},
                {"ED25519", CERT_EDDSA, 256, "EdDSA"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made made = cert_fixture_make(&(struct recipe){.key = rows[i].key});
        struct cert cert = read_made(&made);
        ck_assert_uint_eq(cert.type, rows[i].type);
        ck_assert_uint_le(rows[i].bits - cert.bits, 3); /* Ed25519 counts 253 */
        ck_assert_str_eq(cert_type_word(cert.type), rows[i].word);
        cert_fini(&cert);
        cert_fixture_free(&made);
    }
    ck_assert_str_eq(cert_type_word(CERT_TYPE_COUNT), "?");
}
END_TEST

START_TEST(what_clients_refuse_is_refused)
{
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "x", .authority = true});
    refused(&(struct recipe){.key = "RSA-1024"},
            "its RSA key of 1024 bits is too weak: clients refuse it; take RSA of 2048 bits or "
            "ECDSA P-256");
    refused(&(struct recipe){.key = "secp256k1"},
            "its key is on the curve secp256k1, which no client takes; take P-256");
    refused(&(struct recipe){.issuer = &root, .digest = EVP_sha1()},
            "certificate 1 of the file is signed with ecdsa-with-SHA1, which clients refuse");
    cert_fixture_free(&root);
}
END_TEST

/* The same certificate, but its algorithm is nobody's; frees the old one. */
static X509 *with_unknown_signature(X509 *x)
{
    static const uint8_t ecdsa_with_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2};
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der), found = 0;
    for (uint8_t *at = der; (at = memmem(at, (size_t)(der + n - at), ecdsa_with_sha256, 8));
         found++)
        at[7] = 0x7f;
    ck_assert_int_eq(found, 2);
    const unsigned char *at = der;
    X509_free(x);
    x = d2i_X509(NULL, &at, n);
    ck_assert_ptr_nonnull(x);
    OPENSSL_free(der);
    return x;
}

/* Else a worker could show the chain to nobody: OpenSSL looks at each certificate of it. */
START_TEST(a_chain_with_a_certificate_that_clients_refuse_is_refused)
{
    static const struct {
        const char *key;
        bool unknown; /* the signature */
        const char *why;
    } rows[] = {
        {"RSA-1024", false,
         "certificate 2 of the file has a key that is too weak, or of an unknown kind: clients "
         "refuse it"},
        {"P-256", true, "certificate 2 of the file is signed with UNDEF, which clients refuse"},
    };
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made middle = cert_fixture_make(&(struct recipe){
            .key = rows[i].key, .common_name = "m", .authority = true, .issuer = &root});
        struct made leaf =
            cert_fixture_make(&(struct recipe){.names = "DNS:a.example", .issuer = &middle});
        if (rows[i].unknown)
            middle.x = with_unknown_signature(middle.x);
        char *one = cert_fixture_pem(leaf.x), *two = cert_fixture_pem(middle.x);
        char text[8192];
        struct cert cert;
        snprintf(text, sizeof text, "%s%s", one, two);
        ck_assert_int_eq(read_text(&cert, text), -EINVAL);
        ck_assert_str_eq(why, rows[i].why);
        free(one);
        free(two);
        cert_fixture_free(&leaf);
        cert_fixture_free(&middle);
    }
    cert_fixture_free(&root);
}
END_TEST

START_TEST(a_chain_is_read_whole_and_its_order_judged)
{
    struct made root =
        cert_fixture_make(&(struct recipe){.common_name = "root", .authority = true});
    struct made middle = cert_fixture_make(
        &(struct recipe){.common_name = "middle", .authority = true, .issuer = &root});
    struct made leaf =
        cert_fixture_make(&(struct recipe){.names = "DNS:a.example", .issuer = &middle});
    char *one = cert_fixture_pem(leaf.x), *two = cert_fixture_pem(middle.x),
         *three = cert_fixture_pem(root.x), *key = cert_fixture_key_pem(leaf.key, NULL);
    char text[16384];
    struct cert cert;
    snprintf(text, sizeof text, "Bag Attributes: x\n%s%s\n%s", one, key, two);
    ck_assert_int_eq(read_text(&cert, text), 0);
    ck_assert_uint_eq(cert.count, 2);
    ck_assert_uint_eq(cert.stray, 0);
    const unsigned char *at = cert.chain.p;
    X509 *first = d2i_X509(NULL, &at, (long)cert.chain.n);
    X509 *second = d2i_X509(NULL, &at, (long)(cert.chain.p + cert.chain.n - at));
    ck_assert_int_eq(X509_cmp(first, leaf.x), 0);
    ck_assert_int_eq(X509_cmp(second, middle.x), 0);
    ck_assert_ptr_eq(at, cert.chain.p + cert.chain.n);
    X509_free(first);
    X509_free(second);
    cert_fini(&cert);
    snprintf(text, sizeof text, "%s%s%s", one, three, two);
    ck_assert_int_eq(read_text(&cert, text), 0);
    ck_assert_uint_eq(cert.count, 3);
    ck_assert_uint_eq(cert.stray, 2);
    cert_fini(&cert);
    free(one);
    free(two);
    free(three);
    free(key);
    cert_fixture_free(&leaf);
    cert_fixture_free(&middle);
    cert_fixture_free(&root);
}
END_TEST

START_TEST(a_file_without_certificates_or_with_a_damaged_one_is_refused)
{
    struct made made = cert_fixture_make(&(struct recipe){.names = "DNS:a.example"});
    char *pem = cert_fixture_pem(made.x), *key = cert_fixture_key_pem(made.key, NULL);
    static const char none[] =
        "holds no certificate in PEM (no line \"-----BEGIN CERTIFICATE-----\"); openssl x509 "
        "-inform der turns DER into it";
    struct cert cert;
    ck_assert_int_eq(read_text(&cert, ""), -EINVAL);
    ck_assert_str_eq(why, none);
    ck_assert_int_eq(read_text(&cert, key), -EINVAL);
    ck_assert_str_eq(why, none);
    ck_assert_int_eq(
        read_text(&cert, "-----BEGIN CERTIFICATE-----\nMAAwAA==\n-----END CERTIFICATE-----\n"),
        -EINVAL);
    ck_assert_str_eq(why, "certificate 1 of the file cannot be read");
    char text[8192];
    int n = snprintf(text, sizeof text, "%s%s", pem, pem);
    text[n - 60] = '!';
    ck_assert_int_eq(read_text(&cert, text), -EINVAL);
    ck_assert_str_eq(why, "the block behind certificate 1 is damaged: its base64 cannot be read");
    free(pem);
    free(key);
    cert_fixture_free(&made);
}
END_TEST

/* A file of which only the beginning was copied, at every place: an error or the whole, never a crash. */
START_TEST(no_prefix_of_a_file_is_taken_for_the_whole)
{
    struct made made = cert_fixture_make(&(struct recipe){.names = "DNS:a.example"});
    char *pem = cert_fixture_pem(made.x), *key_pem = cert_fixture_key_pem(made.key, NULL);
    struct cert cert;
    struct cert_bytes key;
    size_t n = strlen(pem);
    for (size_t i = 0; i + 1 < n; i++) {
        int rc = cert_read(&cert, (struct slice){pem, i}, why);
        ck_assert_msg(rc == -EINVAL, "%zu of %zu", i, n);
    }
    n = strlen(key_pem);
    for (size_t i = 0; i + 1 < n; i++) {
        int rc = cert_read_key(&key, (struct slice){key_pem, i}, why);
        ck_assert_msg(rc == -EINVAL, "%zu of %zu", i, n);
    }
    free(pem);
    free(key_pem);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(a_key_fits_its_certificate_and_no_other)
{
    static const char *const kinds[] = {"P-256", "RSA", "ED25519"};
    struct made other = cert_fixture_make(&(struct recipe){.key = "P-256"});
    struct cert cert_of_other = read_made(&other);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct made made = cert_fixture_make(&(struct recipe){.key = kinds[i]});
        struct cert cert = read_made(&made);
        struct cert_bytes key;
        char *pem = cert_fixture_key_pem(made.key, NULL);
        ck_assert_int_eq(cert_read_key(&key, slice_of(pem), why), 0);
        ck_assert(cert_fits_key(&cert, &key));
        ck_assert(!cert_fits_key(&cert_of_other, &key));
        free(pem);
        cert_bytes_wipe(&key);
        cert_fini(&cert);
        cert_fixture_free(&made);
    }
    cert_fini(&cert_of_other);
    cert_fixture_free(&other);
}
END_TEST

/* openssl ecparam -genkey writes the parameters in front, and the old form of the key. */
START_TEST(an_old_key_file_with_parameters_is_read)
{
    struct made made = cert_fixture_make(&(struct recipe){.key = "P-256"});
    struct cert cert = read_made(&made);
    struct cert_bytes key;
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n");
    ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, made.key, NULL, NULL, 0, NULL, NULL),
                     1);
    char *pem = cert_fixture_text(bio);
    ck_assert_ptr_nonnull(strstr(pem, "BEGIN EC PRIVATE KEY"));
    ck_assert_msg(cert_read_key(&key, slice_of(pem), why) == 0, "%s", why);
    ck_assert(cert_fits_key(&cert, &key));
    free(pem);
    cert_bytes_wipe(&key);
    cert_fini(&cert);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(a_key_that_is_encrypted_missing_or_damaged_is_refused)
{
    static const char encrypted[] =
        "the key is encrypted, and nobody could type its password when the machine starts; openssl "
        "pkey writes it without one";
    struct made made = cert_fixture_make(&(struct recipe){.key = "P-256"});
    char *locked = cert_fixture_key_pem(made.key, "secret"), *chain = cert_fixture_pem(made.x);
    struct cert_bytes key;
    ck_assert_int_eq(cert_read_key(&key, slice_of(locked), why), -EINVAL);
    ck_assert_str_eq(why, encrypted);
    BIO *bio = BIO_new(BIO_s_mem());
    ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, made.key, EVP_aes_128_cbc(),
                                                          (const unsigned char *)"secret", 6, NULL,
                                                          NULL),
                     1);
    char *old = cert_fixture_text(bio);
    ck_assert_int_eq(cert_read_key(&key, slice_of(old), why), -EINVAL);
    ck_assert_str_eq(why, encrypted);
    ck_assert_int_eq(cert_read_key(&key, slice_of(chain), why), -EINVAL);
    ck_assert_str_eq(why, "holds no private key in PEM (no line \"-----BEGIN PRIVATE KEY-----\"); "
                          "openssl pkey -inform der turns DER into it");
    ck_assert_int_eq(
        cert_read_key(
            &key, SLICE("-----BEGIN PRIVATE KEY-----\nMAAwAA==\n-----END PRIVATE KEY-----\n"), why),
        -EINVAL);
    ck_assert_str_eq(why, "the key cannot be read");
    ck_assert_ptr_null(key.p);
    free(locked);
    free(old);
    free(chain);
    cert_fixture_free(&made);
}
END_TEST

START_TEST(authorities_are_all_certificates_of_their_file)
{
    struct made a = cert_fixture_make(&(struct recipe){.common_name = "a", .authority = true});
    struct made b = cert_fixture_make(&(struct recipe){.common_name = "b", .key = "RSA"});
    char text[8192];
    char *one = cert_fixture_pem(a.x), *two = cert_fixture_pem(b.x);
    struct cert_bytes all;
    snprintf(text, sizeof text, "# a\n%s\n# b\n%s", one, two);
    ck_assert_int_eq(cert_read_authorities(&all, slice_of(text), why), 0);
    ck_assert_uint_eq(all.n, (size_t)i2d_X509(a.x, NULL) + (size_t)i2d_X509(b.x, NULL));
    cert_bytes_wipe(&all);
    ck_assert_int_eq(cert_read_authorities(&all, SLICE("nothing"), why), -EINVAL);
    ck_assert_ptr_null(all.p);
    free(one);
    free(two);
    cert_fixture_free(&a);
    cert_fixture_free(&b);
}
END_TEST

START_TEST(an_ocsp_answer_must_say_good_of_this_certificate)
{
    struct made root = cert_fixture_make(&(struct recipe){.authority = true});
    struct made leaf = cert_fixture_make(&(struct recipe){.issuer = &root, .serial = 7});
    struct made other = cert_fixture_make(&(struct recipe){.issuer = &root, .serial = 8});
    static const struct {
        int status, days;
        const char *why;
    } rows[] = {
        {V_OCSP_CERTSTATUS_GOOD, 3, NULL},
        {V_OCSP_CERTSTATUS_GOOD, -1, NULL}, /* that it has expired is for the caller to judge */
        {V_OCSP_CERTSTATUS_GOOD, 0,
         "does not say until when it holds, so clients would not believe it"},
        {V_OCSP_CERTSTATUS_REVOKED, 3,
         "says that the certificate is revoked: clients would refuse the connection"},
        {V_OCSP_CERTSTATUS_UNKNOWN, 3,
         "says that the certificate is unknown to its issuer: clients would refuse the connection"},
    };
    struct cert cert = read_made(&leaf), wrong = read_made(&other);
    unsigned char *der;
    int64_t until;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = cert_fixture_ocsp(&leaf, &root, rows[i].status, rows[i].days, &der);
        struct slice answer = {(const char *)der, n};
        int rc = cert_check_staple(&cert, answer, &until, why);
        ck_assert_int_eq(rc, rows[i].why ? -EINVAL : 0);
        if (rows[i].why)
            ck_assert_str_eq(why, rows[i].why);
        else
            ck_assert_int_le(llabs(until - (time(NULL) + rows[i].days * (int64_t)CERT_FIXTURE_DAY)),
                             60);
        ck_assert_int_eq(cert_check_staple(&wrong, answer, &until, why), -EINVAL);
        ck_assert_str_eq(why, "is about another certificate: clients would refuse the connection");
        for (size_t cut = 0; cut < n; cut++)
            ck_assert_int_eq(
                cert_check_staple(&cert, (struct slice){(const char *)der, cut}, &until, why),
                -EINVAL);
        OPENSSL_free(der);
    }
    ck_assert_str_eq(why,
                     "is not a successful OCSP answer in DER; openssl ocsp -respout writes one");
    cert_fini(&cert);
    cert_fini(&wrong);
    cert_fixture_free(&leaf);
    cert_fixture_free(&other);
    cert_fixture_free(&root);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("cert");
    tcase_add_test(tcase, a_certificate_tells_its_names_its_key_and_its_dates);
    tcase_add_test(tcase, the_common_name_counts_only_where_no_alternative_name_stands);
    tcase_add_test(tcase, a_name_that_no_client_can_ask_for_is_passed_over);
    tcase_add_test(tcase, a_name_with_a_nul_in_it_is_no_other_name);
    tcase_add_test(tcase, every_kind_of_key_is_told);
    tcase_add_test(tcase, what_clients_refuse_is_refused);
    tcase_add_test(tcase, a_chain_with_a_certificate_that_clients_refuse_is_refused);
    tcase_add_test(tcase, a_chain_is_read_whole_and_its_order_judged);
    tcase_add_test(tcase, a_file_without_certificates_or_with_a_damaged_one_is_refused);
    tcase_add_test(tcase, no_prefix_of_a_file_is_taken_for_the_whole);
    tcase_add_test(tcase, a_key_fits_its_certificate_and_no_other);
    tcase_add_test(tcase, an_old_key_file_with_parameters_is_read);
    tcase_add_test(tcase, a_key_that_is_encrypted_missing_or_damaged_is_refused);
    tcase_add_test(tcase, authorities_are_all_certificates_of_their_file);
    tcase_add_test(tcase, an_ocsp_answer_must_say_good_of_this_certificate);
    tcase_set_timeout(tcase, 60);
    Suite *suite = suite_create("cert");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
