/* SPDX-License-Identifier: Apache-2.0 */
/* Keys about open tunnels: what is refused, what is warned of, and what stands in the image. */
#include "test/unit/conf_fixture.h"

#include "shm/image.h"

static struct conf_fixture fixture;

static void setup(void)
{
    conf_fixture_init(&fixture);
}

static void teardown(void)
{
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

/* It loads, and this is all that is said of it. */
static void warned(const char *top, const char *upstream, const char *site, const char *route,
                   const char *message)
{
    struct conf *conf;
    ck_assert_int_eq(load(top, upstream, site, route, &conf), 0);
    conf_free(&conf);
    ck_assert_str_eq(fixture.messages, message);
}

START_TEST(what_means_nothing_is_refused)
{
    refused("ping_interval = \"25d\";", "out of range: 0s to 24d");
    refused("ping_timeout = \"0s\";", "out of range: 1ms to 1h");
    refused("max_age_jitter = 101;", "out of range: 0 to 100");
    refused("over_rate = \"wait\";", "is not one of \"delay\", \"close\"");
    refused("check_frames = \"yes\";", "true or false is expected");
    refused("max_frame = \"1z\";", "is not a size");
    refused("max_frame = \"124\";", "is less than the 125 bytes");
}
END_TEST

START_TEST(rates_are_a_second)
{
    refused("client_message_rate = \"30/m\";", "\"30/m\" is not a rate a second");
    refused("client_message_rate = \"10\";", "such as \"100/s\"");
    refused("client_byte_rate = \"64k\";", "such as \"64k/s\"");
    refused("client_message_rate = \"0/s\";",
            "\"0/s\" is out of range: \"\", or \"1/s\" to \"1000000/s\" are possible");
    refused("server_byte_rate = \"2g/s\";", "to \"1g/s\" are possible");
    refused("server_control_rate = \"99999999999999999999/s\";", "out of range");
    struct conf *conf;
    ck_assert_int_lt(load("", "shed_rate = \"\";", "", "", &conf), 0);
    ck_assert_str_eq(fixture.messages, "t.conf:4: upstreams[0].shed_rate: \"\" is out of range: "
                                       "\"1/s\" to \"1000000/s\" are possible\n");
}
END_TEST

START_TEST(a_code_must_be_one_that_clients_understand)
{
    static const uint32_t good[] = {1001, 1012, 1013, 3000, 4000, 4999};
    static const uint32_t bad[] = {1000, 1002, 1003, 1005, 1006, 1008, 1009,
                                   1011, 1014, 1015, 1016, 2000, 2999};
    char key[64];
    struct conf *conf;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        snprintf(key, sizeof key, "close_code = %u;", good[i]);
        ck_assert_int_eq(load("", "", "", key, &conf), 0);
        ck_assert_uint_eq(conf->sites[0].routes[0].options.tunnel.close_code, good[i]);
        conf_free(&conf);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(key, sizeof key, "close_code = %u;", bad[i]);
        refused(key, "write 1001 (going away), 1012 (service restart)");
    }
    refused("close_code = 999;", "out of range");
    refused("close_code = 5000;", "out of range");
    /* One mistake, one message: not again for each route that has it from above. */
    ck_assert_int_lt(load("close_code = 1000;", "", "", "", &conf), 0);
    ck_assert_ptr_eq(strstr(fixture.messages, "t.conf:2: close_code: 1000"), fixture.messages);
    ck_assert_ptr_null(strstr(strchr(fixture.messages, '\n') + 1, "close_code"));
}
END_TEST

START_TEST(a_reason_must_fit_a_close_frame)
{
    char key[256], longest[CLOSE_REASON_MAX + 1];
    struct conf *conf;
    memset(longest, 'x', sizeof longest);
    snprintf(key, sizeof key, "close_reason = \"%.*s\";", CLOSE_REASON_MAX, longest);
    ck_assert_int_eq(load("", "", "", key, &conf), 0);
    conf_free(&conf);
    snprintf(key, sizeof key, "close_reason = \"%.*s\";", CLOSE_REASON_MAX + 1, longest);
    refused(key, "t.conf:9: sites[0].routes[0].close_reason: has 124 bytes, but a Close frame has "
                 "room for 123");
    refused("close_reason = \"caf\xe9\";", "is not UTF-8");
    refused("close_reason = \"\xed\xa0\x80\";", "is not UTF-8");
    ck_assert_int_eq(load("", "", "", "close_reason = \"caf\xc3\xa9\";", &conf), 0);
    conf_free(&conf);
}
END_TEST

START_TEST(what_would_come_to_nothing_is_a_warning_where_it_is_written)
{
    warned("close_timeout = \"0s\";", "", "close_reason = \"bye\";", "",
           "t.conf:7: sites[0].close_reason: warning: is never said: with close_timeout = \"0s\" "
           "there are no Close frames\n");
    warned("max_message = \"1k\"; max_frame = \"1025\";", "", "", "",
           "t.conf:2: max_frame: warning: max_frame is more than max_message, which such a frame "
           "meets first\n");
    warned("max_frame = \"1k\";", "", "", "max_message = \"1023\";",
           "t.conf:9: sites[0].routes[0].max_message: warning: max_frame is more than max_message, "
           "which such a frame meets first\n");
    warned("", "", "ping_resets_idle = true;", "",
           "t.conf:7: sites[0].ping_resets_idle: warning: does nothing without ping_interval: no "
           "pings are sent\n");
    warned("ping_resets_idle = true; ping_interval = \"30s\";", "", "", "idle_timeout = \"30s\";",
           "t.conf:9: sites[0].routes[0].idle_timeout: warning: idle_timeout is not longer than "
           "ping_interval: a tunnel ends before a pong could count for it (ping_resets_idle)\n");
    warned("", "shed = 50; sticky = { cookie = \"c\"; };", "", "",
           "t.conf:4: upstreams[0].shed: warning: moves nobody whom a sticky cookie brings back to "
           "its server\n");
    warned("ping_resets_idle = true; ping_interval = \"30s\"; idle_timeout = \"0s\";", "", "",
           "max_frame = \"1g\"; close_reason = \"bye\";", "");
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
    snprintf(name, sizeof name, "/hf-test-tunnel-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    ck_assert_int_eq(conf_image_build(conf, &board, 1, &fd, stderr), 0);
    ck_assert_int_eq(image_open(&image, fd), 0);
    close(fd);
    board_fini(&board);
    return image;
}

static struct image *good(const char *top, const char *site, const char *route)
{
    struct conf *conf;
    int rc = load(top, "", site, route, &conf);
    ck_assert_msg(rc == 0, "%s", fixture.messages);
    struct image *image = build(conf);
    conf_free(&conf);
    return image;
}

static void rate_is(struct arena_rate rate, uint32_t per_s, uint32_t burst)
{
    ck_assert_uint_eq(rate.per_s, per_s);
    ck_assert_uint_eq(rate.burst, burst);
}

START_TEST(nothing_is_on_by_default)
{
    struct image *image = good("", "", "");
    const struct image_route *route = image_route(image, 0);
    ck_assert_uint_eq(route->tunnel_flags, RULES_DELAY);
    ck_assert_uint_eq(route->ping_interval_ms, 0);
    ck_assert_uint_eq(route->ping_timeout_ms, 10000);
    ck_assert_uint_eq(route->close_timeout_ms, 5000);
    ck_assert_uint_eq(route->max_age_ms, 0);
    ck_assert_uint_eq(route->max_age_spread_ms, 0);
    ck_assert_uint_eq(route->close_code, 1001);
    ck_assert_uint_eq(route->close_reason.len, 0);
    ck_assert_uint_eq(route->limits.max_frame, 0);
    ck_assert_uint_eq(route->limits.max_message, 0);
    for (uint32_t d = 0; d < 2; d++) {
        for (uint32_t kind = 0; kind < RATE_KINDS; kind++)
            rate_is(route->limits.rates[d][kind], 0, 0);
    }
    image_release(&image);
}
END_TEST

START_TEST(each_key_comes_to_its_place)
{
    struct image *image =
        good("ping_interval = \"30s\"; ping_timeout = \"3s\"; ping_backend = true;"
             "ping_resets_idle = true; drain_window = \"7s\"; idle_timeout = \"90s\";",
             "close_timeout = \"2s\"; close_code = 4321; close_reason = \"bye\";"
             "max_age = \"24d\"; max_age_jitter = 50;",
             "close_code = 1012; max_frame = \"1k\"; max_message = \"1m\"; check_frames = true;"
             "client_message_rate = \"10/s\"; client_byte_rate = \"64k/s\";"
             "client_control_rate = \"2/s\"; server_message_rate = \"20/s\";"
             "server_byte_rate = \"1g/s\"; server_control_rate = \"3/s\"; rate_burst = \"10s\";"
             "over_rate = \"close\";");
    const struct image_route *route = image_route(image, 0);
    ck_assert_uint_eq(route->tunnel_flags, RULES_PING_BACKEND | RULES_PONG_IS_LIFE |
                                               RULES_CHECK_FRAMES | RULES_LIMITS_0 |
                                               RULES_LIMITS_1);
    ck_assert_uint_eq(route->ping_interval_ms, 30000);
    ck_assert_uint_eq(route->ping_timeout_ms, 3000);
    ck_assert_uint_eq(route->close_timeout_ms, 2000);
    ck_assert_uint_eq(route->max_age_ms, 2073600000);
    ck_assert_uint_eq(route->max_age_spread_ms, 1036800000);
    ck_assert_uint_eq(route->close_code, 1012);
    ck_assert(slice_eq(image_slice(image, route->close_reason), SLICE("bye")));
    ck_assert_uint_eq(route->limits.max_frame, 1024);
    ck_assert_uint_eq(route->limits.max_message, 1 << 20);
    rate_is(route->limits.rates[0][RATE_MESSAGES], 10, 100);
    rate_is(route->limits.rates[0][RATE_BYTES], 65536, 655360);
    rate_is(route->limits.rates[0][RATE_CONTROL], 2, 20);
    rate_is(route->limits.rates[1][RATE_MESSAGES], 20, 200);
    rate_is(route->limits.rates[1][RATE_BYTES], 1 << 30, UINT32_MAX); /* 10 GiB do not fit */
    rate_is(route->limits.rates[1][RATE_CONTROL], 3, 30);
    image_release(&image);
}
END_TEST

START_TEST(something_may_always_come_at_once)
{
    struct image *image = good("rate_burst = \"0s\";", "",
                               "client_message_rate = \"5/s\"; client_byte_rate = \"1/s\";"
                               "client_control_rate = \"5/s\";");
    const struct image_route *route = image_route(image, 0);
    rate_is(route->limits.rates[0][RATE_MESSAGES], 5, 1);
    rate_is(route->limits.rates[0][RATE_BYTES], 1, 16384);
    rate_is(route->limits.rates[0][RATE_CONTROL], 5, 1);
    image_release(&image);
}
END_TEST

START_TEST(a_direction_is_looked_at_only_if_it_has_a_limit)
{
    static const struct {
        const char *key;
        uint32_t flags;
    } rows[] = {
        {"client_message_rate = \"1/s\";", RULES_LIMITS_0},
        {"client_byte_rate = \"1/s\";", RULES_LIMITS_0},
        {"client_control_rate = \"1/s\";", RULES_LIMITS_0},
        {"server_message_rate = \"1/s\";", RULES_LIMITS_1},
        {"server_byte_rate = \"1/s\";", RULES_LIMITS_1},
        {"server_control_rate = \"1/s\";", RULES_LIMITS_1},
        {"max_frame = \"125\";", RULES_LIMITS_0 | RULES_LIMITS_1},
        {"max_message = \"1\";", RULES_LIMITS_0 | RULES_LIMITS_1},
        {"check_frames = true;", RULES_CHECK_FRAMES | RULES_LIMITS_0 | RULES_LIMITS_1},
        {"rate_burst = \"9s\"; ping_interval = \"1s\"; max_age = \"1h\";", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct image *image = good("", "", rows[i].key);
        ck_assert_msg(image_route(image, 0)->tunnel_flags == (rows[i].flags | RULES_DELAY), "%s",
                      rows[i].key);
        image_release(&image);
    }
}
END_TEST

START_TEST(a_site_may_take_back_what_the_top_says)
{
    struct image *image = good("client_message_rate = \"10/s\"; close_reason = \"bye\";"
                               "check_frames = true; max_age = \"1h\";",
                               "client_message_rate = \"\"; close_reason = \"\";",
                               "check_frames = false; max_age = \"0s\";");
    const struct image_route *route = image_route(image, 0);
    rate_is(route->limits.rates[0][RATE_MESSAGES], 0, 0);
    ck_assert_uint_eq(route->close_reason.len, 0);
    ck_assert_uint_eq(route->tunnel_flags, RULES_DELAY);
    ck_assert_uint_eq(route->max_age_spread_ms, 0);
    image_release(&image);
}
END_TEST

START_TEST(shedding_is_read)
{
    struct conf *conf;
    ck_assert_int_eq(load("", "shed = 40; shed_rate = \"7/s\";", "", "", &conf), 0);
    ck_assert_uint_eq(conf->upstreams[0].shed, 40);
    ck_assert_uint_eq(conf->upstreams[0].shed_rate, 7);
    conf_free(&conf);
    ck_assert_int_eq(load("", "", "", "", &conf), 0);
    ck_assert_uint_eq(conf->upstreams[0].shed, 0);
    ck_assert_uint_eq(conf->upstreams[0].shed_rate, 100);
    conf_free(&conf);
}
END_TEST

START_TEST(rates_are_printed_as_they_may_be_written)
{
    struct conf *conf;
    char *text = NULL;
    size_t size = 0;
    ck_assert_int_eq(load("client_byte_rate = \"65536/s\"; client_message_rate = \"7/s\";",
                          "shed_rate = \"1024/s\";", "", "", &conf),
                     0);
    FILE *out = open_memstream(&text, &size);
    conf_print(conf, out);
    fclose(out);
    conf_free(&conf);
    ck_assert_ptr_nonnull(strstr(text, "\nclient_byte_rate = \"64k/s\";\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nclient_message_rate = \"7/s\";\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nserver_byte_rate = \"\";\n"));
    ck_assert_ptr_nonnull(strstr(text, " shed_rate = \"1k/s\";\n"));
    ck_assert_int_eq(conf_fixture_load_text(&fixture, text, &conf), 0);
    ck_assert_uint_eq(conf->options.tunnel.per_s[0][RATE_BYTES], 65536);
    conf_free(&conf);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_tunnel");
    TCase *tc = tcase_create("conf_tunnel");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_means_nothing_is_refused);
    tcase_add_test(tc, rates_are_a_second);
    tcase_add_test(tc, a_code_must_be_one_that_clients_understand);
    tcase_add_test(tc, a_reason_must_fit_a_close_frame);
    tcase_add_test(tc, what_would_come_to_nothing_is_a_warning_where_it_is_written);
    tcase_add_test(tc, nothing_is_on_by_default);
    tcase_add_test(tc, each_key_comes_to_its_place);
    tcase_add_test(tc, something_may_always_come_at_once);
    tcase_add_test(tc, a_direction_is_looked_at_only_if_it_has_a_limit);
    tcase_add_test(tc, a_site_may_take_back_what_the_top_says);
    tcase_add_test(tc, shedding_is_read);
    tcase_add_test(tc, rates_are_printed_as_they_may_be_written);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
