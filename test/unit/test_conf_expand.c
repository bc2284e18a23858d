/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers a configuration has once names stand for addresses. */
#include "master/conf_expand.h"

#include "master/names.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct names names;
static struct conf_expansion out;

static void teardown(void)
{
    conf_expand_fini(&out);
    names_fini(&names);
}

static struct addr address_of(const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(&addr, slice_of(text), 80, false, &why), 0);
    return addr;
}

/* An address for this name, behind those that it has. */
static void know(const char *text, const char *address, uint16_t weight, uint16_t backup)
{
    const struct names_answer *known = names_find(&names, text);
    struct names_answer answer = {.magic = NAMES_MAGIC};
    if (known)
        answer = *known;
    memcpy(answer.text, text, strlen(text));
    answer.addresses[answer.count++] =
        (struct names_address){.address = address_of(address), .weight = weight, .backup = backup};
    ck_assert_int_eq(names_set(&names, &answer), 1);
}

static struct conf_server written(const char *text)
{
    return (struct conf_server){.text = (char *)text, .address = address_of(text), .weight = 1};
}

static struct conf_server named(const char *text)
{
    return (struct conf_server){.text = (char *)text, .weight = 5};
}

static void expand(struct conf_upstream *upstreams, uint32_t count)
{
    const struct conf conf = {.upstreams = upstreams, .upstream_count = count, .names = &names};
    ck_assert_int_eq(conf_expand(&conf, &out), 0);
    ck_assert_uint_eq(out.first[0], 0);
    ck_assert_uint_eq(out.first[count], out.count);
}

static void is_server(uint32_t i, const char *text, const char *ring, uint32_t weight)
{
    char printed[ADDR_TEXT_MAX];
    ck_assert_uint_lt(i, out.count);
    const struct conf_expanded *server = &out.servers[i];
    ck_assert_str_eq(server->text, text);
    ck_assert_str_eq(server->ring, ring);
    ck_assert_uint_eq(server->weight, weight);
    addr_print(&server->address, printed);
    ck_assert_str_eq(printed, text);
}

START_TEST(addresses_stay_as_written_in_the_order_of_the_file)
{
    struct conf_server one[] = {written("10.0.0.2:80"), written("10.0.0.1:80")};
    struct conf_server two[] = {written("10.0.0.1:80")};
    one[1].backup = true;
    struct conf_upstream upstreams[] = {{.servers = one, .server_count = 2},
                                        {.servers = two, .server_count = 1}};
    expand(upstreams, 2);
    ck_assert_uint_eq(out.count, 3);
    ck_assert_uint_eq(out.first[1], 2);
    is_server(0, "10.0.0.2:80", "10.0.0.2:80", 1);
    is_server(1, "10.0.0.1:80", "10.0.0.1:80", 1);
    is_server(2, "10.0.0.1:80", "10.0.0.1:80", 1); /* another upstream's */
    ck_assert(!out.servers[0].backup && out.servers[1].backup);
    ck_assert_ptr_eq(out.servers[1].from, &one[1]);
}
END_TEST

START_TEST(a_name_without_an_answer_is_no_server)
{
    struct conf_server servers[] = {named("a:80"), written("10.0.0.1:80"), named("b:80")};
    struct conf_upstream upstreams[] = {{.servers = servers, .server_count = 3},
                                        {.servers = servers, .server_count = 1}};
    expand(upstreams, 2);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_uint_eq(out.first[1], 1); /* the second upstream has none */
    is_server(0, "10.0.0.1:80", "10.0.0.1:80", 1);
}
END_TEST

/* As in nginx: its keys stay when the address changes. */
START_TEST(a_name_with_one_address_stands_on_the_ring_as_written)
{
    struct conf_server servers[] = {named("a:80"), named("b:80")};
    struct conf_upstream upstream = {.servers = servers, .server_count = 2};
    know("a:80", "10.0.0.1:80", 0, 0);
    know("b:80", "10.0.0.2:80", 0, 0);
    know("b:80", "[::1]:80", 0, 0);
    expand(&upstream, 1);
    ck_assert_uint_eq(out.count, 3);
    is_server(0, "10.0.0.1:80", "a:80", 5);
    is_server(1, "10.0.0.2:80", "10.0.0.2:80", 5);
    is_server(2, "[::1]:80", "[::1]:80", 5);
    ck_assert_ptr_eq(out.servers[2].from, &servers[1]);
}
END_TEST

START_TEST(an_address_that_an_upstream_has_twice_is_one_server)
{
    struct conf_server servers[] = {written("10.0.0.1:80"), named("a:80"), named("b:80"),
                                    named("a:80")};
    struct conf_upstream upstream = {.servers = servers, .server_count = 4};
    know("a:80", "10.0.0.1:80", 0, 0);
    know("a:80", "10.0.0.2:80", 0, 0);
    know("b:80", "10.0.0.2:80", 0, 0);
    expand(&upstream, 1);
    ck_assert_uint_eq(out.count, 2);
    is_server(0, "10.0.0.1:80", "10.0.0.1:80", 1); /* the first one's settings */
    is_server(1, "10.0.0.2:80", "10.0.0.2:80", 5);
}
END_TEST

START_TEST(records_tell_weights_and_backups)
{
    struct conf_server servers[] = {named("srv:_ws._tcp.a"), named("srv:_ws._tcp.b")};
    struct conf_upstream upstream = {.servers = servers, .server_count = 2};
    servers[1].backup = true;
    know("srv:_ws._tcp.a", "10.0.0.1:80", 7, 0);
    know("srv:_ws._tcp.a", "10.0.0.2:80", UINT16_MAX, 1);
    know("srv:_ws._tcp.b", "10.0.0.3:80", 1, 0);
    expand(&upstream, 1);
    ck_assert_uint_eq(out.count, 3);
    is_server(0, "10.0.0.1:80", "10.0.0.1:80", 7);
    is_server(1, "10.0.0.2:80", "10.0.0.2:80", CONF_WEIGHT_MAX);
    is_server(2, "10.0.0.3:80", "srv:_ws._tcp.b", 1);
    ck_assert(!out.servers[0].backup && out.servers[1].backup && out.servers[2].backup);
}
END_TEST

START_TEST(without_names_and_without_upstreams_there_is_nothing)
{
    const struct conf conf = {0};
    ck_assert_int_eq(conf_expand(&conf, &out), 0);
    ck_assert_uint_eq(out.count, 0);
    ck_assert_uint_eq(out.first[0], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_expand");
    TCase *tc = tcase_create("conf_expand");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, addresses_stay_as_written_in_the_order_of_the_file);
    tcase_add_test(tc, a_name_without_an_answer_is_no_server);
    tcase_add_test(tc, a_name_with_one_address_stands_on_the_ring_as_written);
    tcase_add_test(tc, an_address_that_an_upstream_has_twice_is_one_server);
    tcase_add_test(tc, records_tell_weights_and_backups);
    tcase_add_test(tc, without_names_and_without_upstreams_there_is_nothing);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
