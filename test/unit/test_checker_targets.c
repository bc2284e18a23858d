/* SPDX-License-Identifier: Apache-2.0 */
/* What results of checks come to on the board, and what another configuration makes of them. */
#include "master/checker_targets.h"

#include "test/unit/worker_fixture.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct worker_fixture fixture;
static struct checker_targets targets;
static int listener; /* -1: its port refuses */
static struct sockaddr_in address;

static void open_port(void)
{
    int on = 1;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 64), 0);
}

static void close_port(void)
{
    close(listener);
    listener = -1;
}

static void set_up(void)
{
    socklen_t len = sizeof address;
    worker_fixture_init(&fixture);
    /* An address of our own, so that nobody else takes the port while it is closed. */
    address = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(0x7f000000 + (uint32_t)getpid())};
    open_port();
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    targets =
        (struct checker_targets){.board = &fixture.board, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    ck_assert_int_ge(targets.epoll, 0);
}

static void tear_down(void)
{
    image_release(&targets.image);
    free(targets.items);
    close(targets.epoll);
    if (listener >= 0)
        close(listener);
    worker_fixture_fini(&fixture);
}

/* Look at one server, with these keys of its upstream's health, and its own. */
static void use(const char *checks, const char *server)
{
    char text[1024], ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address.sin_addr, ip, sizeof ip);
    snprintf(text, sizeof text,
             "{ name = \"u\"; health = %s; servers = ( { address = \"%s:%u\"; %s }, "
             "{ address = \"10.0.0.1:80\"; down = true; } ); }",
             checks, ip, ntohs(address.sin_port), server);
    worker_fixture_load(&fixture, text);
    ck_assert_int_eq(checker_targets_use(&targets, image_acquire(fixture.image), NULL), 0);
}

#define TCP                                                                                        \
    "{ type = \"tcp\"; interval = \"100ms\"; fast_interval = \"10ms\"; timeout = \"5s\"; "         \
    "rise = 2; fall = 3; }"

static uint32_t backend(void)
{
    return image_server(fixture.image, 0)->backend;
}

static const struct board_check *check_of_server(void)
{
    return board_check(&fixture.board, backend());
}

static uint32_t health(void)
{
    return board_backend(&fixture.board, backend())->health;
}

/* As the checker's loop does, until so many checks more have ended. */
static void run_checks(uint64_t more)
{
    uint64_t wanted = check_of_server()->checks + more;
    while (check_of_server()->checks < wanted) {
        struct epoll_event event;
        int wait_ms = checker_targets_run(&targets);
        if (check_of_server()->checks < wanted && epoll_wait(targets.epoll, &event, 1, wait_ms) > 0)
            checker_targets_event(&targets, event.data.u64, event.events);
    }
}

START_TEST(the_first_good_check_is_enough)
{
    use(TCP, "");
    ck_assert_uint_eq(targets.count, 1);
    ck_assert_uint_eq(health(), BACKEND_UNCHECKED);
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_UP);
    ck_assert_uint_eq(check_of_server()->good, 1);
    ck_assert_uint_eq(check_of_server()->failed, 0);
    ck_assert_str_eq(check_of_server()->reason, "connected");
}
END_TEST

START_TEST(health_changes_after_fall_bad_ones_and_rise_good_ones)
{
    use(TCP, "");
    run_checks(1);
    close_port();
    run_checks(2);
    ck_assert_uint_eq(health(), BACKEND_UP);
    ck_assert_uint_eq(check_of_server()->streak, 2);
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
    ck_assert_uint_eq(check_of_server()->failed, 3);
    ck_assert_str_eq(check_of_server()->reason, "connect: Connection refused");
    open_port();
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
    ck_assert_uint_eq(check_of_server()->streak, 1);
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_UP);
    ck_assert_uint_ne(board_backend(&fixture.board, backend())->recovered_ms, 0);
}
END_TEST

START_TEST(a_server_that_was_never_good_fails_after_fall_bad_ones)
{
    close_port();
    use(TCP, "");
    run_checks(2);
    ck_assert_uint_eq(health(), BACKEND_UNCHECKED);
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
}
END_TEST

/* A successor of a dead checker, or the next configuration, goes on where the board says. */
START_TEST(a_streak_goes_on_with_the_next_configuration)
{
    use(TCP, "");
    run_checks(1);
    close_port();
    run_checks(2);
    use(TCP, "weight = 2;");
    ck_assert_uint_eq(health(), BACKEND_UP);
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
    ck_assert_uint_eq(check_of_server()->checks, 4);
}
END_TEST

START_TEST(what_nobody_checks_any_more_is_forgotten)
{
    use(TCP, "");
    close_port();
    run_checks(3);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
    use("\"off\"", "");
    ck_assert_uint_eq(targets.count, 0);
    ck_assert_uint_eq(health(), BACKEND_UNCHECKED);
    ck_assert_uint_eq(check_of_server()->checks, 0);
    ck_assert_int_gt(checker_targets_run(&targets), 0);
    use(TCP, "");
    run_checks(3);
    use(TCP, "down = true;");
    ck_assert_uint_eq(targets.count, 0);
    ck_assert_uint_eq(health(), BACKEND_UNCHECKED);
}
END_TEST

START_TEST(who_is_silent_fails_when_the_time_is_over)
{
    use("{ type = \"http\"; interval = \"100ms\"; fast_interval = \"10ms\"; timeout = \"20ms\"; "
        "fall = 1; }",
        "");
    run_checks(1);
    ck_assert_uint_eq(health(), BACKEND_FAILING);
    ck_assert_str_eq(check_of_server()->reason, "no answer within the timeout");
}
END_TEST

START_TEST(events_of_checks_that_are_over_are_dropped)
{
    use(TCP, "");
    run_checks(1);
    checker_targets_event(&targets, 0, EPOLLIN | EPOLLOUT);
    checker_targets_event(&targets, 1, EPOLLIN);
    checker_targets_event(&targets, UINT64_MAX, EPOLLIN);
    ck_assert_uint_eq(check_of_server()->checks, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checker_targets");
    TCase *tc = tcase_create("checker_targets");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_first_good_check_is_enough);
    tcase_add_test(tc, health_changes_after_fall_bad_ones_and_rise_good_ones);
    tcase_add_test(tc, a_server_that_was_never_good_fails_after_fall_bad_ones);
    tcase_add_test(tc, a_streak_goes_on_with_the_next_configuration);
    tcase_add_test(tc, what_nobody_checks_any_more_is_forgotten);
    tcase_add_test(tc, who_is_silent_fails_when_the_time_is_over);
    tcase_add_test(tc, events_of_checks_that_are_over_are_dropped);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
