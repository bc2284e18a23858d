/* SPDX-License-Identifier: Apache-2.0 */
/* From the file to struct conf: defaults, inheritance, and every error with its file and line. */
#include "test/unit/conf_fixture.h"

#include <errno.h>

#define LISTEN   "listeners = ( { address = \"*:80\"; } );\n"
#define UPSTREAM "upstreams = ( { name = \"u\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n"

static struct conf_fixture fixture;

static void setup(void)
{
    conf_fixture_init(&fixture);
}

static void teardown(void)
{
    conf_fixture_fini(&fixture);
}

/* The text gives exactly these messages. */
static void refused(const char *text, const char *messages)
{
    struct conf *conf;
    ck_assert_int_eq(conf_fixture_load_text(&fixture, text, &conf), -EINVAL);
    ck_assert_ptr_null(conf);
    ck_assert_str_eq(fixture.messages, messages);
}

/* What comes in front of every text below stands in line 1. */
struct error_row {
    const char *text, *message;
};

static void each_refused(const struct error_row *rows, size_t count)
{
    char text[1024], message[1024];
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), LISTEN "%s\n", rows[i].text);
        snprintf(message, sizeof(message), "t.conf:2: %s\n", rows[i].message);
        refused(text, message);
    }
}

START_TEST(what_is_not_written_has_its_default)
{
    struct conf *conf = conf_fixture_good(&fixture, LISTEN);
    ck_assert_str_eq(conf->path, "t.conf");
    ck_assert_uint_eq(conf->workers, 0);
    ck_assert_ptr_null(conf->user);
    ck_assert_str_eq(conf->pid_file, "/run/holdfast.pid");
    ck_assert_str_eq(conf->board, "/holdfast");
    ck_assert_str_eq(conf->error_log.path, "stderr");
    ck_assert_int_eq(conf->error_log.level, LOG_LEVEL_INFO);
    ck_assert_ptr_null(conf->access_log.path);
    ck_assert_int_eq(conf->access_log.format, ACCESS_LOG_OFF);
    ck_assert_uint_eq(conf->listener_count, 1);
    ck_assert_str_eq(conf->listeners[0].text, "*:80");
    ck_assert_uint_eq(conf->listeners[0].backlog, 4096);
    ck_assert_int_eq(conf->listeners[0].line, 1);
    ck_assert_uint_eq(conf->header_timeout_ms, 10000);
    ck_assert_uint_eq(conf->keepalive_timeout_ms, 75000);
    ck_assert_uint_eq(conf->max_line, 8192);
    ck_assert_uint_eq(conf->max_head, 16384);
    ck_assert_uint_eq(conf->max_headers, 100);
    const struct conf_options *options = &conf->options;
    ck_assert_uint_eq(options->connect_timeout_ms, 4000);
    ck_assert_uint_eq(options->send_timeout_ms, 60000);
    ck_assert_uint_eq(options->response_timeout_ms, 60000);
    ck_assert_uint_eq(options->body_timeout_ms, 60000);
    ck_assert_uint_eq(options->idle_timeout_ms, 3600000);
    ck_assert_uint_eq(options->max_body, 1 << 20);
    ck_assert(options->upgrade);
    ck_assert_str_eq(options->host_header, "$http_host");
    ck_assert_int_eq(options->x_forwarded_for, FORWARD_APPEND);
    ck_assert_int_eq(options->x_forwarded_proto, FORWARD_REPLACE);
    ck_assert_int_eq(options->x_forwarded_host, FORWARD_REPLACE);
    ck_assert_int_eq(options->x_real_ip, FORWARD_REPLACE);
    conf_free(&conf);
    ck_assert_ptr_null(conf);
    conf_free(&conf);
}
END_TEST

START_TEST(every_value_that_is_written_is_taken)
{
    struct conf *conf = conf_fixture_good(
        &fixture,
        "workers = 3; user = \"nobody\"; pid_file = \"/tmp/x.pid\"; board = \"/other\";\n"
        "error_log = { path = \"/tmp/e\"; level = \"debug\"; };\n"
        "access_log = { path = \"stdout\"; format = \"combined\"; };\n"
        "header_timeout = \"1s\"; keepalive_timeout = \"0s\"; max_line = \"1k\";\n"
        "max_head = \"2k\"; max_headers = 0x10;\n"
        "listeners = ( { address = \"127.0.0.1:81\"; backlog = 7; },\n"
        "  { address = \"[::1]:81\"; } );\n"
        "upstreams = ( { name = \"u-1.x_\"; balance = \"hash\"; hash_key = \"$host\";\n"
        "  keepalive = 0; tries = 2; source = [ \"10.0.0.9\", \"::1\", \"[::2]\" ];\n"
        "  servers = ( { address = \"10.0.0.1:81\"; weight = 1000; },\n"
        "    { address = \"unix:/run/s\"; down = true; }, { address = \"10.0.0.2\"; } ); } );\n"
        "sites = ( { hosts = ( \"A.example\", \"*.B.example\", \"*\", \"[::1]\" );\n"
        "  routes = ( { path = \"/a\"; upstream = \"u-1.x_\"; } ); } );\n");
    ck_assert_uint_eq(conf->workers, 3);
    ck_assert_str_eq(conf->user, "nobody");
    ck_assert_str_eq(conf->pid_file, "/tmp/x.pid");
    ck_assert_str_eq(conf->board, "/other");
    ck_assert_str_eq(conf->error_log.path, "/tmp/e");
    ck_assert_int_eq(conf->error_log.level, LOG_LEVEL_DEBUG);
    ck_assert_str_eq(conf->access_log.path, "stdout");
    ck_assert_int_eq(conf->access_log.format, ACCESS_LOG_COMBINED);
    ck_assert_uint_eq(conf->header_timeout_ms, 1000);
    ck_assert_uint_eq(conf->keepalive_timeout_ms, 0);
    ck_assert_uint_eq(conf->max_line, 1024);
    ck_assert_uint_eq(conf->max_head, 2048);
    ck_assert_uint_eq(conf->max_headers, 16);
    ck_assert_uint_eq(conf->listener_count, 2);
    ck_assert_uint_eq(conf->listeners[0].backlog, 7);
    ck_assert_uint_eq(addr_port(&conf->listeners[0].address), 81);
    ck_assert_int_eq(conf->listeners[1].line, 7);
    const struct conf_upstream *upstream = &conf->upstreams[0];
    ck_assert_str_eq(upstream->name, "u-1.x_");
    ck_assert_int_eq(upstream->balance, BALANCE_HASH);
    ck_assert_str_eq(upstream->hash_key, "$host");
    ck_assert_uint_eq(upstream->keepalive, 0);
    ck_assert_uint_eq(upstream->tries, 2);
    ck_assert_uint_eq(upstream->source_count, 3);
    ck_assert_uint_eq(addr_port(&upstream->sources[0].address), 0);
    ck_assert_int_eq(upstream->sources[1].address.u.sa.sa_family, AF_INET6);
    ck_assert_uint_eq(upstream->server_count, 3);
    ck_assert_uint_eq(upstream->servers[0].weight, 1000);
    ck_assert(!upstream->servers[0].down && upstream->servers[1].down);
    ck_assert_int_eq(upstream->servers[1].address.u.sa.sa_family, AF_UNIX);
    ck_assert_str_eq(upstream->servers[2].text, "10.0.0.2");
    ck_assert_uint_eq(addr_port(&upstream->servers[2].address), 80);
    const struct conf_site *site = &conf->sites[0];
    ck_assert_uint_eq(site->host_count, 4);
    ck_assert_str_eq(site->hosts[0], "a.example");
    ck_assert_str_eq(site->hosts[1], "*.b.example");
    ck_assert_str_eq(site->routes[0].path, "/a");
    ck_assert_str_eq(site->routes[0].upstream, "u-1.x_");
    conf_free(&conf);
}
END_TEST

#define ALL_OPTIONS(ms, bytes, flag, host, word)                                                   \
    "connect_timeout = \"" ms "ms\"; send_timeout = \"" ms "ms\"; response_timeout = \"" ms        \
    "ms\"; body_timeout = \"" ms "ms\"; idle_timeout = \"" ms "ms\"; max_body = \"" bytes          \
    "\"; upgrade = " flag "; host_header = \"" host "\"; x_forwarded_for = \"" word                \
    "\"; x_forwarded_proto = \"" word "\"; x_forwarded_host = \"" word "\"; x_real_ip = \"" word   \
    "\";\n"

static void options_are(const struct conf_options *options, uint32_t ms, uint64_t bytes,
                        const char *host, enum image_forward forward)
{
    ck_assert_uint_eq(options->connect_timeout_ms, ms);
    ck_assert_uint_eq(options->send_timeout_ms, ms);
    ck_assert_uint_eq(options->response_timeout_ms, ms);
    ck_assert_uint_eq(options->body_timeout_ms, ms);
    ck_assert_uint_eq(options->idle_timeout_ms, ms);
    ck_assert_uint_eq(options->max_body, bytes);
    ck_assert_str_eq(options->host_header, host);
    ck_assert_int_eq(options->x_forwarded_for, forward);
    ck_assert_int_eq(options->x_forwarded_proto, forward);
    ck_assert_int_eq(options->x_forwarded_host, forward);
    ck_assert_int_eq(options->x_real_ip, forward);
}

START_TEST(options_are_inherited_downwards_and_the_nearest_wins)
{
    struct conf *conf =
        conf_fixture_good(&fixture, LISTEN UPSTREAM
                          "sites = ( { routes = ( { path = \"/\"; upstream = \"u\"; } ); },\n"
                          "  { hosts = [ \"a\" ];" ALL_OPTIONS(
                              "2", "2", "true", "two",
                              "pass") "    routes = ( { path = \"/\"; upstream = \"u\"; },\n"
                                      "      { path = \"/x\"; upstream = \"u\";" ALL_OPTIONS(
                                          "3", "3", "false", "three", "keep") "      } ); } );\n"
                          /* Behind the sites: what counts is the level, not the order. */
                          ALL_OPTIONS("1", "1", "false", "one", "remove"));
    options_are(&conf->options, 1, 1, "one", FORWARD_REMOVE);
    options_are(&conf->sites[0].options, 1, 1, "one", FORWARD_REMOVE);
    options_are(&conf->sites[0].routes[0].options, 1, 1, "one", FORWARD_REMOVE);
    options_are(&conf->sites[1].options, 2, 2, "two", FORWARD_PASS);
    options_are(&conf->sites[1].routes[0].options, 2, 2, "two", FORWARD_PASS);
    options_are(&conf->sites[1].routes[1].options, 3, 3, "three", FORWARD_KEEP);
    ck_assert(!conf->sites[0].routes[0].options.upgrade);
    ck_assert(conf->sites[1].routes[0].options.upgrade);
    ck_assert(!conf->sites[1].routes[1].options.upgrade);
    conf_free(&conf);
}
END_TEST

START_TEST(a_wrong_type_says_what_is_expected)
{
    static const struct error_row rows[] = {
        {"workers = \"4\";", "workers: is a text, but an integer is expected, such as workers = 4"},
        {"workers = 1.5;",
         "workers: is a fraction, but an integer is expected, such as workers = 4"},
        {"workers = true;",
         "workers: is true or false, but an integer is expected, such as workers = 4"},
        {"user = 7;",
         "user: is an integer, but a text in quotes is expected, such as user = \"holdfast\""},
        {"upgrade = \"yes\";",
         "upgrade: is a text, but true or false is expected, such as upgrade = true"},
        {"upgrade = 1;",
         "upgrade: is an integer, but true or false is expected, such as upgrade = true"},
        {"idle_timeout = 4;", "idle_timeout: is an integer, but a duration in quotes is expected, "
                              "such as idle_timeout = \"4s\""},
        {"max_body = 4096;", "max_body: is an integer, but a size in quotes is expected, such as "
                             "max_body = \"16k\""},
        {"x_real_ip = true;", "x_real_ip: is true or false, but a word in quotes is expected, such "
                              "as x_real_ip = \"replace\""},
        {"error_log = \"stderr\";",
         "error_log: is a text, but a group is expected, such as error_log = { path = \"stderr\"; "
         "level = \"info\"; }"},
        {"error_log = \"off\";",
         "error_log: is a text, but a group is expected, such as error_log = { path = \"stderr\"; "
         "level = \"info\"; }"},
        {"sites = { };", "sites: is a group { }, but a list of groups is expected, such as sites = "
                         "( { routes = ( { path = \"/\"; upstream = \"app\"; } ); } )"},
        {"sites = [ 1 ];",
         "sites: is an array [ ], but a list of groups is expected, such as sites = "
         "( { routes = ( { path = \"/\"; upstream = \"app\"; } ); } )"},
        {"sites = ( \"a\" );", "sites[0]: is a text, but a group is expected, such as sites = "
                               "( { routes = ( { path = \"/\"; upstream = \"app\"; } ); } )"},
        {"sites = ( { hosts = \"a\"; } );",
         "sites[0].hosts: is a text, but an array of names is expected, such as hosts = "
         "[ \"www.example.com\" ]"},
        {"sites = ( { hosts = [ 7 ]; } );",
         "sites[0].hosts[0]: is an integer, but an array of names is expected, such as hosts = "
         "[ \"www.example.com\" ]"},
    };
    each_refused(rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(a_value_that_cannot_be_is_refused)
{
    static const struct error_row rows[] = {
        {"workers = 65;", "workers: 65 is out of range: 0 to 64 are possible"},
        {"workers = -1;", "workers: -1 is out of range: 0 to 64 are possible"},
        {"workers = 4294967297L;", "workers: 4294967297 is out of range: 0 to 64 are possible"},
        {"user = \"\";", "user: the text is empty"},
        {"idle_timeout = \"4\";", "idle_timeout: \"4\" is not a duration: write a number and one "
                                  "of ms, s, m, h, d, such as \"4s\""},
        {"idle_timeout = \"25d\";", "idle_timeout: 25d is out of range: 0s to 24d are possible"},
        {"send_timeout = \"0s\";", "send_timeout: 0s is out of range: 1ms to 1h are possible"},
        {"send_timeout = \"99999999999999999999s\";",
         "send_timeout: 99999999999999999999s is out of range: 1ms to 1h are possible"},
        {"max_line = \"2m\";", "max_line: 2m is out of range: 256 to 1m are possible"},
        {"max_body = \"1x\";", "max_body: \"1x\" is not a size: write a number of bytes, or one "
                               "with k, m or g, such as \"16k\""},
        {"error_log = { level = \"wran\"; };",
         "error_log.level: \"wran\" is not one of \"error\", \"warn\", \"info\", \"debug\"; did "
         "you mean \"warn\"?"},
        {"access_log = { path = \"x\"; format = \"xml\"; };",
         "access_log.format: \"xml\" is not one of \"json\", \"combined\""},
        {"x_real_ip = \"append\";",
         "x_real_ip: \"append\" is not one of \"replace\", \"keep\", \"pass\", \"remove\""},
        {"board = \"holdfast\";",
         "board: the name of a shared memory begins with its only '/', such as \"/holdfast\", and "
         "has 200 characters at most"},
        {"control = "
         "\"/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/"
         "0123456789/0123456789/0123456789\";",
         "control: the path of the control socket, /0123456789/0123456789/0123456789/0123456789/"
         "0123456789/0123456789/0123456789/0123456789/0123456789/0123456789, is longer than the "
         "107 "
         "bytes that an address of a UNIX socket may have"},
        {"hang_timeout = \"1s\";",
         "hang_timeout: is less than 2000 ms: processes show once a second that they live, so "
         "those with nothing to do would be killed, too"},
        {"max_line = \"16k\"; max_head = \"8k\";",
         "max_line: is more than max_head (8192 bytes), which counts the request line, too"},
        {"host_header = \"$uri\";",
         "host_header: only $http_host, $host, $server_port, $proxy_host and the characters of a "
         "host name may stand here: all else could forge a request"},
        {"host_header = \"a\\r\\nX: y\";",
         "host_header: only $http_host, $host, $server_port, $proxy_host and the characters of a "
         "host name may stand here: all else could forge a request"},
        {"access_log = { };",
         "access_log: the key \"path\" is missing: a file, \"stderr\" or \"stdout\"; write path = "
         "\"/var/log/holdfast/access.log\""},
    };
    each_refused(rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(an_unknown_key_is_refused_with_the_nearest_one_or_its_place)
{
    static const struct error_row rows[] = {
        {"worker = 3;", "worker: unknown key, so it would do nothing; did you mean \"workers\"?"},
        {"quiche = true;",
         "quiche: unknown key, so it would do nothing; holdfast --keys lists all"},
        {"weight = 3;",
         "weight: not known here, so it would do nothing; it may stand in upstreams.servers"},
        {"path = \"/\";",
         "path: not known here, so it would do nothing; it may stand in "
         "error_log, access_log, upstreams.sticky, upstreams.health, sites.routes"},
        {"error_log = { idle_timeout = \"1s\"; };",
         "error_log.idle_timeout: not known here, so it would do nothing; it may stand in the top "
         "level, sites, sites.routes"},
        {"sites = ( { idel_timeout = \"1s\"; } );",
         "sites[0].idel_timeout: unknown key, so it would do nothing; did you mean "
         "\"idle_timeout\"?"},
        {"sites = ( { header_timeout = \"1s\"; } );",
         "sites[0].header_timeout: not known here, so it would do nothing; it may stand in the top "
         "level"},
    };
    each_refused(rows, ARRAY_LEN(rows));
}
END_TEST

START_TEST(listeners_must_be_there_and_differ)
{
    refused("", "t.conf:1: the key \"listeners\" is missing: addresses to accept connections on, "
                "at least one; write listeners = ( { address = \"*:80\"; } )\n");
    refused("\nlisteners = ( );", "t.conf:2: listeners: no listener: nobody could connect\n");
    refused("listeners = 7;", "t.conf:1: listeners: is an integer, but a list of groups is "
                              "expected, such as listeners = ( { address = \"*:80\"; } )\n");
    refused("listeners = (\n{ address = \"*:80\"; },\n{ address = \"[::]:80\"; },\n"
            "{ address = \"127.0.0.1:80\"; } );",
            "t.conf:3: listeners[1].address: \"[::]:80\" is the address of \"*:80\" at t.conf:2: "
            "two listeners would take each other's connections\n");
    refused(
        "listeners = (\n{ address = \"localhost:80\"; },\n{ address = \"10.0.0.1\"; },\n"
        "{ address = \"unix:/x\"; },\n{ backlog = 3; } );",
        "t.conf:2: listeners[0].address: \"localhost:80\": not an IP address\n"
        "t.conf:3: listeners[1].address: \"10.0.0.1\": the port is missing\n"
        "t.conf:4: listeners[2].address: \"unix:/x\": every worker binds a socket of its own "
        "to a listener's address, and a UNIX path can be bound only once\n"
        "t.conf:5: listeners[3]: the key \"address\" is missing: address and port; \"*:80\" is "
        "every address of the host, IPv6 and IPv4; \"[::]:80\" every IPv6 address; write address "
        "= \"*:80\"\n");
}
END_TEST

START_TEST(upstreams_are_checked)
{
    refused(LISTEN
            "upstreams = (\n"
            "{ name = \"a\"; balance = \"hash\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
            "{ name = \"a\"; hash_key = \"$host\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
            "{ name = \"a b\"; servers = ( ); },\n"
            "{ name = \"c\"; servers = ( { address = \"10.0.0.1:80\"; },\n"
            "  { address = \"10.0.0.1:80\"; }, { address = \"10.0.0.300:80\"; } ); },\n"
            "{ name = \"d\"; source = [ \"10.0.0.1:80\", \"x\" ];\n"
            "  servers = ( { address = \"10.0.0.1\"; weight = 1001; } ); },\n"
            "{ balance = \"hash\"; hash_key = \"$proxy_host\"; } );",
            "t.conf:7: upstreams[3].servers[2].address: \"10.0.0.300:80\": not an IP address\n"
            "t.conf:8: upstreams[4].source[0]: \"10.0.0.1:80\": write an IP address without port: "
            "the kernel chooses a port for each connection\n"
            "t.conf:8: upstreams[4].source[1]: \"x\": not an IP address\n"
            "t.conf:9: upstreams[4].servers[0].weight: 1001 is out of range: 1 to 1000 are "
            "possible\n"
            "t.conf:10: upstreams[5].hash_key: $proxy_host cannot choose a server: it is known "
            "only afterwards\n"
            "t.conf:10: upstreams[5]: the key \"name\" is missing: what routes call it; letters, "
            "digits and _ . -; write name = \"app\"\n"
            "t.conf:10: upstreams[5]: the key \"servers\" is missing: at least one; write servers "
            "= ( { address = \"10.0.0.1:8080\"; } )\n"
            "t.conf:3: upstreams[0].balance: \"hash\" needs a hash_key, or there is nothing to "
            "choose by, such as hash_key = \"$remote_addr\"\n"
            "t.conf:4: upstreams[1].hash_key: is used with balance = \"hash\" only, and would do "
            "nothing here\n"
            "t.conf:5: upstreams[2].name: a name may hold letters, digits and _ . - only: it "
            "stands in logs and statistics\n"
            "t.conf:5: upstreams[2].servers: no server: nobody could answer\n"
            "t.conf:7: upstreams[3].servers[1].address: \"10.0.0.1:80\" stands already at "
            "t.conf:6: one server has one set of counters; give it a weight instead\n"
            "t.conf:4: upstreams[1].name: \"a\" stands already at t.conf:3: routes could not say "
            "which one they mean\n");
}
END_TEST

START_TEST(hosts_are_checked)
{
    refused(LISTEN "sites = (\n"
                   "{ hosts = [ \"a:80\",\n\"b/x\",\n\"*.a.*\",\n\"a..b\",\n\".a\",\n\"*\",\n"
                   "\"caf\xc3\xa9\",\n\"[::1]:80\",\n\"\",\n\"http://a\" ]; },\n"
                   "{ hosts = [ \"X.example\",\n\"x.Example\", \"*.x.example\" ]; },\n{ } );",
            "t.conf:11: sites[0].hosts[8]: the text is empty\n"
            "t.conf:3: sites[0].hosts[0]: \"a:80\": a host has no port: it is the listener that "
            "has one, and a site is served on all\n"
            "t.conf:4: sites[0].hosts[1]: \"b/x\": a host has no path or scheme: paths stand in "
            "the site's routes\n"
            "t.conf:5: sites[0].hosts[2]: \"*.a.*\": a '*' may stand only in front, as in "
            "\"*.example.com\"\n"
            "t.conf:6: sites[0].hosts[3]: \"a..b\": a host has no dot at its ends, and no two in "
            "a row\n"
            "t.conf:7: sites[0].hosts[4]: \".a\": a host has no dot at its ends, and no two in a "
            "row\n"
            "t.conf:9: sites[0].hosts[6]: \"caf\xc3\xa9\": a host has letters, digits, '-', '_' "
            "and '.' only; other letters are written as in DNS (xn--...)\n"
            "t.conf:10: sites[0].hosts[7]: \"[::1]:80\": an IPv6 address stands in brackets and "
            "has no port, such as [::1]\n"
            "t.conf:12: sites[0].hosts[9]: \"http://a\": a host has no path or scheme: paths "
            "stand in the site's routes\n"
            "t.conf:15: sites[2]: a second site for all hosts that nobody names; the first stands "
            "at t.conf:8, and there can be one only\n"
            "t.conf:14: sites[1].hosts[1]: \"x.example\" stands already at t.conf:13: one host "
            "belongs to one site\n");
}
END_TEST

START_TEST(routes_are_checked)
{
    refused(LISTEN UPSTREAM "sites = ( { routes = (\n"
                            "{ path = \"x\"; upstream = \"u\"; },\n"
                            "{ path = \"/a\"; upstream = \"uu\"; },\n"
                            "{ path = \"/a\"; upstream = \"nobody\"; },\n"
                            "{ path = \"/b?c\"; upstream = \"u\"; },\n"
                            "{ path = \"/c/../d\"; upstream = \"u\"; },\n"
                            "{ path = \"/%41//x\"; upstream = \"u\"; },\n"
                            "{ path = \"/z\"; },\n"
                            "{ upstream = \"u\"; } ); } );",
            "t.conf:11: sites[0].routes[7]: the key \"path\" is missing: what the decoded path "
            "begins with, or is, or matches; write path = \"/\"\n"
            "t.conf:4: sites[0].routes[0].path: \"x\" does not begin with '/', as every path of a "
            "request does\n"
            "t.conf:5: sites[0].routes[1].upstream: there is no upstream \"uu\"; did you mean "
            "\"u\"?\n"
            "t.conf:6: sites[0].routes[2].upstream: there is no upstream \"nobody\", so nobody "
            "could answer\n"
            "t.conf:7: sites[0].routes[3].path: \"/b?c\": a query is not part of the path that is "
            "compared\n"
            "t.conf:8: sites[0].routes[4].path: \"/c/../d\" matches nothing: paths are compared "
            "decoded and normalised; write \"/d\"\n"
            "t.conf:9: sites[0].routes[5].path: \"/%41//x\" matches nothing: paths are compared "
            "decoded and normalised; write \"/A/x\"\n"
            "t.conf:6: sites[0].routes[2].path: \"/a\" stands already at t.conf:5: only the first "
            "would ever be used\n"
            "t.conf:10: sites[0].routes[6].path: \"/z\" has neither upstream nor return: nobody "
            "would answer\n");
}
END_TEST

START_TEST(a_refused_upstream_is_not_reported_again_by_its_routes)
{
    refused(LISTEN "upstreams = 7;\n"
                   "sites = ( { routes = ( { path = \"/\"; upstream = \"u\"; } ); } );",
            "t.conf:2: upstreams: is an integer, but a list of groups is expected, such as "
            "upstreams = ( { name = \"app\"; servers = ( { address = \"10.0.0.1:8080\"; } ); } "
            ")\n");
    refused(LISTEN "upstreams = ( { nmae = \"u\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n"
                   "sites = ( { routes = ( { path = \"/\"; upstream = \"u\"; } ); } );",
            "t.conf:2: upstreams[0].nmae: unknown key, so it would do nothing; did you mean "
            "\"name\"?\n"
            "t.conf:2: upstreams[0]: the key \"name\" is missing: what routes call it; letters, "
            "digits and _ . -; write name = \"app\"\n");
}
END_TEST

/* Many groups: "PREFIX 0 MIDDLE 0 SUFFIX, PREFIX 1 MIDDLE 1 SUFFIX ..." as t.conf. */
static int load_many(const char *before, uint32_t count, const char *format, const char *after)
{
    struct conf *conf;
    FILE *file = fopen("t.conf", "w");
    ck_assert_ptr_nonnull(file);
    fputs(LISTEN, file);
    fputs(before, file);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i > 0 ? ",\n" : "\n", file);
        char number[16];
        snprintf(number, sizeof(number), "%u", i);
        for (const char *c = format; *c; c++) {
            if (*c == '#')
                fputs(number, file);
            else
                fputc(*c, file);
        }
    }
    fputs(after, file);
    ck_assert_int_eq(fclose(file), 0);
    int rc = conf_fixture_load(&fixture, "t.conf", &conf);
    conf_free(&conf);
    return rc;
}

START_TEST(the_limits_of_the_board_are_errors_that_name_them)
{
    static const char site[] = "{ hosts = [ \"h#\" ]; }";
    static const char upstream[] = "{ name = \"u#\"; servers = ( { address = \"unix:/a#\"; } ); }";
    static const char server[] = "{ address = \"unix:/a#\"; weight = 1000; }";
    ck_assert_int_eq(load_many("sites = (", BOARD_SITES_MAX, site, ");"), 0);
    ck_assert_int_eq(load_many("sites = (", BOARD_SITES_MAX + 1, site, ");"), -EINVAL);
    ck_assert_str_eq(fixture.messages, "t.conf:2: sites: 1025 sites, but 1024 are the most that "
                                       "the board has room for\n");
    ck_assert_int_eq(load_many("upstreams = (", BOARD_UPSTREAMS_MAX, upstream, ");"), 0);
    ck_assert_int_eq(load_many("upstreams = (", BOARD_UPSTREAMS_MAX + 1, upstream, ");"), -EINVAL);
    ck_assert_str_eq(fixture.messages, "t.conf:2: upstreams: 1025 upstreams, but 1024 are the "
                                       "most that the board has room for\n");
    ck_assert_int_eq(load_many("upstreams = ( { name = \"u\"; servers = (", BOARD_BACKENDS_MAX + 1,
                               server, "); } );"),
                     -EINVAL);
    ck_assert_str_eq(fixture.messages, "t.conf:2: upstreams: 16385 servers, but 16384 are the "
                                       "most that the board has room for\n");
    /* 26 x 1000 x 160 = 4,160,000 points fit into 4,194,304; 27 do not. */
    static const char hash[] =
        "upstreams = ( { name = \"u\"; balance = \"hash\"; hash_key = \"$host\"; servers = (";
    ck_assert_int_eq(load_many(hash, 26, server, "); } );"), 0);
    ck_assert_int_eq(load_many(hash, 27, server, "); } );"), -EINVAL);
    ck_assert_str_eq(fixture.messages,
                     "t.conf:2: upstreams: 4320000 points of consistent hashing (160 for each unit "
                     "of weight), but 4194304 are the most that the board has room for\n");
    ck_assert_int_eq(load_many("", 0, "", ""), 0);
}
END_TEST

START_TEST(names_that_the_board_cannot_show_are_refused)
{
    char text[512], name[64 + 1], path[123 + 1];
    memset(name, 'n', sizeof(name));
    memset(path, 'p', sizeof(path));
    const char *format = LISTEN
        "upstreams = ( { name = \"%.*s\"; servers = ( { address = \"unix:/%.*s\"; } ); } );\n";
    snprintf(text, sizeof(text), format, 63, name, 106, path);
    struct conf *conf = conf_fixture_good(&fixture, text);
    conf_free(&conf);
    snprintf(text, sizeof(text), format, 64, name, 107, path);
    refused(text,
            "t.conf:2: upstreams[0].servers[0].address: "
            "\"unix:/pppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppppp..."
            "\": the path of a UNIX socket may have 107 bytes at most\n"
            "t.conf:2: upstreams[0].name: the name is longer than the 63 characters that the "
            "board shows\n");
}
END_TEST

START_TEST(a_syntax_error_has_its_file_and_line)
{
    refused(LISTEN "\nworkers = ;\n",
            "t.conf:3: syntax error: libconfig cannot read on from here\n");
    refused(LISTEN "workers = 1;\nworkers = 2;\n",
            "t.conf:3: duplicate setting name: libconfig cannot read on from here\n");
    conf_fixture_write("part.conf", "\n\nworkers = = 3;\n");
    refused(LISTEN "@include \"part.conf\"\n",
            "part.conf:3: syntax error: libconfig cannot read on from here\n");
    refused(LISTEN "@include \"absent.conf\"\n",
            "t.conf:2: cannot open include file: libconfig cannot read on from here\n");
}
END_TEST

START_TEST(errors_of_an_included_file_name_that_file)
{
    conf_fixture_write("part.conf", "\nworkerz = 1;\nupgrade = 2;\n");
    refused("workers = 65;\n@include \"part.conf\"\n" LISTEN "user = 1;\n",
            "t.conf:1: workers: 65 is out of range: 0 to 64 are possible\n"
            "part.conf:2: workerz: unknown key, so it would do nothing; did you mean "
            "\"workers\"?\n"
            "part.conf:3: upgrade: is an integer, but true or false is expected, such as upgrade = "
            "true\n"
            "t.conf:4: user: is an integer, but a text in quotes is expected, such as user = "
            "\"holdfast\"\n");
}
END_TEST

START_TEST(includes_are_relative_to_the_file_and_the_working_directory_stays)
{
    struct conf *conf;
    char path[128], text[512], before[512], after[512];
    snprintf(text, sizeof(text), "workers = 2;\n@include \"%s/absolute\"\n", fixture.directory);
    conf_fixture_write("t.conf", text);
    conf_fixture_write("part.conf", "user = \"x\";");
    snprintf(text, sizeof(text), LISTEN "@include \"part.conf\"\n@include \"%s/t.conf\"\n",
             fixture.directory);
    conf_fixture_write("main.conf", text);
    conf_fixture_write("absolute", "pid_file = \"/p\";");
    snprintf(path, sizeof(path), "%s/main.conf", fixture.directory);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
    int rc = conf_fixture_load(&fixture, path, &conf);
    ck_assert_msg(rc == 0, "%s", fixture.messages);
    ck_assert_ptr_nonnull(getcwd(after, sizeof(after)));
    ck_assert_str_eq(before, after);
    ck_assert_uint_eq(conf->workers, 2);
    ck_assert_str_eq(conf->user, "x");
    ck_assert_str_eq(conf->pid_file, "/p");
    conf_free(&conf);
    ck_assert_int_eq(chdir(fixture.directory), 0);
    unlink("main.conf");
    unlink("absolute");
}
END_TEST

START_TEST(what_cannot_be_read_is_an_error_and_not_an_end)
{
    struct conf *conf;
    ck_assert_int_eq(conf_fixture_load(&fixture, "absent.conf", &conf), -ENOENT);
    ck_assert_str_eq(fixture.messages, "absent.conf: cannot be read: No such file or directory\n");
    ck_assert_int_eq(conf_fixture_load(&fixture, "/tmp", &conf), -EISDIR);
    ck_assert_str_eq(fixture.messages, "/tmp: cannot be read: Is a directory\n");
    ck_assert_ptr_null(conf);
    /* libconfig would call exit here. */
    refused(LISTEN "  @include \"/tmp\"\n",
            "t.conf:2: @include: \"/tmp\" is a directory: name the files in it, one line each\n");
    conf_fixture_write("part.conf", "\n@include \"/tmp\"\n");
    refused(LISTEN "@include \"part.conf\"\n",
            "part.conf:2: @include: \"/tmp\" is a directory: name the files in it, one line "
            "each\n");
    refused("@include \"t.conf\"\n",
            "t.conf:1: include file nesting too deep: libconfig cannot read on from here\n");
}
END_TEST

START_TEST(a_configuration_may_come_through_a_pipe)
{
    struct conf *conf;
    char path[64];
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(write(pipes[1], LISTEN, strlen(LISTEN)), (ssize_t)strlen(LISTEN));
    close(pipes[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", pipes[0]);
    int rc = conf_fixture_load(&fixture, path, &conf);
    ck_assert_msg(rc == 0, "%s", fixture.messages);
    close(pipes[0]);
    conf_free(&conf);
}
END_TEST

/* Load a file and print it. */
static char *printed(const char *path)
{
    struct conf *conf;
    char *text = NULL;
    size_t size = 0;
    int rc = conf_fixture_load(&fixture, path, &conf);
    ck_assert_msg(rc == 0, "%d: %s", rc, fixture.messages);
    FILE *out = open_memstream(&text, &size);
    conf_print(conf, out);
    fclose(out);
    conf_free(&conf);
    return text;
}

static void prints_itself(const char *path)
{
    char *first = printed(path);
    conf_fixture_write("t.conf", first);
    char *second = printed("t.conf");
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
}

START_TEST(what_is_printed_loads_as_the_same_configuration)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/etc/holdfast.conf", fixture.home);
    prints_itself(path);
    snprintf(path, sizeof(path), "%s/etc/demo.conf", fixture.home);
    prints_itself(path);
    conf_fixture_write("part.conf", LISTEN);
    prints_itself("part.conf");
    conf_fixture_write("part.conf",
                       LISTEN UPSTREAM "pid_file = \"/a\\\"b\\\\c\\x01\\n\xc3\xa9\"; access_log = "
                                       "\"off\"; idle_timeout = \"90000ms\";\n"
                                       "sites = ( { }, { hosts = [ \"a\" ]; routes = ( ); } );");
    prints_itself("part.conf");
}
END_TEST

START_TEST(what_is_printed_says_everything)
{
    conf_fixture_write("part.conf", LISTEN UPSTREAM
                       "idle_timeout = \"90000ms\"; pid_file = \"/a\\\"b\\\\c\\x01\";\n"
                       "sites = ( { send_timeout = \"5s\"; max_body = \"0\";\n"
                       "  routes = ( { path = \"/x\"; upstream = \"u\"; } ); } );");
    static const char *const lines[] = {
        "\n# user is not set\n",
        "\npid_file = \"/a\\\"b\\\\c\\x01\";\n",
        "\naccess_log = \"off\";\n",
        "\nerror_log = {\n    path = \"stderr\";\n    level = \"info\";\n};\n",
        "\nidle_timeout = \"90s\";\n",
        "\n        # hash_key is not set\n",
        "\n        hosts = [ ];\n",
        "\n                path = \"/x\";\n",
        "\n                send_timeout = \"5s\";\n",
        "\n                idle_timeout = \"90s\";\n",
        "\n                max_body = \"0\";\n",
        "\n                x_forwarded_for = \"append\";\n",
    };
    char *text = printed("part.conf");
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        ck_assert_msg(strstr(text, lines[i]) != NULL, "%s in %s", lines[i], text);
    free(text);
}
END_TEST

START_TEST(the_page_of_keys_is_what_the_program_prints)
{
    char path[600], *page = NULL, *text = NULL;
    size_t page_size = 0, size = 0;
    snprintf(path, sizeof(path), "%s/etc/KEYS.md", fixture.home);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(getdelim(&page, &page_size, '\0', file), 0);
    fclose(file);
    FILE *out = open_memstream(&text, &size);
    conf_print_keys(out);
    fclose(out);
    ck_assert_msg(strcmp(page, text) == 0, "etc/KEYS.md is old: holdfast --keys >etc/KEYS.md");
    free(page);
    free(text);
}
END_TEST

static void add_errors(TCase *all)
{
    tcase_add_test(all, a_wrong_type_says_what_is_expected);
    tcase_add_test(all, a_value_that_cannot_be_is_refused);
    tcase_add_test(all, an_unknown_key_is_refused_with_the_nearest_one_or_its_place);
    tcase_add_test(all, listeners_must_be_there_and_differ);
    tcase_add_test(all, upstreams_are_checked);
    tcase_add_test(all, hosts_are_checked);
    tcase_add_test(all, routes_are_checked);
    tcase_add_test(all, a_refused_upstream_is_not_reported_again_by_its_routes);
    tcase_add_test(all, the_limits_of_the_board_are_errors_that_name_them);
    tcase_add_test(all, names_that_the_board_cannot_show_are_refused);
    tcase_add_test(all, a_syntax_error_has_its_file_and_line);
    tcase_add_test(all, errors_of_an_included_file_name_that_file);
    tcase_add_test(all, what_cannot_be_read_is_an_error_and_not_an_end);
}

int main(void)
{
    TCase *all = tcase_create("conf_file");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_set_timeout(all, 60);
    tcase_add_test(all, what_is_not_written_has_its_default);
    tcase_add_test(all, every_value_that_is_written_is_taken);
    tcase_add_test(all, options_are_inherited_downwards_and_the_nearest_wins);
    tcase_add_test(all, includes_are_relative_to_the_file_and_the_working_directory_stays);
    tcase_add_test(all, a_configuration_may_come_through_a_pipe);
    tcase_add_test(all, what_is_printed_loads_as_the_same_configuration);
    tcase_add_test(all, what_is_printed_says_everything);
    tcase_add_test(all, the_page_of_keys_is_what_the_program_prints);
    add_errors(all);
    Suite *suite = suite_create("conf_file");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
