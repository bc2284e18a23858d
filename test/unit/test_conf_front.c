/* SPDX-License-Identifier: Apache-2.0 */
/* Keys about who may come in: what is refused, what is inherited, and what stands in the image. */
#include "test/unit/conf_fixture.h"

#include "shm/image.h"

#include <fcntl.h>

static struct conf_fixture fixture;

static void setup(void)
{
    conf_fixture_init(&fixture);
}

static void teardown(void)
{
    unlink("list");
    conf_fixture_fini(&fixture);
}

static int load(const char *top, const char *upstream, const char *site, const char *route,
                struct conf **conf)
{
    const char *const keys[] = {top, upstream, site, route};
    return conf_fixture_load_keys(&fixture, keys, conf);
}

static void refused(const char *route, const char *why)
{
    conf_fixture_refused(&fixture, route, why);
}

START_TEST(what_means_nothing_is_refused)
{
    refused("allow = [ \"10.0.0.0/33\" ];", "t.conf:9: sites[0].routes[0].allow[0]");
    refused("deny = [ \"10.0.0.1/8\" ];", "behind its length");
    refused("trusted_proxies = [ \"proxy.example\" ];", "not an IP address or prefix");
    refused("allow = [ \"10.0.0.0/8\" ]; deny = [ \"10.0.0.0/8\" ];", "a prefix of 8 bits");
    refused("deny = [ \"file:none\" ];", "none: No such file");
    refused("origins = [ \"https://example.com/\" ];", "has no path");
    refused("client_rate = \"10\";", "not a rate");
    refused("client_rate = \"0/s\";", "not a rate");
    refused("client_rate = \"1000001/s\";", "not a rate");
    refused("client_burst = 0;", "out of range");
    refused("client_key = \"$nobody\";", "unknown variable");
    refused("client_key = \"$remote_net_33_64\";", "unknown variable");
}
END_TEST

/* Routes: the first line of the one that is wrong is the tenth of the file. */
static void route_refused(const char *route, const char *why)
{
    struct conf *conf;
    char site[512];
    snprintf(site, sizeof site, "routes = ( { %s } ); } ); #", route);
    char text[1024];
    snprintf(text, sizeof text,
             "listeners = ( { address = \"*:80\"; } );\n"
             "upstreams = ( { name = \"u\"; servers = ( { address = \"10.0.0.1\"; } ); } );\n"
             "sites = ( { %s\n",
             site);
    ck_assert_int_lt(conf_fixture_load_text(&fixture, text, &conf), 0);
    ck_assert_msg(strstr(fixture.messages, why), "%s: %s", route, fixture.messages);
}

START_TEST(routes_that_cannot_be_are_refused)
{
    route_refused("path = \"^/(a\"; match = \"regex\"; upstream = \"u\";",
                  "t.conf:3: sites[0].routes[0].path: \"^/(a\": missing closing parenthesis");
    route_refused("path = \"/\"; match = \"glob\"; upstream = \"u\";", "is not one of");
    route_refused("path = \"/\"; return = 404; upstream = \"u\";", "write one of them");
    route_refused("path = \"/\"; return = 199;", "199 is out of range");
    route_refused("path = \"/\"; upstream = \"u\"; body = \"x\";", "body: needs return");
    route_refused("path = \"/\"; upstream = \"u\"; location = \"/x\";", "location: needs return");
    route_refused("path = \"/\"; upstream = \"u\"; rewrite = \"$nothing\";", "unknown variable");
    route_refused("path = \"/\"; upstream = \"u\"; methods = [ \"G T\" ];", "is no method");
    route_refused("path = \"/\"; upstream = \"u\"; headers = [ \": x\" ];", "write \"Name\"");
    route_refused("path = \"/\"; upstream = \"u\"; subprotocols = [ \"a,b\" ];",
                  "is no subprotocol");
    route_refused("path = \"/\"; upstream = \"u\"; request_headers = [ \"Host: x\" ];",
                  "has a key of its own");
    route_refused("path = \"/\"; upstream = \"u\"; request_headers = [ \"X-Forwarded-For: x\" ];",
                  "has a key of its own");
    route_refused("path = \"/\"; upstream = \"u\"; response_headers = [ \"+Upgrade: x\" ];",
                  "frames the message");
    route_refused("path = \"/\"; upstream = \"u\"; request_headers = [ \"X\" ];",
                  "the value is missing");
    route_refused("path = \"/\"; upstream = \"u\"; request_headers = [ \"-X: y\" ];",
                  "needs no value");
    route_refused("path = \"/\"; upstream = \"u\"; request_headers = [ \"X: $nothing\" ];",
                  "unknown variable");
    route_refused("path = \"/\"; upstream = \"u\"; error_pages = [ \"200 x\" ];",
                  "write the status");
    route_refused("path = \"/\"; upstream = \"u\"; error_pages = [ \"503 none\" ];",
                  "No such file");
}
END_TEST

/* What was refused is not looked at again: it has no texts. */
START_TEST(what_is_no_route_is_refused_once)
{
    struct conf *conf;
    route_refused("path = \"/\"; return = 200; content_type = \"\";",
                  "content_type: the text is empty");
    ck_assert_int_lt(conf_fixture_load_text(&fixture,
                                            "listeners = ( { address = \"*:80\"; } );\n"
                                            "sites = ( { routes = ( 5 ); } );\n",
                                            &conf),
                     0);
    ck_assert_str_eq(fixture.messages,
                     "t.conf:2: sites[0].routes[0]: is an integer, but a group is "
                     "expected, such as routes = ( { path = \"/\"; upstream = "
                     "\"app\"; } )\n");
}
END_TEST

START_TEST(the_proxy_protocol_needs_somebody_to_trust)
{
    struct conf *conf;
    const char *const text = "listeners = ( { address = \"*:80\"; proxy_protocol = true; } );\n";
    ck_assert_int_lt(conf_fixture_load_text(&fixture, text, &conf), 0);
    ck_assert_msg(strstr(fixture.messages, "t.conf:1: listeners[0].proxy_protocol: needs "
                                           "trusted_proxies"),
                  "%s", fixture.messages);
}
END_TEST

START_TEST(a_line_of_a_file_is_named)
{
    struct conf *conf;
    conf_fixture_write("list", "# one\n10.0.0.0/8\n\n 10.0.0.0/8 # twice is no harm\r\n");
    ck_assert_int_eq(load("", "", "", "deny = [ \"file:list\" ];", &conf), 0);
    conf_free(&conf);
    conf_fixture_write("list", "10.0.0.0/8\nx\n");
    refused("deny = [ \"file:list\" ];", "list:2: \"x\": not an IP address");
}
END_TEST

static struct image *build(const struct conf *conf)
{
    char name[48];
    int32_t owner;
    struct board board;
    const struct board_shape shape = {.tunnels_max = 64};
    struct image *image;
    int fd;
    snprintf(name, sizeof name, "/hf-test-front-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(conf_image_build(conf, &board, 1, &fd, stderr), 0);
    ck_assert_int_eq(image_open(&image, fd), 0);
    close(fd);
    ck_assert_int_eq(board_unlink(name), 0);
    board_fini(&board);
    return image;
}

static uint8_t verdict(const struct image *image, const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(&addr, slice_of(text), 1, false, &why), 0);
    return image_verdict(image, image_route(image, 0)->access, &addr);
}

START_TEST(lists_are_inherited_one_by_one)
{
    struct conf *conf;
    ck_assert_int_eq(load("deny = [ \"10.0.0.0/8\" ]; origins = [ \"same\", \"null\" ];", "",
                          "allow = [ \"10.1.0.0/16\" ];", "deny = [ \"10.1.1.0/24\" ];", &conf),
                     0);
    struct image *image = build(conf);
    const struct image_route *route = image_route(image, 0);
    ck_assert_uint_eq(verdict(image, "10.1.0.1"), VERDICT_ALLOW);
    ck_assert_uint_eq(verdict(image, "10.1.1.1"), VERDICT_DENY);
    ck_assert_uint_eq(verdict(image, "10.2.0.1"), 0);
    ck_assert(route->flags & ROUTE_ALLOW_LISTED);
    ck_assert_uint_eq(route->origins.count, 2);
    ck_assert(slice_eq(image_text(image, route->origins, 1), SLICE("null")));
    image_release(&image);
    conf_free(&conf);
}
END_TEST

START_TEST(limits_stand_in_the_image)
{
    struct conf *conf;
    ck_assert_int_eq(load("max_tunnels = 9; handshake_rate = \"100/s\"; handshake_burst = 5;"
                          "handshake_queue = \"2s\";",
                          "max_tunnels = 8; handshake_rate = \"60/m\"; handshake_burst = 1;",
                          "max_tunnels = 7; client_rate = \"1/h\"; client_burst = 3;",
                          "upgrade = true;", &conf),
                     0);
    struct image *image = build(conf);
    const struct image_front *front = &image->header->front;
    const struct image_route *route = image_route(image, 0);
    ck_assert_uint_eq(front->max_tunnels, 9);
    ck_assert_uint_eq(front->pace.interval_us, 10000);
    ck_assert_uint_eq(front->pace.burst_us, 40000);
    ck_assert_uint_eq(front->pace.queue_us, 2000000);
    ck_assert_uint_eq(image_upstream(image, 0)->max_tunnels, 8);
    ck_assert_uint_eq(image_upstream(image, 0)->pace.interval_us, 1000000);
    ck_assert_uint_eq(image_upstream(image, 0)->pace.burst_us, 0);
    ck_assert_uint_eq(image_site(image, 0)->max_tunnels, 7);
    ck_assert_uint_eq(route->client_pace.interval_us, UINT64_C(3600000000));
    ck_assert_uint_eq(route->client_pace.burst_us, UINT64_C(7200000000));
    /* Written in the site: counted for the site. */
    ck_assert(slice_eq(image_slice(image, route->client_scope), SLICE("a.example")));
    image_release(&image);
    conf_free(&conf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_front");
    TCase *tc = tcase_create("conf_front");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_means_nothing_is_refused);
    tcase_add_test(tc, routes_that_cannot_be_are_refused);
    tcase_add_test(tc, what_is_no_route_is_refused_once);
    tcase_add_test(tc, the_proxy_protocol_needs_somebody_to_trust);
    tcase_add_test(tc, a_line_of_a_file_is_named);
    tcase_add_test(tc, lists_are_inherited_one_by_one);
    tcase_add_test(tc, limits_stand_in_the_image);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
