/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts made of a configuration, tried with OpenSSL as the other side, over memory. */
#define _GNU_SOURCE 1
#include "worker/tls_context.h"

#include "shm/keys.h"
#include "shm/tickets.h"
#include "test/unit/cert_fixture.h"
#include "test/unit/worker_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <openssl/ssl.h>

#define ONE(name) "{ certificate = \"" name ".pem\"; key = \"" name ".key\"; }"
#define LISTEN    "listeners = ( { address = \"*:443\"; tls = true; } );\n"

static struct worker_fixture fixture;
static struct tls_contexts *contexts;
static struct tickets tickets; /* the master's side */
static int tickets_fd, keys_fd = -1;

/* What a client does, and what became of it. */
struct visit {
    const char *name;       /* SNI; NULL: none */
    int version;            /* TLS1_2_VERSION ...; 0: any */
    const char *sigalgs;    /* NULL: the library's */
    const char *alpn;       /* in wire format; NULL: none */
    const char *ciphers;    /* of TLS 1.2; NULL: the library's */
    const char *suites;     /* of TLS 1.3 */
    const char *groups;     /* NULL: the library's */
    const struct made *own; /* client certificate; NULL: none */
    SSL_SESSION *session;   /* to resume */
    bool ask_ocsp;
    /* What the client saw. */
    int error; /* reason of its first error, 0: none */
    bool done;
    bool resumed;
    char common_name[64]; /* of the server's certificate */
    char protocol[32];    /* ALPN */
    char suite[64];
    int used_version;
    int group;
    long staple;        /* bytes of OCSP answer */
    bool asked;         /* for a certificate */
    SSL_SESSION *fresh; /* newest session, to be freed by the caller */
    SSL *server;        /* for questions; freed by end_visit */
    SSL_CTX *context;
    SSL *client;
};

static void setup(void)
{
    worker_fixture_init(&fixture);
    ck_assert_int_eq(tickets_create(&tickets, &tickets_fd), 0);
}

static void teardown(void)
{
    glob_t files;
    tls_contexts_release(&contexts);
    tickets_close(&tickets);
    close(tickets_fd);
    if (keys_fd >= 0)
        close(keys_fd);
    if (glob("*.[pko]*", 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
        globfree(&files);
    }
    worker_fixture_fini(&fixture);
}

static struct tls_contexts *new_contexts(void)
{
    struct tls_contexts *made;
    ck_assert_int_eq(tls_contexts_new(&made, fixture.image, keys_fd, tickets_fd), 0);
    return made;
}

/* Image, keys and contexts of a configuration. Its warnings do not matter here. */
static void use(const char *text)
{
    struct conf *conf;
    int fd;
    ck_assert_msg(conf_fixture_load_text(&fixture.conf, text, &conf) == 0, "%s",
                  fixture.conf.messages);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    image_release(&fixture.image);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    close(fd);
    if (keys_fd >= 0)
        close(keys_fd);
    ck_assert_int_eq(conf_keys_build(conf, fixture.generation, &keys_fd, stderr), 0);
    conf_free(&conf);
    tls_contexts_release(&contexts);
    contexts = new_contexts();
}

static void put(const char *name, const char *key, const char *names)
{
    cert_fixture_put(
        name, &(struct recipe){.key = key, .names = names, .common_name = name, .serial = 5});
}

/* Ticket keys as the master makes them: every byte of the first `first`, of the second `second`. */
static void publish(uint8_t first, uint8_t second)
{
    struct ticket_set set = {.count = second ? 2 : 1};
    memset(&set.keys[0], first, sizeof set.keys[0]);
    memset(&set.keys[1], second, sizeof set.keys[1]);
    tickets_publish(&tickets, &set, 0);
}

static int note_session(SSL *ssl, SSL_SESSION *session)
{
    struct visit *visit = SSL_get_app_data(ssl);
    SSL_SESSION_free(visit->fresh);
    visit->fresh = session;
    return 1; /* kept */
}

static int note_request(SSL *ssl, X509 **x, EVP_PKEY **key)
{
    struct visit *visit = SSL_get_app_data(ssl);
    visit->asked = true;
    if (!visit->own)
        return 0;
    X509_up_ref(visit->own->x);
    EVP_PKEY_up_ref(visit->own->key);
    *x = visit->own->x;
    *key = visit->own->key;
    return 1;
}

static SSL *make_client(struct visit *visit)
{
    SSL_CTX *context = visit->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, note_session);
    SSL_CTX_set_client_cert_cb(context, note_request);
    SSL_CTX_set_security_level(context, 0);
    if (visit->version) {
        SSL_CTX_set_min_proto_version(context, visit->version);
        SSL_CTX_set_max_proto_version(context, visit->version);
    }
    if (visit->sigalgs)
        ck_assert_int_eq(SSL_CTX_set1_sigalgs_list(context, visit->sigalgs), 1);
    if (visit->ciphers)
        ck_assert_int_eq(SSL_CTX_set_cipher_list(context, visit->ciphers), 1);
    if (visit->suites)
        ck_assert_int_eq(SSL_CTX_set_ciphersuites(context, visit->suites), 1);
    if (visit->groups)
        ck_assert_int_eq(SSL_CTX_set1_groups_list(context, visit->groups), 1);
    if (visit->alpn)
        ck_assert_int_eq(SSL_CTX_set_alpn_protos(context, (const unsigned char *)visit->alpn,
                                                 (unsigned int)strlen(visit->alpn)),
                         0);
    SSL *client = SSL_new(context);
    if (visit->name)
        ck_assert_int_eq(SSL_set_tlsext_host_name(client, visit->name), 1);
    if (visit->ask_ocsp)
        SSL_set_tlsext_status_type(client, TLSEXT_STATUSTYPE_ocsp);
    if (visit->session)
        ck_assert_int_eq(SSL_set_session(client, visit->session), 1);
    SSL_set_app_data(client, visit);
    SSL_set_connect_state(client);
    return client;
}

static void note_certificate(struct visit *visit, const SSL *client)
{
    X509 *x = SSL_get1_peer_certificate(client);
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, visit->common_name,
                                  sizeof visit->common_name);
    X509_free(x);
}

static void note_result(struct visit *visit, SSL *client)
{
    const unsigned char *protocol, *answer;
    unsigned int n;
    note_certificate(visit, client);
    SSL_get0_alpn_selected(client, &protocol, &n);
    snprintf(visit->protocol, sizeof visit->protocol, "%.*s", (int)n, (const char *)protocol);
    snprintf(visit->suite, sizeof visit->suite, "%s", SSL_get_cipher_name(client));
    visit->resumed = SSL_session_reused(client) == 1;
    visit->used_version = SSL_version(client);
    visit->group = (int)SSL_get_negotiated_group(client);
    long staple = SSL_get_tlsext_status_ocsp_resp(client, &answer);
    visit->staple = staple > 0 ? staple : 0;
}

static int step(SSL *ssl, struct visit *visit)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(ssl);
    int error = SSL_get_error(ssl, rc);
    if (rc != 1 && error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE &&
        ssl == visit->client && visit->error == 0)
        visit->error = ERR_GET_REASON(ERR_peek_error());
    return rc;
}

/* Two SSL objects talk until neither has anything more to say. */
static void talk(struct visit *visit, SSL_CTX *server_context)
{
    BIO *a, *b;
    char byte;
    ck_assert_ptr_nonnull(server_context);
    ck_assert_int_eq(BIO_new_bio_pair(&a, 1 << 17, &b, 1 << 17), 1);
    SSL *client = visit->client = make_client(visit);
    visit->server = SSL_new(server_context);
    SSL_set_accept_state(visit->server);
    SSL_set_bio(client, a, a);
    SSL_set_bio(visit->server, b, b);
    bool client_done = false, server_done = false;
    for (int i = 0; i < 20 && !(client_done && server_done); i++) {
        client_done = step(client, visit) == 1;
        server_done = step(visit->server, visit) == 1;
    }
    visit->done = client_done && server_done;
    if (visit->done)
        (void)SSL_read(client, &byte, 1); /* the ticket of TLS 1.3 comes behind the handshake */
    note_result(visit, client);
}

/* In order: the library gives up a session whose connection was not closed. */
static void end_visit(struct visit *visit)
{
    SSL_set_shutdown(visit->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(visit->client);
    SSL_free(visit->server);
    SSL_CTX_free(visit->context);
    SSL_SESSION_free(visit->fresh);
}

static struct visit go(struct visit visit)
{
    talk(&visit, tls_contexts_server(contexts));
    return visit;
}

/* The common name that a client sees that asks for `name`. */
static void shows(const char *name, const char *common_name)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct visit visit = {.name = name, .version = versions[i]};
        talk(&visit, tls_contexts_server(contexts));
        ck_assert_msg(visit.done, "%s: %d", name, visit.error);
        ck_assert_str_eq(visit.common_name, common_name);
        ck_assert_int_eq(visit.used_version, versions[i]);
        end_visit(&visit);
    }
}

START_TEST(certificates_are_chosen_by_the_name_that_is_asked_for)
{
    put("first", NULL, "DNS:first.example");
    put("wild", NULL, "DNS:*.b.example");
    put("exact", NULL, "DNS:www.b.example");
    publish(1, 0);
    use(LISTEN "certificates = ( " ONE("first") ", " ONE("wild") ", " ONE("exact") " );\n");
    shows("first.example", "first");
    shows("x.b.example", "wild");
    shows("WWW.b.Example", "exact");
    shows("y.x.b.example", "first");
    shows("unknown.example", "first");
    shows(NULL, "first");
}
END_TEST

START_TEST(a_client_gets_the_kind_of_key_that_it_can_verify)
{
    static const struct {
        int version;
        const char *sigalgs, *ciphers, *common_name;
    } rows[] = {
        {TLS1_3_VERSION, "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256", NULL, "ec"},
        {TLS1_3_VERSION, "rsa_pss_rsae_sha256", NULL, "rsa"},
        {TLS1_3_VERSION, "ed25519", NULL, "ed"},
        {TLS1_2_VERSION, NULL, "ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
        {TLS1_2_VERSION, NULL, "ECDHE-ECDSA-AES128-GCM-SHA256", "ec"},
        {TLS1_2_VERSION, "RSA+SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
         "rsa"},
    };
    put("ec", NULL, "DNS:a.example");
    put("rsa", "RSA", "DNS:a.example");
    put("ed", "ED25519", "DNS:a.example");
    publish(1, 0);
    use(LISTEN "certificates = ( " ONE("ec") ", " ONE("rsa") ", " ONE("ed") " );\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int named = 0; named < 2; named++) {
            struct visit visit = go((struct visit){.name = named ? "a.example" : NULL,
                                                   .version = rows[i].version,
                                                   .sigalgs = rows[i].sigalgs,
                                                   .ciphers = rows[i].ciphers});
            ck_assert_msg(visit.done, "row %zu: %d", i, visit.error);
            ck_assert_str_eq(visit.common_name, rows[i].common_name);
            end_visit(&visit);
        }
    }
}
END_TEST

START_TEST(only_http_1_1_is_agreed_on)
{
    put("a", NULL, "DNS:a");
    publish(1, 0);
    use(LISTEN "certificates = ( " ONE("a") " );\n");
    struct visit visit = go((struct visit){.alpn = "\x02h2\x08http/1.1"});
    ck_assert(visit.done);
    ck_assert_str_eq(visit.protocol, "http/1.1");
    end_visit(&visit);
    visit = go((struct visit){.alpn = NULL});
    ck_assert(visit.done);
    ck_assert_str_eq(visit.protocol, "");
    end_visit(&visit);
    static const char *const others[] = {"\x02h2", "\x0ahttp/1.1.1", "\x07http/1.", "\x08http/1.0"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        visit = go((struct visit){.alpn = others[i]});
        ck_assert(!visit.done);
        ck_assert_int_eq(visit.error, SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL);
        end_visit(&visit);
    }
}
END_TEST

START_TEST(versions_suites_and_groups_are_those_of_the_configuration)
{
    put("a", "RSA", "DNS:a");
    publish(1, 0);
    use(LISTEN "certificates = ( " ONE(
        "a") " );\n"
             "tls = { suites_1_3 = [ \"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_AES_128_GCM_SHA256\" "
             "];\n"
             "  ciphers_1_2 = [ \"ECDHE-RSA-AES256-GCM-SHA384\" ]; groups = [ \"P-384\" ]; };\n");
    struct visit visit = go((struct visit){.version = TLS1_3_VERSION});
    ck_assert(visit.done);
    /* The client's order counts. */
    ck_assert_str_eq(visit.suite, "TLS_CHACHA20_POLY1305_SHA256");
    ck_assert_int_eq(visit.group, NID_secp384r1);
    end_visit(&visit);
    visit = go((struct visit){.version = TLS1_3_VERSION, .suites = "TLS_AES_256_GCM_SHA384"});
    ck_assert(!visit.done);
    end_visit(&visit);
    visit = go((struct visit){.version = TLS1_2_VERSION});
    ck_assert(visit.done);
    ck_assert_str_eq(visit.suite, "ECDHE-RSA-AES256-GCM-SHA384");
    end_visit(&visit);
    visit = go((struct visit){.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"});
    ck_assert(!visit.done);
    end_visit(&visit);
    visit = go((struct visit){.version = TLS1_2_VERSION, .ciphers = "AES256-GCM-SHA384"});
    ck_assert(!visit.done);
    end_visit(&visit);
    visit = go((struct visit){.groups = "X25519"});
    ck_assert(!visit.done);
    end_visit(&visit);
    visit = go((struct visit){.version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"});
    ck_assert(!visit.done);
    end_visit(&visit);
}
END_TEST

START_TEST(our_order_of_suites_counts_if_it_shall)
{
    static const char client_order[] = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";
    put("a", NULL, "DNS:a");
    publish(1, 0);
    for (int ours = 0; ours < 2; ours++) {
        char text[512];
        snprintf(text, sizeof text,
                 LISTEN "certificates = ( " ONE(
                     "a") " );\n"
                          "tls = { prefer_server_ciphers = %s; min_version = \"1.3\"; };\n",
                 ours ? "true" : "false");
        use(text);
        struct visit visit = go((struct visit){.suites = client_order});
        ck_assert_str_eq(visit.suite, ours ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384");
        end_visit(&visit);
        visit = go((struct visit){.version = TLS1_2_VERSION});
        ck_assert(!visit.done);
        ck_assert_int_eq(visit.error, SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION);
        end_visit(&visit);
    }
}
END_TEST

/* A client with a certificate of `issuer` comes; what the server says of it. */
static void client_certificate(const struct made *own, bool done, long verified, bool peer)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct visit visit = go((struct visit){.own = own, .version = versions[i]});
        ck_assert(visit.asked);
        ck_assert_int_eq(visit.done, done);
        if (done) {
            ck_assert_int_eq(SSL_get_verify_result(visit.server), verified);
            ck_assert_int_eq(SSL_get0_peer_certificate(visit.server) != NULL, peer);
        }
        end_visit(&visit);
    }
}

START_TEST(clients_are_asked_for_certificates_and_those_are_verified)
{
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    struct made good = cert_fixture_make(&(struct recipe){.common_name = "me", .issuer = &root});
    struct made old = cert_fixture_make(
        &(struct recipe){.common_name = "old", .issuer = &root, .from_days = -9, .to_days = -1});
    struct made stranger = cert_fixture_make(&(struct recipe){.common_name = "stranger"});
    cert_fixture_save(&root, "root");
    put("a", NULL, "DNS:a");
    publish(1, 0);
    use(LISTEN "certificates = ( " ONE("a") " );\n");
    struct visit visit = go((struct visit){.own = &good});
    ck_assert(visit.done && !visit.asked);
    end_visit(&visit);
    use(LISTEN "certificates = ( " ONE(
        "a") " );\n"
             "tls = { client_certificate = \"optional\"; client_ca = \"root.pem\"; };\n");
    client_certificate(NULL, true, X509_V_OK, false);
    client_certificate(&good, true, X509_V_OK, true);
    client_certificate(&stranger, false, 0, false);
    client_certificate(&old, false, 0, false);
    visit = go((struct visit){.own = NULL});
    const STACK_OF(X509_NAME) *asked = SSL_get0_peer_CA_list(visit.client);
    ck_assert_int_eq(sk_X509_NAME_num(asked), 1);
    ck_assert_int_eq(X509_NAME_cmp(sk_X509_NAME_value(asked, 0), X509_get_subject_name(root.x)), 0);
    end_visit(&visit);
    use(LISTEN "certificates = ( " ONE(
        "a") " );\n"
             "tls = { client_certificate = \"required\"; client_ca = \"root.pem\"; };\n");
    client_certificate(NULL, false, 0, false);
    client_certificate(&good, true, X509_V_OK, true);
    client_certificate(&stranger, false, 0, false);
    cert_fixture_free(&root);
    cert_fixture_free(&good);
    cert_fixture_free(&old);
    cert_fixture_free(&stranger);
}
END_TEST

START_TEST(an_ocsp_answer_is_stapled_to_its_certificate_while_it_holds)
{
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    struct made leaf = cert_fixture_make(
        &(struct recipe){.common_name = "a", .names = "DNS:a", .issuer = &root, .serial = 9});
    unsigned char *answer, *expired;
    size_t n = cert_fixture_ocsp(&leaf, &root, V_OCSP_CERTSTATUS_GOOD, 2, &answer);
    size_t expired_n = cert_fixture_ocsp(&leaf, &root, V_OCSP_CERTSTATUS_GOOD, -1, &expired);
    cert_fixture_save(&leaf, "a");
    put("b", NULL, "DNS:b");
    cert_fixture_write("a.ocsp", answer, n);
    publish(1, 0);
    use(LISTEN
        "certificates = ( { certificate = \"a.pem\"; key = \"a.key\"; ocsp = \"a.ocsp\"; }, " ONE(
            "b") " );\n");
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct visit visit = go((struct visit){.name = "a", .ask_ocsp = true, .version = version});
        ck_assert_int_eq(visit.staple, (long)n);
        end_visit(&visit);
        visit = go((struct visit){.name = "a", .version = version});
        ck_assert(visit.done);
        ck_assert_int_eq(visit.staple, 0);
        end_visit(&visit);
        visit = go((struct visit){.name = "b", .ask_ocsp = true, .version = version});
        ck_assert(visit.done);
        ck_assert_int_eq(visit.staple, 0);
        end_visit(&visit);
    }
    cert_fixture_write("a.ocsp", expired, expired_n);
    use(LISTEN "certificates = ( { certificate = \"a.pem\"; key = \"a.key\"; ocsp = \"a.ocsp\"; } "
               ");\n");
    struct visit visit = go((struct visit){.name = "a", .ask_ocsp = true});
    ck_assert(visit.done);
    ck_assert_int_eq(visit.staple, 0);
    end_visit(&visit);
    OPENSSL_free(answer);
    OPENSSL_free(expired);
    cert_fixture_free(&leaf);
    cert_fixture_free(&root);
}
END_TEST

/* The key under which the session's ticket is: what its name begins with, see publish. */
static int key_of(const SSL_SESSION *session)
{
    const unsigned char *bytes = NULL;
    size_t n = 0;
    SSL_SESSION_get0_ticket(session, &bytes, &n);
    return n > sizeof(struct ticket_key) ? bytes[0] : -1;
}

/* Come for a ticket; the session is the caller's. */
static SSL_SESSION *ticket(int version)
{
    struct visit visit = go((struct visit){.name = "a", .version = version});
    ck_assert(visit.done && !visit.resumed);
    SSL_SESSION *session = SSL_get1_session(visit.client);
    ck_assert_ptr_nonnull(session);
    end_visit(&visit);
    return session;
}

/* Come again with it: resumed or not, and then with a ticket under this key. */
static void comes_again(SSL_SESSION **session, bool resumed, int key)
{
    struct visit visit = {
        .name = "a", .version = SSL_SESSION_get_protocol_version(*session), .session = *session};
    talk(&visit, tls_contexts_server(contexts));
    ck_assert(visit.done);
    ck_assert_int_eq(visit.resumed, resumed);
    /* A ticket of TLS 1.3 is used once. */
    ck_assert(visit.version == TLS1_2_VERSION || visit.fresh);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(visit.client);
    ck_assert_int_eq(key_of(*session), key);
    end_visit(&visit);
}

static const char tickets_text[] = LISTEN "certificates = ( " ONE("a") " );\n";

START_TEST(a_ticket_is_good_at_any_worker_and_after_a_reload)
{
    put("a", NULL, "DNS:a");
    publish(1, 0);
    use(tickets_text);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_SESSION *session = ticket(version);
        ck_assert_uint_eq(SSL_SESSION_get_ticket_lifetime_hint(session), 12 * 3600);
        /* Another worker, or a successor: contexts of its own from the same memory. */
        struct tls_contexts *first = contexts;
        contexts = new_contexts();
        comes_again(&session, true, 1);
        tls_contexts_release(&first);
        /* The next generation, with a new certificate. */
        put("a", NULL, "DNS:a");
        use(tickets_text);
        comes_again(&session, true, 1);
        SSL_SESSION_free(session);
    }
}
END_TEST

START_TEST(a_ticket_outlives_one_change_of_the_key_and_not_two)
{
    put("a", NULL, "DNS:a");
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        publish(1, 0);
        use(tickets_text);
        SSL_SESSION *session = ticket(version);
        ck_assert_int_eq(key_of(session), 1);
        publish(2, 1);
        comes_again(&session, true, 2);
        publish(3, 2);
        comes_again(&session, true, 3); /* the ticket was renewed in between */
        publish(5, 4);
        comes_again(&session, false, 5);
        SSL_SESSION_free(session);
    }
}
END_TEST

START_TEST(without_a_key_or_with_tickets_off_every_visit_is_a_full_one)
{
    put("a", NULL, "DNS:a");
    for (int off = 0; off < 2; off++) {
        publish(1, 0);
        use(off ? LISTEN "certificates = ( " ONE("a") " );\ntls = { session_tickets = false; };\n"
                : tickets_text);
        if (!off) {
            struct ticket_set none = {.count = 0};
            tickets_publish(&tickets, &none, 0);
        }
        for (int version = TLS1_2_VERSION; off && version <= TLS1_3_VERSION; version++) {
            struct visit visit = go((struct visit){.name = "a", .version = version});
            ck_assert(visit.done);
            ck_assert(!visit.fresh || !SSL_SESSION_has_ticket(visit.fresh));
            end_visit(&visit);
        }
        struct visit visit = go((struct visit){.name = "a", .version = TLS1_2_VERSION});
        ck_assert(visit.done);
        ck_assert(!visit.fresh || !SSL_SESSION_has_ticket(visit.fresh));
        end_visit(&visit);
    }
}
END_TEST

/* A client comes while our clock is behind, and again with its ticket when its certificate has ended. */
static void come_again_late(const struct made *old, int version)
{
    X509_VERIFY_PARAM *verification = SSL_CTX_get0_param(tls_contexts_server(contexts));
    X509_VERIFY_PARAM_set_flags(verification, X509_V_FLAG_NO_CHECK_TIME);
    struct visit visit = go((struct visit){.version = version, .own = old});
    ck_assert(visit.done && visit.fresh);
    X509_VERIFY_PARAM_clear_flags(verification, X509_V_FLAG_NO_CHECK_TIME);
    struct visit again = go((struct visit){.version = version, .session = visit.fresh});
    ck_assert(again.asked && !again.done);
    end_visit(&again);
    end_visit(&visit);
}

/* What was verified for a ticket must be what would be asked for today, and hold today. */
START_TEST(a_ticket_does_not_pass_by_client_verification)
{
    struct made one = cert_fixture_make(&(struct recipe){.common_name = "1", .authority = true});
    struct made two = cert_fixture_make(&(struct recipe){.common_name = "2", .authority = true});
    struct made own = cert_fixture_make(&(struct recipe){.common_name = "me", .issuer = &one});
    struct made old = cert_fixture_make(
        &(struct recipe){.common_name = "me", .issuer = &one, .from_days = -9, .to_days = -1});
    static const char required[] = LISTEN "certificates = ( " ONE(
        "a") " );\n"
             "tls = { client_certificate = \"required\"; client_ca = \"root.pem\"; };\n";
    put("a", NULL, "DNS:a");
    publish(1, 0);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        use(tickets_text);
        SSL_SESSION *plain = ticket(version);
        cert_fixture_save(&one, "root");
        use(required);
        struct visit visit = go((struct visit){.name = "a", .version = version, .session = plain});
        ck_assert(!visit.done); /* a ticket of a time when nobody was asked */
        end_visit(&visit);
        visit = go((struct visit){.name = "a", .version = version, .own = &own});
        ck_assert(visit.done);
        SSL_SESSION *verified = visit.fresh;
        SSL_SESSION_up_ref(verified);
        end_visit(&visit);
        visit = go((struct visit){.name = "a", .version = version, .session = verified});
        ck_assert(visit.done && visit.resumed);
        ck_assert_ptr_nonnull(SSL_get0_peer_certificate(visit.server));
        end_visit(&visit);
        come_again_late(&old, version);
        cert_fixture_save(&two, "root");
        use(required);
        visit = go((struct visit){.name = "a", .version = version, .session = verified});
        ck_assert(!visit.done);
        end_visit(&visit);
        SSL_SESSION_free(plain);
        SSL_SESSION_free(verified);
    }
    cert_fixture_free(&one);
    cert_fixture_free(&two);
    cert_fixture_free(&own);
    cert_fixture_free(&old);
}
END_TEST

/* The test's server looks at nobody's certificate: it only asks. */
static int believe(X509_STORE_CTX *store, void *context)
{
    (void)store;
    (void)context;
    return 1;
}

/* Our client context meets a server of the test; `name` is what the server's certificate must have. */
static bool backend_connects(uint32_t upstream, const struct made *server, const char *name,
                             bool *shown)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    BIO *a, *b;
    ck_assert_int_eq(SSL_CTX_use_cert_and_key(context, server->x, server->key, NULL, 1), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, believe, NULL);
    SSL *ours = SSL_new(tls_contexts_backend(contexts, upstream)), *theirs = SSL_new(context);
    ck_assert_int_eq(BIO_new_bio_pair(&a, 1 << 17, &b, 1 << 17), 1);
    SSL_set_bio(ours, a, a);
    SSL_set_bio(theirs, b, b);
    SSL_set_connect_state(ours);
    SSL_set_accept_state(theirs);
    ck_assert_int_eq(SSL_set1_host(ours, name), 1);
    bool ours_done = false, theirs_done = false;
    for (int i = 0; i < 20 && !(ours_done && theirs_done); i++) {
        ours_done = SSL_do_handshake(ours) == 1;
        theirs_done = SSL_do_handshake(theirs) == 1;
    }
    *shown = SSL_get0_peer_certificate(theirs) != NULL;
    ERR_clear_error();
    SSL_free(ours);
    SSL_free(theirs);
    SSL_CTX_free(context);
    return ours_done;
}

START_TEST(servers_of_upstreams_are_verified_unless_that_is_turned_off)
{
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    struct made app = cert_fixture_make(&(struct recipe){.names = "DNS:app", .issuer = &root});
    struct made other = cert_fixture_make(&(struct recipe){.names = "DNS:app"});
    bool shown;
    cert_fixture_save(&root, "root");
    cert_fixture_save(&app, "app");
    use("listeners = ( { address = \"*:80\"; } );\nupstreams = (\n"
        "{ name = \"plain\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
        "{ name = \"safe\"; tls = true; tls_ca = \"root.pem\"; tls_server_name = \"app\";\n"
        "  servers = ( { address = \"10.0.0.1\"; } ); },\n"
        "{ name = \"any\"; tls = true; tls_verify = false;\n"
        "  servers = ( { address = \"10.0.0.1\"; } ); },\n"
        "{ name = \"shown\"; tls = true; tls_ca = \"root.pem\"; tls_server_name = \"app\";\n"
        "  tls_certificate = \"app.pem\"; tls_key = \"app.key\";\n"
        "  servers = ( { address = \"10.0.0.1\"; } ); } );\n");
    ck_assert_ptr_null(tls_contexts_server(contexts));
    ck_assert_ptr_null(tls_contexts_backend(contexts, 0));
    ck_assert(backend_connects(1, &app, "app", &shown));
    ck_assert(!shown);
    ck_assert(!backend_connects(1, &app, "other", &shown));
    ck_assert(!backend_connects(1, &other, "app", &shown));
    ck_assert(backend_connects(2, &other, "other", &shown));
    ck_assert(backend_connects(3, &app, "app", &shown));
    ck_assert(shown);
    ck_assert(!backend_connects(3, &other, "app", &shown));
    /* The same authorities are read once. */
    ck_assert_ptr_eq(SSL_CTX_get_cert_store(tls_contexts_backend(contexts, 1)),
                     SSL_CTX_get_cert_store(tls_contexts_backend(contexts, 3)));
    cert_fixture_free(&root);
    cert_fixture_free(&app);
    cert_fixture_free(&other);
}
END_TEST

START_TEST(keys_of_another_generation_are_refused)
{
    struct tls_contexts *none;
    put("a", NULL, "DNS:a");
    publish(1, 0);
    use(tickets_text);
    int old = dup(keys_fd);
    use(tickets_text);
    ck_assert_int_eq(tls_contexts_new(&none, fixture.image, old, tickets_fd), -ESTALE);
    ck_assert_ptr_null(none);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(tls_contexts_new(&none, fixture.image, null, tickets_fd), -EPROTO);
    ck_assert_int_eq(tls_contexts_new(&none, fixture.image, keys_fd, null), -EPROTO);
    /* An image without TLS asks for neither. */
    use("listeners = ( { address = \"*:80\"; } );\n");
    ck_assert_int_eq(tls_contexts_new(&none, fixture.image, null, null), 0);
    tls_contexts_release(&none);
    close(null);
    close(old);
}
END_TEST

START_TEST(contexts_live_until_their_last_reference_is_gone)
{
    put("a", NULL, "DNS:a");
    publish(1, 0);
    use(tickets_text);
    struct tls_contexts *held = tls_contexts_acquire(contexts);
    SSL_CTX *context = tls_contexts_server(held);
    ck_assert_ptr_eq(tls_contexts_server(held), context);
    use(tickets_text);
    ck_assert_ptr_ne(tls_contexts_server(contexts), context);
    struct visit visit = {.name = "a"};
    talk(&visit, tls_contexts_server(held));
    ck_assert(visit.done);
    end_visit(&visit);
    tls_contexts_release(&held);
    ck_assert_ptr_null(held);
    tls_contexts_release(&held);
}
END_TEST

static void add_tests(TCase *tcase)
{
    tcase_add_test(tcase, certificates_are_chosen_by_the_name_that_is_asked_for);
    tcase_add_test(tcase, a_client_gets_the_kind_of_key_that_it_can_verify);
    tcase_add_test(tcase, only_http_1_1_is_agreed_on);
    tcase_add_test(tcase, versions_suites_and_groups_are_those_of_the_configuration);
    tcase_add_test(tcase, our_order_of_suites_counts_if_it_shall);
    tcase_add_test(tcase, clients_are_asked_for_certificates_and_those_are_verified);
    tcase_add_test(tcase, an_ocsp_answer_is_stapled_to_its_certificate_while_it_holds);
    tcase_add_test(tcase, a_ticket_is_good_at_any_worker_and_after_a_reload);
    tcase_add_test(tcase, a_ticket_outlives_one_change_of_the_key_and_not_two);
    tcase_add_test(tcase, without_a_key_or_with_tickets_off_every_visit_is_a_full_one);
    tcase_add_test(tcase, a_ticket_does_not_pass_by_client_verification);
    tcase_add_test(tcase, servers_of_upstreams_are_verified_unless_that_is_turned_off);
    tcase_add_test(tcase, keys_of_another_generation_are_refused);
    tcase_add_test(tcase, contexts_live_until_their_last_reference_is_gone);
}

int main(void)
{
    TCase *tcase = tcase_create("tls_context");
    tcase_add_checked_fixture(tcase, setup, teardown);
    add_tests(tcase);
    tcase_set_timeout(tcase, 60);
    Suite *suite = suite_create("tls_context");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
