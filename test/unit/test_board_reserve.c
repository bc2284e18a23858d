/* SPDX-License-Identifier: Apache-2.0 */
/* A full /dev/shm, one of the test's own: what was reserved can be written, and no more is promised. */
#include "shm/board_gauge.h"
#include "shm/board_pace.h"
#include "shm/board_reserve.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOARD "/holdfast-test-reserve"
enum { WORKERS = 2, NAMES = 40, BACKENDS = 1000 };

static struct board board;

/* False: we may not, so there is nothing to be learnt here. */
static bool own_shm(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=16000k") == 0;
}

/* False, too, where own_shm is. */
static bool create(void)
{
    int32_t owner;
    struct board_shape shape = {.tunnels_max = 1000};
    if (!own_shm())
        return false;
    ck_assert_int_eq(board_create(&board, BOARD, &shape, &owner), 0);
    ck_assert_int_eq(board_reserve_slots(&board, WORKERS), 0);
    return true;
}

static void fill_up(void)
{
    static char block[65536];
    int fd = open("/dev/shm/ballast", O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_ge(fd, 0);
    size_t size = sizeof block;
    while (size > 0) {
        if (write(fd, block, size) < 0) {
            ck_assert_int_eq(errno, ENOSPC);
            size /= 2;
        }
    }
    close(fd);
}

static struct board_demand demand_of(uint32_t names)
{
    return (struct board_demand){
        .generation = 1,
        .workers = WORKERS,
        .backends = names,
        .upstreams = names,
        .sites = names,
        .certificates = names,
        .ring_points = 160 * (uint64_t)names,
    };
}

/* As conf_image.c and certificates.c do, a row each, and every worker's. */
static void write_names(void)
{
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "name-%u", i);
        struct slice text = {name, strlen(name)};
        ck_assert_int_eq(board_upstream_register(&board, 1, text), (int)i);
        ck_assert_int_eq(board_backend_register(&board, 1, text, text), (int)i);
        ck_assert_int_eq(board_site_register(&board, 1, text), (int)i);
        board_certificate(&board, i)->used = 1;
        board_check(&board, i)->checks = 1;
        for (uint32_t slot = 0; slot < WORKERS; slot++) {
            board_cell(&board, slot, i)->conns = 1;
            board_queue(&board, slot, i)->queued = 1;
        }
    }
    memset(board_ring_area(&board, 1), 1, 160 * NAMES * sizeof(struct ketama_point));
}

START_TEST(what_was_reserved_can_be_written_on_a_full_shm)
{
    struct board_demand demand = demand_of(NAMES), more = demand_of(2000);
    if (!create())
        return;
    ck_assert_int_eq(board_reserve_names(&board, &demand), 0);
    ck_assert_int_eq(board_reserve_tunnels(&board, board.fd, 1, 0, 100), 0);
    ck_assert_int_eq(board_reserve_care(&board, board.fd, 1, 7), 0);
    fill_up();
    write_names(); /* a byte without memory would end us by SIGBUS */
    for (uint32_t i = 0; i < 100; i++)
        board_tunnel(&board, 1, i)->id = 1;
    board_care(&board, 1, 7)->pings = 1;
    board_event(&board, 0, "written");
    board_event(&board, 2 + WORKERS - 1, "written");
    /* More is refused, not promised. */
    ck_assert_int_eq(board_reserve_names(&board, &more), -ENOSPC);
    ck_assert_int_eq(board_reserve_tunnels(&board, board.fd, 1, 500, 1000), -ENOSPC);
}
END_TEST

/* As a new worker of this slot does, and then one client of each bucket after the other. */
static void count_clients(uint32_t slot)
{
    uint32_t gauge;
    board_slot(&board, slot)->starts = 1;
    board_gauge_restore(&board, slot, NULL);
    for (uint64_t hash = 0; hash < GAUGE_BUCKETS; hash++) {
        int rc = board_gauge_enter_client(&board, slot, hash, 1000, &gauge);
        ck_assert_msg(rc == 0 || rc == -ENOSPC, "%d", rc); /* -ENOSPC: a bucket is full */
    }
}

START_TEST(limits_can_be_kept_on_a_full_shm)
{
    const struct pace pace = {.interval_us = 1000};
    struct board_demand demand = demand_of(NAMES);
    if (!create())
        return;
    demand.backends = BACKENDS;
    ck_assert_int_eq(board_reserve_names(&board, &demand), 0);
    fill_up();
    for (uint32_t slot = 0; slot < WORKERS; slot++) {
        board_slot(&board, slot)->starts = 1;
        board_gauge_restore(&board, slot, NULL);
        ck_assert(board_gauge_enter(&board, slot, GAUGE_ALL, WORKERS));
        for (uint32_t i = 0; i < NAMES; i++) {
            ck_assert(board_gauge_enter(&board, slot, GAUGE_SITES + i, WORKERS));
            ck_assert(board_gauge_enter(&board, slot, GAUGE_UPSTREAMS + i, WORKERS));
        }
    }
    ck_assert_int_eq(board_pace_take(&board, PACE_ALL, &pace, 1), 0);
    for (uint32_t i = 0; i < BACKENDS; i++)
        ck_assert_int_eq(board_pace_take(&board, PACE_BACKENDS + i, &pace, 1), 0);
}
END_TEST

START_TEST(clients_can_be_counted_on_a_full_shm)
{
    const struct pace pace = {.interval_us = 1000};
    struct board_demand demand = demand_of(NAMES);
    if (!create())
        return;
    demand.count_clients = demand.pace_clients = true;
    ck_assert_int_eq(board_reserve_names(&board, &demand), 0);
    fill_up();
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        count_clients(slot);
    for (uint64_t hash = 0; hash < PACE_BUCKETS; hash++)
        ck_assert_int_eq(board_pace_take_client(&board, hash, &pace, 1), 0);
}
END_TEST

/* Sums go over all slots, for requests that began before the reload. */
START_TEST(a_worker_that_is_new_when_no_client_is_counted_any_more_has_its_counts)
{
    struct board_demand demand = demand_of(NAMES);
    if (!create())
        return;
    demand.count_clients = true;
    ck_assert_int_eq(board_reserve_names(&board, &demand), 0);
    demand.count_clients = false;
    demand.workers = WORKERS + 1;
    ck_assert_int_eq(board_reserve_slots(&board, demand.workers), 0);
    ck_assert_int_eq(board_reserve_names(&board, &demand), 0);
    fill_up();
    for (uint32_t slot = 0; slot <= WORKERS; slot++)
        count_clients(slot);
    demand.workers++;
    ck_assert_int_eq(board_reserve_names(&board, &demand), -ENOSPC);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("board_reserve");
    TCase *tc = tcase_create("board_reserve");

    tcase_add_test(tc, what_was_reserved_can_be_written_on_a_full_shm);
    tcase_add_test(tc, limits_can_be_kept_on_a_full_shm);
    tcase_add_test(tc, clients_can_be_counted_on_a_full_shm);
    tcase_add_test(tc, a_worker_that_is_new_when_no_client_is_counted_any_more_has_its_counts);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
