/* SPDX-License-Identifier: Apache-2.0 */
#include "master/operate_order.h"

#include "master/master.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOT = 1, TUNNELS = 64 };

static struct master master;
static struct conf conf;
static char answer[OPERATE_ANSWER_MAX];

static void setup(void)
{
    const struct board_shape shape = {.tunnels_max = TUNNELS};
    char name[64];
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-order-%d", (int)getpid());
    master = (struct master){.phase = MASTER_RUNNING, .generation = 3, .conf = &conf};
    operate_init(&master.operate);
    conf.drain_window_ms = 2000;
    ck_assert_int_eq(board_create(&master.board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    master.slots[SLOT].running = true;
    master.slots[SLOT].mode = SLOT_MODE_RUN;
    board_slot(&master.board, SLOT)->starts = 1;
    for (uint32_t i = 0; i < TUNNELS; i++)
        board_tunnel(&master.board, SLOT, i)->id = board_tunnel_id(SLOT, 0, i);
}

static void teardown(void)
{
    board_fini(&master.board);
}

static const char *ask(const char *request)
{
    const struct operate_asker asker = {.uid = 1000, .pid = 77, .name = "someone"};
    operate_order(&master, &asker, request, answer);
    return answer;
}

static const char *ask_to_close(uint32_t tunnel)
{
    char request[64];
    snprintf(request, sizeof request, "close:%llx",
             (unsigned long long)board_tunnel(&master.board, SLOT, tunnel)->id);
    return ask(request);
}

static uint32_t named(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++)
        count += master.board.header->close_ids[i] != 0;
    return count;
}

static struct board_backend *server(const char *upstream, const char *name)
{
    ck_assert_int_ge(board_upstream_register(&master.board, 3, slice_of(upstream)), 0);
    int at = board_backend_register(&master.board, 3, slice_of(upstream), slice_of(name));
    ck_assert_int_ge(at, 0);
    board_backend(&master.board, (uint32_t)at)->weight = 1;
    return board_backend(&master.board, (uint32_t)at);
}

START_TEST(a_tunnel_is_named_until_its_worker_has_followed)
{
    uint32_t serial = master.board.header->wave_serial;
    ck_assert_str_eq(ask_to_close(5), "ok tunnel=100000000000006 is being closed");
    ck_assert_uint_ne(master.board.header->wave_serial, serial);
    ck_assert(master.slots[SLOT].unsent);
    operate_order_settle(&master);
    ck_assert_uint_eq(named(), 1);
    ck_assert_str_eq(ask_to_close(5), "ok tunnel=100000000000006 is being closed");
    ck_assert_uint_eq(named(), 1);
    board_slot(&master.board, SLOT)->applied_seq = master.slots[SLOT].seq;
    operate_order_settle(&master); /* its number may be another tunnel's one day */
    ck_assert_uint_eq(named(), 0);
}
END_TEST

START_TEST(one_that_is_gone_needs_no_worker)
{
    ck_assert_int_eq(strncmp(ask_to_close(5), "ok ", 3), 0);
    board_tunnel(&master.board, SLOT, 5)->id = 0;
    operate_order_settle(&master);
    ck_assert_uint_eq(named(), 0);
}
END_TEST

START_TEST(no_order_is_forgotten_while_workers_are_behind)
{
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++)
        ck_assert_int_eq(strncmp(ask_to_close(i), "ok ", 3), 0);
    operate_order_settle(&master);
    ck_assert_int_eq(strncmp(ask_to_close(BOARD_CLOSE_IDS), "error busy", 10), 0);
    ck_assert_uint_eq(named(), BOARD_CLOSE_IDS);
    board_slot(&master.board, SLOT)->applied_seq = master.slots[SLOT].seq;
    operate_order_settle(&master);
    ck_assert_int_eq(strncmp(ask_to_close(BOARD_CLOSE_IDS), "ok ", 3), 0);
}
END_TEST

START_TEST(a_master_of_another_program_waits_for_what_was_sent_last)
{
    ck_assert_int_eq(strncmp(ask_to_close(5), "ok ", 3), 0);
    operate_init(&master.operate);
    operate_order_inherit(&master);
    operate_order_settle(&master);
    ck_assert_uint_eq(named(), 1);
    board_slot(&master.board, SLOT)->applied_seq = master.slots[SLOT].seq;
    operate_order_settle(&master);
    ck_assert_uint_eq(named(), 0);
}
END_TEST

START_TEST(a_slot_that_is_about_to_leave_still_is)
{
    server("chat", "one");
    master.slots[SLOT].drain_ms = 12345;
    ck_assert_int_eq(strncmp(ask("close-server:chat/one"), "ok 0 tunnels", 12), 0);
    ck_assert_uint_eq(master.slots[SLOT].drain_ms, 12345);
    ck_assert_uint_eq(master.slots[SLOT].mode, SLOT_MODE_RUN);
}
END_TEST

START_TEST(servers_may_have_slashes_and_must_be_whole_names)
{
    struct board_backend *unix_server = server("chat", "unix:/run/a/b");
    struct board_backend *other = server("chats", "unix:/run/a/b");
    ck_assert_str_eq(ask("drain:chat/unix:/run/a"),
                     "error no such server; upstream chat has: unix:/run/a/b");
    ck_assert_str_eq(ask("drain:cha/unix:/run/a/b"),
                     "error no such upstream; there are: chat, chats");
    ck_assert_int_eq(strncmp(ask("drain:chat/unix:/run/a/b"), "ok ", 3), 0);
    ck_assert_uint_eq(unix_server->flags, BACKEND_TOLD_DRAIN);
    ck_assert_uint_eq(other->flags, 0);
}
END_TEST

START_TEST(an_answer_about_many_servers_is_cut)
{
    char name[64];
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "10.0.%u.%u:8080", i / 250, i % 250);
        server("chat", name);
    }
    ck_assert_uint_eq(strlen(ask("drain:chat/10.9.9.9:1")), OPERATE_ANSWER_MAX - 1);
}
END_TEST

START_TEST(one_that_was_removed_can_be_emptied_but_not_drained)
{
    struct board_backend *gone = server("chat", "gone");
    server("chat", "here");
    gone->used = 2;
    ck_assert_str_eq(ask("close-server:chat/gone"),
                     "error no such server; upstream chat has: here");
    board_cell(&master.board, SLOT, 0)->tunnels = 7;
    ck_assert_str_eq(ask("drain:chat/gone"),
                     "error chat/gone is not in the configuration any more");
    ck_assert_str_eq(ask("close-server:chat/gone"),
                     "ok 7 tunnels of chat/gone are closed within 2 s");
    ck_assert_uint_eq(gone->wave.mark & 0xff, REASON_CLOSED_BY_OPERATOR);
    ck_assert_uint_eq(gone->wave.for_ms, 2000);
}
END_TEST

START_TEST(it_is_recorded_who_has_asked)
{
    server("chat", "one");
    ask("drain:chat/one");
    ck_assert_str_eq(board_event_at(&master.board, MASTER_EVENT_WRITER, 1)->text,
                     "operator_drain uid=1000 pid=77 name=someone backend=chat/one");
}
END_TEST

START_TEST(a_master_that_starts_or_ends_takes_no_orders)
{
    server("chat", "one");
    master.phase = MASTER_STARTING;
    ck_assert_str_eq(ask("drain:chat/one"), "error Holdfast is starting: try again");
    master.phase = MASTER_QUITTING;
    ck_assert_str_eq(ask("drain:chat/one"), "error Holdfast is ending");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("master/operate_order");
    TCase *tcase = tcase_create("operate_order");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_tunnel_is_named_until_its_worker_has_followed);
    tcase_add_test(tcase, one_that_is_gone_needs_no_worker);
    tcase_add_test(tcase, no_order_is_forgotten_while_workers_are_behind);
    tcase_add_test(tcase, a_master_of_another_program_waits_for_what_was_sent_last);
    tcase_add_test(tcase, a_slot_that_is_about_to_leave_still_is);
    tcase_add_test(tcase, servers_may_have_slashes_and_must_be_whole_names);
    tcase_add_test(tcase, an_answer_about_many_servers_is_cut);
    tcase_add_test(tcase, one_that_was_removed_can_be_emptied_but_not_drained);
    tcase_add_test(tcase, it_is_recorded_who_has_asked);
    tcase_add_test(tcase, a_master_that_starts_or_ends_takes_no_orders);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
