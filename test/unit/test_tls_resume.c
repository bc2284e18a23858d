/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_resume.h"

#include "test/unit/cert_fixture.h"
#include "test/unit/tls_fixture.h"
#include "test/unit/worker_fixture.h"

#include <glob.h>

enum { HOUR_MS = 3600 * 1000, PLACES = 1024 };

static struct worker_fixture fixture;
static struct tls_contexts *contexts;
static struct tls_resume *resume;
static SSL_CTX *server, *client;

static void setup(void)
{
    worker_fixture_init(&fixture);
    server = tls_fixture_server();
    client = tls_fixture_client();
    resume = tls_resume_new();
    ck_assert_ptr_nonnull(resume);
}

static void teardown(void)
{
    glob_t files;
    tls_resume_free(&resume);
    ck_assert_ptr_null(resume);
    tls_resume_free(&resume);
    tls_contexts_release(&contexts);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    if (glob("*.[pk]e[my]", 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
        globfree(&files);
    }
    worker_fixture_fini(&fixture);
}

static struct tls_resume_claim claim_of(uint32_t backend, uint8_t mark)
{
    struct tls_resume_claim claim = {.backend = backend, .verified_ms = 1000};
    memset(&claim.mark, mark, sizeof claim.mark);
    return claim;
}

/* Keep a new session by this claim. To be compared only. */
static SSL_SESSION *keep(struct tls_resume_claim claim)
{
    SSL_SESSION *session = tls_fixture_session(server, client, &tls_cases[0]);
    tls_resume_keep(resume, &claim, session);
    return session;
}

static SSL_SESSION *find_at(uint32_t backend, uint8_t mark, uint64_t now_ms)
{
    struct tls_resume_claim claim = claim_of(backend, mark);
    claim.verified_ms = 77;
    SSL_SESSION *found = tls_resume_find(resume, &claim, now_ms);
    ck_assert_uint_eq(claim.verified_ms, found ? 1000 : 77);
    return found;
}

static SSL_SESSION *find(uint32_t backend, uint8_t mark)
{
    return find_at(backend, mark, 2000);
}

START_TEST(a_session_is_found_for_its_server_and_mark_only)
{
    ck_assert_ptr_null(find(5, 1));
    SSL_SESSION *kept = keep(claim_of(5, 1));
    ck_assert_ptr_eq(find(5, 1), kept);
    ck_assert_ptr_eq(find(5, 1), kept);
    ck_assert_ptr_null(find(6, 1));
    /* A request of the generation before takes nothing away from those of today. */
    ck_assert_ptr_null(find(5, 2));
    ck_assert_ptr_eq(find(5, 1), kept);
}
END_TEST

START_TEST(the_newest_session_replaces_the_one_before)
{
    keep(claim_of(5, 1));
    SSL_SESSION *second = keep(claim_of(5, 1));
    ck_assert_ptr_eq(find(5, 1), second);
    /* The same again, as TLS 1.2 gives it. */
    struct tls_resume_claim claim = claim_of(5, 1);
    SSL_SESSION_up_ref(second);
    tls_resume_keep(resume, &claim, second);
    ck_assert_ptr_eq(find(5, 1), second);
    tls_resume_keep(resume, &claim, NULL);
    ck_assert_ptr_eq(find(5, 1), second);
}
END_TEST

START_TEST(servers_that_share_a_place_do_not_share_a_session)
{
    keep(claim_of(5, 1));
    SSL_SESSION *other = keep(claim_of(5 + PLACES, 1));
    ck_assert_ptr_null(find(5, 1));
    ck_assert_ptr_eq(find(5 + PLACES, 1), other);
    tls_resume_forget(resume, 5);
    ck_assert_ptr_eq(find(5 + PLACES, 1), other);
}
END_TEST

START_TEST(after_a_failure_there_is_none)
{
    keep(claim_of(5, 1));
    SSL_SESSION *other = keep(claim_of(6, 1));
    tls_resume_forget(resume, 5);
    ck_assert_ptr_null(find(5, 1));
    ck_assert_ptr_eq(find(6, 1), other);
}
END_TEST

START_TEST(a_session_that_its_server_has_declined_is_not_offered_again)
{
    keep(claim_of(5, 1));
    SSL_SESSION *other = keep(claim_of(6, 1));
    struct tls_resume_claim claim = claim_of(6, 1);
    tls_resume_done(resume, &claim, true, 3000);
    ck_assert_uint_eq(claim.verified_ms, 1000); /* goes back to what was resumed */
    ck_assert_ptr_eq(find(6, 1), other);
    claim = claim_of(5, 1);
    tls_resume_done(resume, &claim, false, 3000);
    ck_assert_uint_eq(claim.verified_ms, 3000);
    ck_assert_ptr_null(find(5, 1));
    ck_assert_ptr_eq(find(6, 1), other);
}
END_TEST

START_TEST(an_hour_after_the_certificate_was_verified_it_is_asked_for_again)
{
    SSL_SESSION *kept = keep(claim_of(5, 1));
    ck_assert_ptr_eq(find_at(5, 1, 1000 + HOUR_MS - 1), kept);
    ck_assert_ptr_null(find_at(5, 1, 1000 + HOUR_MS));
    ck_assert_ptr_null(find_at(5, 1, 1000)); /* forgotten, not hidden */
}
END_TEST

/* A session over which a connection was broken off is marked by OpenSSL. */
START_TEST(a_session_that_has_lost_its_right_is_not_offered)
{
    SSL_SESSION *kept = keep(claim_of(5, 1));
    SSL_CTX_remove_session(client, kept);
    ck_assert_ptr_null(find(5, 1));
}
END_TEST

START_TEST(a_ticket_that_lives_for_no_time_is_not_kept_unless_its_server_did_not_say)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (uint32_t i = 0; i < 2; i++) {
        struct tls_resume_claim claim = claim_of(i, 1);
        SSL_SESSION *session = SSL_SESSION_new();
        SSL_SESSION_set1_id(session, (const uint8_t *)"name", 4);
        SSL_SESSION_set_protocol_version(session, versions[i]);
        ck_assert(SSL_SESSION_is_resumable(session));
        ck_assert_uint_eq(SSL_SESSION_get_ticket_lifetime_hint(session), 0);
        tls_resume_keep(resume, &claim, session);
        ck_assert_int_eq(find(i, 1) != NULL, versions[i] == TLS1_2_VERSION);
    }
}
END_TEST

static int make_big(SSL *ssl, void *size)
{
    static uint8_t data[16000];
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data, *(const size_t *)size);
}

START_TEST(a_ticket_of_more_than_8_kb_is_not_kept)
{
    size_t size = 7000;
    SSL_CTX_set_session_ticket_cb(server, make_big, NULL, &size);
    ck_assert_ptr_eq(keep(claim_of(5, 1)), find(5, 1));
    size = 9000;
    keep(claim_of(6, 1));
    ck_assert_ptr_null(find(6, 1));
}
END_TEST

START_TEST(without_memory_nothing_is_kept)
{
    struct tls_resume_claim claim = claim_of(5, 1);
    tls_resume_keep(NULL, &claim, tls_fixture_session(server, client, &tls_cases[0]));
    ck_assert_ptr_null(tls_resume_find(NULL, &claim, 1000));
    tls_resume_forget(NULL, 5);
}
END_TEST

/* ---- marks, and generations ---- */

#define VERIFIED "tls = true; tls_ca = \"one.pem\"; tls_server_name = \"one.test\";"
#define SERVER   "servers = ( { address = \"10.0.0.1\"; } );"

/* The next generation, its first upstream with these settings. */
static void use(const char *settings)
{
    static char text[4096];
    struct conf *conf;
    int fd, keys;
    snprintf(
        text, sizeof text,
        "listeners = ( { address = \"*:80\"; } );\nupstreams = ( { name = \"u\"; %s } );\n"
        "sites = ( { hosts = [ \"*\" ]; routes = ( { path = \"/\"; upstream = \"u\"; } ); } );\n",
        settings);
    ck_assert_msg(conf_fixture_load_text(&fixture.conf, text, &conf) == 0, "%s",
                  fixture.conf.messages);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    ck_assert_int_eq(conf_keys_build(conf, fixture.generation, &keys, stderr), 0);
    conf_free(&conf);
    image_release(&fixture.image);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    tls_contexts_release(&contexts);
    ck_assert_int_eq(tls_contexts_new(&contexts, fixture.image, keys, -1), 0);
    close(fd);
    close(keys);
    tls_resume_prune(resume, fixture.image, contexts);
}

/* The claim of a connection to the first upstream's first server. */
static struct tls_resume_claim claim_now(void)
{
    const struct image_server *one = image_server(fixture.image, 0);
    struct tls_resume_claim claim = {.backend = one->backend, .verified_ms = 1000};
    ck_assert_int_eq(tls_contexts_mark(contexts, 0, one, &claim.mark), 0);
    return claim;
}

static void save(const char *name)
{
    struct made made = cert_fixture_make(&(struct recipe){.names = "DNS:one.test"});
    cert_fixture_save(&made, name);
    cert_fixture_free(&made);
}

START_TEST(a_session_lives_through_a_reload_that_leaves_its_settings_alone)
{
    save("one");
    use(VERIFIED SERVER);
    SSL_SESSION *kept = keep(claim_now());
    use(VERIFIED SERVER "keepalive = 3; tries = 2;");
    struct tls_resume_claim claim = claim_now();
    ck_assert_ptr_eq(tls_resume_find(resume, &claim, 2000), kept);
}
END_TEST

/* What each of these changes is a part of what the session was made by. */
START_TEST(a_reload_with_other_settings_ends_a_session)
{
    static const char *const others[] = {
        "tls = true; tls_ca = \"one.pem\"; tls_server_name = \"two.test\";" SERVER,
        "tls = true; tls_ca = \"two.pem\"; tls_server_name = \"one.test\";" SERVER,
        "tls = true; tls_verify = false; tls_server_name = \"one.test\";" SERVER,
        VERIFIED SERVER "tls_certificate = \"one.pem\"; tls_key = \"one.key\";",
        VERIFIED "servers = ( { address = \"10.0.0.2\"; } );",
        SERVER,
    };
    save("one");
    save("two");
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        for (int back = 0; back < 2; back++) {
            use(back ? others[i] : VERIFIED SERVER);
            if (back && i + 1 == ARRAY_LEN(others))
                break; /* no TLS: nobody asks for a session */
            struct tls_resume_claim before = claim_now();
            ck_assert_ptr_eq(keep(before), tls_resume_find(resume, &before, 2000));
            use(back ? VERIFIED SERVER : others[i]);
            /* It is gone, for those who still have the old settings, too. */
            ck_assert_msg(!tls_resume_find(resume, &before, 2000), "settings %zu", i);
        }
    }
}
END_TEST

START_TEST(the_same_file_with_other_authorities_is_another_setting)
{
    save("one");
    use(VERIFIED SERVER);
    struct tls_resume_claim before = claim_now();
    keep(before);
    save("one");
    use(VERIFIED SERVER);
    ck_assert_ptr_null(tls_resume_find(resume, &before, 2000));
}
END_TEST

/* A handshake of the generation before may end behind the reload. */
START_TEST(a_session_made_without_verification_is_never_found_by_who_verifies)
{
    save("one");
    use("tls = true; tls_verify = false; tls_server_name = \"one.test\";" SERVER);
    struct tls_resume_claim before = claim_now();
    use(VERIFIED SERVER);
    keep(before);
    struct tls_resume_claim now = claim_now();
    ck_assert_uint_eq(now.backend, before.backend);
    ck_assert_ptr_null(tls_resume_find(resume, &now, 2000));
}
END_TEST

START_TEST(upstreams_that_trust_the_same_have_the_same_mark)
{
    save("one");
    use(VERIFIED SERVER "}, { name = \"v\"; " VERIFIED SERVER);
    struct tls_resume_claim first = claim_now();
    struct tls_mark second;
    const struct image_server *server_of_v =
        image_upstream_server(fixture.image, image_upstream(fixture.image, 1), 0);
    ck_assert_uint_ne(server_of_v->backend, first.backend);
    ck_assert_int_eq(tls_contexts_mark(contexts, 1, server_of_v, &second), 0);
    ck_assert_int_eq(memcmp(&first.mark, &second, sizeof second), 0);
}
END_TEST

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_resume");
    TCase *tcase = tcase_create("tls_resume");
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, tls_fixture_init, NULL);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_session_is_found_for_its_server_and_mark_only);
    tcase_add_test(tcase, the_newest_session_replaces_the_one_before);
    tcase_add_test(tcase, servers_that_share_a_place_do_not_share_a_session);
    tcase_add_test(tcase, after_a_failure_there_is_none);
    tcase_add_test(tcase, a_session_that_its_server_has_declined_is_not_offered_again);
    tcase_add_test(tcase, an_hour_after_the_certificate_was_verified_it_is_asked_for_again);
    tcase_add_test(tcase, a_session_that_has_lost_its_right_is_not_offered);
    tcase_add_test(tcase,
                   a_ticket_that_lives_for_no_time_is_not_kept_unless_its_server_did_not_say);
    tcase_add_test(tcase, a_ticket_of_more_than_8_kb_is_not_kept);
    tcase_add_test(tcase, without_memory_nothing_is_kept);
    tcase_add_test(tcase, a_session_lives_through_a_reload_that_leaves_its_settings_alone);
    tcase_add_test(tcase, a_reload_with_other_settings_ends_a_session);
    tcase_add_test(tcase, the_same_file_with_other_authorities_is_another_setting);
    tcase_add_test(tcase, a_session_made_without_verification_is_never_found_by_who_verifies);
    tcase_add_test(tcase, upstreams_that_trust_the_same_have_the_same_mark);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
