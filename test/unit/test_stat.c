/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of holdfast-stat on a populated board: figures to the byte, filters, forms, words. */
#include "test/unit/stat_fixture.h"

#include "shm/stat_sums.h"
#include "shm/stat_text.h"
#include "shm/vault.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---- figures ---- */

START_TEST(a_worker_counts_closed_and_live_tunnels_together)
{
    SHOW("workers", "--json");
    char text[128];
    for (uint64_t slot = 0; slot < 2; slot++) {
        uint64_t live = 380 + 3 * slot; /* 100 + 250 + 30, one more each in worker 1 */
        uint64_t rx = 1000 * (slot + 1) + COUNTER_CLOSED_RX_BYTES + live;
        uint64_t tx = 1000 * (slot + 1) + COUNTER_CLOSED_TX_BYTES + 10 * live;
        snprintf(text, sizeof text, "\"rx_bytes\":%llu,\"tx_bytes\":%llu,\"rx_frames\":%llu",
                 (unsigned long long)rx, (unsigned long long)tx,
                 1000ull * (slot + 1) + COUNTER_CLOSED_RX_FRAMES + 38);
        HAS(text);
    }
    HAS("\"worker\":0,\"state\":\"running\",");
    HAS("\"starts\":2,\"crashes\":1,");
    HAS("\"counters\":{\"connections_accepted\":1000,");
    HAS("\"reasons\":{\"done\":200,");
    HAS("\"consistent\":true");
    HAS_NOT("\"worker\":2");
}
END_TEST

START_TEST(a_backend_sums_its_cells_and_its_live_tunnels)
{
    SHOW("backends", "--json");
    HAS("{\"upstream\":\"chat\",\"server\":\"10.0.0.2:8080\",\"index\":1,\"configured\":true,"
        "\"weight\":1,\"down\":false,");
    HAS("\"conns\":9,\"tunnels\":6,\"closing\":3,\"connections_opened\":101,");
    /* 2 x 7000, and tunnels 250 + 30 + 251 + 31 */
    HAS("\"rx_bytes\":14562,\"tx_bytes\":21620,\"rx_frames\":1456,\"tx_frames\":1712,");
    HAS("\"status_2xx\":44,\"status_3xx\":0,\"status_4xx\":0,\"status_5xx\":10}");
    HAS("\"rx_bytes\":201,\"tx_bytes\":2010,");
    HAS("{\"upstream\":\"plain\",\"server\":\"unix:/run/x\",\"index\":3,\"configured\":false,");
}
END_TEST

/* Of the last counter and the last reason the board's programs know nothing yet. */
START_TEST(what_the_boards_programs_do_not_count_is_unknown)
{
    board.header->counter_count = COUNTER_COUNT - 1;
    board.header->reason_count = REASON_COUNT - 1;
    char last[64];
    SHOW("workers", "--json");
    HAS(",\"backend_tls_resumed\":null}");
    snprintf(last, sizeof last, "\"%s\":null}", reason_word(REASON_COUNT - 1));
    HAS(last);
}
END_TEST

START_TEST(the_overview_sums_all_workers)
{
    SHOW("--json");
    HAS("{\"page\":\"overview\",\"board\":\"/test\",\"layout\":2,");
    HAS("\"generation\":4,\"master\":{\"pid\":");
    HAS("\"state\":\"running\",\"silent_ms\":");
    HAS("\"notes\":[],\"overview\":{\"software\":\"9.9\",\"config_path\":\"/etc/x.conf\",");
    HAS("\"workers\":2,\"workers_running\":2,\"crashes\":1,\"tunnels_open\":6,");
    HAS("\"counters\":{\"connections_accepted\":3000,");
    HAS("\"reasons\":{\"done\":300,\"client_closed\":302,");
}
END_TEST

START_TEST(a_certificate_is_shown_with_what_is_left_of_it)
{
    SHOW("certificates", "--json");
    HAS("\"certificates\":[{\"names\":\"a.example *.b.example\",\"type\":\"ECDSA\",\"bits\":256,"
        "\"name_count\":2,");
    HAS("\"days_left\":12,\"expired\":false,\"file\":\"c0.pem\"}");
    HAS("\"type\":\"EdDSA\",");
    HAS("\"days_left\":0,\"expired\":true,\"file\":\"c1.pem\"}]");
    SHOW("certificates");
    HAS("a.example *.b.example");
    HAS("old.example \\x1b[2J");
    SHOW("certificates", "--prometheus");
    HAS("# TYPE holdfast_certificate_not_after_time_seconds gauge");
    HAS("holdfast_certificate_days_left{names=\"a.example *.b.example\",type=\"ECDSA\","
        "file=\"c0.pem\"} 12\n");
    HAS("file=\"c1.pem\"} 1\n");
    /* The whole brings them along. */
    SHOW("--prometheus");
    HAS("holdfast_certificate_expired{");
    /* One that is just being written, or was taken out, is not shown. */
    board_certificate(&board, 0)->used = 0;
    SHOW("certificates", "--json");
    HAS_NOT("a.example");
    board.header->certificates = 0;
    SHOW("certificates", "--json");
    HAS("\"certificates\":[]");
}
END_TEST

START_TEST(a_tunnel_is_shown_with_names_and_figures)
{
    SHOW("tunnels", "--json");
    HAS("{\"id\":\"100000001\",\"worker\":0,\"client\":\"192.0.2.7:5000\",\"client_ip\":\"192.0.2."
        "7\","
        "\"client_port\":5000,\"site\":\"one.example\",\"upstream\":\"chat\","
        "\"backend\":\"10.0.0.1:8080\",");
    HAS("\"rx_bytes\":100,\"tx_bytes\":1000,\"rx_frames\":10,\"tx_frames\":20,\"rx_rate\":");
    HAS("\"rtt_us\":null,\"ping_ms\":null,\"pings\":0,\"limits_hit\":0,\"tls\":null}");
    HAS("\"client\":\"[2001:db8::9]:5001\",\"client_ip\":\"2001:db8::9\"");
    HAS("\"client\":\"unix:\",\"client_ip\":null,\"client_port\":null");
    HAS("{\"id\":\"100000100000002\",\"worker\":1,");
}
END_TEST

/* A day and some hours old: what passes while the test runs does not show. */
static struct board_care *old_with_care(struct board_tunnel *tunnel)
{
    tunnel->opened_real_ms = clock_real_ms() - 100000000;
    tunnel->bytes[0] = UINT64_C(5000050000);
    tunnel->bytes[1] = UINT64_C(150000);
    tunnel->frames[0] = 1000050;
    tunnel->frames[1] = 350;
    tunnel->rtt_us = 1234;
    tunnel->flags = TUNNEL_HAS_CARE;
    struct board_care *care = board_care(&board, 0, 1);
    care->pinged_ms = clock_mono_ms() - 65000;
    care->pings = 17;
    care->limits_hit = 3;
    return care;
}

START_TEST(a_tunnel_that_is_pinged_and_limited_shows_it)
{
    old_with_care(board_tunnel(&board, 0, 1));
    board_care(&board, 0, 0)->pings = 99; /* of another tunnel that was there */
    SHOW("tunnels", "--json");
    HAS("\"rx_rate\":50000,\"tx_rate\":1,\"rx_frame_rate\":10.000,\"tx_frame_rate\":0.003,"
        "\"rtt_us\":1234,\"ping_ms\":65");
    HAS("\"pings\":17,\"limits_hit\":3,");
    ck_assert_ptr_null(strstr(output, "\"pings\":99"));
    SHOW("tunnels", "--sort", "limits", "--limit", "1");
    HAS(" rx/s  tx/s  rx fr/s  tx fr/s  rtt us   ping  limits ");
    HAS(" 48.8K     1     10.0      0.0    1234  1m05s       3 ");
    SHOW("tunnels", "--json", "--sort", "rate", "--limit", "1");
    HAS("\"pings\":17,");
    SHOW("tunnels", "--json", "--sort", "rtt", "--limit", "1");
    HAS("\"pings\":17,");
}
END_TEST

START_TEST(care_of_a_board_without_it_is_not_shown)
{
    old_with_care(board_tunnel(&board, 0, 1));
    size_t size = board.size;
    board.size--;
    SHOW("tunnels", "--json");
    board.size = size;
    HAS("\"rtt_us\":1234,\"ping_ms\":null,\"pings\":0,\"limits_hit\":0,");
}
END_TEST

static const struct {
    uint8_t tls, flags;
    const char *text;
} ciphers[] = {
    {TLS_PLAIN, TUNNEL_HAS_CARE, "\"tls\":null"},
    {TLS_CHACHA20_POLY1305 << 4 | TLS_1_2, 0, "\"tls\":\"1.2 CHACHA20\""},
    {TLS_AES_128_GCM << 4 | TLS_1_3, TUNNEL_HAS_CARE, "\"tls\":\"1.3 AES128-GCM\""},
    {TLS_1_3, TLS_AES_256_GCM, "\"tls\":\"1.3 AES256-GCM\""}, /* of a program before */
    {TLS_1_3 | 0xf0, 0, "\"tls\":\"1.3 ?\""},
};

START_TEST(a_tunnel_by_TLS_shows_version_and_cipher)
{
    board_tunnel(&board, 0, 1)->tls = ciphers[_i].tls;
    board_tunnel(&board, 0, 1)->flags = ciphers[_i].flags;
    SHOW("tunnels", "--json", "--client", "2001:db8::9", "--worker", "0");
    HAS(ciphers[_i].text);
}
END_TEST

/* ---- filters ---- */

static int count(const char *word)
{
    int found = 0;
    for (const char *p = output; (p = strstr(p, word)) != NULL; p++)
        found++;
    return found;
}

static const struct {
    const char *words[4];
    int tunnels;
} filters[] = {
    {{"--site", "one.example"}, 2},
    {{"--site=nobody"}, 0},
    {{"--backend", "chat"}, 6},
    {{"--backend", "10.0.0.2:8080"}, 4},
    {{"--backend", "chat/10.0.0.1:8080"}, 2},
    {{"--backend", "plain"}, 0},
    {{"--client", "192.0.2.7"}, 2},
    {{"--client", "192.0.2.0/24"}, 2},
    {{"--client", "192.0.2.6/31"}, 2},
    {{"--client", "192.0.2.8/29"}, 0},
    {{"--client", "192.0.3.0/24"}, 0},
    {{"--client", "0.0.0.0/0"}, 2},
    {{"--client", "2001:db8::/32"}, 2},
    {{"--client", "::/0"}, 6},
    {{"--client", "unix:"}, 2},
    {{"--worker", "1"}, 3},
    {{"--worker", "64"}, 0},
    {{"--idle-over", "14s"}, 2},
    {{"--limit", "4"}, 4},
    {{"--limit", "2", "--sort", "rx"}, 2},
    {{"--limit", "0"}, 6},
};

START_TEST(tunnels_are_filtered)
{
    const char *words[8] = {"tunnels", "--json"};
    char why[STAT_WHY_SIZE];
    int n = 2;
    for (int i = 0; i < 4 && filters[_i].words[i]; i++)
        words[n++] = filters[_i].words[i];
    ck_assert_int_eq(show_with(words, n, why), 0);
    ck_assert_msg(count("\"id\":") == filters[_i].tunnels, "%s %s: %d", words[2],
                  words[3] ? words[3] : "", count("\"id\":"));
}
END_TEST

START_TEST(tunnels_are_sorted_the_greatest_first)
{
    SHOW("tunnels", "--json", "--sort", "rx", "--limit", "1");
    HAS("\"rx_bytes\":251,");
    SHOW("tunnels", "--json", "--sort=bytes", "--reverse", "--limit=1");
    HAS("\"rx_bytes\":30,");
    SHOW("tunnels", "--json", "--sort", "age", "--limit", "1");
    HAS("\"client\":\"unix:\"");
    SHOW("tunnels", "--json", "--sort", "idle", "--reverse", "--limit", "2");
    ck_assert_int_eq(count("192.0.2.7:5000"), 2);
    SHOW("tunnels", "--json", "--reverse", "--limit", "1");
    HAS("\"id\":\"100000100000004\"");
}
END_TEST

START_TEST(a_tunnel_that_closed_is_not_shown_and_not_counted)
{
    board_tunnel(&board, 0, 1)->id = 0;
    SHOW("tunnels", "--json");
    ck_assert_int_eq(count("\"id\":"), 5);
    SHOW("backends", "--json");
    HAS("\"rx_bytes\":14312,");
}
END_TEST

/* ---- ring and events ---- */

START_TEST(the_ring_page_says_where_a_key_goes)
{
    SHOW("ring", "192.0.2.1", "--json");
    HAS("\"ring\":{\"upstream\":\"chat\",\"hash_key\":\"$remote_addr\",\"max_load\":0,"
        "\"generation\":4,\"points\":"
        "640,"
        "\"key\":\"192.0.2.1\",\"crc\":\"db610037\",\"point\":543,");
    HAS("\"owner\":\"10.0.0.2:8080\",\"tries\":0,\"server\":\"10.0.0.2:8080\"}");
    const char *second = strstr(output, "\"rank\":2"), *third = strstr(output, "\"rank\":3");
    ck_assert_ptr_nonnull(second);
    ck_assert_ptr_nonnull(third);
    ck_assert_ptr_nonnull(strstr(second, "\"server\":\"10.0.0.3:8080\""));
    ck_assert_ptr_nonnull(strstr(third, "\"server\":\"10.0.0.1:8080\""));
    SHOW("ring", "chat", "192.0.2.1", "--json");
    HAS("\"crc\":\"db610037\"");
    SHOW("ring", "--hex", "3139322e302e322e31", "--json");
    HAS("\"crc\":\"db610037\"");
    SHOW("ring", "--hex", "c0000201", "--json");
    HAS("\"key\":\"0xc0000201\"");
}
END_TEST

START_TEST(a_key_of_a_server_that_is_down_goes_on_along_the_points)
{
    /* 4 points of the third server before the next one, says the reference */
    board_backend(&board, 2)->flags = BACKEND_DOWN;
    SHOW("ring", "192.0.2.2", "--json");
    HAS("\"owner\":\"10.0.0.3:8080\",\"tries\":4,\"server\":\"10.0.0.1:8080\"}");
    board_backend(&board, 0)->flags = BACKEND_DOWN;
    board_backend(&board, 1)->flags = BACKEND_DOWN;
    SHOW("ring", "192.0.2.2", "--json");
    HAS("\"tries\":21,\"server\":null}");
}
END_TEST

START_TEST(a_ring_that_cannot_be_shown_is_explained)
{
    char why[STAT_WHY_SIZE];
    const char *none[] = {"ring", "nope", "k"}, *plain[] = {"ring", "plain", "k"},
               *any[] = {"ring", "k"};
    ck_assert_int_eq(show_with(none, 3, why), -ENOENT);
    ck_assert_str_eq(why, "there is no upstream 'nope'");
    ck_assert_int_eq(show_with(plain, 3, why), -ENOENT);
    ck_assert_str_eq(why, "upstream 'plain' does not balance by hash: it is round_robin");
    board_upstream(&board, 1)->policy = BALANCE_HASH;
    ck_assert_int_eq(show_with(any, 2, why), -EINVAL);
    ck_assert_str_eq(why, "2 upstreams balance by hash: name one before the key");
    ck_assert_int_eq(show_with(plain, 3, why), -ESTALE);
}
END_TEST

START_TEST(events_of_all_writers_come_in_the_order_of_time)
{
    board_event_at(&board, 0, 1)->at_real_ms = 3000;
    board_event_at(&board, 2, 1)->at_real_ms = 2000;
    board_event_at(&board, 0, 2)->at_real_ms = 4001;
    SHOW("events", "--json");
    HAS("\"events\":[{\"time_ms\":2000,\"writer\":\"w0\",\"seq\":1,\"text\":\"adopted tunnels=7\"},"
        "{\"time_ms\":3000,\"writer\":\"master\",\"seq\":1,\"text\":\"started workers=2\"},"
        "{\"time_ms\":4001,\"writer\":\"master\",\"seq\":2,\"text\":\"reloaded generation=4\"}]}");
    SHOW("events", "--json", "--limit", "1");
    ck_assert_int_eq(count("\"text\":"), 1);
    HAS("reloaded generation=4");
    SHOW("events");
    HAS("1970-01-01T00:00:04.001Z  master  reloaded generation=4\n");
}
END_TEST

/* ---- the master's state ---- */

START_TEST(a_master_that_is_gone_stopped_or_silent_is_a_note)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    char text[128];
    snprintf(text, sizeof text, "master PID %d is gone: figures are as it left them", (int)child);
    board.header->master_pid = (int32_t)child;
    SHOW("workers");
    HAS(text);
    SHOW("workers", "--json");
    HAS(text);
    HAS("\"state\":\"gone\"");
    board.header->master_pid = -1;
    SHOW("workers", "--json");
    HAS("\"state\":\"gone\"");
    board.header->master_pid = 1; /* exists, and is not ours to signal unless we are root */
    board.header->beat_ms = clock_mono_ms() - 7000;
    SHOW("overview");
    HAS("master PID 1 is not answering for 7 s");
    board.header->beat_ms = clock_mono_ms() + 1000000;
    SHOW("--json");
    HAS("\"state\":\"running\",\"silent_ms\":0");
    board.header->state = BOARD_STOPPED;
    SHOW("--json");
    HAS("has stopped: figures are as it left them");
    HAS("\"up\":false");
}
END_TEST

START_TEST(a_worker_killed_while_a_tunnel_closed_is_counted_without_waiting)
{
    board_slot(&board, 0)->close_seq = 7;
    SHOW("workers", "--json");
    HAS("\"consistent\":false");
    HAS("\"consistent\":true");
    SHOW("--json");
    HAS("\"consistent\":false");
}
END_TEST

/* One process moves a tunnel's bytes to the closed ones and back; no look may find them twice or not. */
START_TEST(sums_never_miss_or_double_a_tunnel_that_closes)
{
    pid_t child = fork();
    if (child == 0) {
        struct board_slot *slot = board_slot(&board, 0);
        struct board_tunnel *tunnel = board_tunnel(&board, 0, 1);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (uint64_t id = tunnel->id;; id += 1ull << 32) {
            STORE_RELEASE(&slot->close_seq, slot->close_seq + 1);
            STORE_RELEASE(&tunnel->id, 0);
            STORE_RELEASE(&slot->counters[COUNTER_CLOSED_RX_BYTES], 5250);
            STORE_RELEASE(&slot->close_seq, slot->close_seq + 1);
            STORE_RELEASE(&slot->close_seq, slot->close_seq + 1);
            STORE_RELEASE(&slot->counters[COUNTER_CLOSED_RX_BYTES], 5000);
            STORE_RELEASE(&tunnel->id, id);
            STORE_RELEASE(&slot->close_seq, slot->close_seq + 1);
            for (int i = 0; i < 200; i++)
                COMMIT_FENCE();
        }
    }
    int exact = 0;
    /* How often it is met at rest is the scheduler's choice: go on until that was often enough. */
    for (int i = 0; i < 3000 || (exact <= 100 && i < 1000000); i++) {
        struct stat_view view;
        struct stat_sums sums;
        stat_view_init(&view, &board, "/test");
        ck_assert_int_eq(stat_sums_init(&sums, &view), 0);
        if (sums.workers[0].slot.counters[COUNTER_CLOSED_RX_BYTES] >= 5000 &&
            sums.workers[0].consistent) {
            exact++;
            ck_assert_uint_eq(sums.workers[0].traffic.bytes[0], 5380);
        }
        stat_sums_fini(&sums);
    }
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_int_gt(exact, 100);
}
END_TEST

/* ---- forms ---- */

START_TEST(prometheus_has_one_head_for_each_metric_and_labels)
{
    SHOW("--prometheus");
    HAS("# HELP holdfast_connections_accepted_total client connections accepted\n"
        "# TYPE holdfast_connections_accepted_total counter\n"
        "holdfast_connections_accepted_total{worker=\"0\"} 1000\n"
        "holdfast_connections_accepted_total{worker=\"1\"} 2000\n");
    HAS("# TYPE holdfast_ended_total counter\nholdfast_ended_total{worker=\"0\",reason=\"done\"} "
        "100\n");
    HAS("holdfast_ended_total{worker=\"1\",reason=\"client_closed\"} 201\n");
    HAS("# TYPE holdfast_tunnels_open gauge\nholdfast_tunnels_open{worker=\"0\"} 3\n");
    HAS("holdfast_backend_rx_bytes_total{upstream=\"chat\",server=\"10.0.0.2:8080\"} 14562\n");
    HAS("# TYPE holdfast_master_up gauge\nholdfast_master_up 1\n");
    HAS("holdfast_master_start_time_seconds ");
    /* each name has one TYPE line, or Prometheus refuses all of it */
    for (const char *p = output; (p = strstr(p, "# TYPE ")) != NULL; p++) {
        char line[160];
        size_t n = strcspn(p + 7, " ") + 8;
        snprintf(line, sizeof line, "%.*s", (int)n, p);
        ck_assert_msg(count(line) == 1, "%s", line);
    }
    SHOW("workers", "--prometheus");
    HAS_NOT("holdfast_backend_rx_bytes_total");
}
END_TEST

START_TEST(nothing_on_the_board_steers_a_terminal_or_ends_a_string)
{
    snprintf(board_site(&board, 0)->name, BOARD_NAME_MAX, "a\033[2J\"\\\n\x7f\xc2\x9b\xff\xc3\xa9");
    snprintf(board_backend(&board, 0)->server, BOARD_SERVER_MAX, "x\"\\\n\r\xff\xe2\x82\xac");
    SHOW("tunnels");
    HAS("a\\x1b[2J\"\\x5c\\x0a\\x7f\\xc2\\x9b\\xff\\xc3\\xa9");
    HAS_NOT("\033");
    SHOW("tunnels", "--json");
    HAS("\"site\":\"a\\u001b[2J\\\"\\\\\\u000a\\\\x7f\\\\xc2\\\\x9b\\\\xff\xc3\xa9\"");
    SHOW("backends", "--prometheus");
    HAS("server=\"x\\\"\\\\\\\\x0a\\\\x0d\\\\xff\xe2\x82\xac\"}");
}
END_TEST

START_TEST(watching_shows_rates_of_what_grew)
{
    struct stat_args args;
    struct stat_view view;
    struct stat_report first = {.table_count = 0}, second = {.table_count = 0};
    char why[STAT_WHY_SIZE];
    char *argv[] = {(char *)"holdfast-stat", (char *)"tunnels", (char *)"--json",
                    (char *)"--watch"};
    ck_assert_int_eq(stat_args_parse(&args, 4, argv, NULL, why), 0);
    ck_assert_uint_eq(args.watch_ms, 2000);
    stat_view_init(&view, &board, "/test");
    ck_assert_int_eq(stat_show_look(&view, &args, &first, why), 0);
    board_tunnel(&board, 0, 0)->id = 0;         /* rows move up: a row is found by its key */
    board_tunnel(&board, 0, 1)->bytes[0] += 30; /* in 1.5 s */
    board_tunnel(&board, 0, 3)->bytes[0] -= 1;
    ck_assert_int_eq(stat_show_look(&view, &args, &second, why), 0);
    for (int form = STAT_TABLE; form <= STAT_JSON; form++) {
        const struct stat_before before = {&first, 1500};
        free(output);
        FILE *out = open_memstream(&output, &output_size);
        args.form = (enum stat_form)form;
        stat_show_print(out, &view, &args, &second, &before);
        fclose(out);
        if (form == STAT_TABLE) {
            HAS("20/s");
            continue;
        }
        HAS("\"rx_bytes\":280,\"rx_bytes_per_s\":20.000,\"tx_bytes\":2500,\"tx_bytes_per_s\":0."
            "000");
        HAS("\"rx_bytes\":29,\"tx_bytes\":300,"); /* shrank: no rate */
    }
    stat_report_fini(&first);
    stat_report_fini(&second);
}
END_TEST

static const struct {
    uint64_t number;
    const char *duration, *bytes;
} texts[] = {
    {0, "0ms", "0"},
    {999, "999ms", "999"},
    {1024, "1.0s", "1.0K"},
    {61000, "1m01s", "59.6K"},
    {7320000, "2h02m", "7.0M"},
    {90000000, "1d01h", "85.8M"},
    {UINT64_MAX, "213503982334d14h", "16.0E"},
};

START_TEST(numbers_are_printed_for_people)
{
    char text[STAT_TEXT_NUMBER];
    stat_text_duration(text, texts[_i].number);
    ck_assert_str_eq(text, texts[_i].duration);
    stat_text_bytes(text, texts[_i].number);
    ck_assert_str_eq(text, texts[_i].bytes);
    stat_text_time(text, UINT64_MAX);
    ck_assert_str_eq(text, "-");
}
END_TEST

/* ---- the command line ---- */

static const char *const wrong[][5] = {
    {"nonsense"},
    {"workers", "more"},
    {"ring"},
    {"ring", "a", "b", "c"},
    {"ring", "--hex", "abc"},
    {"ring", "--hex", "zz"},
    {"--no-such-option"},
    {"-x"},
    {"--board"},
    {"-b", ""},
    {"-b", "a/b"},
    {"workers", "--site", "x"},
    {"workers", "--limit", "1"},
    {"events", "--hex"},
    {"tunnels", "--limit", "-1"},
    {"tunnels", "--limit", "1x"},
    {"tunnels", "--worker", "99999999999"},
    {"tunnels", "--client", "192.0.2.0/33"},
    {"tunnels", "--client", "::/129"},
    {"tunnels", "--client", "host"},
    {"tunnels", "--client", "1234567890123456789012345678901234567890123456789"},
    {"tunnels", "--idle-over", "5"},
    {"tunnels", "--sort", "size"},
    {"tunnels", "--prometheus"},
    {"--json", "--prometheus"},
    {"--watch=0"},
    {"--watch=nan"},
    {"--watch=1e9"},
    {"--prometheus", "--watch"},
};

START_TEST(a_wrong_command_line_is_refused_with_a_reason)
{
    struct stat_args args;
    char why[STAT_WHY_SIZE] = "";
    char *argv[7] = {(char *)"holdfast-stat"};
    int argc = 1;
    for (int i = 0; i < 5 && wrong[_i][i]; i++)
        argv[argc++] = (char *)wrong[_i][i];
    ck_assert_int_eq(stat_args_parse(&args, argc, argv, NULL, why), -EINVAL);
    ck_assert_uint_gt(strlen(why), 10);
}
END_TEST

START_TEST(the_board_is_named_by_option_environment_or_default)
{
    struct stat_args args;
    char why[STAT_WHY_SIZE];
    char *argv[] = {(char *)"holdfast-stat", (char *)"--watch", (char *)"0.5", (char *)"-b",
                    (char *)"mine"};
    ck_assert_int_eq(stat_args_parse(&args, 1, argv, NULL, why), 0);
    ck_assert_str_eq(args.board, "/holdfast");
    ck_assert_int_eq(stat_args_parse(&args, 3, argv, "/env", why), 0);
    ck_assert_str_eq(args.board, "/env");
    ck_assert_uint_eq(args.watch_ms, 500);
    ck_assert_int_eq(stat_args_parse(&args, 5, argv, "/env", why), 0);
    ck_assert_str_eq(args.board, "/mine");
    ck_assert_int_eq(stat_args_parse(&args, 1, argv, "a/b", why), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stat");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_test(tcase, a_worker_counts_closed_and_live_tunnels_together);
    tcase_add_test(tcase, a_backend_sums_its_cells_and_its_live_tunnels);
    tcase_add_test(tcase, what_the_boards_programs_do_not_count_is_unknown);
    tcase_add_test(tcase, the_overview_sums_all_workers);
    tcase_add_test(tcase, a_certificate_is_shown_with_what_is_left_of_it);
    tcase_add_test(tcase, a_tunnel_is_shown_with_names_and_figures);
    tcase_add_test(tcase, a_tunnel_that_is_pinged_and_limited_shows_it);
    tcase_add_test(tcase, care_of_a_board_without_it_is_not_shown);
    tcase_add_loop_test(tcase, a_tunnel_by_TLS_shows_version_and_cipher, 0,
                        (int)ARRAY_LEN(ciphers));
    tcase_add_loop_test(tcase, tunnels_are_filtered, 0, (int)ARRAY_LEN(filters));
    tcase_add_test(tcase, tunnels_are_sorted_the_greatest_first);
    tcase_add_test(tcase, a_tunnel_that_closed_is_not_shown_and_not_counted);
    tcase_add_test(tcase, the_ring_page_says_where_a_key_goes);
    tcase_add_test(tcase, a_key_of_a_server_that_is_down_goes_on_along_the_points);
    tcase_add_test(tcase, a_ring_that_cannot_be_shown_is_explained);
    tcase_add_test(tcase, events_of_all_writers_come_in_the_order_of_time);
    tcase_add_test(tcase, a_master_that_is_gone_stopped_or_silent_is_a_note);
    tcase_add_test(tcase, a_worker_killed_while_a_tunnel_closed_is_counted_without_waiting);
    tcase_add_test(tcase, sums_never_miss_or_double_a_tunnel_that_closes);
    tcase_add_test(tcase, prometheus_has_one_head_for_each_metric_and_labels);
    tcase_add_test(tcase, nothing_on_the_board_steers_a_terminal_or_ends_a_string);
    tcase_add_test(tcase, watching_shows_rates_of_what_grew);
    tcase_add_loop_test(tcase, numbers_are_printed_for_people, 0, (int)ARRAY_LEN(texts));
    tcase_add_loop_test(tcase, a_wrong_command_line_is_refused_with_a_reason, 0,
                        (int)ARRAY_LEN(wrong));
    tcase_add_test(tcase, the_board_is_named_by_option_environment_or_default);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
