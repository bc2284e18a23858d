/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/template.h"

#include "test/unit/worker_fixture.h"

#include <errno.h>

enum { FIELDS_MAX = 32 };

static struct worker_fixture fixture;
static struct http_field fields[FIELDS_MAX];
static struct http_head head;

static const char request[] = "GET /chat%2Froom//7?Room=9&user=&user=2&q=a%20b HTTP/1.1\r\n"
                              "Host: Chat.Example.COM:8443\r\n"
                              "Cookie: sid=abc; theme=dark\r\n"
                              "Cookie: sid=second; late=1\r\n"
                              "X-Device-Id: one\r\n"
                              "X-Device-Id: two\r\n"
                              "User-Agent: Mozilla/5.0 (X11)\r\n"
                              "X-Empty:\r\n"
                              "\r\n";

static const struct http_limits limits = {
    .line_max = 4096, .head_max = 8192, .fields_max = FIELDS_MAX};

static void setup(void)
{
    worker_fixture_init(&fixture);
    http_request_init(&head, fields, limits);
    ck_assert_int_eq(http_head_parse(&head, request, sizeof request - 1), sizeof request - 1);
}

static void teardown(void)
{
    worker_fixture_fini(&fixture);
}

static struct addr address(const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(&addr, slice_of(text), 0, false, &why), 0);
    return addr;
}

static struct template_vars vars_of(const struct addr *client)
{
    return (struct template_vars){
        .client = client,
        .head = &head,
        .head_buf = request,
        .host = SLICE("chat.example.com"),
        .uri = SLICE("/chat/room/7"),
        .backend = SLICE("10.0.0.1:80"),
        .server_port = 8443,
        .tls = true,
    };
}

/* The parts of this template, as the master compiles it. */
static struct image_array parts_of(const char *template)
{
    char upstream[512];
    snprintf(upstream, sizeof upstream,
             "{ name = \"u\"; balance = \"hash\"; hash_key = \"%s\";"
             " servers = ( { address = \"10.0.0.1:80\"; } ); }",
             template);
    worker_fixture_load(&fixture, upstream);
    return image_upstream(fixture.image, 0)->hash_key;
}

static void expect(const char *template, const struct template_vars *vars, struct slice wanted)
{
    struct image_array parts = parts_of(template);
    /* Exactly as much room as needed, in memory of its own: a byte too many is caught. */
    char *out = malloc(wanted.n > 0 ? wanted.n : 1);
    int n = template_eval(fixture.image, parts, vars, out, wanted.n);
    ck_assert_msg(n == (int)wanted.n && memcmp(out, wanted.p, wanted.n) == 0,
                  "%s became %d bytes: %.*s", template, n, n > 0 ? n : 0, out);
    for (size_t size = 0; size < wanted.n; size++)
        ck_assert_int_eq(template_eval(fixture.image, parts, vars, out, size), -ENOSPC);
    free(out);
}

START_TEST(every_variable_is_what_nginx_says)
{
    static const char *const cases[][2] = {
        {"$remote_addr", "192.0.2.7"},
        {"$remote_port", "5122"},
        {"$host", "chat.example.com"},
        {"$http_host", "Chat.Example.COM:8443"},
        {"$server_port", "8443"},
        {"$uri", "/chat/room/7"},
        {"$request_uri", "/chat%2Froom//7?Room=9&user=&user=2&q=a%20b"},
        {"$args", "Room=9&user=&user=2&q=a%20b"},
        {"$scheme", "https"},
        {"$request_method", "GET"},
        {"$arg_room", "9"},
        {"$arg_user", ""},
        {"$arg_q", "a%20b"},
        {"$arg_none", ""},
        {"$http_user_agent", "Mozilla/5.0 (X11)"},
        {"$http_x_device_id", "one"},
        {"$http_x_empty", ""},
        {"$http_none", ""},
        {"$cookie_sid", "abc"},
        {"$cookie_theme", "dark"},
        {"$cookie_late", "1"},
        {"$cookie_none", ""},
        {"fixed text", "fixed text"},
        {"$remote_addr:$arg_room", "192.0.2.7:9"},
        {"${host}x$uri/$cookie_none-", "chat.example.comx/chat/room/7/-"},
    };
    struct addr client = address("192.0.2.7:5122");
    struct template_vars vars = vars_of(&client);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect(cases[i][0], &vars, slice_of(cases[i][1]));
}
END_TEST

START_TEST(the_request_uri_names_no_host)
{
    static const char *const cases[][2] = {
        {"http://chat.example.com/room%2F7?a=1&b", "/room%2F7?a=1&b"},
        {"https://chat.example.com:8443//room/../7", "//room/../7"},
        {"http://chat.example.com?a=1", "/?a=1"},
        {"http://chat.example.com", "/"},
    };
    struct addr client = address("192.0.2.7:5122");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n", cases[i][0]);
        http_request_init(&head, fields, limits);
        ck_assert_int_eq(http_head_parse(&head, text, (size_t)n), n);
        struct template_vars vars = vars_of(&client);
        vars.head_buf = text;
        expect("$request_uri", &vars, slice_of(cases[i][1]));
    }
}
END_TEST

START_TEST(clients_of_all_families_have_their_name)
{
    static const struct {
        const char *client;
        struct slice text, binary, port;
    } cases[] = {
        {"192.0.2.7:5122", {"192.0.2.7", 9}, {"\xc0\x00\x02\x07", 4}, {"5122", 4}},
        {"[2001:db8::7]:1",
         {"2001:db8::7", 11},
         {"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", 16},
         {"1", 1}},
        /* On a listener that takes both families a client keeps its one name. */
        {"[::ffff:192.0.2.7]:65535", {"192.0.2.7", 9}, {"\xc0\x00\x02\x07", 4}, {"65535", 5}},
        {"unix:/run/x", {"unix:", 5}, {"", 0}, {"0", 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct addr client = address(cases[i].client);
        struct template_vars vars = vars_of(&client);
        expect("$remote_addr", &vars, cases[i].text);
        expect("$binary_remote_addr", &vars, cases[i].binary);
        expect("$remote_port", &vars, cases[i].port);
    }
}
END_TEST

START_TEST(a_network_is_the_address_cut_to_its_bits)
{
    static const char *const cases[][3] = {
        {"192.0.2.199:1", "$remote_net_24_64", "192.0.2.0/24"},
        {"192.0.2.199:1", "$remote_net_32_64", "192.0.2.199/32"},
        {"192.0.2.199:1", "$remote_net_0_0", "0.0.0.0/0"},
        {"192.0.2.199:1", "$remote_net_26_0", "192.0.2.192/26"},
        {"[::ffff:192.0.2.199]:1", "$remote_net_24_64", "192.0.2.0/24"},
        {"[2001:db8:1:2:3:4:5:6]:1", "$remote_net_24_64", "2001:db8:1:2::/64"},
        {"[2001:db8:1:2:3:4:5:6]:1", "$remote_net_24_49", "2001:db8:1::/49"},
        {"[2001:db8:1:2:3:4:5:6]:1", "$remote_net_0_128", "2001:db8:1:2:3:4:5:6/128"},
        {"unix:/run/x", "$remote_net_24_64", "unix:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct addr client = address(cases[i][0]);
        struct template_vars vars = vars_of(&client);
        expect(cases[i][1], &vars, slice_of(cases[i][2]));
    }
}
END_TEST

START_TEST(without_tls_the_scheme_is_http)
{
    struct addr client = address("192.0.2.7:5122");
    struct template_vars vars = vars_of(&client);
    vars.tls = false;
    expect("$scheme", &vars, SLICE("http"));
}
END_TEST

START_TEST(the_chosen_server_goes_into_the_host_header)
{
    struct addr client = address("192.0.2.7:5122");
    struct template_vars vars = vars_of(&client);
    char out[64];
    parts_of("$host");
    const struct image_route *route = image_route(fixture.image, 0);
    int n = template_eval(fixture.image, route->host_header, &vars, out, sizeof out);
    ck_assert_int_eq(n, 13);
    ck_assert_mem_eq(out, "x.10.0.0.1:80", 13);
    vars.backend = (struct slice){NULL, 0}; /* before one is chosen */
    ck_assert_int_eq(template_eval(fixture.image, route->host_header, &vars, out, sizeof out), 2);
}
END_TEST

START_TEST(no_parts_are_the_empty_string)
{
    struct addr client = address("192.0.2.7:5122");
    struct template_vars vars = vars_of(&client);
    char out[1];
    parts_of("$host");
    ck_assert_int_eq(template_eval(fixture.image, (struct image_array){0}, &vars, out, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("template");
    TCase *tc = tcase_create("template");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_variable_is_what_nginx_says);
    tcase_add_test(tc, the_request_uri_names_no_host);
    tcase_add_test(tc, clients_of_all_families_have_their_name);
    tcase_add_test(tc, a_network_is_the_address_cut_to_its_bits);
    tcase_add_test(tc, without_tls_the_scheme_is_http);
    tcase_add_test(tc, the_chosen_server_goes_into_the_host_header);
    tcase_add_test(tc, no_parts_are_the_empty_string);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
