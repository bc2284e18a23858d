/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crypto_memory.h"
#include "test/unit/tls_fixture.h"
#include "worker/tls_parts.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

static SSL_CTX *server, *client;
static struct tls_engine *engine;
static struct tls_link link_;
static const char *why;

static void set_up(void)
{
    server = tls_fixture_server();
    client = tls_fixture_client();
    engine = tls_engine_new();
    ck_assert_ptr_nonnull(engine);
    why = "";
}

static void tear_down(void)
{
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    tls_engine_free(&engine);
    ck_assert_ptr_null(engine);
}

/* Ours is the server, or the client; the peer is plain. */
static void begin(bool ours_is_client, SSL_SESSION *session)
{
    if (ours_is_client) {
        tls_link_init(&link_, tls_handshake_connect(client, "Test.Example", session), server);
        return;
    }
    tls_link_init(&link_, tls_handshake_accept(server), client);
    SSL_set_tlsext_host_name(link_.peer, "Test.Example");
    if (session)
        ck_assert_int_eq(SSL_set_session(link_.peer, session), 1);
}

static void talk(struct tls_session *session)
{
    static const size_t sizes[] = {0, 1, 5, 64, 1000, 16383, 16384, 16385, 70000};
    uint8_t out[TLS_CONTROL_MAX];

    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            tls_link_from_peer(&link_, engine, session, sizes[i]);
            tls_link_to_peer(&link_, engine, session, sizes[i]);
        }
        if (session->version == TLS_1_2)
            continue;
        /* KeyUpdates from the peer, and ours: each with and without asking for the other's. */
        bool ask = round % 2 == 0;
        int type = ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
        ck_assert_int_eq(SSL_key_update(link_.peer, type), 1);
        int n = tls_record_update(engine, session, ask, out);
        ck_assert_int_gt(n, 0);
        ck_assert_int_eq(BIO_write(link_.to_peer, out, n), n);
    }
    tls_link_from_peer(&link_, engine, session, 3);
    tls_link_to_peer(&link_, engine, session, 3);
    if (session->version == TLS_1_3) {
        ck_assert_uint_ge(session->rx.updates, 4);
        ck_assert_uint_ge(session->tx.updates, 4);
    }
}

static void check_facts(const struct tls_facts *facts, const struct tls_case *suite, bool resumed,
                        bool ours_is_client)
{
    ck_assert_uint_eq(facts->cipher, suite->cipher);
    ck_assert_int_eq(facts->resumed, resumed);
    ck_assert_str_eq(facts->server_name, "test.example");
    ck_assert_str_eq(facts->alpn, "");
    ck_assert_int_eq(facts->client_verified, ours_is_client);
    ck_assert_int_eq(facts->peer_subject[0] != '\0', ours_is_client);
}

/* TLS 1.2 GCM: our explicit nonces go on behind the one that OpenSSL has used for Finished. */
static void check_nonce(struct tls_session session, const uint8_t *finished)
{
    uint8_t out[64];
    uint64_t theirs, ours;

    if (session.version != TLS_1_2 || session.suite == TLS_CHACHA20_POLY1305)
        return;
    ck_assert_int_gt(tls_record_seal(engine, &session, TLS_APPLICATION, out, 1, out + 16), 0);
    memcpy(&theirs, finished + TLS_RECORD_HEADER, sizeof theirs);
    memcpy(&ours, out + 16 + TLS_RECORD_HEADER, sizeof ours);
    ck_assert_uint_eq(be64toh(ours), be64toh(theirs) + 1);
}

START_TEST(every_suite_full_and_resumed_in_both_roles_gives_keys_that_work)
{
    const struct tls_case *suite = &tls_cases[_i / 4];
    bool ours_is_client = _i & 1, resumed = _i & 2;
    struct tls_facts facts;
    SSL_SESSION *before = resumed ? tls_fixture_session(server, client, suite) : NULL;

    begin(ours_is_client, before);
    tls_fixture_restrict(link_.peer, suite);
    ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s: %s", suite->name, why);
    uint8_t finished[5 + 8 + 16 + 16]; /* the last record of ours in TLS 1.2 */
    memcpy(finished, tls_handshake_output(link_.ours).p - sizeof finished, sizeof finished);
    struct tls_session session = tls_link_export(&link_, engine, &facts);
    check_nonce(session, finished);
    ck_assert_int_eq(session.version, suite->version);
    ck_assert_int_eq(session.suite, suite->suite);
    ck_assert_int_eq(session.flags, ours_is_client ? TLS_CLIENT_ROLE : 0);
    bool is_13 = suite->version == TLS_1_3;
    ck_assert_uint_eq(session.rx.seq, is_13 ? 0 : 1);
    ck_assert_uint_eq(session.tx.seq, !is_13 || !ours_is_client); /* Finished, or one ticket */
    check_facts(&facts, suite, resumed, ours_is_client);
    talk(&session);
    tls_link_goodbye(&link_, engine, &session);
    SSL_SESSION_free(before);
    tls_link_fini(&link_);
}
END_TEST

START_TEST(data_of_all_sizes_goes_both_ways)
{
    begin(false, NULL);
    tls_fixture_restrict(link_.peer, &tls_cases[_i]);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    struct tls_session session = tls_link_export(&link_, engine, NULL);
    for (size_t n = 0; n <= 70000; n += n < 600 ? 1 : n % 16384 > 16380 || n % 16384 < 3 ? 1 : 61) {
        tls_link_from_peer(&link_, engine, &session, n);
        tls_link_to_peer(&link_, engine, &session, n);
    }
    tls_link_goodbye(&link_, engine, &session);
    tls_link_fini(&link_);
}
END_TEST

START_TEST(bytes_behind_the_handshake_stay_ours)
{
    for (size_t i = 0; i < TLS_CASES; i++) {
        begin(false, NULL);
        tls_fixture_restrict(link_.peer, &tls_cases[i]);
        link_.greeting = tls_cases[i].version == TLS_1_3 ? 65456 : 0;
        ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
        struct tls_session session = tls_link_export(&link_, engine, NULL);
        tls_link_expect(&link_, engine, &session, link_.greeting);
        tls_link_to_peer(&link_, engine, &session, 100);
        tls_link_fini(&link_);
    }
}
END_TEST

START_TEST(any_number_of_tickets_is_counted)
{
    for (size_t tickets = 0; tickets <= 4; tickets++) {
        SSL_CTX_set_num_tickets(server, tickets);
        for (int role = 0; role < 2; role++) {
            begin(role, NULL);
            tls_fixture_restrict(link_.peer, &tls_cases[1]);
            ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
            struct tls_session session = tls_link_export(&link_, engine, NULL);
            ck_assert_uint_eq(session.tx.seq, role ? 0 : tickets);
            talk(&session);
            ck_assert_uint_eq(session.hs_skip, 0);
            tls_link_fini(&link_);
        }
    }
}
END_TEST

/* A client's key share is for the first group that it names. */
START_TEST(a_hello_retry_request_is_survived)
{
    ck_assert_int_eq(SSL_CTX_set1_groups_list(server, "X25519"), 1);
    ck_assert_int_eq(SSL_CTX_set1_groups_list(client, "P-384:X25519"), 1);
    for (int role = 0; role < 2; role++) {
        begin(role, NULL);
        ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s", why);
        ck_assert_int_eq(SSL_get_negotiated_group(link_.peer), NID_X25519);
        struct tls_session session = tls_link_export(&link_, engine, NULL);
        talk(&session);
        tls_link_fini(&link_);
    }
}
END_TEST

START_TEST(a_negotiated_fragment_length_is_kept)
{
    for (int code = 1; code <= 4; code++) {
        for (size_t i = 0; i < 4; i += 3) {
            begin(false, NULL);
            tls_fixture_restrict(link_.peer, &tls_cases[i]);
            ck_assert_int_eq(SSL_set_tlsext_max_fragment_length(link_.peer, (uint8_t)code), 1);
            ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
            struct tls_session session = tls_link_export(&link_, engine, NULL);
            ck_assert_uint_eq(tls_record_content_max(&session), 256u << code);
            talk(&session);
            uint8_t big[8192] = {0}, out[8300];
            ck_assert_int_lt(
                tls_record_seal(engine, &session, TLS_APPLICATION, big, (256u << code) + 1, out),
                0);
            tls_link_fini(&link_);
        }
    }
}
END_TEST

/* A ticket holds the client's certificate: it may need more records than one. */
START_TEST(a_ticket_may_be_cut_over_our_records)
{
    static const uint8_t codes[] = {TLSEXT_max_fragment_length_512,
                                    TLSEXT_max_fragment_length_1024};
    tls_fixture_identify(client);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    for (uint32_t tickets = 1; tickets <= 3; tickets++) {
        SSL_CTX_set_num_tickets(server, tickets);
        for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
            begin(false, NULL);
            tls_fixture_restrict(link_.peer, &tls_cases[0]);
            ck_assert_int_eq(SSL_set_tlsext_max_fragment_length(link_.peer, codes[i]), 1);
            ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s", why);
            struct tls_session session = tls_link_export(&link_, engine, NULL);
            /* Of some 800 bytes. */
            ck_assert_uint_eq(session.tx.seq, i == 0 ? 2 * tickets : tickets);
            talk(&session);
            tls_link_fini(&link_);
        }
    }
}
END_TEST

START_TEST(a_client_certificate_is_told_full_and_resumed)
{
    struct tls_facts facts;

    tls_fixture_identify(client);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    for (int i = 0; i < 8; i++) {
        const struct tls_case *suite = &tls_cases[i & 1 ? 3 : 0];
        SSL_SESSION *before = i & 2 ? tls_fixture_session(server, client, suite) : NULL;
        begin(false, before);
        tls_fixture_restrict(link_.peer, suite);
        ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s", why);
        struct tls_session session = tls_link_export(&link_, engine, &facts);
        talk(&session);
        ck_assert_int_eq(facts.resumed, before != NULL);
        ck_assert(facts.client_verified);
        ck_assert_str_eq(facts.peer_subject, "C=XX,CN=client");
        ck_assert_str_eq(facts.peer_issuer, "C=XX,CN=client");
        ck_assert_str_eq(facts.peer_serial, "1234");
        ck_assert_uint_eq(strlen(facts.peer_fingerprint), 64);
        tls_link_fini(&link_);
        SSL_SESSION_free(before);
    }
}
END_TEST

/* Servers that ask for a certificate and do not insist. */
START_TEST(a_client_without_certificate_is_not_verified)
{
    struct tls_facts facts;

    SSL_CTX_set_verify(server, SSL_VERIFY_PEER, NULL);
    begin(false, NULL);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    tls_link_export(&link_, engine, &facts);
    ck_assert(!facts.client_verified);
    ck_assert_str_eq(facts.peer_subject, "");
    ck_assert_str_eq(facts.peer_fingerprint, "");
    tls_link_fini(&link_);

    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    begin(false, NULL);
    ck_assert_int_eq(tls_link_shake(&link_, &why), -EPROTO);
    ck_assert_str_eq(why, "peer did not return a certificate");
    tls_link_fini(&link_);
}
END_TEST

static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                  const unsigned char *in, unsigned in_n, void *argument)
{
    (void)ssl;
    (void)in_n;
    (void)argument;
    *out = in + 1;
    *out_n = in[0];
    return SSL_TLSEXT_ERR_OK;
}

START_TEST(the_protocol_that_was_agreed_on_is_told)
{
    struct tls_facts facts;
    char long_name[200];

    SSL_CTX_set_alpn_select_cb(server, choose, NULL);
    memset(long_name, 'a', sizeof long_name);
    long_name[0] = (char)(sizeof long_name - 1);
    for (int i = 0; i < 2; i++) {
        begin(false, NULL);
        const char *offer = i ? long_name : "\x08http/1.1";
        unsigned n = i ? sizeof long_name : 9;
        ck_assert_int_eq(SSL_set_alpn_protos(link_.peer, (const uint8_t *)offer, n), 0);
        ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
        tls_link_export(&link_, engine, &facts);
        ck_assert_str_eq(facts.alpn, i ? "aaaaaaaaaaaaaaa" : "http/1.1");
        tls_link_fini(&link_);
    }
}
END_TEST

START_TEST(a_client_checks_names_and_addresses)
{
    static const struct {
        const char *name, *why;
    } rows[] = {{"test.example", NULL},
                {"127.0.0.1", NULL},
                {NULL, NULL},
                {"other.example", "hostname mismatch"},
                {"127.0.0.2", "IP address mismatch"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tls_facts facts;
        tls_link_init(&link_, tls_handshake_connect(client, rows[i].name, NULL), server);
        int rc = tls_link_shake(&link_, &why);
        if (rows[i].why) {
            ck_assert_int_eq(rc, -EPROTO);
            ck_assert_str_eq(why, rows[i].why);
        } else {
            ck_assert_int_eq(rc, 1);
            tls_link_export(&link_, engine, &facts);
            ck_assert_str_eq(facts.server_name, i == 0 ? "test.example" : "");
            ck_assert(facts.client_verified);
        }
        tls_link_fini(&link_);
    }
    /* No name at all: for those only who do not care. */
    ck_assert_ptr_null(tls_handshake_connect(client, "", NULL));
    SSL_CTX_set_verify(client, SSL_VERIFY_NONE, NULL);
    tls_link_init(&link_, tls_handshake_connect(client, "", NULL), server);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    ck_assert_ptr_null(SSL_get_servername(link_.peer, TLSEXT_NAMETYPE_host_name));
    tls_link_fini(&link_);
}
END_TEST

START_TEST(a_client_that_trusts_nobody_says_so_to_its_peer)
{
    SSL_CTX *distrustful = tls_handshake_context(TLS_client_method());

    SSL_CTX_set_verify(distrustful, SSL_VERIFY_PEER, NULL);
    tls_link_init(&link_, tls_handshake_connect(distrustful, "test.example", NULL), server);
    ck_assert_int_eq(tls_link_shake(&link_, &why), -EPROTO);
    ck_assert_str_eq(why, "self-signed certificate");
    /* The alert was in the output. */
    char byte;
    ck_assert_int_lt(SSL_read(link_.peer, &byte, 1), 0);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_UNKNOWN_CA);
    tls_link_fini(&link_);
    SSL_CTX_free(distrustful);
}
END_TEST

/* What a peer that cannot be served gets, and what is said of it. */
START_TEST(failures_are_told_in_words)
{
    SSL_CTX *distrustful = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_verify(distrustful, SSL_VERIFY_PEER, NULL);
    tls_link_init(&link_, tls_handshake_accept(server), distrustful);
    ck_assert_int_eq(tls_link_shake(&link_, &why), -EPROTO);
    ck_assert_str_eq(why, "unknown CA");
    tls_link_fini(&link_);
    SSL_CTX_free(distrustful);

    begin(false, NULL);
    SSL_set_max_proto_version(link_.peer, TLS1_2_VERSION);
    SSL_set_cipher_list(link_.peer, "ECDHE+AES+SHA");
    ck_assert_int_eq(tls_link_shake(&link_, &why), -EPROTO);
    ck_assert_str_eq(why, "no shared cipher");
    tls_link_fini(&link_);

    begin(false, NULL);
    SSL_set_security_level(link_.peer, 0);
    SSL_set_min_proto_version(link_.peer, TLS1_VERSION);
    SSL_set_max_proto_version(link_.peer, TLS1_1_VERSION);
    SSL_set_cipher_list(link_.peer, "ALL");
    ck_assert_int_eq(tls_link_shake(&link_, &why), -EPROTO);
    ck_assert_str_eq(why, "unsupported protocol");
    tls_link_fini(&link_);

    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 45};
    begin(true, NULL);
    ck_assert_int_eq(tls_handshake_feed(link_.ours, NULL, 0, &why), 0);
    ck_assert_int_eq(tls_handshake_feed(link_.ours, alert, sizeof alert, &why), -EPROTO);
    ck_assert_str_eq(why, "certificate expired");
    tls_link_fini(&link_);

    static const uint8_t closing[] = {21, 3, 3, 0, 2, 1, 0};
    begin(true, NULL);
    ck_assert_int_eq(tls_handshake_feed(link_.ours, NULL, 0, &why), 0);
    ck_assert_int_eq(tls_handshake_feed(link_.ours, closing, sizeof closing, &why), -EPROTO);
    ck_assert_str_eq(why, "closed by the peer");
    tls_link_fini(&link_);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}
END_TEST

START_TEST(what_is_not_tls_is_told_from_its_first_bytes)
{
    struct tls_handshake *ours = tls_handshake_accept(server);

    for (int first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        int rc = tls_handshake_need(ours, &byte, 1);
        ck_assert_int_eq(rc, first == TLS_HANDSHAKE ? 0 : -EPROTONOSUPPORT);
    }
    ck_assert_int_eq(tls_handshake_need(ours, (const uint8_t *)"GET / HTTP/1.1\r\n", 16),
                     -EPROTONOSUPPORT);
    ck_assert_int_eq(tls_handshake_need(ours, (const uint8_t *)"\x80\x2e\x01\x03\x01", 5),
                     -EPROTONOSUPPORT);
    ck_assert_int_eq(tls_handshake_need(ours, (const uint8_t *)"\x16\x02", 2), -EPROTONOSUPPORT);
    ck_assert_int_eq(tls_handshake_need(ours, (const uint8_t *)"\x16\x03\x01\x41\x00", 5), 16645);
    ck_assert_int_eq(tls_handshake_need(ours, (const uint8_t *)"\x16\x03\x01\x41\x01", 5),
                     -EMSGSIZE);
    tls_handshake_free(&ours);
    ck_assert_ptr_null(ours);
    tls_handshake_free(&ours);
}
END_TEST

/* A client's first flight, cut into records of `piece` bytes. Returns what came of it. */
static int feed_hello_in_pieces(size_t piece, unsigned *records)
{
    int rc = 0;

    begin(false, NULL);
    SSL_do_handshake(link_.peer);
    tls_link_fetch(&link_);
    size_t n = link_.n - TLS_RECORD_HEADER;
    *records = 0;
    for (size_t at = 0; rc == 0 && at < n; at += piece) {
        uint8_t record[TLS_RECORD_HEADER + 600] = {TLS_HANDSHAKE, 3, 1};
        size_t part = n - at < piece ? n - at : piece;
        record[3] = (uint8_t)(part >> 8);
        record[4] = (uint8_t)part;
        memcpy(record + TLS_RECORD_HEADER, link_.bytes + TLS_RECORD_HEADER + at, part);
        rc = tls_handshake_feed(link_.ours, record, TLS_RECORD_HEADER + part, &why);
        ++*records;
    }
    if (rc == 0)
        ck_assert_uint_gt(tls_handshake_output(link_.ours).n, 0);
    tls_link_fini(&link_);
    return rc;
}

START_TEST(a_handshake_in_small_records_works_and_one_in_too_many_ends)
{
    unsigned records;

    for (size_t piece = 2; piece < 600; piece++)
        ck_assert_msg(feed_hello_in_pieces(piece, &records) == 0, "%zu: %s", piece, why);
    ck_assert_int_eq(feed_hello_in_pieces(1, &records), -EPROTO);
    ck_assert_str_eq(why, "too many records");
    ck_assert_uint_eq(records, 257);
}
END_TEST

/* Hellos with any byte altered are answered, refused or waited on, and leave nothing behind. */
START_TEST(an_altered_hello_harms_nobody)
{
    for (size_t at = 0;; at++) {
        begin(false, NULL);
        SSL_do_handshake(link_.peer);
        tls_link_fetch(&link_);
        if (at >= link_.n) {
            tls_link_fini(&link_);
            break;
        }
        link_.bytes[at] ^= (uint8_t)(1 + at % 255);
        int whole = tls_handshake_need(link_.ours, link_.bytes, link_.n);
        if (whole > 0 && (size_t)whole <= link_.n)
            ck_assert_int_le(tls_handshake_feed(link_.ours, link_.bytes, (size_t)whole, &why), 0);
        ck_assert_uint_eq(ERR_peek_error(), 0);
        tls_link_fini(&link_);
    }
}
END_TEST

/* The client's answer to the server's flight: whatever is altered in it, nothing is exported. */
START_TEST(an_altered_finish_never_ends_a_handshake)
{
    for (size_t i = 0; i < 4; i += 3) {
        for (size_t at = 0, n = 1; at < n; at++) {
            begin(false, NULL);
            tls_fixture_restrict(link_.peer, &tls_cases[i]);
            SSL_do_handshake(link_.peer);
            tls_link_fetch(&link_);
            ck_assert_int_eq(tls_handshake_feed(link_.ours, link_.bytes, link_.n, &why), 0);
            struct slice flight = tls_handshake_output(link_.ours);
            BIO_write(link_.to_peer, flight.p, (int)flight.n);
            link_.n = 0;
            SSL_do_handshake(link_.peer);
            tls_link_fetch(&link_);
            n = link_.n;
            link_.bytes[at] ^= 0x40;
            int rc = 0;
            for (size_t from = 0; rc == 0 && from < link_.n;) {
                int whole = tls_handshake_need(link_.ours, link_.bytes + from, link_.n - from);
                if (whole <= 0 || (size_t)whole > link_.n - from)
                    break;
                rc = tls_handshake_feed(link_.ours, link_.bytes + from, (size_t)whole, &why);
                from += (size_t)whole;
            }
            ck_assert_msg(rc <= 0, "byte %zu of %zu", at, n);
            tls_link_fini(&link_);
        }
    }
}
END_TEST

static void refuse_export(const char *expected)
{
    struct tls_session session;
    struct tls_facts facts;
    static const struct tls_session empty;

    ck_assert_int_eq(tls_handshake_export(link_.ours, engine, &session, &facts, &why), -EPROTO);
    ck_assert_str_eq(why, expected);
    ck_assert(memcmp(&session, &empty, sizeof empty) == 0);
    tls_link_fini(&link_);
}

static void expect_no_export(const char *expected)
{
    ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s", why);
    refuse_export(expected);
}

static int switch_context(SSL *ssl, int *alert, void *other)
{
    (void)alert;
    SSL_set_SSL_CTX(ssl, other);
    return SSL_TLSEXT_ERR_OK;
}

static int switch_suites(SSL *ssl, int *alert, void *other)
{
    switch_context(ssl, alert, other);
    return SSL_set_ciphersuites(ssl, "TLS_AES_128_CCM_SHA256") == 1 ? SSL_CLIENT_HELLO_SUCCESS
                                                                    : SSL_CLIENT_HELLO_ERROR;
}

START_TEST(keys_that_do_not_fit_are_not_exported)
{
    SSL_CTX *other = SSL_CTX_new(TLS_server_method());

    /* A context that derives keys without us, switched to by SNI. */
    SSL_CTX_use_certificate(other, SSL_CTX_get0_certificate(server));
    SSL_CTX_use_PrivateKey(other, SSL_CTX_get0_privatekey(server));
    SSL_CTX_set_tlsext_servername_callback(server, switch_context);
    SSL_CTX_set_tlsext_servername_arg(server, other);
    begin(false, NULL);
    expect_no_export("the secrets have not gone by");

    /* A suite that the record layer does not have, and our contexts neither. */
    SSL_CTX_set_client_hello_cb(server, switch_suites, other);
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());
    tls_link_init(&link_, tls_handshake_accept(server), plain);
    ck_assert_int_eq(SSL_set_ciphersuites(link_.peer, "TLS_AES_128_CCM_SHA256"), 1);
    expect_no_export("a suite that the record layer does not have");
    SSL_CTX_set_client_hello_cb(server, NULL, NULL);
    SSL_CTX_set_tlsext_servername_callback(server, NULL);
    SSL_CTX_free(other);
    SSL_CTX_free(plain);

    /* A secret that is not the one in use. */
    begin(false, NULL);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    link_.ours->tx.secret[0] ^= 1;
    refuse_export("self check: the exported keys do not open our own records");
}
END_TEST

/* Tickets carry sessions: a number to look them up by would be 32 random bytes for nothing. */
START_TEST(sessions_have_no_number_worth_making)
{
    unsigned int n;

    begin(false, NULL);
    tls_fixture_restrict(link_.peer, &tls_cases[0]);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    SSL_SESSION_get_id(SSL_get0_session(link_.ours->ssl), &n);
    ck_assert_uint_eq(n, 1);
    tls_link_fini(&link_);
}
END_TEST

/* If it were told a number, it would offer that, and take the same one for a session resumed. */
START_TEST(a_client_of_tls_1_2_without_tickets_comes_again)
{
    SSL_SESSION *kept = NULL;
    unsigned int n;

    for (int i = 0; i < 3; i++) {
        begin(false, kept);
        tls_fixture_restrict(link_.peer, &tls_cases[3]);
        SSL_set_options(link_.peer, SSL_OP_NO_TICKET);
        ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s", why);
        ck_assert(!SSL_session_reused(link_.peer));
        SSL_SESSION_free(kept);
        kept = SSL_get1_session(link_.peer);
        SSL_SESSION_get_id(kept, &n);
        ck_assert_uint_eq(n, 0);
        tls_link_fini(&link_);
    }
    SSL_SESSION_free(kept);
}
END_TEST

/* The last record that OpenSSL wrote is a ticket or Finished: altered, it must not pass. */
START_TEST(the_self_check_reads_the_records_that_were_sent)
{
    for (size_t i = 0; i < TLS_CASES; i++) {
        struct tls_session session;
        struct tls_facts facts;
        begin(i % 2, NULL);
        if (i < 3) {
            tls_link_fini(&link_);
            begin(false, NULL); /* a client sends nothing under its keys in TLS 1.3 */
        }
        tls_fixture_restrict(link_.peer, &tls_cases[i]);
        ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
        struct slice after = tls_handshake_output(link_.ours);
        ck_assert_uint_eq(after.n, 0);
        *((char *)(uintptr_t)after.p - 1) ^= 1;
        ck_assert_int_eq(tls_handshake_export(link_.ours, engine, &session, &facts, &why), -EPROTO);
        ck_assert_str_eq(why, "self check: the exported keys do not open our own records");
        tls_link_fini(&link_);
    }
}
END_TEST

START_TEST(a_client_can_resume_what_it_has_exported_in_tls_1_2)
{
    struct tls_facts facts;
    struct ssl_session_st *kept = NULL;

    for (int i = 0; i < 3; i++) {
        begin(true, kept);
        tls_fixture_restrict(link_.peer, &tls_cases[3]);
        ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
        struct tls_session session = tls_link_export(&link_, engine, &facts);
        ck_assert_int_eq(facts.resumed, i > 0);
        SSL_SESSION_free(kept);
        kept = tls_handshake_take_session(link_.ours);
        ck_assert_ptr_nonnull(kept);
        ck_assert_ptr_null(tls_handshake_take_session(link_.ours));
        talk(&session);
        tls_link_fini(&link_);
    }
    SSL_SESSION_free(kept);
    begin(true, NULL);
    tls_fixture_restrict(link_.peer, &tls_cases[0]);
    ck_assert_int_eq(tls_link_shake(&link_, &why), 1);
    tls_link_export(&link_, engine, &facts);
    ck_assert_ptr_null(tls_handshake_take_session(link_.ours));
    tls_link_fini(&link_);
}
END_TEST

/* Output that is not sent yet is there after the export, too. */
START_TEST(output_is_sent_in_pieces)
{
    struct tls_session session;
    struct tls_facts facts;

    begin(false, NULL);
    tls_fixture_restrict(link_.peer, &tls_cases[0]);
    SSL_do_handshake(link_.peer);
    tls_link_fetch(&link_);
    ck_assert_int_eq(tls_handshake_feed(link_.ours, link_.bytes, link_.n, &why), 0);
    link_.n = 0;
    while (tls_handshake_output(link_.ours).n > 0) {
        BIO_write(link_.to_peer, tls_handshake_output(link_.ours).p, 1);
        tls_handshake_sent(link_.ours, 1);
    }
    ck_assert_int_eq(SSL_do_handshake(link_.peer), 1);
    tls_link_fetch(&link_);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < link_.n;) {
        int whole = tls_handshake_need(link_.ours, link_.bytes + at, link_.n - at);
        rc = tls_handshake_feed(link_.ours, link_.bytes + at, (size_t)whole, &why);
        at += (size_t)whole;
    }
    link_.n = 0;
    ck_assert_int_eq(rc, 1);
    ck_assert_int_eq(tls_handshake_export(link_.ours, engine, &session, &facts, &why), 0);
    struct slice ticket = tls_handshake_output(link_.ours);
    ck_assert_uint_gt(ticket.n, 100);
    BIO_write(link_.to_peer, ticket.p, (int)ticket.n);
    tls_handshake_sent(link_.ours, ticket.n);
    ck_assert_uint_eq(tls_handshake_output(link_.ours).n, 0);
    talk(&session);
    tls_link_fini(&link_);
}
END_TEST

static TCase *cases(void)
{
    TCase *tcase = tcase_create("tls_handshake");
    tcase_set_timeout(tcase, 120);
    tcase_add_unchecked_fixture(tcase, tls_fixture_init, NULL);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, every_suite_full_and_resumed_in_both_roles_gives_keys_that_work, 0,
                        TLS_CASES * 4);
    tcase_add_loop_test(tcase, data_of_all_sizes_goes_both_ways, 0, 4);
    tcase_add_test(tcase, bytes_behind_the_handshake_stay_ours);
    tcase_add_test(tcase, any_number_of_tickets_is_counted);
    tcase_add_test(tcase, a_hello_retry_request_is_survived);
    tcase_add_test(tcase, a_negotiated_fragment_length_is_kept);
    tcase_add_test(tcase, a_ticket_may_be_cut_over_our_records);
    tcase_add_test(tcase, a_client_certificate_is_told_full_and_resumed);
    tcase_add_test(tcase, a_client_without_certificate_is_not_verified);
    tcase_add_test(tcase, the_protocol_that_was_agreed_on_is_told);
    tcase_add_test(tcase, a_client_checks_names_and_addresses);
    tcase_add_test(tcase, a_client_that_trusts_nobody_says_so_to_its_peer);
    tcase_add_test(tcase, failures_are_told_in_words);
    tcase_add_test(tcase, what_is_not_tls_is_told_from_its_first_bytes);
    tcase_add_test(tcase, a_handshake_in_small_records_works_and_one_in_too_many_ends);
    tcase_add_test(tcase, an_altered_hello_harms_nobody);
    tcase_add_test(tcase, an_altered_finish_never_ends_a_handshake);
    tcase_add_test(tcase, keys_that_do_not_fit_are_not_exported);
    tcase_add_test(tcase, sessions_have_no_number_worth_making);
    tcase_add_test(tcase, a_client_of_tls_1_2_without_tickets_comes_again);
    tcase_add_test(tcase, the_self_check_reads_the_records_that_were_sent);
    tcase_add_test(tcase, a_client_can_resume_what_it_has_exported_in_tls_1_2);
    tcase_add_test(tcase, output_is_sent_in_pieces);
    return tcase;
}

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_handshake");
    suite_add_tcase(suite, cases());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
