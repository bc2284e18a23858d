/* SPDX-License-Identifier: Apache-2.0 */
/* A board as two workers leave it, and what holdfast-stat says of it, for the tests of its pages. */
#ifndef TEST_UNIT_STAT_FIXTURE_H
#define TEST_UNIT_STAT_FIXTURE_H

#include "common/clock.h"
#include "shm/ring.h"
#include "shm/stat_show.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIXTURE_TUNNELS_MAX = 64, FIXTURE_GENERATION = 4 };

static struct board board;
static char board_name[40];
static char *output; /* of the last show() */
static size_t output_size;

static const struct ring_server fixture_servers[] = {
    {{"10.0.0.1:8080", 13}, 1, 0},
    {{"10.0.0.2:8080", 13}, 1, 1},
    {{"10.0.0.3:8080", 13}, 2, 2},
};

static inline void fixture_tunnel(uint32_t slot, uint32_t index, const char *ip, uint32_t backend,
                                  uint64_t rx)
{
    struct board_tunnel *tunnel = board_tunnel(&board, slot, index);
    if (strcmp(ip, "unix:") != 0)
        ck_assert_int_eq(inet_pton(AF_INET6, ip, tunnel->client_ip), 1);
    tunnel->client_port = (uint16_t)(5000 + index);
    tunnel->site = (uint16_t)(index % 2);
    tunnel->backend = (uint16_t)backend;
    tunnel->opened_real_ms = clock_real_ms() - 1000 * (index + 1);
    tunnel->active_ms = clock_mono_ms() - 5000 * (index + 1);
    tunnel->bytes[0] = rx;
    tunnel->bytes[1] = 10 * rx;
    tunnel->frames[0] = rx / 10;
    tunnel->frames[1] = rx / 5;
    tunnel->id = board_tunnel_id(slot, 1, index);
}

static inline void fixture_names(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(board_backend_register(&board, FIXTURE_GENERATION, SLICE("chat"),
                                                fixture_servers[i].text),
                         (int)i);
        board_backend(&board, i)->weight = fixture_servers[i].weight;
    }
    ck_assert_int_eq(board_backend_register(&board, 2, SLICE("plain"), SLICE("unix:/run/x")), 3);
    ck_assert_int_eq(board_upstream_register(&board, FIXTURE_GENERATION, SLICE("chat")), 0);
    ck_assert_int_eq(board_upstream_register(&board, FIXTURE_GENERATION, SLICE("plain")), 1);
    board_upstream(&board, 0)->policy = BALANCE_HASH;
    snprintf(board_upstream(&board, 0)->hash_key, BOARD_SERVER_MAX, "$remote_addr");
    ck_assert_int_eq(board_site_register(&board, FIXTURE_GENERATION, SLICE("one.example")), 0);
    ck_assert_int_eq(board_site_register(&board, FIXTURE_GENERATION, SLICE("two.example")), 1);
    struct ring_writer writer;
    ring_begin(&writer, &board, FIXTURE_GENERATION);
    ck_assert_int_eq(ring_publish(&writer, 0, fixture_servers, 3), 0);
}

static inline void fixture_certificate(uint32_t index, const char *names, uint64_t not_after_ms)
{
    struct board_certificate *one = board_certificate(&board, index);
    one->type = 1 + index; /* ECDSA, EdDSA */
    one->bits = 256;
    one->name_count = 2;
    one->not_before_real_ms = clock_real_ms() - 1000;
    one->not_after_real_ms = not_after_ms;
    snprintf(one->names, sizeof one->names, "%s", names);
    snprintf(one->path, sizeof one->path, "c%u.pem", index);
    one->used = FIXTURE_GENERATION;
    board.header->certificates = index + 1;
}

static inline void fixture_worker(uint32_t slot)
{
    struct board_slot *worker = board_slot(&board, slot);
    worker->worker_pid = (int32_t)getpid();
    worker->keeper_pid = (int32_t)getppid();
    worker->starts = slot + 1;
    worker->crashes = slot;
    worker->state = SLOT_RUNNING;
    worker->generation = FIXTURE_GENERATION;
    worker->started_real_ms = clock_real_ms() - 60000;
    worker->beat_ms = clock_mono_ms();
    worker->tunnels_open = 3;
    worker->tunnels_high = 4;
    for (uint32_t i = 0; i < COUNTER_COUNT; i++)
        worker->counters[i] = 1000 * (slot + 1) + i;
    for (uint32_t i = 0; i < REASON_COUNT; i++)
        worker->reasons[i] = 100 * (slot + 1) + i;
    struct board_cell *cell = board_cell(&board, slot, 1);
    cell->conns = 4 + slot;
    cell->tunnels = 3;
    cell->closing = 1 + slot;
    cell->connects = 50 + slot;
    cell->rx_bytes = 7000;
    cell->tx_bytes = 8000;
    cell->rx_frames = 700;
    cell->tx_frames = 800;
    cell->status[2] = 22;
    cell->status[5] = 5;
}

static inline void fixture_setup(void)
{
    const struct board_shape shape = {.tunnels_max = FIXTURE_TUNNELS_MAX};
    int32_t owner;
    snprintf(board_name, sizeof board_name, "/hf-test-stat-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, board_name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(board_name), 0); /* this mapping is all that the tests use */
    fixture_names();
    fixture_certificate(0, "a.example *.b.example", clock_real_ms() + 12ull * 86400000 + 5000);
    fixture_certificate(1, "old.example \x1b[2J", clock_real_ms() - 1);
    for (uint32_t slot = 0; slot < 2; slot++) {
        fixture_worker(slot);
        fixture_tunnel(slot, 0, "::ffff:192.0.2.7", 0, 100 + slot);
        fixture_tunnel(slot, 1, "2001:db8::9", 1, 250 + slot);
        fixture_tunnel(slot, 3, "unix:", 1, 30 + slot);
    }
    board.header->generation = FIXTURE_GENERATION;
    board.header->state = BOARD_RUNNING;
    board.header->workers = 2;
    snprintf(board.header->software, sizeof board.header->software, "9.9");
    snprintf(board.header->config_path, sizeof board.header->config_path, "/etc/x.conf");
    board_event(&board, 0, "started workers=%d", 2);
    board_event(&board, 2, "adopted tunnels=%d", 7);
    board_event(&board, 0, "reloaded generation=%d", 4);
}

static inline void fixture_teardown(void)
{
    board_fini(&board);
    free(output);
    output = NULL;
}

/* Print a page as the command line `words` asks for; returns what the page function returned. */
static inline int show_with(const char *const *words, int count, char why[STAT_WHY_SIZE])
{
    struct stat_args args;
    struct stat_view view;
    struct stat_report report = {.table_count = 0};
    const struct stat_before before = {0};
    char *argv[16] = {(char *)"holdfast-stat"};
    ck_assert_int_lt(count, 15);
    for (int i = 0; i < count; i++)
        argv[i + 1] = (char *)words[i];
    ck_assert_int_eq(stat_args_parse(&args, count + 1, argv, NULL, why), 0);
    free(output);
    output = NULL;
    FILE *out = open_memstream(&output, &output_size);
    ck_assert_ptr_nonnull(out);
    stat_view_init(&view, &board, "/test");
    int rc = stat_show_look(&view, &args, &report, why);
    if (rc == 0)
        stat_show_print(out, &view, &args, &report, &before);
    stat_report_fini(&report);
    ck_assert_int_eq(fclose(out), 0);
    return rc;
}

#define SHOW(...)                                                                                  \
    do {                                                                                           \
        const char *const words_[] = {__VA_ARGS__};                                                \
        char why_[STAT_WHY_SIZE];                                                                  \
        ck_assert_int_eq(show_with(words_, (int)ARRAY_LEN(words_), why_), 0);                      \
    } while (0)

#define HAS(text)     ck_assert_msg(strstr(output, (text)) != NULL, "no '%s' in:\n%s", (text), output)
#define HAS_NOT(text) ck_assert_msg(strstr(output, (text)) == NULL, "'%s' in:\n%s", (text), output)

#endif
