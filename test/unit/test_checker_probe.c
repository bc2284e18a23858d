/* SPDX-License-Identifier: Apache-2.0 */
/* One check after the other, of a server that is played here. */
#define _GNU_SOURCE 1
#include "master/checker_probe.h"

#include "common/sha1.h"
#include "common/ws_handshake.h"

#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static struct image_health health;
static struct addr address;
static int listener;
static int server; /* its end of the connection */
static struct checker_probe *probe;
static enum checker_verdict verdict;
static char request[2048];

static void set_up(void)
{
    socklen_t len = sizeof address.u.in;
    ck_assert_int_eq(sha1_init(), 0);
    address = (struct addr){.u.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)},
                            .len = sizeof address.u.in};
    listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, &address.u.sa, address.len), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(getsockname(listener, &address.u.sa, &len), 0);
    server = -1;
}

static void tear_down(void)
{
    checker_probe_end(&probe);
    if (server >= 0)
        close(server);
    close(listener);
}

static void begin(enum image_health_type type)
{
    static const char method[] = "GET", path[] = "/up?x=1", host[] = "a.example:81";
    health = (struct image_health){.type = type, .status_count = 2};
    health.status[0].from = 200;
    health.status[0].to = 299;
    health.status[1].from = health.status[1].to = 401;
    const struct checker_plan plan = {
        .address = &address,
        .health = &health,
        .method = slice_of(method),
        .path = slice_of(path),
        .host = slice_of(host),
    };
    verdict = checker_probe_begin(&probe, &plan);
}

/* One event of its descriptor; false: none has come, and nothing will unless the server does something. */
static bool step(int timeout_ms)
{
    struct pollfd fd = {.fd = checker_probe_fd(probe), .events = 0};
    uint32_t wants = checker_probe_wants(probe); /* POLLIN is EPOLLIN, POLLOUT is EPOLLOUT */
    fd.events = (short)wants;
    if (verdict != CHECKER_MORE || poll(&fd, 1, timeout_ms) <= 0)
        return false;
    verdict = checker_probe_event(probe, (uint32_t)fd.revents);
    return true;
}

/* Until it has said what it has to say: the request stands in `request`. */
static void take_request(void)
{
    size_t n = 0;
    server = accept(listener, NULL, NULL);
    ck_assert_int_ge(server, 0);
    memset(request, 0, sizeof request);
    while (!strstr(request, "\r\n\r\n")) {
        step(0);
        ssize_t got = recv(server, request + n, sizeof request - 1 - n, MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
}

/* The server says this, and the probe hears all of it. */
static void say(const char *bytes, size_t n)
{
    ck_assert_int_eq(send(server, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
    ck_assert(step(PATIENCE_MS));
}

static void say_text(const char *text)
{
    say(text, strlen(text));
}

static void hang_up(void)
{
    shutdown(server, SHUT_WR);
    while (step(PATIENCE_MS))
        continue;
}

static void decided(enum checker_verdict expected, const char *why)
{
    ck_assert_str_eq(checker_probe_why(probe), why);
    ck_assert_int_eq(verdict, expected);
    ck_assert_uint_lt(checker_probe_latency_us(probe), PATIENCE_MS * 1000u);
    checker_probe_end(&probe);
    close(server);
    server = -1;
}

START_TEST(who_accepts_passes_a_tcp_check)
{
    begin(HEALTH_TCP);
    while (step(PATIENCE_MS))
        continue;
    decided(CHECKER_GOOD, "connected");
}
END_TEST

START_TEST(who_refuses_passes_none)
{
    close(listener);
    listener = -1;
    begin(HEALTH_WEBSOCKET);
    while (step(PATIENCE_MS))
        continue;
    decided(CHECKER_BAD, "connect: Connection refused");
}
END_TEST

START_TEST(a_path_that_is_no_socket_is_refused_at_once)
{
    address = (struct addr){.u.un = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"},
                            .len = sizeof address.u.un};
    begin(HEALTH_TCP);
    decided(CHECKER_BAD, "connect: No such file or directory");
}
END_TEST

START_TEST(the_request_is_what_the_configuration_says)
{
    begin(HEALTH_HTTP);
    take_request();
    ck_assert_str_eq(request, "GET /up?x=1 HTTP/1.1\r\nHost: a.example:81\r\n"
                              "User-Agent: holdfast-check\r\nConnection: close\r\n\r\n");
}
END_TEST

START_TEST(the_status_decides_an_http_check)
{
    static const struct {
        const char *answer, *why;
        enum checker_verdict verdict;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", "status 200", CHECKER_GOOD},
        {"HTTP/1.0 299 x\r\nContent-Length: 9\r\n\r\n", "status 299", CHECKER_GOOD},
        {"HTTP/1.1 401 x\r\n\r\n", "status 401", CHECKER_GOOD},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "status 200", CHECKER_GOOD},
        {"HTTP/1.1 300 x\r\n\r\n", "status 300", CHECKER_BAD},
        {"HTTP/1.1 400 x\r\n\r\n", "status 400", CHECKER_BAD},
        {"HTTP/1.1 503 x\r\n\r\n", "status 503", CHECKER_BAD},
        {"SSH-2.0-x\r\n\r\n", "malformed answer", CHECKER_BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(HEALTH_HTTP);
        take_request();
        say_text(rows[i].answer);
        decided(rows[i].verdict, rows[i].why);
    }
}
END_TEST

START_TEST(an_answer_may_come_byte_by_byte)
{
    static const char answer[] = "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 204 x\r\nA: b\r\n\r\n";
    begin(HEALTH_HTTP);
    take_request();
    for (size_t i = 0; i < sizeof answer - 1; i++) {
        ck_assert_int_eq(verdict, CHECKER_MORE);
        say(answer + i, 1);
    }
    decided(CHECKER_GOOD, "status 204");
}
END_TEST

START_TEST(an_answer_that_ends_early_is_none)
{
    begin(HEALTH_HTTP);
    take_request();
    say_text("HTTP/1.1 200 OK\r\n");
    hang_up();
    decided(CHECKER_BAD, "closed before the answer");
}
END_TEST

START_TEST(an_answer_without_end_is_given_up)
{
    static char field[1024];
    begin(HEALTH_HTTP);
    take_request();
    say_text("HTTP/1.1 200 OK\r\n");
    memset(field, 'x', sizeof field);
    memcpy(field, "A: ", 3);
    memcpy(field + sizeof field - 2, "\r\n", 2);
    for (int i = 0; i < 64 && verdict == CHECKER_MORE; i++)
        say(field, sizeof field);
    ck_assert_int_eq(verdict, CHECKER_BAD);
}
END_TEST

START_TEST(silence_is_explained_by_how_far_it_came)
{
    begin(HEALTH_HTTP);
    take_request();
    verdict = checker_probe_timeout(probe);
    decided(CHECKER_BAD, "no answer within the timeout");
}
END_TEST

/* ---- websocket ---- */

/* The right 101 to the request, and `more` behind it in the same piece. */
static void switch_protocols(const char *more, size_t n)
{
    char text[1024], accept_value[WS_ACCEPT_LEN];
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    ck_assert_ptr_nonnull(key);
    ws_accept_for((struct slice){key + 19, strcspn(key + 19, "\r")}, accept_value);
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: %.*s\r\n\r\n",
                       WS_ACCEPT_LEN, accept_value);
    memcpy(text + len, more, n);
    say(text, (size_t)len + n);
}

static void begin_tunnel(void)
{
    begin(HEALTH_WEBSOCKET);
    take_request();
    switch_protocols("", 0);
    ck_assert_int_eq(verdict, CHECKER_MORE);
}

/* The frame that the probe has sent: opcode `first`, its payload unmasked. Returns its length. */
static size_t take_frame(uint8_t first, uint8_t payload[125])
{
    uint8_t head[6];
    ck_assert_int_eq(recv(server, head, sizeof head, MSG_WAITALL), sizeof head);
    ck_assert_uint_eq(head[0], first);
    ck_assert(head[1] & 0x80);
    size_t n = head[1] & 0x7f;
    ck_assert_uint_le(n, 125);
    ck_assert_int_eq(recv(server, payload, n, MSG_WAITALL), (ssize_t)n);
    for (size_t i = 0; i < n; i++)
        payload[i] ^= head[2 + i % 4];
    return n;
}

static void pong(void)
{
    uint8_t frame[2 + 125] = {0x8a};
    size_t n = take_frame(0x89, frame + 2);
    frame[1] = (uint8_t)n;
    say((const char *)frame, n + 2);
}

START_TEST(a_pong_makes_a_good_check_and_the_close_ends_it)
{
    uint8_t payload[125];
    begin_tunnel();
    pong();
    ck_assert_int_eq(verdict, CHECKER_MORE);
    ck_assert_uint_eq(take_frame(0x88, payload), 2);
    ck_assert_int_eq(payload[0] << 8 | payload[1], 1000);
    say("\x88\x02\x03\xe8", 4);
    decided(CHECKER_GOOD, "pong");
}
END_TEST

START_TEST(after_the_pong_nothing_can_spoil_it)
{
    begin_tunnel();
    pong();
    verdict = checker_probe_timeout(probe);
    decided(CHECKER_GOOD, "pong");
    begin_tunnel();
    pong();
    hang_up();
    decided(CHECKER_GOOD, "pong");
}
END_TEST

START_TEST(what_else_a_server_says_is_passed_over)
{
    char big[200] = "\x82\x7e\x00\xc4"; /* a message of 196 bytes */
    begin(HEALTH_WEBSOCKET);
    take_request();
    /* A greeting, and a ping, behind the 101. */
    switch_protocols("\x81\x05hello\x89\x00", 9);
    say("\x8a\x08strange!", 10); /* a pong that nobody asked for */
    say("\x01\x03one", 5);
    say(big, sizeof big);
    ck_assert_int_eq(verdict, CHECKER_MORE);
    pong();
    hang_up();
    decided(CHECKER_GOOD, "pong");
}
END_TEST

START_TEST(what_is_no_tunnel_fails)
{
    static const struct {
        const char *answer, *why;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", "status 200 instead of 101"},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
         "no Sec-WebSocket-Accept"},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
         "wrong Sec-WebSocket-Accept"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(HEALTH_WEBSOCKET);
        take_request();
        say_text(rows[i].answer);
        decided(CHECKER_BAD, rows[i].why);
    }
}
END_TEST

START_TEST(a_tunnel_without_a_pong_fails)
{
    static const struct {
        const char *frame, *why;
        size_t n;
    } rows[] = {
        {"\x88\x00", "closed before the pong", 2},
        {"\x8a\x80mask", "malformed frame", 6}, /* a server's frame is not masked */
        {"\x0a\x00", "malformed frame", 2},     /* a control frame is whole */
        {"\x89\x7e\x00\x7e", "malformed frame", 4},
        {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "malformed frame", 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_tunnel();
        say(rows[i].frame, rows[i].n);
        decided(CHECKER_BAD, rows[i].why);
    }
    begin_tunnel();
    hang_up();
    decided(CHECKER_BAD, "closed before the pong");
    begin_tunnel();
    verdict = checker_probe_timeout(probe);
    decided(CHECKER_BAD, "no pong within the timeout");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checker_probe");
    TCase *tc = tcase_create("checker_probe");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, who_accepts_passes_a_tcp_check);
    tcase_add_test(tc, who_refuses_passes_none);
    tcase_add_test(tc, a_path_that_is_no_socket_is_refused_at_once);
    tcase_add_test(tc, the_request_is_what_the_configuration_says);
    tcase_add_test(tc, the_status_decides_an_http_check);
    tcase_add_test(tc, an_answer_may_come_byte_by_byte);
    tcase_add_test(tc, an_answer_that_ends_early_is_none);
    tcase_add_test(tc, an_answer_without_end_is_given_up);
    tcase_add_test(tc, silence_is_explained_by_how_far_it_came);
    tcase_add_test(tc, a_pong_makes_a_good_check_and_the_close_ends_it);
    tcase_add_test(tc, after_the_pong_nothing_can_spoil_it);
    tcase_add_test(tc, what_else_a_server_says_is_passed_over);
    tcase_add_test(tc, what_is_no_tunnel_fails);
    tcase_add_test(tc, a_tunnel_without_a_pong_fails);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
