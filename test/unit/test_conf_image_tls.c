/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, names, settings and keys: from the files to the image and to the memfd beside it. */
#define _GNU_SOURCE 1
#include "master/names.h"
#include "shm/keys.h"
#include "test/unit/cert_fixture.h"
#include "test/unit/worker_fixture.h"

#include <errno.h>
#include <glob.h>

static struct worker_fixture fixture;
static struct keys keys;

static void setup(void)
{
    worker_fixture_init(&fixture);
}

static void teardown(void)
{
    glob_t files;
    keys_close(&keys);
    if (glob("*.[pk]e[my]", 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++)
            unlink(files.gl_pathv[i]);
        globfree(&files);
    }
    worker_fixture_fini(&fixture);
}

/* Image and keys of a configuration. */
static void build(const char *text)
{
    int fd;
    struct conf *conf = conf_fixture_good(&fixture.conf, text);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    image_release(&fixture.image);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    close(fd);
    ck_assert_int_eq(conf_keys_build(conf, fixture.generation, &fd, stderr), 0);
    keys_close(&keys);
    if (fd >= 0) {
        ck_assert_int_eq(keys_open(&keys, fd), 0);
        close(fd);
    }
    conf_free(&conf);
}

static void str_is(struct image_str str, const char *text)
{
    struct slice slice = image_slice(fixture.image, str);
    ck_assert_msg(slice_eq(slice, slice_of(text)), "\"%.*s\" is not \"%s\"", (int)slice.n, slice.p,
                  text);
}

/* The numbers of the certificates for a name, as text: "0 2". */
static const char *chosen(const char *name)
{
    static char text[64];
    struct image_array choices = image_find_certificates(fixture.image, slice_of(name));
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < choices.count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%u", i > 0 ? " " : "",
                                 image_choice(fixture.image, choices, i));
    return text;
}

static void put(const char *name, const char *key, const char *names)
{
    cert_fixture_put(name, &(struct recipe){.key = key, .names = names});
}

#define ONE(name) "{ certificate = \"" name ".pem\"; key = \"" name ".key\"; }"
#define LISTEN    "listeners = ( { address = \"*:80\"; } );\n"

START_TEST(settings_stand_in_the_image_as_openssl_takes_them)
{
    put("a", "P-256", "DNS:a");
    build("certificates = ( " ONE(
        "a") " );\n"
             "listeners = ( { address = \"*:80\"; }, { address = \"*:8443\"; tls = true; },\n"
             "  { address = \"127.0.0.1:443\"; tls = true; } );\n"
             "tls = { prefer_server_ciphers = true; groups = [ \"P-256\", \"X25519\" ];\n"
             "  client_certificate = \"required\"; client_ca = \"a.pem\"; ticket_lifetime = "
             "\"1h\";\n"
             "  handshake_timeout = \"2s\"; max_handshakes = 5; };\n");
    const struct image_tls *tls = &fixture.image->header->tls;
    ck_assert_uint_eq(image_listener(fixture.image, 0)->flags, 0);
    ck_assert_uint_eq(image_listener(fixture.image, 1)->flags, LISTENER_TLS);
    str_is(tls->ciphers, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                         "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                         "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305");
    str_is(tls->suites,
           "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    str_is(tls->groups, "P-256:X25519");
    ck_assert_uint_eq(tls->flags, IMAGE_TLS_OUR_ORDER | IMAGE_TLS_TICKETS);
    ck_assert_uint_eq(tls->client_certificate, CLIENT_CERTIFICATE_REQUIRED);
    ck_assert_uint_eq(tls->ticket_lifetime_s, 3600);
    ck_assert_uint_eq(tls->handshake_timeout_ms, 2000);
    ck_assert_uint_eq(tls->max_handshakes, 5);
    ck_assert_uint_eq(tls->https_port, 443);
    ck_assert_uint_eq(tls->client_ca.len, image_certificate(fixture.image, 0)->chain.len);
    build("certificates = ( " ONE(
        "a") " );\n"
             "listeners = ( { address = \"*:80\"; }, { address = \"*:8443\"; tls = true; } );\n"
             "tls = { min_version = \"1.3\"; session_tickets = false; };\n");
    tls = &fixture.image->header->tls;
    ck_assert_uint_eq(tls->https_port, 8443);
    ck_assert_uint_eq(tls->flags, IMAGE_TLS_1_3_ONLY);
    ck_assert_uint_eq(tls->client_ca.len, 0);
}
END_TEST

START_TEST(without_certificates_nothing_is_chosen_and_there_are_no_keys)
{
    build(LISTEN);
    ck_assert_uint_eq(fixture.image->header->certificates.count, 0);
    ck_assert_uint_eq(fixture.image->header->tls.https_port, 0);
    ck_assert_str_eq(chosen("a.example"), "");
    ck_assert_str_eq(chosen(""), "");
    ck_assert_ptr_null(keys.header);
}
END_TEST

START_TEST(exact_names_come_before_wildcards_and_those_before_the_first_certificate)
{
    put("first", "P-256", "DNS:first.example,DNS:www.first.example");
    put("wild", "P-256", "DNS:*.b.example,DNS:b.example");
    put("exact", "P-256", "DNS:www.b.example");
    build(LISTEN "certificates = ( " ONE("first") ", " ONE("wild") ", " ONE("exact") " );\n");
    ck_assert_str_eq(chosen("www.first.example"), "0");
    ck_assert_str_eq(chosen("b.example"), "1");
    ck_assert_str_eq(chosen("x.b.example"), "1");
    ck_assert_str_eq(chosen("www.b.example"), "2");
    /* A wildcard stands for one label. */
    ck_assert_str_eq(chosen("y.x.b.example"), "0");
    ck_assert_str_eq(chosen(".b.example"), "0");
    ck_assert_str_eq(chosen("nobody.example"), "0");
    ck_assert_str_eq(chosen("example"), "0");
    ck_assert_str_eq(chosen("."), "0");
    ck_assert_str_eq(chosen(""), "0");
}
END_TEST

START_TEST(a_name_has_one_certificate_of_each_kind_of_key)
{
    put("ec", "P-256", "DNS:a.example,DNS:b.example");
    put("rsa", "RSA", "DNS:a.example");
    put("ed", "ED25519", "DNS:b.example,DNS:a.example");
    build(LISTEN "certificates = ( " ONE("ec") ", " ONE("rsa") ", " ONE("ed") " );\n");
    ck_assert_str_eq(chosen("a.example"), "0 1 2");
    ck_assert_str_eq(chosen("b.example"), "0 2");
    /* The default is all that has the first one's first name. */
    ck_assert_str_eq(chosen("unknown"), "0 1 2");
}
END_TEST

START_TEST(of_two_of_the_same_kind_the_first_is_chosen)
{
    struct conf *conf;
    int fd;
    put("a", "P-256", "DNS:a.example,DNS:b.example");
    put("b", "P-256", "DNS:b.example,DNS:c.example");
    /* It says so: a warning. */
    ck_assert_int_eq(conf_fixture_load_text(&fixture.conf,
                                            LISTEN "certificates = ( " ONE("a") ", " ONE("b") " );",
                                            &conf),
                     0);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, 1, &fd, stderr), 0);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    close(fd);
    conf_free(&conf);
    ck_assert_str_eq(chosen("b.example"), "0");
    ck_assert_str_eq(chosen("c.example"), "1");
}
END_TEST

START_TEST(a_first_certificate_without_names_is_the_default)
{
    struct conf *conf;
    int fd;
    put("none", "RSA", "IP:192.0.2.1");
    put("a", "P-256", "DNS:a.example");
    ck_assert_int_eq(
        conf_fixture_load_text(&fixture.conf,
                               LISTEN "certificates = ( " ONE("none") ", " ONE("a") " );", &conf),
        0);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, 1, &fd, stderr), 0);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    close(fd);
    conf_free(&conf);
    ck_assert_str_eq(chosen("a.example"), "1");
    ck_assert_str_eq(chosen("b.example"), "0");
}
END_TEST

/* The key at `index` belongs to this certificate. */
static void is_key_of(uint32_t index, struct image_str chain)
{
    struct slice key = keys_get(&keys, index), der = image_slice(fixture.image, chain);
    const unsigned char *at = (const unsigned char *)der.p;
    X509 *x = d2i_X509(NULL, &at, (long)der.n);
    at = (const unsigned char *)key.p;
    EVP_PKEY *private = d2i_AutoPrivateKey(NULL, &at, (long)key.n);
    ck_assert_ptr_nonnull(x);
    ck_assert_ptr_nonnull(private);
    ck_assert_int_eq(X509_check_private_key(x, private), 1);
    X509_free(x);
    EVP_PKEY_free(private);
}

START_TEST(keys_stand_beside_the_image_and_not_in_it)
{
    put("a", "P-256", "DNS:a");
    put("b", "RSA", "DNS:b");
    put("c", "P-256", "DNS:c");
    build(LISTEN "certificates = ( " ONE("a") ", " ONE(
        "b") " );\nupstreams = (\n"
             "{ name = \"x\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
             "{ name = \"y\"; tls = true; tls_verify = false; tls_certificate = \"c.pem\";\n"
             "  tls_key = \"c.key\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
             "{ name = \"z\"; tls = true; tls_ca = \"a.pem\"; tls_certificate = \"b.pem\";\n"
             "  tls_key = \"b.key\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n");
    const struct image *image = fixture.image;
    ck_assert_uint_eq(keys.header->generation, image->header->generation);
    ck_assert_uint_eq(keys.header->count, 4);
    is_key_of(0, image_certificate(image, 0)->chain);
    is_key_of(1, image_certificate(image, 1)->chain);
    ck_assert_uint_eq(image_upstream(image, 0)->tls_key, UINT32_MAX);
    is_key_of(image_upstream(image, 1)->tls_key, image_upstream(image, 1)->tls_chain);
    is_key_of(image_upstream(image, 2)->tls_key, image_upstream(image, 2)->tls_chain);
    for (uint32_t i = 0; i < keys.header->count; i++) {
        struct slice key = keys_get(&keys, i);
        /* Of ECDSA the number behind the head, of RSA the last one: what no certificate has. */
        size_t secret = key.n < 200 ? 36 : key.n - 64;
        ck_assert_ptr_null(memmem(image->header, image->size, key.p + secret, 32));
    }
}
END_TEST

START_TEST(upstreams_have_their_names_and_authorities)
{
    put("a", "P-256", "DNS:a");
    put("b", "P-256", "DNS:b");
    build(LISTEN
          "upstreams = (\n"
          "{ name = \"p\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
          "{ name = \"x\"; tls = true; tls_ca = \"a.pem\";\n"
          "  servers = ( { address = \"10.0.0.1:8443\"; }, { address = \"[::1]:443\"; } ); },\n"
          "{ name = \"y\"; tls = true; tls_ca = \"a.pem\"; tls_server_name = \"App.Local\";\n"
          "  servers = ( { address = \"unix:/x\"; } ); },\n"
          "{ name = \"z\"; tls = true; tls_verify = false;\n"
          "  servers = ( { address = \"10.0.0.1\"; }, { address = \"unix:/x\"; } ); } );\n");
    const struct image *image = fixture.image;
    const struct image_upstream *plain = image_upstream(image, 0), *x = image_upstream(image, 1),
                                *y = image_upstream(image, 2), *z = image_upstream(image, 3);
    ck_assert_uint_eq(plain->tls_flags, 0);
    str_is(image_upstream_server(image, plain, 0)->tls_name, "");
    ck_assert_uint_eq(x->tls_flags, UPSTREAM_TLS | UPSTREAM_TLS_VERIFY);
    str_is(image_upstream_server(image, x, 0)->tls_name, "10.0.0.1");
    str_is(image_upstream_server(image, x, 1)->tls_name, "::1");
    str_is(image_upstream_server(image, y, 0)->tls_name, "App.Local");
    ck_assert_uint_gt(x->tls_ca.len, 100);
    ck_assert_uint_eq(x->tls_ca.off, y->tls_ca.off);
    ck_assert_uint_eq(x->tls_ca.len, y->tls_ca.len);
    ck_assert_uint_eq(z->tls_flags, UPSTREAM_TLS);
    str_is(image_upstream_server(image, z, 0)->tls_name, "10.0.0.1");
    str_is(image_upstream_server(image, z, 1)->tls_name, ""); /* a path is no name */
    ck_assert_uint_eq(z->tls_ca.len, 0);
    ck_assert_uint_eq(z->tls_chain.len, 0);
}
END_TEST

/* The one written in `address`, whatever address it has today. */
START_TEST(a_server_with_a_name_has_that_name_in_tls)
{
    static const struct {
        const char *address, *name;
    } cases[] = {
        {"app.example:8443", "app.example"},
        {"app.example", "app.example"},
        {"app.example.:443", "app.example"}, /* RFC 6066 3: without the dot */
        {"app.example.", "app.example"},
        {"_app.example:443", "_app.example"}, /* no label of a service */
        {"srv:_wss._tcp.app.example", "app.example"},
        {"srv:_wss._tcp.app.example.", "app.example"},
        {"srv:_wss._tcp._x.app.example", "app.example"},
        {"srv:app.example", "app.example"},
        {"srv:app._tcp.example", "app._tcp.example"},
        {"srvx.example:443", "srvx.example"},
    };
    put("a", "P-256", "DNS:a");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[1024];
        struct names names = {0};
        struct names_answer answer = {.magic = NAMES_MAGIC, .count = 1};
        const char *why;
        int fd;
        snprintf(answer.text, sizeof answer.text, "%s", cases[i].address);
        ck_assert_int_eq(
            addr_parse(&answer.addresses[0].address, SLICE("10.0.0.1:443"), 0, false, &why), 0);
        ck_assert_int_eq(names_set(&names, &answer), 1);
        snprintf(text, sizeof text,
                 LISTEN "upstreams = ( { name = \"u\"; tls = true; tls_ca = \"a.pem\";\n"
                        "  servers = ( { address = \"%s\"; } ); } );\n",
                 cases[i].address);
        struct conf *conf = conf_fixture_good(&fixture.conf, text);
        conf->names = &names;
        ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr),
                         0);
        image_release(&fixture.image);
        ck_assert_int_eq(image_open(&fixture.image, fd), 0);
        close(fd);
        conf_free(&conf);
        names_fini(&names);
        str_is(image_server(fixture.image, 0)->tls_name, cases[i].name);
    }
}
END_TEST

START_TEST(routes_know_their_tls_options)
{
    build(LISTEN
          "upstreams = ( { name = \"u\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n"
          "hsts = \"max-age=7\"; x_client_cert = \"pass\";\n"
          "sites = ( { routes = ( { path = \"/\"; upstream = \"u\"; redirect_https = true; },\n"
          "  { path = \"/x\"; upstream = \"u\"; hsts = \"\"; x_client_cert = \"replace\"; } );\n"
          "} );\n");
    const struct image_site *site = image_find_site(fixture.image, SLICE("x"));
    const struct image_route *root = image_find_route(fixture.image, site, SLICE("/"), NULL, NULL);
    const struct image_route *deep = image_find_route(fixture.image, site, SLICE("/x"), NULL, NULL);
    ck_assert_uint_eq(root->flags, ROUTE_UPGRADE | ROUTE_REDIRECT_HTTPS);
    str_is(root->hsts, "max-age=7");
    ck_assert_uint_eq(root->x_client_cert, FORWARD_PASS);
    ck_assert_uint_eq(deep->flags, ROUTE_UPGRADE);
    str_is(deep->hsts, "");
    ck_assert_uint_eq(deep->x_client_cert, FORWARD_REPLACE);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("conf_image_tls");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, settings_stand_in_the_image_as_openssl_takes_them);
    tcase_add_test(tcase, without_certificates_nothing_is_chosen_and_there_are_no_keys);
    tcase_add_test(tcase, exact_names_come_before_wildcards_and_those_before_the_first_certificate);
    tcase_add_test(tcase, a_name_has_one_certificate_of_each_kind_of_key);
    tcase_add_test(tcase, of_two_of_the_same_kind_the_first_is_chosen);
    tcase_add_test(tcase, a_first_certificate_without_names_is_the_default);
    tcase_add_test(tcase, keys_stand_beside_the_image_and_not_in_it);
    tcase_add_test(tcase, upstreams_have_their_names_and_authorities);
    tcase_add_test(tcase, a_server_with_a_name_has_that_name_in_tls);
    tcase_add_test(tcase, routes_know_their_tls_options);
    tcase_set_timeout(tcase, 60);
    Suite *suite = suite_create("conf_image_tls");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
