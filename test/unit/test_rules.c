/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules a tunnel goes by, across reloads and deaths. */
#include "worker/rules.h"

#include "test/unit/worker_fixture.h"

#include <sys/mman.h>

enum { TUNNELS = 8 };

static struct worker_fixture fixture;
static struct arena arena;
static struct worker worker;

/* A worker that has tunnels but no loop: what the rules need of it. */
static void set_up(void)
{
    int fd;
    worker_fixture_init(&fixture);
    ck_assert_int_eq(arena_create(&arena, 0, TUNNELS, &fd), 0);
    ck_assert_int_eq(close(fd), 0);
    worker = (struct worker){
        .board = &fixture.board, .arena = &arena, .tunnels = arena.tunnels, .now_ms = 1000};
    ck_assert_int_eq(timer_init(&worker.timers, TUNNELS, worker.now_ms), 0);
}

static void tear_down(void)
{
    image_release(&worker.image);
    free(worker.rules);
    munmap(worker.timers.nodes, TUNNELS * sizeof *worker.timers.nodes);
    munmap(arena.header, arena.header->size);
    worker_fixture_fini(&fixture);
}

/* The next generation, opened and not yet in use: what stands in the list `sites`. */
static struct image *load(const char *sites)
{
    char text[4096];
    struct image *image;
    int fd;
    snprintf(text, sizeof text,
             "listeners = ( { address = \"127.0.0.1:8080\"; } );\n"
             "upstreams = ( { name = \"u\"; servers = ( { address = \"10.0.0.1:80\"; } ); } );\n"
             "sites = ( %s );\n",
             sites);
    struct conf *conf = conf_fixture_good(&fixture.conf, text);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    conf_free(&conf);
    ck_assert_int_eq(image_open(&image, fd), 0);
    ck_assert_int_eq(close(fd), 0);
    return image;
}

static bool refreshed; /* what the last apply() came to */

/* As worker/apply.c does it. */
static void apply(const char *sites)
{
    struct image *image = load(sites);
    ck_assert_int_eq(rules_map(&worker, image), 0);
    image_release(&worker.image);
    worker.image = image;
    refreshed = rules_refresh(&worker);
}

#define ROUTE(path, more) "{ path = \"" path "\"; upstream = \"u\"; " more " }"
#define SITE(routes)      "{ hosts = [ \"a.example\" ]; routes = ( " routes " ); }"

/* The number of the rules for the first site's route `i`. */
static uint16_t find(const struct image *image, uint32_t i)
{
    return rules_find(&worker, image, image_site(image, 0), image_route(image, i));
}

/* A tunnel of that route: its record's number. */
static uint32_t open_tunnel(uint32_t i)
{
    struct arena_tunnel *t = &worker.tunnels[worker.tunnels_used];
    t->state = TUNNEL_OPEN;
    t->heard_ms[0] = t->heard_ms[1] = worker.now_ms;
    t->rules = find(worker.image, i);
    ck_assert_uint_ne(t->rules, 0);
    rules_join(&worker, t);
    return worker.tunnels_used++;
}

static void close_tunnel(uint32_t tunnel)
{
    rules_leave(&worker, &worker.tunnels[tunnel]);
    worker.tunnels[tunnel].state = TUNNEL_FREE;
}

static const struct arena_rules *rules(uint32_t tunnel)
{
    return rules_of(&worker, &worker.tunnels[tunnel]);
}

START_TEST(the_rules_are_those_of_the_route)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\"; send_timeout = \"8s\"; ping_interval = \"1s\";"
                          "ping_timeout = \"2s\"; close_timeout = \"3s\"; max_age = \"100s\";"
                          "close_code = 1012; close_reason = \"bye\"; max_frame = \"1k\";"
                          "server_byte_rate = \"64k/s\"; ping_backend = true;")));
    const struct arena_rules *r = rules(open_tunnel(0));
    ck_assert_uint_eq(r->idle_ms, 7000);
    ck_assert_uint_eq(r->send_ms, 8000);
    ck_assert_uint_eq(r->ping_interval_ms, 1000);
    ck_assert_uint_eq(r->ping_timeout_ms, 2000);
    ck_assert_uint_eq(r->close_timeout_ms, 3000);
    ck_assert_uint_eq(r->max_age_ms, 100000);
    ck_assert_uint_eq(r->max_age_spread_ms, 10000);
    ck_assert_uint_eq(r->close_code, 1012);
    ck_assert_uint_eq(r->close_reason_len, 3);
    ck_assert_mem_eq(r->close_reason, "bye", 4);
    ck_assert_uint_eq(r->limits.max_frame, 1024);
    ck_assert_uint_eq(r->limits.rates[1][RATE_BYTES].burst, 65536);
    ck_assert_uint_eq(r->flags, RULES_PING_BACKEND | RULES_DELAY | RULES_LIMITS_0 | RULES_LIMITS_1);
}
END_TEST

START_TEST(tunnels_of_a_route_share_its_rules)
{
    apply(SITE(ROUTE("/", "") "," ROUTE("/b", "")));
    uint32_t first = open_tunnel(0), second = open_tunnel(0), other = open_tunnel(1);
    ck_assert_ptr_eq(rules(first), rules(second));
    ck_assert_ptr_ne(rules(first), rules(other));
    ck_assert_uint_eq(rules(first)->tunnels, 2);
    ck_assert_uint_eq(rules(other)->tunnels, 1);
}
END_TEST

START_TEST(a_reload_changes_open_tunnels_of_the_same_route)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\"; close_reason = \"long\";") "," ROUTE("/b", "")));
    uint32_t first = open_tunnel(1), other = open_tunnel(0); /* the longest path comes first */
    uint16_t before = worker.tunnels[first].rules;
    /* Another place in the file, more routes, another site before it. */
    apply("{ hosts = [ \"z\" ]; routes = ( " ROUTE("/", "") " ); }, " SITE(
        ROUTE("/c", "") "," ROUTE("/b", "") "," ROUTE(
            "/", "idle_timeout = \"9s\"; close_reason = \"s\"; send_timeout = \"1s\";")));
    ck_assert_uint_eq(worker.tunnels[first].rules, before);
    ck_assert_uint_eq(rules(first)->idle_ms, 9000);
    ck_assert_uint_eq(rules(first)->send_ms, 1000);
    ck_assert_uint_eq(rules(first)->close_reason_len, 1);
    ck_assert_mem_eq(rules(first)->close_reason, "s\0\0\0", 4);
    ck_assert_uint_eq(rules(other)->idle_ms, 3600000);
}
END_TEST

START_TEST(a_new_tunnel_of_a_route_that_stays_gets_the_same_number)
{
    apply(SITE(ROUTE("/", "")));
    uint32_t first = open_tunnel(0);
    apply(SITE(ROUTE("/", "idle_timeout = \"1s\";")));
    uint32_t second = open_tunnel(0);
    ck_assert_uint_eq(worker.tunnels[first].rules, worker.tunnels[second].rules);
    ck_assert_uint_eq(rules(first)->tunnels, 2);
}
END_TEST

START_TEST(tunnels_of_a_route_that_is_gone_go_on_as_before)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";")));
    uint32_t first = open_tunnel(0);
    apply(SITE(ROUTE("/other", "idle_timeout = \"9s\";")));
    ck_assert_uint_eq(rules(first)->idle_ms, 7000);
    uint32_t second = open_tunnel(0);
    ck_assert_uint_ne(worker.tunnels[first].rules, worker.tunnels[second].rules);
    /* It is back: they go by it again. */
    apply(SITE(ROUTE("/", "idle_timeout = \"8s\";")));
    ck_assert_uint_eq(rules(first)->idle_ms, 8000);
    ck_assert_uint_eq(rules(second)->idle_ms, 9000);
}
END_TEST

/* Each differs from the first in one thing by which requests choose their route. */
START_TEST(what_chooses_a_route_makes_it_another_one)
{
    static const char *const others[] = {
        SITE(ROUTE("/", "match = \"exact\";")),
        SITE(ROUTE("/", "methods = [ \"GET\" ];")),
        SITE(ROUTE("/", "headers = [ \"GET\" ];")),
        SITE(ROUTE("/", "subprotocols = [ \"GET\" ];")),
        SITE(ROUTE("/", "headers = [ \"GET\", \"GET2\" ];")),
        SITE(ROUTE("/", "headers = [ \"GET\" ]; subprotocols = [ \"GET2\" ];")),
        SITE(ROUTE("/", "methods = [ \"GET\" ]; headers = [ \"GET2\" ];")),
        SITE(ROUTE("/x", "")),
        "{ hosts = [ \"b.example\" ]; routes = ( " ROUTE("/", "") " ); }",
    };
    apply(SITE(ROUTE("/", "")));
    uint32_t first = open_tunnel(0);
    uint16_t seen[ARRAY_LEN(others)];
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        apply(others[i]);
        seen[i] = find(worker.image, 0);
        ck_assert_uint_ne(seen[i], worker.tunnels[first].rules);
        arena.rules[seen[i]].tunnels = 1; /* so that the place stays taken */
        for (size_t j = 0; j < i; j++)
            ck_assert_msg(seen[j] != seen[i], "%s is %s", others[i], others[j]);
    }
    apply(others[3]);
    ck_assert_uint_eq(find(worker.image, 0), seen[3]);
}
END_TEST

START_TEST(a_request_of_the_configuration_before_finds_the_same_rules)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";")));
    struct image *before = image_acquire(worker.image);
    uint32_t first = open_tunnel(0);
    apply(SITE(ROUTE("/", "idle_timeout = \"9s\";") "," ROUTE("/b", "")));
    ck_assert_uint_eq(find(before, 0), worker.tunnels[first].rules);
    ck_assert_uint_eq(rules(first)->idle_ms, 9000); /* the newer rules hold */
    image_release(&before);
}
END_TEST

START_TEST(a_request_of_the_configuration_before_brings_no_old_rules_back)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";")));
    struct image *before = image_acquire(worker.image);
    apply(SITE(ROUTE("/", "idle_timeout = \"9s\";") "," ROUTE("/b", "")));
    uint16_t at = find(before, 0);
    ck_assert_uint_eq(arena.rules[at].idle_ms, 9000);
    /* Of a route that is gone nobody knows anything newer. */
    image_release(&before);
    before = image_acquire(worker.image);
    apply(SITE(ROUTE("/", "")));
    ck_assert_uint_eq(arena.rules[find(before, 0)].idle_ms, 3600000);
    image_release(&before);
}
END_TEST

START_TEST(rules_that_nobody_goes_by_are_used_again)
{
    apply(SITE(ROUTE("/b", "") "," ROUTE("/", "idle_timeout = \"2s\";")));
    uint32_t first = open_tunnel(0);
    uint32_t second = open_tunnel(1);
    uint16_t place = worker.tunnels[first].rules;
    uint32_t used = arena.header->rules_used;
    close_tunnel(first);
    apply(SITE(ROUTE("/cc", "idle_timeout = \"3s\";") "," ROUTE("/b", "idle_timeout = \"4s\";")));
    uint32_t third = open_tunnel(0);
    ck_assert_uint_eq(worker.tunnels[third].rules, place);
    ck_assert_uint_eq(rules(third)->idle_ms, 3000);
    ck_assert_uint_eq(rules(second)->idle_ms, 2000);
    ck_assert_uint_eq(arena.header->rules_used, used);
    /* The route whose rules they were gets others, filled anew. */
    uint32_t fourth = open_tunnel(1);
    ck_assert_uint_ne(worker.tunnels[fourth].rules, place);
    ck_assert_uint_ne(worker.tunnels[fourth].rules, worker.tunnels[second].rules);
    ck_assert_uint_eq(rules(fourth)->idle_ms, 4000);
}
END_TEST

START_TEST(a_route_without_tunnels_is_filled_anew_for_its_next_one)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";")));
    uint32_t first = open_tunnel(0);
    close_tunnel(first);
    apply(SITE(ROUTE("/", "idle_timeout = \"9s\";")));
    ck_assert_uint_eq(rules(open_tunnel(0))->idle_ms, 9000);
}
END_TEST

START_TEST(a_full_table_gives_none_and_harms_nobody)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";") "," ROUTE("/b", "")));
    uint32_t first = open_tunnel(1);
    for (uint32_t at = 2; at < ARENA_RULES_MAX; at++) {
        arena.rules[at].key = UINT64_MAX - at;
        arena.rules[at].tunnels = 1;
    }
    arena.header->rules_used = ARENA_RULES_MAX;
    ck_assert_uint_eq(find(worker.image, 0), 0);
    ck_assert_uint_eq(arena.rules[0].key, 0);
    ck_assert_uint_eq(find(worker.image, 1), worker.tunnels[first].rules);
    ck_assert_uint_eq(rules(first)->idle_ms, 7000);
    /* One is free again. */
    arena.rules[ARENA_RULES_MAX - 1].tunnels = 0;
    ck_assert_uint_eq(find(worker.image, 0), ARENA_RULES_MAX - 1);
    ck_assert_uint_eq(arena.header->rules_used, ARENA_RULES_MAX);
}
END_TEST

START_TEST(a_reload_over_a_full_table_leaves_every_open_tunnel_its_rules)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"7s\";") "," ROUTE("/b", "idle_timeout = \"8s\";")));
    uint32_t stays = open_tunnel(1), goes = open_tunnel(0); /* the shorter path is the last */
    for (uint32_t at = 3; at < ARENA_RULES_MAX; at++)
        arena.rules[at] = (struct arena_rules){.key = UINT64_MAX - at, .tunnels = 1, .idle_ms = at};
    arena.header->rules_used = ARENA_RULES_MAX;
    uint16_t numbers[2] = {worker.tunnels[stays].rules, worker.tunnels[goes].rules};
    apply(SITE(ROUTE("/", "idle_timeout = \"9s\";") "," ROUTE("/c", "")));
    ck_assert_uint_eq(find(worker.image, 0), 0); /* a new one of the new route is refused */
    ck_assert_uint_eq(worker.tunnels[stays].rules, numbers[0]);
    ck_assert_uint_eq(worker.tunnels[goes].rules, numbers[1]);
    ck_assert_uint_eq(rules(stays)->idle_ms, 9000);
    ck_assert_uint_eq(rules(goes)->idle_ms, 8000);
    for (uint32_t at = 3; at < ARENA_RULES_MAX; at++) {
        if (arena.rules[at].idle_ms != at || arena.rules[at].tunnels != 1)
            ck_abort_msg("the rules %u of others have changed", at);
    }
    /* Nor does a successor of this worker need a place. */
    free(worker.rules);
    worker.rules = NULL;
    ck_assert_int_eq(rules_map(&worker, worker.image), 0);
    ck_assert_uint_eq(find(worker.image, 1), numbers[0]);
    close_tunnel(goes);
    ck_assert_uint_eq(find(worker.image, 0), numbers[1]);
}
END_TEST

/* Whatever a dead worker had counted, or was about to. */
START_TEST(a_successor_counts_anew)
{
    apply(SITE(ROUTE("/", "") "," ROUTE("/b", "")));
    uint32_t first = open_tunnel(0), second = open_tunnel(0), third = open_tunnel(1);
    arena.rules[worker.tunnels[first].rules].tunnels = 77;
    arena.rules[worker.tunnels[third].rules].tunnels = 0;
    worker.tunnels[second].state = TUNNEL_CLOSING; /* leaves when its close is finished */
    rules_recount(&worker);
    ck_assert_uint_eq(rules(first)->tunnels, 2);
    ck_assert_uint_eq(rules(third)->tunnels, 1);
    close_tunnel(second);
    ck_assert_uint_eq(rules(first)->tunnels, 1);
    /* A successor knows no places yet: it finds the same rules by what the route is. */
    free(worker.rules);
    worker.rules = NULL;
    ck_assert_uint_eq(find(worker.image, 1), worker.tunnels[third].rules);
}
END_TEST

START_TEST(nobody_leaves_twice)
{
    apply(SITE(ROUTE("/", "")));
    uint32_t first = open_tunnel(0);
    const struct arena_rules *before = rules(first);
    close_tunnel(first);
    rules_leave(&worker, &worker.tunnels[first]);
    ck_assert_uint_eq(before->tunnels, 0);
}
END_TEST

START_TEST(a_reload_says_whether_open_tunnels_go_by_anything_else)
{
    apply(SITE(ROUTE("/", "idle_timeout = \"2s\";")));
    ck_assert(!refreshed);
    open_tunnel(0);
    apply(SITE(ROUTE("/", "idle_timeout = \"2s\";") "," ROUTE("/b", "idle_timeout = \"7s\";")));
    ck_assert(!refreshed);
    apply(SITE(ROUTE("/", "idle_timeout = \"3s\";") "," ROUTE("/b", "idle_timeout = \"7s\";")));
    ck_assert(refreshed);
    apply(SITE(ROUTE("/b", "idle_timeout = \"7s\";")));
    ck_assert(!refreshed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules");
    TCase *tc = tcase_create("rules");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, the_rules_are_those_of_the_route);
    tcase_add_test(tc, tunnels_of_a_route_share_its_rules);
    tcase_add_test(tc, a_reload_changes_open_tunnels_of_the_same_route);
    tcase_add_test(tc, a_new_tunnel_of_a_route_that_stays_gets_the_same_number);
    tcase_add_test(tc, tunnels_of_a_route_that_is_gone_go_on_as_before);
    tcase_add_test(tc, what_chooses_a_route_makes_it_another_one);
    tcase_add_test(tc, a_request_of_the_configuration_before_finds_the_same_rules);
    tcase_add_test(tc, a_request_of_the_configuration_before_brings_no_old_rules_back);
    tcase_add_test(tc, rules_that_nobody_goes_by_are_used_again);
    tcase_add_test(tc, a_route_without_tunnels_is_filled_anew_for_its_next_one);
    tcase_add_test(tc, a_full_table_gives_none_and_harms_nobody);
    tcase_add_test(tc, a_reload_over_a_full_table_leaves_every_open_tunnel_its_rules);
    tcase_add_test(tc, a_successor_counts_anew);
    tcase_add_test(tc, nobody_leaves_twice);
    tcase_add_test(tc, a_reload_says_whether_open_tunnels_go_by_anything_else);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
