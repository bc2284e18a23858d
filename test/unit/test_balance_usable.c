/* SPDX-License-Identifier: Apache-2.0 */
/* Who may be chosen: ejections and panic, backups, draining servers, slow start, two choices, bounds. */
#include "shm/passive.h"
#include "shm/ring.h"
#include "test/unit/balance_fixture.h"

#include <errno.h>

static const struct passive_limits limits = {.max_fails = 1, .fail_timeout_ms = 10000};

static struct board_backend *shown(uint32_t server)
{
    return board_backend(&fixture.board, backend_of(server));
}

static void eject(uint32_t server)
{
    passive_failed(shown(server), limits, now_ms);
}

#define FOUR                                                                                       \
    SERVER("10.0.0.1", "")                                                                         \
    ", " SERVER("10.0.0.2", "") ", " SERVER("10.0.0.3", "") ", " SERVER("10.0.0.4", "")

START_TEST(an_ejected_server_gets_nothing_but_one_probe_after_its_time)
{
    load("{ name = \"u\"; servers = ( " FOUR " ); }");
    eject(1);
    expect_order("acdacd");
    now_ms += 10001;
    char order[9] = "";
    for (unsigned i = 0; i < 8; i++)
        order[i] = (char)('a' + one_for(SLICE("")));
    unsigned probes = 0;
    for (unsigned i = 0; i < 8; i++)
        probes += order[i] == 'b';
    ck_assert_uint_eq(probes, 1);
    ck_assert(passive_answered(shown(1), limits));
    for (unsigned i = 0; i < 4; i++)
        probes += one_for(SLICE("")) == 1;
    ck_assert_uint_eq(probes, 2); /* its turns again */
}
END_TEST

START_TEST(more_ejected_than_allowed_are_ignored)
{
    struct balance_pick pick;
    load("{ name = \"u\"; max_ejected = 50; servers = ( " FOUR " ); }");
    eject(0);
    eject(1);
    expect_order("cdcd");
    eject(2);
    expect_order("abcdabcd");
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    ck_assert_int_ge(next_for(&pick, SLICE("")), 0);
    ck_assert(pick.panic);
    passive_answered(shown(0), limits);
    board_upstream(&fixture.board, upstream->board_upstream)->panic = 1; /* as a worker has shown */
    ck_assert_int_ge(next_for(&pick, SLICE("")), 0);
    ck_assert(!pick.panic);
    balance_fini(&pick);
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.9", "") " ); }");
    eject(0);
    ck_assert_int_eq(one_for(SLICE("")), 0); /* the only one is never out */
}
END_TEST

START_TEST(servers_that_are_down_do_not_count_among_the_ejected)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "down = true;") ", " SERVER(
        "10.0.0.2", "") ", " SERVER("10.0.0.3", "drain = true;") ", " SERVER("10.0.0.4",
                                                                             "") " ); }");
    eject(1);
    expect_order("ddd");
    eject(3);
    expect_order("bdbd");
}
END_TEST

START_TEST(failing_checks_are_never_ignored)
{
    load("{ name = \"u\"; servers = ( " FOUR " ); }");
    for (uint32_t i = 0; i < 3; i++)
        shown(i)->health = BACKEND_FAILING;
    expect_order("dddd");
    shown(3)->health = BACKEND_FAILING;
    ck_assert_int_eq(one_for(SLICE("")), -ENOENT);
}
END_TEST

START_TEST(backups_come_when_no_primary_server_is_left)
{
    struct balance_pick pick;
    load("{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; servers = ( " SERVER(
        "10.0.0.1", "backup = true;") ", " SERVER("10.0.0.2",
                                                  "") ", " SERVER("10.0.0.3",
                                                                  "backup = true; "
                                                                  "weight = 2;") " ); }");
    expect_order("bbbb");
    ck_assert_int_eq(balance_init(&pick, upstream), 0);
    ck_assert_int_eq(next_for(&pick, SLICE("192.0.2.1")), 1);
    ck_assert_int_eq(next_for(&pick, SLICE("192.0.2.1")), 2);
    ck_assert_int_eq(next_for(&pick, SLICE("192.0.2.1")), 0);
    ck_assert_int_eq(next_for(&pick, SLICE("192.0.2.1")), -ENOENT);
    balance_fini(&pick);
    shown(1)->health = BACKEND_FAILING;
    expect_order("acca");
}
END_TEST

START_TEST(a_draining_server_gets_nothing_new)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "drain = true;") ", " SERVER(
        "10.0.0.2", "") " ); }");
    expect_order("bbb");
}
END_TEST

START_TEST(nor_does_one_that_an_operator_drains)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "") ", " SERVER("10.0.0.2", "") " ); }");
    shown(0)->flags |= BACKEND_TOLD_DRAIN;
    expect_order("bbb");
    shown(0)->flags = 0;
    expect_order("abab");
}
END_TEST

START_TEST(a_cookie_leads_to_a_draining_server_until_its_tunnels_are_being_closed)
{
    struct balance_pick pick;
    uint32_t out;
    load("{ name = \"u\"; sticky = { cookie = \"c\"; secret = \"0123456789abcdef\"; }; servers = "
         "( " SERVER("10.0.0.1", "drain = true;") ", " SERVER("10.0.0.2", "") " ); }");
    const struct image_server *drains = image_upstream_server(fixture.image, upstream, 0);
    for (uint32_t left_ms = 5001; left_ms >= 5000; left_ms--) {
        struct balance_ask ask = ask_for(SLICE(""));
        ask.sticky = image_slice(fixture.image, drains->sticky);
        shown(0)->drain_until_ms = now_ms + left_ms;
        shown(0)->drain_spread_ms = 5000;
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        ck_assert_int_eq(balance_next(&pick, &ask, &out), 0);
        ck_assert_uint_eq(out, left_ms == 5001 ? 0 : 1);
        balance_fini(&pick);
    }
}
END_TEST

START_TEST(of_two_choices_the_one_with_less_load_is_taken)
{
    unsigned count[4] = {0};
    load("{ name = \"u\"; balance = \"random_two\"; servers = ( " FOUR " ); }");
    set_conns(0, 0, 50); /* never better than another one */
    for (unsigned i = 0; i < 3000; i++)
        count[one_for(SLICE(""))]++;
    ck_assert_uint_eq(count[0], 0);
    for (unsigned i = 1; i < 4; i++) {
        ck_assert_uint_gt(count[i], 850);
        ck_assert_uint_lt(count[i], 1150);
    }
    for (uint32_t i = 1; i < 4; i++)
        shown(i)->health = BACKEND_FAILING;
    ck_assert_int_eq(one_for(SLICE("")), 0);
}
END_TEST

START_TEST(two_choices_heed_weights)
{
    uint32_t held[2] = {0};
    load("{ name = \"u\"; balance = \"random_two\"; servers = ( " SERVER(
        "10.0.0.1", "weight = 3;") ", " SERVER("10.0.0.2", "") " ); }");
    for (unsigned i = 0; i < 400; i++) {
        struct balance_pick pick;
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        held[stay_for(&pick, SLICE(""))]++;
        balance_fini(&pick);
    }
    ck_assert_uint_ge(held[0], 298);
    ck_assert_uint_le(held[0], 302);
}
END_TEST

/* ---- slow start ---- */

/* Of `rate` requests a second over `seconds`, those that server 0 got; time passes. */
static unsigned taken_in(unsigned rate, unsigned seconds)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < rate * seconds; i++) {
        taken += one_for(SLICE("")) == 0;
        now_ms += (i + 1) % (rate / 10) == 0 ? 100 : 0;
    }
    return taken;
}

START_TEST(a_recovered_server_grows_to_its_share_in_counted_requests)
{
    load("{ name = \"u\"; balance = \"least_conn\"; servers = ( " SERVER(
        "10.0.0.1",
        "slow_start = \"10s\";") ", " SERVER("10.0.0.2",
                                             "") ", " SERVER("10.0.0.3",
                                                             "") ", " SERVER("10.0.0.4",
                                                                             "") " ); }");
    for (uint32_t i = 1; i < 4; i++)
        set_conns(0, i, 1000); /* it is empty: least_conn would send all there */
    shown(0)->recovered_ms = now_ms;
    /* 100 a second, a share of 25: over second s it may take about 25 * (s - 0.5) / 10. */
    unsigned sum = 0;
    for (unsigned s = 0; s < 10; s++) {
        sum += taken_in(100, 1);
        unsigned expected = 25 * (s + 1) * (s + 1) / 20;
        ck_assert_uint_ge(sum + 2, expected);
        ck_assert_uint_le(sum, expected + 4);
    }
    ck_assert_uint_eq(taken_in(100, 1), 100); /* over: least_conn decides alone again */
}
END_TEST

START_TEST(slow_start_refuses_nobody)
{
    load("{ name = \"u\"; servers = ( " SERVER("10.0.0.1", "slow_start = \"10s\";") ", " SERVER(
        "10.0.0.2", "slow_start = \"10s\";") " ); }");
    for (uint32_t i = 0; i < 2; i++)
        shown(i)->recovered_ms = now_ms;
    unsigned taken = taken_in(100, 1);
    ck_assert_uint_ge(taken, 40); /* with nobody to stand in for them they share */
    ck_assert_uint_le(taken, 60);
}
END_TEST

/* ---- bounded load ---- */

static void load_bounded(void)
{
    load("{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; max_load = 1.25; "
         "servers = "
         "( " FOUR " ); }");
}

START_TEST(no_server_passes_its_bound_though_all_keys_are_one)
{
    uint32_t held[4] = {0};
    load_bounded();
    for (unsigned i = 1; i <= 1000; i++) {
        struct balance_pick pick;
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        int server = stay_for(&pick, SLICE("192.0.2.1"));
        balance_fini(&pick);
        ck_assert_int_ge(server, 0);
        held[server]++;
        ck_assert_uint_le(held[server], (i * 125 + 399) / 400);
    }
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_gt(held[i], 0);
}
END_TEST

START_TEST(below_the_bound_a_key_has_the_server_of_the_ring)
{
    int plain[200];
    load("{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; servers = ( " FOUR
         " ); }");
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "10.1.2.%u", i);
        plain[i] = one_for(slice_of(key));
    }
    load_bounded();
    for (uint32_t i = 0; i < 4; i++)
        set_conns(0, i, 100);
    for (unsigned i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "10.1.2.%u", i);
        ck_assert_int_eq(one_for(slice_of(key)), plain[i]);
    }
}
END_TEST

START_TEST(overflow_goes_to_the_next_distinct_server_of_the_ring)
{
    struct ring ring;
    uint32_t order[4];
    load_bounded();
    ck_assert_int_eq(ring_find(&fixture.board, upstream->board_upstream, fixture.generation, &ring),
                     0);
    for (unsigned i = 0; i < 500; i++) {
        char key[16];
        snprintf(key, sizeof key, "10.1.%u.%u", i / 250, i % 250);
        ck_assert_uint_eq(ring_order(&ring, slice_of(key), order, 4), 4);
        for (unsigned full = 0; full < 4; full++) { /* the first `full` of the order have no room */
            for (uint32_t s = 0; s < 4; s++) {
                bool is_full = false;
                for (unsigned o = 0; o < full; o++)
                    is_full = is_full || order[o] == backend_of(s);
                set_conns(0, s, is_full ? 100 : full == 0 ? 100 : 10);
            }
            int server = one_for(slice_of(key));
            if (server < 0 || backend_of((uint32_t)server) != order[full])
                ck_abort_msg("key %s, %u full: %d", key, full, server);
        }
    }
}
END_TEST

START_TEST(bounds_count_only_servers_in_force)
{
    load_bounded();
    for (uint32_t i = 0; i < 4; i++)
        set_conns(0, i,
                  i == 3 ? 1000 : 10); /* what the last one holds says nothing of the others */
    shown(3)->health = BACKEND_FAILING;
    for (unsigned i = 0; i < 100; i++) {
        struct balance_pick pick;
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        ck_assert_int_ne(stay_for(&pick, SLICE("192.0.2.1")), 3);
        balance_fini(&pick);
    }
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_le(board_backend_conns(&fixture.board, backend_of(i)), 130 * 125 / 300 + 1);
}
END_TEST

START_TEST(a_server_at_its_max_conns_does_not_hold_the_others_down)
{
    uint32_t held[3] = {0};
    load("{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; max_load = 1.25; "
         "servers = "
         "( " SERVER("10.0.0.1", "max_conns = 10;") ", " SERVER("10.0.0.2", "") ", " SERVER(
             "10.0.0.3", "") " ); }");
    for (unsigned i = 0; i < 1000; i++) {
        struct balance_pick pick;
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        int server = stay_for(&pick, slice_of(key));
        balance_fini(&pick);
        if (server < 0)
            ck_abort_msg("request %u found no server: %u, %u, %u", i, held[0], held[1], held[2]);
        held[server]++;
    }
    ck_assert_uint_eq(held[0], 10);
    ck_assert_uint_le(held[1] > held[2] ? held[1] : held[2], 990 * 125 / 200 + 1);
}
END_TEST

START_TEST(bounds_do_not_push_clients_onto_a_server_that_starts_slowly)
{
    load("{ name = \"u\"; balance = \"hash\"; hash_key = \"$remote_addr\"; max_load = 1.25; "
         "servers = "
         "( " SERVER("10.0.0.1", "slow_start = \"100s\";") ", " SERVER("10.0.0.2", "") ", " SERVER(
             "10.0.0.3", "") " ); }");
    for (uint32_t i = 1; i < 3; i++)
        set_conns(0, i, 500);
    shown(0)->recovered_ms = now_ms;
    now_ms += 1000; /* 1 % of its share */
    for (unsigned i = 0; i < 300; i++) {
        struct balance_pick pick;
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(balance_init(&pick, upstream), 0);
        ck_assert_int_ge(stay_for(&pick, slice_of(key)), 0);
        balance_fini(&pick);
    }
    ck_assert_uint_le(board_backend_conns(&fixture.board, backend_of(0)), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balance_usable");
    TCase *tc = tcase_create("balance_usable");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_ejected_server_gets_nothing_but_one_probe_after_its_time);
    tcase_add_test(tc, more_ejected_than_allowed_are_ignored);
    tcase_add_test(tc, servers_that_are_down_do_not_count_among_the_ejected);
    tcase_add_test(tc, failing_checks_are_never_ignored);
    tcase_add_test(tc, backups_come_when_no_primary_server_is_left);
    tcase_add_test(tc, a_draining_server_gets_nothing_new);
    tcase_add_test(tc, nor_does_one_that_an_operator_drains);
    tcase_add_test(tc, a_cookie_leads_to_a_draining_server_until_its_tunnels_are_being_closed);
    tcase_add_test(tc, of_two_choices_the_one_with_less_load_is_taken);
    tcase_add_test(tc, two_choices_heed_weights);
    tcase_add_test(tc, a_recovered_server_grows_to_its_share_in_counted_requests);
    tcase_add_test(tc, slow_start_refuses_nobody);
    tcase_add_test(tc, no_server_passes_its_bound_though_all_keys_are_one);
    tcase_add_test(tc, below_the_bound_a_key_has_the_server_of_the_ring);
    tcase_add_test(tc, overflow_goes_to_the_next_distinct_server_of_the_ring);
    tcase_add_test(tc, a_server_at_its_max_conns_does_not_hold_the_others_down);
    tcase_add_test(tc, bounds_do_not_push_clients_onto_a_server_that_starts_slowly);
    tcase_add_test(tc, bounds_count_only_servers_in_force);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
