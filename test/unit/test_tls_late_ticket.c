/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that a client takes from its servers: with the handshake in TLS 1.2, behind it in TLS 1.3. */
#include "common/crypto_memory.h"
#include "test/unit/tls_fixture.h"
#include "worker/tls_handshake.h"

#include <check.h>
#include <openssl/err.h>
#include <stdlib.h>

static SSL_CTX *server, *client;
static struct tls_engine *engine;
static struct tls_link link_; /* its `ours` is freed when no ticket is awaited any more */
static struct tls_facts facts;
static SSL_SESSION *kept; /* the newest that was taken */
static unsigned taken;

static void set_up(void)
{
    server = tls_fixture_server();
    client = tls_fixture_client();
    engine = tls_engine_new();
    ck_assert_ptr_nonnull(engine);
}

static void tear_down(void)
{
    SSL_SESSION_free(kept);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    tls_engine_free(&engine);
}

static void take(void)
{
    SSL_SESSION *session = tls_handshake_take_session(link_.ours);
    if (!session)
        return;
    ck_assert(SSL_SESSION_is_resumable(session));
    ck_assert_ptr_null(tls_handshake_take_session(link_.ours));
    SSL_SESSION_free(kept);
    kept = session;
    taken++;
}

/* A handshake that offers what was kept, exported. */
static struct tls_session meet(const struct tls_case *suite)
{
    const char *why = "";
    taken = 0;
    tls_link_init(&link_, tls_handshake_connect(client, "test.example", kept), server);
    tls_fixture_restrict(link_.peer, suite);
    ck_assert_msg(tls_link_shake(&link_, &why) == 1, "%s: %s", suite->name, why);
    struct tls_session session = tls_link_export(&link_, engine, &facts);
    take();
    ck_assert_int_eq(tls_handshake_awaits_ticket(link_.ours), suite->version == TLS_1_3);
    if (suite->version == TLS_1_2)
        tls_handshake_free(&link_.ours);
    return session;
}

/* One record as it comes after the handshake. Returns the bytes of content. */
static size_t receive_record(struct tls_session *session, const uint8_t *record, size_t n)
{
    uint8_t content[TLS_RECORD_MAX];
    enum tls_record_type type;
    ck_assert_int_eq(tls_record_need(session, record, n), (int)n);
    int size = tls_record_open(engine, session, record, n, content, &type);
    ck_assert_int_ge(size, 0);
    if (type != TLS_APPLICATION)
        ck_assert_int_eq(tls_record_control(session, type, content, (size_t)size), 0);
    if (link_.ours) {
        bool more = type == TLS_HANDSHAKE && tls_handshake_ticket(link_.ours, record, n);
        ck_assert_int_eq(tls_handshake_awaits_ticket(link_.ours), type != TLS_HANDSHAKE || more);
        ck_assert_uint_eq(ERR_peek_error(), 0);
        take();
        if (!more)
            tls_handshake_free(&link_.ours);
    }
    return type == TLS_APPLICATION ? (size_t)size : 0;
}

/* All that the peer has written. */
static size_t receive(struct tls_session *session)
{
    size_t content = 0;
    tls_link_fetch(&link_);
    for (size_t at = 0, n; at < link_.n; at += n) {
        n = TLS_RECORD_HEADER + (size_t)(link_.bytes[at + 3] << 8 | link_.bytes[at + 4]);
        content += receive_record(session, link_.bytes + at, n);
    }
    link_.n = 0;
    return content;
}

static void talk(struct tls_session *session)
{
    for (size_t n = 1; n < 70000; n *= 3) {
        tls_link_to_peer(&link_, engine, session, n);
        tls_link_from_peer(&link_, engine, session, n);
    }
}

static void set_tickets(size_t n)
{
    SSL_CTX_set_num_tickets(server, n);
    if (n == 0)
        SSL_CTX_set_options(server, SSL_OP_NO_TICKET);
}

/* Three connections, each by the session of the one before it, if there is one. */
static void meet_thrice(const struct tls_case *suite, size_t tickets)
{
    bool is_13 = suite->version == TLS_1_3;
    for (int i = 0; i < 3; i++) {
        struct tls_session session = meet(suite);
        ck_assert_int_eq(facts.resumed, i > 0 && tickets > 0);
        ck_assert(facts.client_verified);
        ck_assert_uint_eq(receive(&session), 0);
        size_t sent = i > 0 && tickets > 1 ? 1 : tickets; /* OpenSSL sends one after a resumption */
        size_t expected = sent > 2 ? 2 : sent;
        ck_assert_uint_eq(taken, is_13 ? expected : tickets > 0);
        ck_assert_int_eq(link_.ours == NULL, !is_13 || expected == 2);
        talk(&session);
        tls_link_goodbye(&link_, engine, &session);
        tls_link_fini(&link_);
    }
}

START_TEST(sessions_are_resumed_by_every_suite_with_any_number_of_tickets)
{
    set_tickets((size_t)_i % 4);
    meet_thrice(&tls_cases[_i / 4], (size_t)_i % 4);
}
END_TEST

static struct tls_session meet_without_tickets(void)
{
    SSL_CTX_set_num_tickets(server, 0);
    return meet(&tls_cases[0]);
}

/* What OpenSSL has not seen it cannot go on from. */
START_TEST(a_ticket_behind_content_is_passed_over)
{
    struct tls_session session = meet_without_tickets();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(SSL_write(link_.peer, "data", 4), 4);
        ck_assert_uint_eq(receive(&session), 4);
        ck_assert_ptr_null(link_.ours);
        ck_assert_int_eq(SSL_new_session_ticket(link_.peer), 1); /* goes out with what follows */
    }
    ck_assert_uint_eq(taken, 0);
    talk(&session);
    tls_link_fini(&link_);
}
END_TEST

/* The plaintext of the ticket that the peer sends now. Nothing of it is received. */
static size_t peek_ticket(const struct tls_session *session, uint8_t *content)
{
    struct tls_session copy = *session;
    enum tls_record_type type;
    ck_assert_int_eq(SSL_new_session_ticket(link_.peer), 1);
    ck_assert_int_eq(SSL_do_handshake(link_.peer), 1);
    tls_link_fetch(&link_);
    int n = tls_record_open(engine, &copy, link_.bytes, link_.n, content, &type);
    link_.n = 0;
    ck_assert_int_gt(n, 100);
    ck_assert_int_eq(type, TLS_HANDSHAKE);
    return (size_t)n;
}

static size_t receive_forged(struct tls_session *session, struct tls_session *peer, uint8_t type,
                             const uint8_t *content, size_t n)
{
    uint8_t record[TLS_RECORD_MAX];
    return receive_record(session, record, tls_forge_record(peer, type, content, n, 0, record));
}

static void expect_resumption(void)
{
    struct tls_session session = meet(&tls_cases[0]);
    ck_assert(facts.resumed);
    talk(&session);
    tls_link_fini(&link_);
}

START_TEST(a_ticket_may_be_cut_over_records)
{
    uint8_t content[TLS_RECORD_MAX];
    for (size_t piece = 1; piece < 300; piece += piece < 8 ? 1 : 50) {
        struct tls_session session = meet_without_tickets();
        struct tls_session peer = tls_forge_mirror(&session);
        size_t n = peek_ticket(&session, content);
        for (size_t at = 0; at < n; at += piece) {
            ck_assert_uint_eq(taken, 0);
            size_t part = n - at < piece ? n - at : piece;
            receive_forged(&session, &peer, TLS_HANDSHAKE, content + at, part);
        }
        ck_assert_uint_eq(taken, 1);
        ck_assert_uint_eq(receive_forged(&session, &peer, TLS_APPLICATION, content, 9), 9);
        ck_assert_ptr_null(link_.ours);
        tls_link_fini(&link_);
        expect_resumption();
    }
}
END_TEST

START_TEST(content_ends_the_wait_even_if_it_is_empty)
{
    struct tls_session session = meet_without_tickets();
    struct tls_session peer = tls_forge_mirror(&session);
    ck_assert_ptr_nonnull(link_.ours);
    ck_assert_uint_eq(receive_forged(&session, &peer, TLS_APPLICATION, NULL, 0), 0);
    ck_assert_ptr_null(link_.ours);
    ck_assert_uint_eq(taken, 0);
    tls_link_fini(&link_);
}
END_TEST

/* The record layer passes over what stands in a ticket; OpenSSL does not. */
START_TEST(a_damaged_ticket_costs_the_session_and_nothing_else)
{
    uint8_t content[TLS_RECORD_MAX];
    for (size_t at = 4; at < 64; at++) {
        struct tls_session session = meet_without_tickets();
        struct tls_session peer = tls_forge_mirror(&session);
        size_t n = peek_ticket(&session, content);
        content[at] ^= 0x81;
        receive_forged(&session, &peer, TLS_HANDSHAKE, content, n);
        /* Lengths: of the nonce, of the ticket. Elsewhere there are no wrong values. */
        bool wrong = at == 12 || at == 21 || at == 22;
        ck_assert_msg(taken == !wrong, "byte %zu", at);
        ck_assert_int_eq(link_.ours == NULL, wrong);
        talk(&session);
        tls_link_fini(&link_);
        SSL_SESSION_free(kept);
        kept = NULL;
    }
}
END_TEST

START_TEST(a_record_that_openssl_cannot_open_costs_the_session_and_nothing_else)
{
    struct tls_session session = meet(&tls_cases[0]);
    tls_link_fetch(&link_);
    ck_assert_uint_gt(link_.n, 100);
    link_.bytes[link_.n - 1] ^= 1;
    ck_assert(!tls_handshake_ticket(link_.ours, link_.bytes, link_.n));
    ck_assert(!tls_handshake_awaits_ticket(link_.ours));
    ck_assert_ptr_null(tls_handshake_take_session(link_.ours));
    ck_assert_uint_eq(ERR_peek_error(), 0);
    tls_handshake_free(&link_.ours);
    link_.bytes[link_.n - 1] ^= 1;
    ck_assert_uint_eq(receive(&session), 0);
    talk(&session);
    tls_link_fini(&link_);
}
END_TEST

START_TEST(keys_may_change_before_the_ticket)
{
    for (int ask = 0; ask < 2; ask++) {
        struct tls_session session = meet_without_tickets();
        int type = ask ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
        ck_assert_int_eq(SSL_key_update(link_.peer, type), 1);
        ck_assert_int_eq(SSL_do_handshake(link_.peer), 1);
        receive(&session);
        ck_assert_uint_eq(session.rx.updates, 1);
        ck_assert_int_eq(SSL_new_session_ticket(link_.peer), 1);
        ck_assert_int_eq(SSL_do_handshake(link_.peer), 1);
        receive(&session);
        ck_assert_uint_eq(taken, 1);
        talk(&session);
        tls_link_fini(&link_);
        expect_resumption();
    }
}
END_TEST

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_late_ticket");
    TCase *tcase = tcase_create("tls_late_ticket");
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, tls_fixture_init, NULL);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, sessions_are_resumed_by_every_suite_with_any_number_of_tickets, 0,
                        TLS_CASES * 4);
    tcase_add_test(tcase, a_ticket_behind_content_is_passed_over);
    tcase_add_test(tcase, a_ticket_may_be_cut_over_records);
    tcase_add_test(tcase, content_ends_the_wait_even_if_it_is_empty);
    tcase_add_test(tcase, a_damaged_ticket_costs_the_session_and_nothing_else);
    tcase_add_test(tcase, a_record_that_openssl_cannot_open_costs_the_session_and_nothing_else);
    tcase_add_test(tcase, keys_may_change_before_the_ticket);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
