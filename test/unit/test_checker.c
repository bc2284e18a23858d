/* SPDX-License-Identifier: Apache-2.0 */
/* Which private keys the checker gets: those that its checks show, and nobody else's. */
#define _GNU_SOURCE 1
#include "master/checker.h"

#include "shm/keys.h"
#include "test/unit/cert_fixture.h"
#include "test/unit/worker_fixture.h"

#include <glob.h>
#include <unistd.h>

static struct worker_fixture fixture;
static int image_fd = -1, keys_fd = -1;

static void setup(void)
{
    worker_fixture_init(&fixture);
}

static void teardown(void)
{
    glob_t files;
    if (glob("*.[pk]e[my]", 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
        globfree(&files);
    }
    close(image_fd);
    close(keys_fd);
    worker_fixture_fini(&fixture);
}

#define SITE "certificates = ( { certificate = \"site.pem\"; key = \"site.key\"; } );\n"
#define UPSTREAM(name, health)                                                                     \
    "{ name = \"" name "\"; tls = true; tls_verify = false; tls_certificate = \"" name ".pem\";\n" \
    "  tls_key = \"" name ".key\"; " health " servers = ( { address = \"10.0.0.1\"; } ); }"

static void build(const char *rest)
{
    char text[4096];
    snprintf(text, sizeof text, "listeners = ( { address = \"*:80\"; } );\n" SITE "%s", rest);
    struct conf *conf = conf_fixture_good(&fixture.conf, text);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, 1, &image_fd, stderr), 0);
    ck_assert_int_eq(image_open(&fixture.image, image_fd), 0);
    ck_assert_int_eq(conf_keys_build(conf, 1, &keys_fd, stderr), 0);
    conf_free(&conf);
}

START_TEST(it_gets_the_keys_of_checks_that_speak_tls_and_no_others)
{
    static const char *const names[] = {"site", "http", "tcp", "unchecked", "websocket"};
    static const bool wanted[] = {false, true, false, false, true};
    struct keys all, some;
    int fd;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cert_fixture_put(names[i], &(struct recipe){.names = "DNS:a"});
    build("upstreams = ( " UPSTREAM("http", "health = { type = \"http\"; };") ",\n" UPSTREAM(
        "tcp", "health = { type = \"tcp\"; };") ",\n" UPSTREAM("unchecked",
                                                               "") ",\n" UPSTREAM("websocket",
                                                                                  "health = { type "
                                                                                  "= "
                                                                                  "\"websocket\"; "
                                                                                  "};") " );\n");
    ck_assert_int_eq(checker_keys(image_fd, keys_fd, &fd), 0);
    ck_assert_int_eq(keys_open(&all, keys_fd), 0);
    ck_assert_int_eq(keys_open(&some, fd), 0);
    ck_assert_uint_eq(some.header->generation, all.header->generation);
    ck_assert_uint_eq(all.header->count, ARRAY_LEN(names));
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice key = keys_get(&all, i);
        ck_assert_uint_gt(key.n, 0);
        ck_assert_msg(slice_eq(keys_get(&some, i), wanted[i] ? key : SLICE("")), "%s", names[i]);
        void *found = memmem(some.header, (size_t)some.size, key.p, key.n);
        ck_assert_msg((found != NULL) == wanted[i], "%s", names[i]);
    }
    keys_close(&all);
    keys_close(&some);
    close(fd);
}
END_TEST

START_TEST(without_such_checks_it_gets_none)
{
    int fd;
    cert_fixture_put("site", &(struct recipe){.names = "DNS:a"});
    cert_fixture_put("tcp", &(struct recipe){.names = "DNS:a"});
    build("upstreams = ( " UPSTREAM("tcp", "health = { type = \"tcp\"; };") " );\n");
    ck_assert_int_eq(checker_keys(image_fd, keys_fd, &fd), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_lt(checker_keys(keys_fd, keys_fd, &fd), 0);
    ck_assert_int_eq(fd, -1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("checker");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, it_gets_the_keys_of_checks_that_speak_tls_and_no_others);
    tcase_add_test(tcase, without_such_checks_it_gets_none);
    Suite *suite = suite_create("checker");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
