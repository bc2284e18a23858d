/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS part of a configuration: files that it names, rules between keys, and every complaint. */
#define _GNU_SOURCE 1
#include "test/unit/cert_fixture.h"
#include "test/unit/conf_fixture.h"

#include "shm/tickets.h"

#include <errno.h>
#include <glob.h>

#define LISTEN "listeners = ( { address = \"*:80\"; } );\n"
#define TLS    "listeners = ( { address = \"*:443\"; tls = true; } );\n"
#define CERT   "certificates = ( { certificate = \"a.pem\"; key = \"a.key\"; } );\n"

static struct conf_fixture fixture;

static void setup(void)
{
    conf_fixture_init(&fixture);
}

static void teardown(void)
{
    glob_t files;
    if (glob("*.[pkot]*", 0, NULL, &files) == 0) {
        for (size_t i = 0; i < files.gl_pathc; i++) {
            if (strcmp(files.gl_pathv[i], "t.conf") != 0)
                unlink(files.gl_pathv[i]);
        }
        globfree(&files);
    }
    conf_fixture_fini(&fixture);
}

/* The text gives exactly these messages, and is refused. */
static void refused(const char *text, const char *messages)
{
    struct conf *conf;
    int rc = conf_fixture_load_text(&fixture, text, &conf);
    ck_assert_str_eq(fixture.messages, messages);
    ck_assert_int_eq(rc, -EINVAL);
    ck_assert_ptr_null(conf);
}

/* The text is taken, with this warning. */
static void warned(const char *text, const char *messages)
{
    struct conf *conf;
    int rc = conf_fixture_load_text(&fixture, text, &conf);
    ck_assert_str_eq(fixture.messages, messages);
    ck_assert_int_eq(rc, 0);
    conf_free(&conf);
}

static void put(const char *name, const char *names)
{
    cert_fixture_put(name, &(struct recipe){.names = names});
}

START_TEST(tls_keys_have_their_defaults)
{
    struct conf *conf = conf_fixture_good(&fixture, LISTEN);
    const struct conf_tls *tls = &conf->tls;
    ck_assert(!conf->listeners[0].tls);
    ck_assert_uint_eq(conf->certificate_count, 0);
    ck_assert_uint_eq(tls->min_version, CONF_TLS_1_2);
    ck_assert_uint_eq(tls->cipher_count, 6);
    ck_assert_str_eq(tls->ciphers[0], "ECDHE-ECDSA-AES128-GCM-SHA256");
    ck_assert_str_eq(tls->ciphers[5], "ECDHE-RSA-CHACHA20-POLY1305");
    ck_assert_uint_eq(tls->suite_count, 3);
    ck_assert_str_eq(tls->suites[0], "TLS_AES_128_GCM_SHA256");
    ck_assert_uint_eq(tls->group_count, 3);
    ck_assert_str_eq(tls->groups[0], "X25519");
    ck_assert(!tls->prefer_server_ciphers);
    ck_assert_int_eq(tls->client_certificate, CLIENT_CERTIFICATE_OFF);
    ck_assert_ptr_null(tls->client_ca);
    ck_assert(tls->session_tickets);
    ck_assert_uint_eq(tls->ticket_key_count, 0);
    ck_assert_uint_eq(tls->ticket_rotation_ms, 12 * 3600 * 1000);
    ck_assert_uint_eq(tls->ticket_lifetime_ms, 12 * 3600 * 1000);
    ck_assert_uint_eq(tls->handshake_timeout_ms, 10000);
    ck_assert_uint_eq(tls->max_handshakes, 128);
    ck_assert_int_eq(conf->options.x_client_cert, FORWARD_REMOVE);
    ck_assert_str_eq(conf->options.hsts, "");
    ck_assert(!conf->options.redirect_https);
    conf_free(&conf);
}
END_TEST

START_TEST(every_tls_value_and_file_is_taken)
{
    unsigned char ticket[2 * sizeof(struct ticket_key)], *answer;
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    struct made site = cert_fixture_make(&(struct recipe){.issuer = &root, .names = "DNS:a.b"});
    size_t n = cert_fixture_ocsp(&site, &root, V_OCSP_CERTSTATUS_GOOD, 3, &answer);
    cert_fixture_save(&root, "root");
    cert_fixture_save(&site, "a");
    cert_fixture_write("a.ocsp", answer, n);
    for (size_t i = 0; i < sizeof ticket; i++)
        ticket[i] = (unsigned char)i;
    cert_fixture_write("1.ticket", ticket, sizeof(struct ticket_key));
    cert_fixture_write("2.ticket", ticket + sizeof(struct ticket_key), sizeof(struct ticket_key));
    chmod("1.ticket", 0600);
    chmod("2.ticket", 0600);
    struct conf *conf = conf_fixture_good(
        &fixture,
        "certificates = ( { certificate = \"a.pem\"; key = \"a.key\"; ocsp = \"a.ocsp\"; } );\n"
        "tls = { min_version = \"1.3\"; suites_1_3 = [ \"TLS_AES_256_GCM_SHA384\" ];\n"
        "  groups = ( \"P-521\", \"X25519\" ); prefer_server_ciphers = true;\n"
        "  client_certificate = \"optional\"; client_ca = \"root.pem\";\n"
        "  ticket_keys = [ \"1.ticket\", \"2.ticket\" ]; ticket_lifetime = \"1d\";\n"
        "  handshake_timeout = \"3s\"; max_handshakes = 7; };\n"
        "hsts = \"max-age=1\"; redirect_https = true; x_client_cert = \"replace\";\n"
        "listeners = ( { address = \"*:81\"; tls = true; } );\n"
        "upstreams = ( { name = \"u\"; tls = true; tls_ca = \"root.pem\";\n"
        "  tls_server_name = \"app.internal\"; tls_certificate = \"a.pem\"; tls_key = \"a.key\";\n"
        "  servers = ( { address = \"10.0.0.1\"; } ); } );\n"
        "sites = ( { hsts = \"\"; routes = ( { path = \"/\"; upstream = \"u\";\n"
        "  redirect_https = false; } ); } );\n");
    const struct conf_tls *tls = &conf->tls;
    const struct conf_certificate *one = &conf->certificates[0];
    ck_assert(conf->listeners[0].tls);
    ck_assert_str_eq(one->cert.names[0], "a.b");
    ck_assert_mem_eq(one->staple.p, answer, n);
    ck_assert_int_le(llabs(one->staple_until - time(NULL) - 3 * CERT_FIXTURE_DAY), 60);
    ck_assert(cert_fits_key(&one->cert, &one->secret));
    ck_assert_uint_eq(tls->min_version, CONF_TLS_1_3);
    ck_assert_uint_eq(tls->suite_count, 1);
    ck_assert_uint_eq(tls->group_count, 2);
    ck_assert_str_eq(tls->groups[0], "P-521");
    ck_assert(tls->prefer_server_ciphers);
    ck_assert_int_eq(tls->client_certificate, CLIENT_CERTIFICATE_OPTIONAL);
    ck_assert_uint_eq(tls->authorities.n, (size_t)i2d_X509(root.x, NULL));
    ck_assert_uint_eq(tls->ticket_secrets.n, sizeof ticket);
    ck_assert_mem_eq(tls->ticket_secrets.p, ticket, sizeof ticket);
    ck_assert_uint_eq(tls->handshake_timeout_ms, 3000);
    ck_assert_uint_eq(tls->max_handshakes, 7);
    const struct conf_backend_tls *backend = &conf->upstreams[0].tls;
    ck_assert(backend->on && backend->verify);
    ck_assert_str_eq(backend->server_name, "app.internal");
    ck_assert_uint_eq(backend->authorities.n, tls->authorities.n);
    ck_assert(cert_fits_key(&backend->cert, &backend->secret));
    ck_assert_str_eq(conf->options.hsts, "max-age=1");
    ck_assert_str_eq(conf->sites[0].options.hsts, "");
    ck_assert_str_eq(conf->sites[0].routes[0].options.hsts, "");
    ck_assert(conf->sites[0].options.redirect_https);
    ck_assert(!conf->sites[0].routes[0].options.redirect_https);
    ck_assert_int_eq(conf->sites[0].routes[0].options.x_client_cert, FORWARD_REPLACE);
    /* Secrets go; what people are told of stays. */
    conf_tls_forget(conf);
    ck_assert_ptr_null(one->secret.p);
    ck_assert_ptr_null(backend->secret.p);
    ck_assert_ptr_null(tls->ticket_secrets.p);
    ck_assert_uint_eq(one->cert.name_count, 1);
    conf_free(&conf);
    OPENSSL_free(answer);
    cert_fixture_free(&site);
    cert_fixture_free(&root);
}
END_TEST

START_TEST(files_are_relative_to_the_configuration)
{
    struct conf *conf;
    char text[256], path[128];
    put("a", "DNS:a");
    conf_fixture_write("t.conf", LISTEN CERT);
    snprintf(path, sizeof path, "%s/t.conf", fixture.directory);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(conf_fixture_load(&fixture, path, &conf), 0);
    ck_assert_uint_eq(conf->certificates[0].cert.count, 1);
    conf_free(&conf);
    ck_assert_int_eq(chdir(fixture.directory), 0);
    snprintf(text, sizeof text,
             LISTEN "certificates = ( { certificate = \"%s/a.pem\"; key = \"%s/a.key\"; } );\n",
             fixture.directory, fixture.directory);
    conf = conf_fixture_good(&fixture, text);
    conf_free(&conf);
}
END_TEST

START_TEST(who_only_asks_for_the_master_reads_no_file)
{
    struct conf *conf;
    FILE *errors = fmemopen(fixture.messages, sizeof fixture.messages - 1, "w");
    conf_fixture_write("t.conf", TLS CERT "pid_file = \"/x.pid\";\n");
    ck_assert_int_eq(conf_load_alone(&conf, "t.conf", errors), 0);
    ck_assert_str_eq(conf->pid_file, "/x.pid");
    ck_assert_uint_eq(conf->certificates[0].cert.count, 0);
    conf_free(&conf);
    fclose(errors);
}
END_TEST

START_TEST(what_is_printed_loads_again)
{
    char *text = NULL;
    size_t size = 0;
    put("a", "DNS:a");
    struct conf *conf = conf_fixture_good(&fixture, TLS CERT "tls = { groups = [ \"P-256\" ]; };\n"
                                                             "hsts = \"max-age=1\";\n");
    FILE *out = open_memstream(&text, &size);
    conf_print(conf, out);
    fclose(out);
    conf_free(&conf);
    ck_assert_ptr_nonnull(strstr(text, "groups = [ \"P-256\" ];"));
    ck_assert_ptr_nonnull(strstr(text, "tls = true;"));
    ck_assert_ptr_nonnull(strstr(text, "suites_1_3 = [ \"TLS_AES_128_GCM_SHA256\", \"TLS_AES_256"));
    conf = conf_fixture_good(&fixture, text);
    ck_assert_uint_eq(conf->tls.group_count, 1);
    ck_assert_str_eq(conf->options.hsts, "max-age=1");
    conf_free(&conf);
    free(text);
}
END_TEST

START_TEST(files_that_cannot_be_used_are_refused)
{
    put("a", "DNS:a");
    put("b", "DNS:b");
    cert_fixture_write("empty.pem", "", 0);
    struct made locked = cert_fixture_make(&(struct recipe){.names = "DNS:c"});
    char *chain = cert_fixture_pem(locked.x), *key = cert_fixture_key_pem(locked.key, "secret");
    cert_fixture_write("c.pem", chain, strlen(chain));
    cert_fixture_write("c.key", key, strlen(key));
    chmod("c.key", 0600);
    cert_fixture_put("weak", &(struct recipe){.key = "RSA-1024", .names = "DNS:w"});
    cert_fixture_write("x.ocsp", "nothing", 7);
    refused(LISTEN "certificates = (\n"
                   "{ certificate = \"none.pem\"; key = \"a.key\"; },\n"
                   "{ certificate = \"a.pem\";\n  key = \"none.key\"; },\n"
                   "{ certificate = \"empty.pem\"; key = \"a.key\"; },\n"
                   "{ certificate = \"a.pem\"; key = \"a.pem\"; },\n"
                   "{ certificate = \"b.pem\";\n  key = \"a.key\"; },\n"
                   "{ certificate = \"c.pem\"; key = \"c.key\"; },\n"
                   "{ certificate = \"weak.pem\"; key = \"weak.key\"; },\n"
                   "{ certificate = \".\"; key = \"a.key\"; },\n"
                   "{ certificate = \"b.pem\"; key = \"b.key\"; ocsp = \"x.ocsp\"; },\n"
                   "{ key = \"b.key\"; } );\n"
                   "tls = { client_certificate = \"required\"; client_ca = \"a.key\";\n"
                   "  ticket_keys = [ \"a.key\", \"none\" ]; };\n",
            "t.conf:14: certificates[9]: the key \"certificate\" is missing: PEM file: the site's "
            "own certificate, then those that issued it; write certificate = \"site.pem\"\n"
            "t.conf:3: certificates[0].certificate: \"none.pem\": cannot be read: No such file or "
            "directory\n"
            "t.conf:5: certificates[1].key: \"none.key\": cannot be read: No such file or "
            "directory\n"
            "t.conf:6: certificates[2].certificate: \"empty.pem\": holds no certificate in PEM (no "
            "line \"-----BEGIN CERTIFICATE-----\"); openssl x509 -inform der turns DER into it\n"
            "t.conf:7: certificates[3].key: warning: \"a.pem\": everybody on this host may "
            "read it; chmod 600 keeps it secret\n"
            "t.conf:7: certificates[3].key: \"a.pem\": holds no private key in PEM (no "
            "line \"-----BEGIN PRIVATE KEY-----\"); openssl pkey -inform der turns DER "
            "into it\n"
            "t.conf:9: certificates[4].key: \"a.key\": is not the key of the first "
            "certificate in the chain: no client could be answered; the site's own "
            "certificate must come first\n"
            "t.conf:10: certificates[5].key: \"c.key\": the key is encrypted, and nobody "
            "could type its password when the machine starts; openssl pkey writes it "
            "without one\n"
            "t.conf:11: certificates[6].certificate: \"weak.pem\": its RSA key of 1024 "
            "bits is too weak: clients refuse it; take RSA of 2048 bits or ECDSA P-256\n"
            "t.conf:12: certificates[7].certificate: \".\": cannot be read: Is a "
            "directory\n"
            "t.conf:13: certificates[8].ocsp: \"x.ocsp\": is not a successful OCSP answer "
            "in DER; openssl ocsp -respout writes one\n"
            "t.conf:15: tls.client_ca: \"a.key\": holds no certificate in PEM (no line "
            "\"-----BEGIN CERTIFICATE-----\"); openssl x509 -inform der turns DER into it\n"
            "t.conf:16: tls.ticket_keys[0]: \"a.key\": has 241 bytes, but a ticket key has "
            "80; openssl rand makes one\n"
            "t.conf:16: tls.ticket_keys[1]: \"none\": cannot be read: No such file or "
            "directory\n"
            "t.conf:7: certificates[3].certificate: \"a.pem\": would never be shown: the "
            "certificate at t.conf:4 has its name \"a\", too, and an ECDSA key as well\n"
            "t.conf:13: certificates[8].certificate: \"b.pem\": would never be shown: the "
            "certificate at t.conf:8 has its name \"b\", too, and an ECDSA key as well\n");
    free(chain);
    free(key);
    cert_fixture_free(&locked);
}
END_TEST

START_TEST(what_works_but_perhaps_not_as_meant_is_a_warning)
{
    struct made root = cert_fixture_make(&(struct recipe){.common_name = "r", .authority = true});
    struct made leaf = cert_fixture_make(&(struct recipe){.issuer = &root, .names = "DNS:a"});
    struct made other = cert_fixture_make(&(struct recipe){.common_name = "other"});
    char *one = cert_fixture_pem(leaf.x), *two = cert_fixture_pem(other.x), text[8192];
    unsigned char *answer;
    size_t n = cert_fixture_ocsp(&leaf, &root, V_OCSP_CERTSTATUS_GOOD, -1, &answer);
    cert_fixture_write("a.ocsp", answer, n);
    cert_fixture_save(&leaf, "a");
    snprintf(text, sizeof text, "%s%s", one, two);
    cert_fixture_write("a.pem", text, strlen(text));
    cert_fixture_put("old", &(struct recipe){.names = "DNS:o", .from_days = -9, .to_days = -2});
    cert_fixture_put("new", &(struct recipe){.names = "DNS:n", .from_days = 2});
    cert_fixture_put("nameless", &(struct recipe){.names = "IP:192.0.2.1"});
    chmod("old.key", 0644);
    chmod("new.key", 0640);
    warned(LISTEN "certificates = (\n"
                  "{ certificate = \"nameless.pem\"; key = \"nameless.key\"; },\n"
                  "{ certificate = \"old.pem\";\n  key = \"old.key\"; },\n"
                  "{ certificate = \"new.pem\"; key = \"new.key\"; },\n"
                  "{ certificate = \"a.pem\"; key = \"a.key\";\n  ocsp = \"a.ocsp\"; } );\n",
           "t.conf:4: certificates[1].certificate: warning: \"old.pem\": the certificate has "
           "expired: clients refuse it\n"
           "t.conf:5: certificates[1].key: warning: \"old.key\": everybody on this host may read "
           "it; chmod 600 keeps it secret\n"
           "t.conf:6: certificates[2].certificate: warning: \"new.pem\": the certificate is not "
           "valid yet: clients refuse it\n"
           "t.conf:7: certificates[3].certificate: warning: \"a.pem\": certificate 2 of the file "
           "did not issue the one before it: clients may find no way to an authority that they "
           "know\n"
           "t.conf:8: certificates[3].ocsp: warning: \"a.ocsp\": the answer has expired, so it is "
           "not given to clients; fetch a new one\n"
           "t.conf:3: certificates[0].certificate: warning: \"nameless.pem\": has no DNS name: "
           "clients that came for a name refuse it\n");
    OPENSSL_free(answer);
    free(one);
    free(two);
    cert_fixture_free(&leaf);
    cert_fixture_free(&other);
    cert_fixture_free(&root);
}
END_TEST

START_TEST(certificates_that_would_never_be_shown_are_refused)
{
    put("a", "DNS:a.x,DNS:b.x");
    put("same", "DNS:b.x,DNS:a.x");
    put("part", "DNS:b.x,DNS:*.b.x");
    put("nameless", "IP:192.0.2.1");
    cert_fixture_put("rsa", &(struct recipe){.key = "RSA", .names = "DNS:a.x"});
    refused(LISTEN "certificates = (\n"
                   "{ certificate = \"a.pem\"; key = \"a.key\"; },\n"
                   "{ certificate = \"same.pem\"; key = \"same.key\"; },\n"
                   "{ certificate = \"part.pem\"; key = \"part.key\"; },\n"
                   "{ certificate = \"rsa.pem\"; key = \"rsa.key\"; },\n"
                   "{ certificate = \"nameless.pem\"; key = \"nameless.key\"; },\n"
                   "{ certificate = \"rsa.pem\"; key = \"rsa.key\"; } );\n",
            "t.conf:7: certificates[4].certificate: \"nameless.pem\": has no DNS name that a "
            "client could ask for, so it would never be shown; only the first certificate is for "
            "all other names\n"
            "t.conf:4: certificates[1].certificate: \"same.pem\": would never be shown: the "
            "certificate at t.conf:3 has its name \"a.x\", too, and an ECDSA key as well; likewise "
            "for all its other names\n"
            "t.conf:5: certificates[2].certificate: warning: \"part.pem\": is not shown for the "
            "name \"b.x\", which the certificate at t.conf:3 has, too, with an ECDSA key as well\n"
            "t.conf:8: certificates[5].certificate: \"rsa.pem\": would never be shown: the "
            "certificate at t.conf:6 has its name \"a.x\", too, and an RSA key as well\n");
}
END_TEST

START_TEST(a_listener_with_tls_needs_a_certificate)
{
    refused(TLS, "t.conf:1: listeners[0].tls: there is no certificate to show, so no client could "
                 "be answered; write certificates = ( { certificate = \"site.pem\"; key = "
                 "\"site.key\"; } )\n");
    refused(TLS "certificates = ( );\n",
            "t.conf:1: listeners[0].tls: there is no certificate to show, so no client could be "
            "answered; write certificates = ( { certificate = \"site.pem\"; key = \"site.key\"; } "
            ")\n");
    /* One mistake, one message. */
    refused(TLS "certificates = \"a.pem\";\n",
            "t.conf:2: certificates: is a text, but a list of groups is expected, such as "
            "certificates = ( { certificate = \"site.pem\"; key = \"site.key\"; } )\n");
}
END_TEST

/* What stands in the group `tls`, in line 2, and what is said of it. */
START_TEST(the_group_tls_is_checked)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"min_version = \"1.1\";", "min_version: \"1.1\" is not one of \"1.2\", \"1.3\"; did you "
                                   "mean \"1.2\"?"},
        {"groups = [ \"P-255\" ];", "groups[0]: \"P-255\" is not one of \"X25519\", \"P-256\", "
                                    "\"P-384\", \"P-521\"; did you mean \"P-256\"?"},
        {"groups = [ \"\" ];", "groups[0]: the text is empty"},
        {"groups = \"P-256\";", "groups: is a text, but an array of texts is expected, such as "
                                "groups = [ \"X25519\", \"P-256\" ]"},
        {"groups = [ ];", "groups: is empty: no client could connect"},
        {"suites_1_3 = [ ];", "suites_1_3: is empty: no client could connect"},
        {"ciphers_1_2 = [ ];", "ciphers_1_2: is empty: no client could connect"},
        {"ciphers_1_2 = [ \"AES128-SHA\" ];",
         "ciphers_1_2[0]: \"AES128-SHA\" is not one of \"ECDHE-ECDSA-AES128-GCM-SHA256\", "
         "\"ECDHE-RSA-AES128-GCM-SHA256\", \"ECDHE-ECDSA-AES256-GCM-SHA384\", "
         "\"ECDHE-RSA-AES256-GCM-SHA384\", \"ECDHE-ECDSA-CHACHA20-POLY1305\", "
         "\"ECDHE-RSA-CHACHA20-POLY1305\""},
        {"min_version = \"1.3\"; ciphers_1_2 = [ \"ECDHE-RSA-AES128-GCM-SHA256\" ];",
         "ciphers_1_2: is used with min_version = \"1.2\" only, and would do nothing here"},
        {"client_certificate = \"optional\";",
         "client_certificate: needs client_ca: without it nobody's certificate could be verified"},
        {"client_ca = \"a.pem\";", "client_ca: is used with client_certificate = \"optional\" or "
                                   "\"required\" only, and would do nothing here"},
        {"client_certificate = \"required\"; client_ca = \"a.key\";",
         "client_ca: \"a.key\": holds no certificate in PEM (no line \"-----BEGIN "
         "CERTIFICATE-----\"); openssl x509 -inform der turns DER into it"},
        {"session_tickets = false; ticket_keys = [ \"1.ticket\" ];",
         "ticket_keys: is used with session_tickets = true only, and would do nothing here"},
        {"session_tickets = false; ticket_rotation = \"1d\";",
         "ticket_rotation: is used with session_tickets = true only, and would do nothing here"},
        {"session_tickets = false; ticket_lifetime = \"1d\";",
         "ticket_lifetime: is used with session_tickets = true only, and would do nothing here"},
        {"ticket_lifetime = \"1d\";",
         "ticket_lifetime: is more than ticket_rotation (43200s): a ticket would outlive its key"},
        {"ticket_keys = [ \"1.ticket\" ]; ticket_rotation = \"1h\";",
         "ticket_rotation: is used with keys of our own, without ticket_keys, only, and would do "
         "nothing here"},
        {"ticket_keys = [ \"a.pem\" ];", NULL},
        {"ticket_keys = [ \"none\" ];",
         "ticket_keys[0]: \"none\": cannot be read: No such file or directory"},
        {"ticket_keys = [ \"1.ticket\", \"1.ticket\", \"1.ticket\", \"1.ticket\", \"1.ticket\", "
         "\"1.ticket\", \"1.ticket\", \"1.ticket\", \"1.ticket\" ];",
         "ticket_keys: 9 files, but 8 are the most that are looked at"},
        {"handshake_timeout = \"0s\";",
         "handshake_timeout: 0s is out of range: 1ms to 24d are possible"},
        {"max_handshakes = 0;", "max_handshakes: 0 is out of range: 1 to 65536 are possible"},
    };
    char text[1024], message[1024], ticket[sizeof(struct ticket_key)] = {0};
    put("a", "DNS:a");
    chmod("a.pem", 0600);
    cert_fixture_write("1.ticket", ticket, sizeof ticket);
    chmod("1.ticket", 0600);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(text, sizeof text, LISTEN "tls = { %s };\n", rows[i].text);
        if (rows[i].message) {
            snprintf(message, sizeof message, "t.conf:2: tls.%s\n", rows[i].message);
            refused(text, message);
            continue;
        }
        struct stat st;
        ck_assert_int_eq(stat("a.pem", &st), 0);
        snprintf(message, sizeof message,
                 "t.conf:2: tls.ticket_keys[0]: \"a.pem\": has %ld bytes, but a ticket key has 80; "
                 "openssl rand makes one\n",
                 (long)st.st_size);
        refused(text, message);
    }
}
END_TEST

/* What stands in an upstream, in line 2. */
START_TEST(tls_of_upstreams_is_checked)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"tls_verify = false;",
         "tls_verify: is used with tls = true only, and would do nothing here"},
        {"tls_ca = \"a.pem\";", "tls_ca: is used with tls = true only, and would do nothing here"},
        {"tls_server_name = \"a\";",
         "tls_server_name: is used with tls = true only, and would do nothing here"},
        {"tls_certificate = \"a.pem\";",
         "tls_certificate: is used with tls = true only, and would do nothing here"},
        {"tls_key = \"a.key\";",
         "tls_key: is used with tls = true only, and would do nothing here"},
        {"tls = true; tls_verify = false; tls_ca = \"a.pem\";",
         "tls_ca: is used with tls_verify = true only, and would do nothing here"},
        {"tls = true; tls_ca = \"a.pem\"; tls_certificate = \"a.pem\";",
         "tls_certificate: needs its tls_key: who cannot sign cannot show a certificate"},
        {"tls = true; tls_ca = \"a.pem\"; tls_key = \"a.key\";",
         "tls_key: needs its tls_certificate: there is nothing to show"},
        {"tls = true; tls_ca = \"a.pem\"; tls_server_name = \"a/b\";",
         "tls_server_name: \"a/b\": a server's name has letters, digits, '-', '_' and '.' only, an "
         "IP address also ':'"},
        {"tls = true; tls_ca = \"a.key\";",
         "tls_ca: \"a.key\": holds no certificate in PEM (no line \"-----BEGIN "
         "CERTIFICATE-----\"); openssl x509 -inform der turns DER into it"},
        {"tls = true; tls_ca = \"a.pem\"; tls_certificate = \"a.pem\"; tls_key = \"b.key\";",
         "tls_key: \"b.key\": is not the key of the first certificate in the chain: no client "
         "could be answered; the site's own certificate must come first"},
        {"tls = true; tls_ca = \"a.pem\";",
         "servers[1].address: \"unix:/x\" has no name that its certificate could have; write "
         "tls_server_name in the upstream"},
    };
    char text[1024], message[1024];
    put("a", "DNS:a");
    put("b", "DNS:b");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool unix_too = i + 1 == ARRAY_LEN(rows);
        snprintf(text, sizeof text,
                 LISTEN "upstreams = ( { name = \"u\"; %s servers = ( { address = \"10.0.0.1\"; }%s"
                        " ); } );\n",
                 rows[i].text, unix_too ? ", { address = \"unix:/x\"; }" : "");
        snprintf(message, sizeof message, "t.conf:2: upstreams[0].%s\n", rows[i].message);
        refused(text, message);
    }
    warned(LISTEN "upstreams = ( { name = \"u\"; tls = true; tls_verify = false;\n"
                  "servers = ( { address = \"unix:/x\"; } ); } );\n",
           "");
}
END_TEST

START_TEST(a_header_of_the_configuration_cannot_forge_an_answer)
{
    refused(LISTEN "hsts = \"max-age=1\\r\\nX: y\";\n",
            "t.conf:2: hsts: holds a character that no header may have\n");
    refused(LISTEN "sites = ( { hsts = \"includeSubDomains\"; } );\n",
            "t.conf:2: sites[0].hsts: \"includeSubDomains\" has no max-age, so clients ignore it; "
            "write \"max-age=63072000\"\n");
    refused(LISTEN "x_client_cert = \"keep\";\n",
            "t.conf:2: x_client_cert: \"keep\" is not one of \"replace\", \"pass\", \"remove\"\n");
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("conf_tls");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, tls_keys_have_their_defaults);
    tcase_add_test(tcase, every_tls_value_and_file_is_taken);
    tcase_add_test(tcase, files_are_relative_to_the_configuration);
    tcase_add_test(tcase, who_only_asks_for_the_master_reads_no_file);
    tcase_add_test(tcase, what_is_printed_loads_again);
    tcase_add_test(tcase, files_that_cannot_be_used_are_refused);
    tcase_add_test(tcase, what_works_but_perhaps_not_as_meant_is_a_warning);
    tcase_add_test(tcase, certificates_that_would_never_be_shown_are_refused);
    tcase_add_test(tcase, a_listener_with_tls_needs_a_certificate);
    tcase_add_test(tcase, the_group_tls_is_checked);
    tcase_add_test(tcase, tls_of_upstreams_is_checked);
    tcase_add_test(tcase, a_header_of_the_configuration_cannot_forge_an_answer);
    tcase_set_timeout(tcase, 60);
    Suite *suite = suite_create("conf_tls");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
