/* SPDX-License-Identifier: Apache-2.0 */
#include "common/prefix_tree.h"

#include "common/clock.h"

#include <check.h>
#include <stdlib.h>

static struct prefix prefix_of(const char *text, uint8_t value)
{
    struct prefix prefix = {.value = value};
    const char *why = NULL;
    ck_assert_msg(prefix_parse(&prefix, slice_of(text), &why) == 0, "%s: %s", text, why);
    return prefix;
}

static struct addr addr_of(const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_msg(addr_parse(&addr, slice_of(text), 1, false, &why) == 0, "%s: %s", text, why);
    return addr;
}

static const char *error_of(const char *text)
{
    struct prefix prefix;
    const char *why = NULL;
    return prefix_parse(&prefix, slice_of(text), &why) < 0 ? why : NULL;
}

START_TEST(prefixes_are_read_strictly)
{
    static const char *const bad[] = {"",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "10.0.0",
                                      "10.0.0.0/08",
                                      "10.0.0.0/-1",
                                      "a/8",
                                      "2001:db8::/129",
                                      "2001:db8::1/32",
                                      "10.0.0.0/8 ",
                                      "1.2.3.4/032",
                                      "::ffff:1.2.3.4.5",
                                      "0.0.0.0//0",
                                      "10.0.0.0/999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(error_of(bad[i]) != NULL, "%s", bad[i]);
    ck_assert_uint_eq(prefix_of("0.0.0.0/0", 1).len, 96);
    ck_assert_uint_eq(prefix_of("192.0.2.1", 1).len, 128);
    ck_assert_uint_eq(prefix_of("::/0", 1).len, 0);
    ck_assert_uint_eq(prefix_of("2001:db8::/32", 1).len, 32);
}
END_TEST

static uint8_t find(const struct prefix *prefixes, uint32_t count, const char *address)
{
    struct prefix sorted[16];
    struct prefix_node nodes[32];
    struct addr addr = addr_of(address);
    memcpy(sorted, prefixes, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, prefix_compare);
    uint32_t used = prefix_tree_build(sorted, count, nodes);
    ck_assert(used <= 2 * count && prefix_tree_ok(nodes, used));
    return prefix_tree_find(nodes, used, &addr);
}

START_TEST(the_longest_prefix_wins)
{
    const struct prefix set[] = {
        prefix_of("10.0.0.0/8", 1),    prefix_of("10.1.0.0/16", 2),
        prefix_of("10.1.2.0/24", 3),   prefix_of("10.1.2.3", 4),
        prefix_of("2001:db8::/32", 5), prefix_of("2001:db8:0:1::/64", 6),
    };
    ck_assert_uint_eq(find(set, 6, "10.255.0.1"), 1);
    ck_assert_uint_eq(find(set, 6, "10.1.255.1"), 2);
    ck_assert_uint_eq(find(set, 6, "10.1.2.4"), 3);
    ck_assert_uint_eq(find(set, 6, "10.1.2.3"), 4);
    ck_assert_uint_eq(find(set, 6, "11.0.0.0"), 0);
    ck_assert_uint_eq(find(set, 6, "9.255.255.255"), 0);
    ck_assert_uint_eq(find(set, 6, "[2001:db8:ffff::1]"), 5);
    ck_assert_uint_eq(find(set, 6, "[2001:db8:0:1:ffff::]"), 6);
    ck_assert_uint_eq(find(set, 6, "[2001:db9::]"), 0);
    ck_assert_uint_eq(find(set, 6, "unix:/x"), 0);
    ck_assert_uint_eq(find(set, 0, "10.0.0.1"), 0);
}
END_TEST

START_TEST(everything_and_ipv4_only_are_different_prefixes)
{
    const struct prefix all[] = {prefix_of("::/0", 7)};
    const struct prefix ipv4[] = {prefix_of("0.0.0.0/0", 8)};
    ck_assert_uint_eq(find(all, 1, "192.0.2.1"), 7);
    ck_assert_uint_eq(find(all, 1, "[2001:db8::1]"), 7);
    ck_assert_uint_eq(find(ipv4, 1, "192.0.2.1"), 8);
    ck_assert_uint_eq(find(ipv4, 1, "[::ffff:192.0.2.1]"), 8);
    ck_assert_uint_eq(find(ipv4, 1, "[2001:db8::1]"), 0);
}
END_TEST

/* The plain way: look at all of them. */
static uint8_t find_plainly(const struct prefix *prefixes, uint32_t count, const uint8_t at[16])
{
    int best = -1;
    uint8_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool in = true;
        for (uint32_t bit = 0; bit < prefixes[i].len && in; bit++)
            in = ((prefixes[i].bytes[bit / 8] ^ at[bit / 8]) & 0x80 >> bit % 8) == 0;
        if (in && prefixes[i].len > best) {
            best = prefixes[i].len;
            value = prefixes[i].value;
        }
    }
    return value;
}

static struct prefix random_prefix(bool narrow)
{
    struct prefix prefix = {.len = (uint8_t)(narrow ? 96 + random() % 33 : random() % 129),
                            .value = (uint8_t)(1 + random() % 255)};
    for (uint32_t i = 0; i < prefix.len; i++) {
        uint32_t bit = narrow && i < 96 ? i >= 80 : (uint32_t)random() & 1;
        /* Few different bits far up, so that prefixes nest. */
        if (narrow && i >= 96 && i < 112)
            bit &= (uint32_t)random() & 1;
        prefix.bytes[i / 8] |= (uint8_t)(bit << (7 - i % 8));
    }
    return prefix;
}

/* Sorted, each one once. */
static uint32_t random_set(struct prefix *set, uint32_t count, bool narrow)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        set[i] = random_prefix(narrow);
    qsort(set, count, sizeof *set, prefix_compare);
    for (uint32_t i = 0; i < count; i++) {
        if (kept == 0 || prefix_compare(&set[kept - 1], &set[i]) != 0)
            set[kept++] = set[i];
    }
    return kept;
}

START_TEST(it_agrees_with_looking_at_all_of_them)
{
    struct prefix set[200];
    struct prefix_node nodes[400];
    srandom(7);
    for (int round = 0; round < 200; round++) {
        uint32_t count = random_set(set, (uint32_t)(1 + random() % 200), round % 2);
        uint32_t used = prefix_tree_build(set, count, nodes);
        ck_assert(used < 2 * count && prefix_tree_ok(nodes, used));
        for (int i = 0; i < 100; i++) {
            struct addr addr = addr_of("[::1]");
            const struct prefix *near = &set[random() % count];
            memcpy(&addr.u.in6.sin6_addr, near->bytes, 16);
            addr.u.in6.sin6_addr.s6_addr[random() % 16] ^= (uint8_t)(1 << random() % 8);
            ck_assert_uint_eq(prefix_tree_find(nodes, used, &addr),
                              find_plainly(set, count, addr.u.in6.sin6_addr.s6_addr));
        }
    }
}
END_TEST

START_TEST(a_hundred_thousand_entries_are_built_and_searched_fast)
{
    enum { MANY = 100000, SEARCHES = 1000000 };
    struct prefix *set = malloc(MANY * sizeof *set);
    struct prefix_node *nodes = malloc(2 * MANY * sizeof *nodes);
    srandom(8);
    for (uint32_t i = 0; i < MANY; i++) {
        set[i] = prefix_of("10.0.0.0/32", 1);
        uint32_t ip = i * 40503u;
        memcpy(set[i].bytes + 12, &ip, 4);
    }
    qsort(set, MANY, sizeof *set, prefix_compare);
    uint64_t begin = clock_mono_ms();
    uint32_t used = prefix_tree_build(set, MANY, nodes);
    ck_assert(prefix_tree_ok(nodes, used));
    struct addr addr = addr_of("10.0.0.1");
    uint32_t found = 0;
    for (uint32_t i = 0; i < SEARCHES; i++) {
        memcpy(&addr.u.in.sin_addr, set[i % MANY].bytes + 12, 4);
        found += prefix_tree_find(nodes, used, &addr);
    }
    ck_assert_uint_eq(found, SEARCHES);
    /* Some 0.3 s here; a list would take 25 minutes, so this needs no fine clock. */
    ck_assert_uint_lt(clock_mono_ms() - begin, 20000);
    free(set);
    free(nodes);
}
END_TEST

START_TEST(an_array_that_leads_nowhere_is_refused)
{
    const struct prefix set[] = {prefix_of("10.0.0.0/8", 1), prefix_of("11.0.0.0/8", 2)};
    struct prefix_node nodes[4];
    uint32_t used = prefix_tree_build(set, 2, nodes);
    ck_assert_uint_eq(used, 3);
    ck_assert(prefix_tree_ok(nodes, used) && prefix_tree_ok(nodes, 0));
    const uint32_t good = nodes[0].child[1];
    const uint32_t bad[] = {3, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        nodes[0].child[1] = bad[i];
        ck_assert(!prefix_tree_ok(nodes, used));
    }
    nodes[0].child[1] = good;
    nodes[1].child[0] = 1; /* itself */
    ck_assert(!prefix_tree_ok(nodes, used));
    nodes[1].child[0] = 0;
    nodes[1].len = nodes[0].len; /* no longer than its parent */
    ck_assert(!prefix_tree_ok(nodes, used));
    nodes[1].len = 129;
    ck_assert(!prefix_tree_ok(nodes, used));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prefix_tree");
    TCase *tc = tcase_create("prefix_tree");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, prefixes_are_read_strictly);
    tcase_add_test(tc, the_longest_prefix_wins);
    tcase_add_test(tc, everything_and_ipv4_only_are_different_prefixes);
    tcase_add_test(tc, it_agrees_with_looking_at_all_of_them);
    tcase_add_test(tc, a_hundred_thousand_entries_are_built_and_searched_fast);
    tcase_add_test(tc, an_array_that_leads_nowhere_is_refused);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
