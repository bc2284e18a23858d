/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/tls_fixture.h"

#include <check.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

const struct tls_case tls_cases[TLS_CASES] = {
    {"TLS_AES_128_GCM_SHA256", TLS_1_3, TLS_AES_128_GCM, 0x1301},
    {"TLS_AES_256_GCM_SHA384", TLS_1_3, TLS_AES_256_GCM, 0x1302},
    {"TLS_CHACHA20_POLY1305_SHA256", TLS_1_3, TLS_CHACHA20_POLY1305, 0x1303},
    {"ECDHE-ECDSA-AES128-GCM-SHA256", TLS_1_2, TLS_AES_128_GCM, 0xc02b},
    {"ECDHE-RSA-AES128-GCM-SHA256", TLS_1_2, TLS_AES_128_GCM, 0xc02f},
    {"ECDHE-ECDSA-AES256-GCM-SHA384", TLS_1_2, TLS_AES_256_GCM, 0xc02c},
    {"ECDHE-RSA-AES256-GCM-SHA384", TLS_1_2, TLS_AES_256_GCM, 0xc030},
    {"ECDHE-ECDSA-CHACHA20-POLY1305", TLS_1_2, TLS_CHACHA20_POLY1305, 0xcca9},
    {"ECDHE-RSA-CHACHA20-POLY1305", TLS_1_2, TLS_CHACHA20_POLY1305, 0xcca8},
};

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};
static struct identity ec, rsa, client_identity;

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void make_identity(struct identity *identity, EVP_PKEY *key, const char *name, long serial)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_get_subject_name(certificate);

    ck_assert_ptr_nonnull(key);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "C", MBSTRING_ASC, (const uint8_t *)"XX", -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_set_pubkey(certificate, key);
    add_extension(certificate, NID_basic_constraints, "CA:TRUE");
    add_extension(certificate, NID_subject_alt_name, "DNS:test.example,IP:127.0.0.1");
    ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    identity->key = key;
    identity->certificate = certificate;
}

void tls_fixture_init(void)
{
    make_identity(&ec, EVP_EC_gen("P-256"), "test.example", 1);
    make_identity(&rsa, EVP_RSA_gen(2048), "rsa.test.example", 2);
    make_identity(&client_identity, EVP_EC_gen("P-256"), "client", 0x1234);
}

static void use(SSL_CTX *context, const struct identity *identity)
{
    ck_assert_int_eq(SSL_CTX_use_certificate(context, identity->certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, identity->key), 1);
}

static void trust(SSL_CTX *context, const struct identity *identity)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    ck_assert_int_eq(X509_STORE_add_cert(store, identity->certificate), 1);
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
    SSL_CTX *context = tls_handshake_context(method);
    ck_assert_ptr_nonnull(context);
    ck_assert_int_eq(SSL_CTX_set_cipher_list(context, TLS_HANDSHAKE_SUITES_12), 1);
    ck_assert_int_eq(SSL_CTX_set_ciphersuites(context, TLS_HANDSHAKE_SUITES_13), 1);
    return context;
}

static int accept_name(SSL *ssl, int *alert, void *argument)
{
    (void)ssl;
    (void)alert;
    (void)argument;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *tls_fixture_server(void)
{
    SSL_CTX *context = new_context(TLS_server_method());
    use(context, &ec);
    use(context, &rsa);
    trust(context, &client_identity);
    SSL_CTX_set_tlsext_servername_callback(context, accept_name);
    SSL_CTX_set_session_id_context(context, (const uint8_t *)"test", 4);
    return context;
}

SSL_CTX *tls_fixture_client(void)
{
    SSL_CTX *context = new_context(TLS_client_method());
    trust(context, &ec);
    trust(context, &rsa);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
}

void tls_fixture_identify(SSL_CTX *client)
{
    use(client, &client_identity);
}

void tls_fixture_restrict(SSL *ssl, const struct tls_case *suite)
{
    int version = suite->version == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_set_min_proto_version(ssl, version);
    SSL_set_max_proto_version(ssl, version);
    ck_assert_int_eq(version == TLS1_3_VERSION ? SSL_set_ciphersuites(ssl, suite->name)
                                               : SSL_set_cipher_list(ssl, suite->name),
                     1);
}

static void give_memory(SSL *ssl)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(ssl, in, out);
}

static void move(BIO *from, BIO *to)
{
    char *bytes;
    long n = BIO_get_mem_data(from, &bytes);
    if (n > 0)
        ck_assert_int_eq(BIO_write(to, bytes, (int)n), n);
    BIO_reset(from);
}

SSL_SESSION *tls_fixture_session(SSL_CTX *server, SSL_CTX *client, const struct tls_case *suite)
{
    SSL *a = SSL_new(client), *b = SSL_new(server);
    char byte;

    tls_fixture_restrict(a, suite);
    SSL_set_tlsext_host_name(a, "test.example");
    give_memory(a);
    give_memory(b);
    SSL_set_connect_state(a);
    SSL_set_accept_state(b);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(a);
        move(SSL_get_wbio(a), SSL_get_rbio(b));
        SSL_do_handshake(b);
        move(SSL_get_wbio(b), SSL_get_rbio(a));
    }
    ck_assert_int_eq(SSL_read(a, &byte, 1), -1); /* takes the ticket */
    SSL_SESSION *session = SSL_get1_session(a);
    ck_assert(SSL_SESSION_is_resumable(session));
    SSL_set_shutdown(a, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(a);
    SSL_free(b);
    ERR_clear_error();
    return session;
}

void tls_link_init(struct tls_link *link, struct tls_handshake *ours, SSL_CTX *peer)
{
    memset(link, 0, sizeof *link);
    ck_assert_ptr_nonnull(ours);
    link->ours = ours;
    link->peer = SSL_new(peer);
    give_memory(link->peer);
    link->to_peer = SSL_get_rbio(link->peer);
    link->from_peer = SSL_get_wbio(link->peer);
    if (SSL_is_server(link->peer))
        SSL_set_accept_state(link->peer);
    else
        SSL_set_connect_state(link->peer);
}

void tls_link_fini(struct tls_link *link)
{
    tls_handshake_free(&link->ours);
    SSL_set_shutdown(link->peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(link->peer);
    ERR_clear_error();
}

void tls_link_fetch(struct tls_link *link)
{
    char *bytes;
    long n = BIO_get_mem_data(link->from_peer, &bytes);
    ck_assert_int_le(n, (long)(sizeof link->bytes - link->n));
    if (n > 0)
        memcpy(link->bytes + link->n, bytes, (size_t)n);
    link->n += (size_t)n;
    BIO_reset(link->from_peer);
}

static void drop_front(struct tls_link *link, size_t n)
{
    link->n -= n;
    memmove(link->bytes, link->bytes + n, link->n);
}

static void deliver_output(struct tls_link *link)
{
    struct slice output = tls_handshake_output(link->ours);
    if (output.n > 0)
        ck_assert_int_eq(BIO_write(link->to_peer, output.p, (int)output.n), (int)output.n);
    tls_handshake_sent(link->ours, output.n);
}

/* Every prefix of the record must ask for more, or for exactly all of it. */
static int need(const struct tls_link *link)
{
    int whole = 0;
    for (size_t n = 0; n <= link->n && n < 8; n++) {
        int now = tls_handshake_need(link->ours, link->bytes, n);
        ck_assert(whole == 0 || now == whole);
        ck_assert(now == 0 || now < 0 || n >= TLS_RECORD_HEADER);
        whole = now;
    }
    ck_assert_int_ge(whole, 0);
    return whole;
}

/* Records that have come whole. Returns as tls_handshake_feed. */
static int feed(struct tls_link *link, const char **why)
{
    int rc = 0;
    for (int whole; rc == 0 && (whole = need(link)) > 0 && (size_t)whole <= link->n;) {
        uint8_t *exact = malloc((size_t)whole); /* so that a sanitizer sees a byte too many */
        memcpy(exact, link->bytes, (size_t)whole);
        rc = tls_handshake_feed(link->ours, exact, (size_t)whole, why);
        free(exact);
        drop_front(link, (size_t)whole);
        ck_assert_uint_eq(ERR_peek_error(), 0);
    }
    return rc;
}

/* Bytes that tell where they stand. */
static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 2654435761u >> 13);
}

static void write_as_peer(struct tls_link *link, size_t n)
{
    static uint8_t data[1 << 17];

    fill(data, n);
    if (n > 0)
        ck_assert_int_eq(SSL_write(link->peer, data, (int)n), (int)n);
    tls_link_fetch(link);
}

/* One call for the peer: 1 done, 0 goes on, -1 failed. What it writes is fetched. */
static int step_peer(struct tls_link *link)
{
    int rc = SSL_do_handshake(link->peer);
    if (rc != 1)
        rc = SSL_get_error(link->peer, rc) == SSL_ERROR_WANT_READ ? 0 : -1;
    write_as_peer(link, rc == 1 ? link->greeting : 0);
    return rc;
}

int tls_link_shake(struct tls_link *link, const char **why)
{
    int ours = 0, theirs = 0;

    if (SSL_is_server(link->peer))
        ours = tls_handshake_feed(link->ours, NULL, 0, why);
    for (int turn = 0; turn < 8 && ours >= 0 && theirs >= 0; turn++) {
        deliver_output(link);
        if (theirs == 0)
            theirs = step_peer(link);
        if (ours == 0)
            ours = feed(link, why);
    }
    deliver_output(link);
    ERR_clear_error();
    return ours < 0 ? ours : ours == 1 && theirs == 1;
}

struct tls_session tls_link_export(struct tls_link *link, struct tls_engine *engine,
                                   struct tls_facts *facts)
{
    struct tls_session session;
    struct tls_facts ignored;
    const char *why = "";
    int rc = tls_handshake_export(link->ours, engine, &session, facts ? facts : &ignored, &why);

    ck_assert_msg(rc == 0, "export: %s", why);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    return session;
}

static void update_if_due(struct tls_link *link, struct tls_engine *engine,
                          struct tls_session *session)
{
    uint8_t out[TLS_CONTROL_MAX];
    bool ask;
    if (!tls_record_update_due(session, &ask))
        return;
    int n = tls_record_update(engine, session, ask, out);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(BIO_write(link->to_peer, out, n), n);
}

/* Open what has come whole; content goes behind *got. */
static void open_all(struct tls_link *link, struct tls_engine *engine, struct tls_session *session,
                     uint8_t *data, size_t *got)
{
    size_t at = 0;
    for (int whole; at < link->n; at += (size_t)whole) {
        enum tls_record_type type;
        whole = tls_record_need(session, link->bytes + at, link->n - at);
        quiet_assert(whole > 0 && (size_t)whole <= link->n - at, "record of %d at %zu", whole, at);
        int n =
            tls_record_open(engine, session, link->bytes + at, (size_t)whole, data + *got, &type);
        quiet_assert(n >= 0, "open: %d", n);
        if (type == TLS_APPLICATION)
            *got += (size_t)n;
        else
            ck_assert_int_eq(tls_record_control(session, type, data + *got, (size_t)n), 0);
        update_if_due(link, engine, session);
    }
    link->n = 0;
}

void tls_link_expect(struct tls_link *link, struct tls_engine *engine, struct tls_session *session,
                     size_t n)
{
    static uint8_t expected[1 << 17], data[TLS_LINK_BUFFER];
    size_t got = 0;

    fill(expected, n);
    open_all(link, engine, session, data, &got);
    quiet_assert(got == n && memcmp(data, expected, n) == 0, "%zu of %zu bytes", got, n);
}

void tls_link_from_peer(struct tls_link *link, struct tls_engine *engine,
                        struct tls_session *session, size_t n)
{
    write_as_peer(link, n);
    tls_link_expect(link, engine, session, n);
}

void tls_link_to_peer(struct tls_link *link, struct tls_engine *engine, struct tls_session *session,
                      size_t n)
{
    static uint8_t data[1 << 17], sent[1 << 17], out[TLS_RECORD_MAX];
    size_t max = tls_record_content_max(session), got = 0, at = 0;

    fill(sent, n);
    do {
        size_t part = n - at < max ? n - at : max;
        int whole = tls_record_seal(engine, session, TLS_APPLICATION, sent + at, part, out);
        quiet_assert(whole == (int)(part + tls_record_overhead(session)), "seal: %d", whole);
        ck_assert_int_eq(BIO_write(link->to_peer, out, whole), whole);
        at += part;
    } while (at < n);
    for (int r; (r = SSL_read(link->peer, data + got, (int)(sizeof data - got))) > 0;)
        got += (size_t)r;
    quiet_assert(got == n && memcmp(data, sent, n) == 0, "%zu of %zu bytes", got, n);
}

void tls_link_goodbye(struct tls_link *link, struct tls_engine *engine, struct tls_session *session)
{
    uint8_t out[TLS_CONTROL_MAX], content[TLS_RECORD_MAX];
    enum tls_record_type type;

    ck_assert_int_eq(SSL_shutdown(link->peer), 0);
    tls_link_fetch(link);
    int n = tls_record_open(engine, session, link->bytes, link->n, content, &type);
    ck_assert_int_eq(tls_record_control(session, type, content, (size_t)n), 1);
    ck_assert(session->flags & TLS_RECV_CLOSE);
    ck_assert_int_eq(tls_record_need(session, (const uint8_t *)"\x17", 1), -TLS_UNEXPECTED_MESSAGE);
    n = tls_record_alert(engine, session, TLS_CLOSE_NOTIFY, out);
    ck_assert_int_gt(n, 0);
    ck_assert(session->flags & TLS_SENT_CLOSE);
    ck_assert_int_eq(BIO_write(link->to_peer, out, n), n);
    ck_assert_int_eq(SSL_shutdown(link->peer), 1);
    ck_assert_int_lt(tls_record_seal(engine, session, TLS_APPLICATION, out, 1, content), 0);
}
