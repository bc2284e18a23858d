/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of checks: which keys go with which image, and that nothing of one check is used for the next. */
#define _GNU_SOURCE 1
#include "master/checker_tls.h"

#include "test/unit/cert_fixture.h"
#include "test/unit/worker_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

static struct worker_fixture fixture;
static struct checker_tls_contexts *contexts;
static struct checker_tls *tls;
static SSL_CTX *context; /* the server's */
static SSL *server;
static int keys_fd = -1;
static int client = -1; /* the check's socket */

#define NAME SLICE("a.test")

static void setup(void)
{
    worker_fixture_init(&fixture);
    struct made authority =
        cert_fixture_make(&(struct recipe){.common_name = "ca", .authority = true});
    cert_fixture_save(&authority, "ca");
    cert_fixture_put("ours", &(struct recipe){.names = "DNS:ours.test"});
    cert_fixture_put("good", &(struct recipe){.names = "DNS:a.test", .issuer = &authority});
    cert_fixture_put("stale", &(struct recipe){.names = "DNS:a.test",
                                               .issuer = &authority,
                                               .from_days = -9,
                                               .to_days = -1,
                                               .serial = 2});
    cert_fixture_free(&authority);
    context = SSL_CTX_new(TLS_server_method());
    ck_assert_ptr_nonnull(context);
}

static void teardown(void)
{
    static const char *const made[] = {"ca", "ours", "good", "stale"};
    checker_tls_close(&tls);
    checker_tls_contexts_free(&contexts);
    SSL_free(server);
    SSL_CTX_free(context);
    close(keys_fd);
    close(client);
    for (size_t i = 0; i < ARRAY_LEN(made); i++) {
        char path[64];
        snprintf(path, sizeof path, "%s.pem", made[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s.key", made[i]);
        unlink(path);
    }
    worker_fixture_fini(&fixture);
}

/* The next generation, with its keys. Returns the image's descriptor. */
static int build(void)
{
    int fd;
    struct conf *conf = conf_fixture_good(
        &fixture.conf,
        "listeners = ( { address = \"*:80\"; } );\n"
        "upstreams = ( { name = \"u\"; tls = true; tls_ca = \"ca.pem\"; tls_certificate = "
        "\"ours.pem\";\n"
        "  tls_key = \"ours.key\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n");
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    close(keys_fd);
    ck_assert_int_eq(conf_keys_build(conf, fixture.generation, &keys_fd, stderr), 0);
    conf_free(&conf);
    image_release(&fixture.image);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    return fd;
}

/* A server that shows this certificate, and how far both ends come: as checker_tls_shake, for good. */
static int shake_with(const char *certificate)
{
    char path[64];
    int ends[2], ours, theirs;
    checker_tls_close(&tls);
    SSL_free(server);
    close(client);
    snprintf(path, sizeof path, "%s.pem", certificate);
    ck_assert_int_eq(SSL_CTX_use_certificate_file(context, path, SSL_FILETYPE_PEM), 1);
    snprintf(path, sizeof path, "%s.key", certificate);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM), 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    client = ends[0];
    server = SSL_new(context);
    BIO *bio = BIO_new_socket(ends[1], BIO_CLOSE);
    SSL_set_bio(server, bio, bio);
    SSL_set_accept_state(server);
    ck_assert_int_eq(checker_tls_connect(&tls, contexts, 0, client, NAME), 0);
    do {
        ours = checker_tls_shake(tls);
        theirs = SSL_do_handshake(server);
    } while (ours == -EAGAIN || (ours == 0 && theirs != 1));
    ERR_clear_error(); /* the server's, of our alert */
    return ours;
}

START_TEST(keys_of_another_generation_are_refused)
{
    close(build());
    int before = fcntl(keys_fd, F_DUPFD_CLOEXEC, 0);
    close(build());
    ck_assert_int_eq(checker_tls_contexts_new(&contexts, fixture.image, before), -ESTALE);
    ck_assert_ptr_null(contexts);
    ck_assert_int_ge(fcntl(before, F_GETFD), 0); /* still ours */
    ck_assert_int_eq(checker_tls_contexts_new(&contexts, fixture.image, keys_fd), 0);
    ck_assert_ptr_nonnull(contexts);
    close(before);
}
END_TEST

START_TEST(what_is_no_keys_is_refused)
{
    int image_fd = build();
    ck_assert_int_lt(checker_tls_contexts_new(&contexts, fixture.image, image_fd), 0);
    ck_assert_ptr_null(contexts);
    checker_tls_contexts_free(&contexts);
    close(image_fd);
}
END_TEST

/* It was good, and is not any more: the next check must see that. */
START_TEST(a_certificate_is_looked_at_in_each_check)
{
    close(build());
    ck_assert_int_eq(checker_tls_contexts_new(&contexts, fixture.image, keys_fd), 0);
    for (int turn = 0; turn < 2; turn++) {
        char byte;
        ck_assert_int_eq(shake_with("good"), 0);
        ck_assert_int_eq(SSL_session_reused(server), 0);
        /* Tickets have come with it. */
        ck_assert_int_eq(SSL_write(server, "x", 1), 1);
        ck_assert_int_eq(checker_tls_receive(tls, &byte, 1), 1);
    }
    ck_assert_int_eq(shake_with("stale"), -EPROTO);
    ck_assert_str_eq(checker_tls_why(tls), "certificate: certificate has expired");
    ck_assert_int_eq(shake_with("good"), 0);
}
END_TEST

/* An upstream that shows a certificate cannot be spoken to without its key. */
START_TEST(without_its_keys_no_connection_is_made)
{
    close(build());
    ck_assert_int_eq(checker_tls_contexts_new(&contexts, fixture.image, -1), 0);
    ck_assert_int_eq(checker_tls_connect(&tls, contexts, 0, -1, NAME), -EIO);
    ck_assert_ptr_null(tls);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checker_tls");
    TCase *tc = tcase_create("checker_tls");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, keys_of_another_generation_are_refused);
    tcase_add_test(tc, what_is_no_keys_is_refused);
    tcase_add_test(tc, a_certificate_is_looked_at_in_each_check);
    tcase_add_test(tc, without_its_keys_no_connection_is_made);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
