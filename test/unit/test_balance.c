/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/balance.h"

#include "shm/passive.h"
#include "shm/ring.h"
#include "test/unit/balance_fixture.h"

#include <errno.h>
#include <zlib.h>

#define THREE                                                                                      \
    "servers = ( " SERVER("10.0.0.1:8080", "weight = 5;") ", " SERVER(                             \
        "10.0.0.2:8080", "") ", " SERVER("10.0.0.3:8080", "") " );"

START_TEST(round_robin_is_as_smooth_as_nginx)
{
    load("{ name = \"u\"; " THREE " }");
    expect_order("aabacaaaabacaaaabacaa");
}
END_TEST

START_TEST(servers_that_are_down_take_no_turn)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "down = true;") ", " SERVER(
        "10.0.0.2", "weight = 2;") ", " SERVER("10.0.0.3", "") " ); }");
    expect_order("bcbbcbbcb");
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "down = true;") " ); }");
    ck_assert_int_eq(one_for(SLICE("")), -ENOENT);
}
END_TEST

START_TEST(every_upstream_has_a_round_of_its_own)
{
    load("{ name = \"u\"; " THREE " }, { name = \"v\"; " THREE " }");
    expect_order("aab");
    upstream = image_upstream(fixture.image, 1);
    expect_order("aabacaa");
    upstream = image_upstream(fixture.image, 0);
    expect_order("acaa");
}
END_TEST

START_TEST(a_request_meets_each_server_once)
{
    struct balance_pick pick;
    load("{ name = \"u\"; " THREE " }");
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    ck_assert_int_eq(next_for(&pick, SLICE("")), 0);
    ck_assert_int_eq(next_for(&pick, SLICE("")), 1);
    ck_assert_int_eq(next_for(&pick, SLICE("")), 2);
    ck_assert_int_eq(next_for(&pick, SLICE("")), -ENOENT);
    ck_assert_uint_eq(pick.tries, 3);
    balance_fini(&pick);
}
END_TEST

START_TEST(least_conn_sums_over_all_workers)
{
    load("{ name = \"u\"; balance = \"least_conn\"; servers = ( " SERVER(
        "10.0.0.1", "") ", " SERVER("10.0.0.2", "") ", " SERVER("10.0.0.3", "") " ); }");
    expect_order("abcabc"); /* equals take turns */
    set_conns(0, 0, 5);
    set_conns(1, 1, 3);
    set_conns(2, 1, 3);
    set_conns(0, 2, 1);
    set_conns(1, 2, 6);
    expect_order("aaaa"); /* 5, 6, 7 */
    set_conns(7, 0, 1);
    expect_order("abab"); /* 6, 6, 7 */
    set_conns(63, 0, 2);
    set_conns(63, 1, 2);
    expect_order("cccc"); /* 8, 8, 7 */
}
END_TEST

START_TEST(least_conn_heeds_weights_and_what_was_tried)
{
    struct balance_pick pick;
    load("{ name = \"u\"; balance = \"least_conn\"; servers = ( " SERVER(
        "10.0.0.1", "weight = 3;") ", " SERVER("10.0.0.2", "") ", " SERVER("10.0.0.3",
                                                                           "down = true;") " ); }");
    set_conns(0, 0, 5);
    set_conns(0, 1, 2);
    expect_order("aaa"); /* 5/3 < 2/1 */
    set_conns(0, 0, 7);
    expect_order("bbb");
    set_conns(0, 0, 6);
    expect_order("aabaaaba"); /* equal: by weight, smoothly */
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    set_conns(0, 0, 0);
    ck_assert_int_eq(next_for(&pick, SLICE("")), 0);
    ck_assert_int_eq(next_for(&pick, SLICE("")), 1);
    ck_assert_int_eq(next_for(&pick, SLICE("")), -ENOENT);
    balance_fini(&pick);
}
END_TEST

/* ---- hash ---- */

/* How a server with a negative weight is out of use. */
enum out_of_use { DOWN, EJECTED, FAILING, FULL, OUT_OF_USE };

static void take_out(const int *weights, uint32_t count, enum out_of_use how)
{
    for (uint32_t i = 0; i < count; i++) {
        struct board_backend *backend = board_backend(&fixture.board, backend_of(i));
        backend->passive = 0;
        backend->health = BACKEND_UNCHECKED;
        if (weights[i] < 0 && how == EJECTED)
            ck_assert(passive_failed(backend, (struct passive_limits){1, 10000}, now_ms));
        if (weights[i] < 0 && how == FAILING)
            backend->health = BACKEND_FAILING;
        if (how == FULL)
            set_conns(3, i, weights[i] < 0 ? 7 : 6);
    }
}

/* An upstream of servers 10.0.0.N:8080 with these weights; negative: out of use. */
static void load_hash_out(const int *weights, uint32_t count, enum out_of_use how)
{
    static char text[1 << 15];
    size_t n = (size_t)snprintf(text, sizeof text,
                                "{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; "
                                "max_ejected = 100; servers = ( ");
    for (uint32_t i = 0; i < count; i++) {
        int weight = weights[i];
        n += (size_t)snprintf(
            text + n, sizeof text - n,
            "%s{ address = \"10.0.0.%u:8080\"; weight = %d; down = %s; max_conns = 7; }",
            i > 0 ? ", " : "", i + 1, weight < 0 ? -weight : weight,
            weight < 0 && how == DOWN ? "true" : "false");
    }
    snprintf(text + n, sizeof text - n, " ); }");
    load(text);
    take_out(weights, count, how);
}

static void load_hash(const int *weights, uint32_t count)
{
    load_hash_out(weights, count, DOWN);
}

START_TEST(a_key_has_the_server_that_nginx_gives_it)
{
    static const struct {
        const char *key;
        int order[3];
    } cases[] = {{"192.0.2.1", {1, 2, 0}},
                 {"192.0.2.2", {2, 0, 1}},
                 {"192.0.2.3", {2, 0, 1}},
                 {"2001:db8::1", {2, 0, 1}},
                 {"198.51.100.77", {2, 1, 0}}};
    static const int weights[] = {1, 1, 2};
    load_hash(weights, 3);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct balance_pick pick;
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        for (uint32_t try = 0; try < 3; try++)
            ck_assert_int_eq(next_for(&pick, slice_of(cases[i].key)), cases[i].order[try]);
        ck_assert_int_eq(next_for(&pick, slice_of(cases[i].key)), -ENOENT);
        balance_fini(&pick);
        ck_assert_int_eq(one_for(slice_of(cases[i].key)), cases[i].order[0]); /* always */
    }
}
END_TEST

/* nginx's way written down a second time, from its description: ring, walk and fallback. */
struct model {
    struct {
        uint32_t hash, server;
    } points[8192];
    uint32_t count;
    uint32_t servers;
    int weights[SERVERS_MAX];
    int current[SERVERS_MAX];
};

static int by_hash(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void model_init(struct model *model, const int *weights, uint32_t count)
{
    memset(model, 0, sizeof *model);
    model->servers = count;
    for (uint32_t i = 0; i < count; i++) {
        char host[32];
        uint32_t previous = 0;
        int n = snprintf(host, sizeof host, "10.0.0.%u", i + 1);
        uLong base = crc32(0, (const Bytef *)host, (uInt)n + 1);
        base = crc32(base, (const Bytef *)"8080", 4);
        model->weights[i] = weights[i];
        for (int point = 0; point < abs(weights[i]) * 160; point++) {
            unsigned char bytes[4] = {(unsigned char)previous, (unsigned char)(previous >> 8),
                                      (unsigned char)(previous >> 16),
                                      (unsigned char)(previous >> 24)};
            previous = (uint32_t)crc32(base, bytes, 4);
            model->points[model->count].hash = previous;
            model->points[model->count++].server = i;
        }
    }
    ck_assert_uint_le(model->count, ARRAY_LEN(model->points));
    qsort(model->points, model->count, sizeof model->points[0], by_hash);
}

static int model_round_robin(struct model *model, const bool *tried)
{
    int best = -1;
    int total = 0;
    for (uint32_t i = 0; i < model->servers; i++) {
        if (model->weights[i] < 0 || tried[i])
            continue;
        model->current[i] += model->weights[i];
        total += model->weights[i];
        if (best < 0 || model->current[i] > model->current[best])
            best = (int)i;
    }
    if (best >= 0)
        model->current[best] -= total;
    return best;
}

/* One request's servers in order until none is left; returns whether the walk gave up on the way. */
static bool model_order(struct model *model, const char *key, int *order)
{
    bool tried[SERVERS_MAX] = {false};
    uint32_t hash = (uint32_t)crc32(0, (const Bytef *)key, (uInt)strlen(key));
    uint32_t at = 0;
    uint32_t tries = 0;
    while (at < model->count && model->points[at].hash < hash)
        at++;
    for (uint32_t n = 0;; n++) {
        int server = -1;
        for (; server < 0 && tries <= 20; at++, tries++) {
            uint32_t candidate = model->points[at % model->count].server;
            if (model->weights[candidate] > 0 && !tried[candidate]) {
                server = (int)candidate;
                break;
            }
        }
        if (server < 0)
            server = model_round_robin(model, tried);
        order[n] = server < 0 ? -ENOENT : server;
        if (server < 0)
            return tries > 20;
        tried[server] = true;
    }
}

START_TEST(the_walk_past_servers_out_of_use_is_that_of_nginx)
{
    static const int layouts[][8] = {
        {1, 1, 1, 1, 1, 1, 1, 1},   {3, -1, 1, 2, -2, 1, 1, 1},     {-1, -1, -1, -1, -1, 1, 1, 1},
        {1, -20, 1, 1, 1, 1, 1, 1}, {-3, -3, -3, -3, -3, -3, 1, 2},
    };
    static struct model model;
    unsigned gave_up = 0;
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        load_hash_out(layouts[i], 8, (enum out_of_use)_i);
        model_init(&model, layouts[i], 8);
        for (unsigned client = 0; client < 1000; client++) {
            struct balance_pick pick;
            char key[32];
            int wanted[SERVERS_MAX + 1];
            snprintf(key, sizeof key, "198.51.%u.%u", client / 250, client % 250);
            gave_up += model_order(&model, key, wanted);
            ck_assert_int_eq(balance_init(&pick, upstream), 0);
            for (unsigned n = 0; n == 0 || wanted[n - 1] >= 0; n++) {
                int server = next_for(&pick, slice_of(key));
                if (server == -EBUSY && _i == FULL)
                    server = -ENOENT;
                if (server != wanted[n])
                    ck_abort_msg("layout %zu, key %s, try %u: %d, nginx takes %d", i, key, n,
                                 server, wanted[n]);
            }
            balance_fini(&pick);
        }
    }
    ck_assert_uint_gt(gave_up, 1000); /* all of them, once their last server is tried */
}
END_TEST

START_TEST(an_empty_key_goes_round)
{
    static const int weights[] = {5, 1, 1};
    load_hash(weights, 3);
    expect_order("aabacaa");
}
END_TEST

START_TEST(a_ring_that_is_gone_goes_round)
{
    static const int weights[] = {5, 1, 1};
    struct image *old;
    load_hash(weights, 3);
    old = image_acquire(fixture.image);
    load_hash(weights, 3);
    load_hash(weights, 3); /* a request that began two reloads ago still holds the first image */
    struct balancer *newest = balancer;
    struct image *current = fixture.image;
    fixture.image = old;
    balancer = balance_new(old);
    upstream = image_upstream(old, 0);
    char order[8] = "";
    for (size_t i = 0; i < 7; i++)
        order[i] = (char)('a' + one_for(SLICE("192.0.2.1")));
    ck_assert_str_eq(order, "aabacaa");
    balance_release(&newest);
    image_release(&current);
}
END_TEST

START_TEST(what_a_ring_says_is_gossip)
{
    struct ring ring;
    uint32_t seed = 1;
    load("{ name = \"u\"; " THREE
         " }, { name = \"v\"; balance = \"hash\"; hash_key = \"$host\"; " THREE
         " }, { name = \"w\"; " THREE " }");
    upstream = image_upstream(fixture.image, 1);
    ck_assert_int_eq(ring_find(&fixture.board, upstream->board_upstream, 1, &ring), 0);
    struct ketama_point *points = (struct ketama_point *)(uintptr_t)ring.points;
    for (unsigned round = 0; round < 2000; round++) {
        struct balance_pick pick;
        bool tried[3] = {false};
        for (uint32_t i = 0; i < ring.count; i++) {
            seed = seed * 1664525u + 1013904223u;
            points[i].server =
                seed >> 16 & 1 ? seed >> 28 : seed; /* others' servers, none at all */
        }
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        for (uint32_t n = 0; n < 3; n++) {
            int server = next_for(&pick, SLICE("192.0.2.1"));
            if (server < 0 || tried[server])
                ck_abort_msg("round %u, try %u: %d", round, n, server);
            tried[server] = true;
        }
        balance_fini(&pick);
    }
}
END_TEST

START_TEST(more_servers_than_a_word_has_bits_are_each_tried_once)
{
    static int weights[SERVERS_MAX];
    static const uint32_t counts[] = {63, 64, 65, 128, 129, 200};
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        uint32_t count = counts[c];
        unsigned up = 0;
        for (uint32_t i = 0; i < count; i++) {
            weights[i] = i % 7 == 3 ? -1 : 1;
            up += i % 7 != 3;
        }
        load_hash(weights, count);
        for (unsigned hashed = 0; hashed < 2; hashed++) {
            struct balance_pick pick;
            struct balance_pick moved;
            bool tried[SERVERS_MAX] = {false};
            ck_assert_int_eq(balance_init(&pick, upstream), 0);
            moved = pick; /* a request may be moved: nothing points into itself */
            memset(&pick, 0xff, sizeof pick);
            for (unsigned n = 0; n < up; n++) {
                int server = next_for(&moved, hashed ? SLICE("192.0.2.1") : SLICE(""));
                if (server < 0 || tried[server] || server % 7 == 3)
                    ck_abort_msg("%u servers, try %u: %d", count, n, server);
                tried[server] = true;
            }
            ck_assert_int_eq(next_for(&moved, SLICE("")), -ENOENT);
            balance_fini(&moved);
        }
    }
}
END_TEST

START_TEST(a_request_keeps_the_balancer_it_began_with)
{
    load("{ name = \"u\"; " THREE " }");
    struct balancer *held = balance_acquire(balancer);
    struct image *image = image_acquire(fixture.image);
    expect_order("aab");
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.9", "") " ); }");
    expect_order("aa");
    uint32_t out;
    struct balance_pick pick;
    upstream = image_upstream(image, 0);
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    struct balance_ask ask = ask_for(SLICE(""));
    ask.image = image;
    ask.balancer = held;
    ck_assert_int_eq(balance_next(&pick, &ask, &out), 0);
    ck_assert_uint_eq(out, 0);
    ck_assert_int_eq(balance_next(&pick, &ask, &out), 0);
    ck_assert_uint_eq(out, 2); /* where it stood */
    balance_fini(&pick);
    balance_release(&held);
    ck_assert_ptr_null(held);
    balance_release(&held);
    image_release(&image);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balance");
    TCase *tc = tcase_create("balance");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, round_robin_is_as_smooth_as_nginx);
    tcase_add_test(tc, servers_that_are_down_take_no_turn);
    tcase_add_test(tc, every_upstream_has_a_round_of_its_own);
    tcase_add_test(tc, a_request_meets_each_server_once);
    tcase_add_test(tc, least_conn_sums_over_all_workers);
    tcase_add_test(tc, least_conn_heeds_weights_and_what_was_tried);
    tcase_add_test(tc, a_key_has_the_server_that_nginx_gives_it);
    tcase_add_loop_test(tc, the_walk_past_servers_out_of_use_is_that_of_nginx, 0, OUT_OF_USE);
    tcase_add_test(tc, an_empty_key_goes_round);
    tcase_add_test(tc, a_ring_that_is_gone_goes_round);
    tcase_add_test(tc, what_a_ring_says_is_gossip);
    tcase_add_test(tc, more_servers_than_a_word_has_bits_are_each_tried_once);
    tcase_add_test(tc, a_request_keeps_the_balancer_it_began_with);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
