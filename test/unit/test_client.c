/* SPDX-License-Identifier: Apache-2.0 */
/* Clients over real sockets, in a worker that has nothing else. */
#include "worker/client.h"

#include "common/clock.h"
#include "test/unit/worker_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { FD_MAX = 256, TUNNELS = 16, LATE_MS = 5000, FRESH_MS = 1000 };

static struct worker_fixture fixture;
static struct worker w;
static struct arena arena;
static int arena_fd;
static int peer;

/* In main(), before the test runner opens anything: the fixed numbers are the worker's. */
static void take_descriptors(void)
{
    while (dup(STDERR_FILENO) < FD_DYNAMIC)
        ;
}

static void setup(void)
{
    worker_fixture_init(&fixture);
    worker_fixture_load(&fixture,
                        "{ name = \"u\"; servers = ( { address = \"127.0.0.1:1\"; } ); }");
    memset(&w, 0, sizeof w);
    ck_assert_int_eq(arena_create(&arena, 0, TUNNELS, &arena_fd), 0);
    w.board = &fixture.board;
    w.image = fixture.image;
    w.arena = &arena;
    w.me = board_slot(&fixture.board, 0);
    w.fd_max = FD_MAX;
    w.now_ms = (uint32_t)clock_mono_ms() - LATE_MS;
    w.conns = calloc(FD_MAX, sizeof *w.conns);
    w.free_places = calloc(FD_MAX, sizeof *w.free_places);
    ck_assert_int_eq(timer_init(&w.timers, TUNNELS + FD_MAX, w.now_ms), 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_eq(dup2(epoll, FD_EPOLL), FD_EPOLL);
    close(epoll);
}

static void teardown(void)
{
    conn_free_dead(&w);
    munmap(w.timers.nodes, (TUNNELS + FD_MAX) * sizeof(struct timer_node));
    munmap(arena.header, arena.header->size);
    close(arena_fd);
    close(peer);
    free(w.conns);
    free(w.free_places);
    worker_fixture_fini(&fixture);
}

static void come(void)
{
    int ends[2];
    struct addr address = {.u.sa.sa_family = AF_UNIX};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    int fd = fcntl(ends[0], F_DUPFD, FD_DYNAMIC);
    close(ends[0]);
    peer = ends[1];
    ck_assert_int_eq(client_open(&w, fd, &address, NULL), 0);
}

/* Is the client there after those that are idle were told to go? */
static bool stays(void)
{
    client_close_idle(&w);
    return w.me->clients_open == 1;
}

START_TEST(who_came_amid_a_long_turn_has_its_time_to_ask)
{
    come();
    ck_assert(stays()); /* in the same turn: its clock is behind */
    w.now_ms = (uint32_t)clock_mono_ms();
    ck_assert(stays());
    w.now_ms += FRESH_MS;
    ck_assert(!stays());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tcase = tcase_create("client");
    take_descriptors();
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, who_came_amid_a_long_turn_has_its_time_to_ask);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
