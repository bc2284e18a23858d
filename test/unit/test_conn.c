/* SPDX-License-Identifier: Apache-2.0 */
/* Connections over real sockets and a real epoll set, in a worker that has nothing else. */
#define _GNU_SOURCE 1 /* memfd_create */
#include "worker/conn.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* For loops: ck_assert tells the runner of each success, too, which takes far longer than the test. */
#define REQUIRE(c)                                                                                 \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg("%s", #c);                                                                \
    } while (0)

enum { FD_MAX = 256, TUNNELS = 16, BUFFER = 4096 };

static struct worker w;
static struct arena arena;
static struct board_slot slot;
static int arena_fd;

/* In main(), before the test runner opens anything: the fixed numbers are the worker's. */
static void take_descriptors(void)
{
    while (dup(STDERR_FILENO) < FD_DYNAMIC)
        ;
}

static void setup(void)
{
    memset(&w, 0, sizeof w);
    memset(&slot, 0, sizeof slot);
    ck_assert_int_eq(arena_create(&arena, 0, TUNNELS, &arena_fd), 0);
    w.arena = &arena;
    w.me = &slot;
    w.fd_max = FD_MAX;
    w.now_ms = 1000;
    w.conns = calloc(FD_MAX, sizeof *w.conns);
    w.free_places = calloc(FD_MAX, sizeof *w.free_places);
    ck_assert_int_eq(timer_init(&w.timers, TUNNELS + FD_MAX, w.now_ms), 0);
    buf_pool_resize(&w.pool, BUFFER);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_eq(dup2(epoll, FD_EPOLL), FD_EPOLL);
    close(epoll);
}

static void teardown(void)
{
    conn_free_dead(&w);
    ck_assert_uint_eq(w.arena->header->op.cur, 0);
    buf_pool_resize(&w.pool, 0);
    munmap(w.timers.nodes, (TUNNELS + FD_MAX) * sizeof(struct timer_node));
    munmap(arena.header, arena.header->size);
    close(arena_fd);
    free(w.conns);
    free(w.free_places);
}

/* Both ends over TCP, non-blocking; small buffers, so that they fill soon. */
static void tcp_pair(int ends[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int small = 16384;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ck_assert_int_eq(connect(ends[0], (struct sockaddr *)&in, sizeof in), 0);
    ends[1] = accept(listener, NULL, NULL);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    ck_assert_int_ge(ends[1], 0);
    close(listener);
}

/* A connection of the worker; *peer is the other end. `family` is AF_UNIX or AF_INET. */
static struct conn *new_conn(enum conn_kind kind, int family, int *peer)
{
    int ends[2];
    struct conn *conn = calloc(1, sizeof *conn);
    if (family == AF_INET)
        tcp_pair(ends);
    else
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fcntl(ends[i], F_SETFL, O_NONBLOCK), 0);
    int fd = fcntl(ends[0], F_DUPFD, FD_DYNAMIC);
    close(ends[0]);
    ck_assert_int_eq(conn_open(&w, conn, fd, kind), 0);
    *peer = ends[1];
    return conn;
}

static void end(struct conn *conn, int peer)
{
    conn_close(conn, false);
    conn_bury(conn);
    if (peer >= 0)
        close(peer);
}

/* Hand out what epoll has now, waiting at most `wait_ms` for the first. Returns how many there were. */
static int take_events(int wait_ms)
{
    struct epoll_event events[16];
    int n = epoll_wait(FD_EPOLL, events, 16, wait_ms);
    for (int i = 0; i < n; i++) {
        struct conn *conn = conn_by_event(&w, events[i].data.u64);
        REQUIRE(events[i].data.u64 >> 56 == EVENT_CONN && conn);
        conn_note_events(conn, events[i].events);
    }
    return n;
}

static bool marked(int fd)
{
    return arena.fds[fd / 64] >> (fd % 64) & 1;
}

START_TEST(an_event_finds_its_connection_and_no_later_one)
{
    struct epoll_event event;
    int peer;
    struct conn *conn = new_conn(CONN_CLIENT, AF_UNIX, &peer);
    ck_assert_int_eq(epoll_wait(FD_EPOLL, &event, 1, 0), 1);
    uint64_t stale = event.data.u64;
    ck_assert_uint_eq(stale >> 56, EVENT_CONN);
    ck_assert_ptr_eq(conn_by_event(&w, stale), conn);
    uint32_t place = conn->place;
    end(conn, peer);
    ck_assert_ptr_null(conn_by_event(&w, stale));
    struct conn *next = new_conn(CONN_CLIENT, AF_UNIX, &peer);
    ck_assert_uint_eq(next->place, place); /* the same place, another generation */
    ck_assert_ptr_null(conn_by_event(&w, stale));
    ck_assert_int_eq(epoll_wait(FD_EPOLL, &event, 1, 0), 1);
    ck_assert_ptr_eq(conn_by_event(&w, event.data.u64), next);
    ck_assert_ptr_null(conn_by_event(&w, event.data.u64 | 0xffffffff)); /* no such place */
    end(next, peer);
}
END_TEST

START_TEST(the_arena_knows_which_descriptors_die_with_the_worker)
{
    int peer;
    struct conn *conn = new_conn(CONN_BACKEND, AF_UNIX, &peer);
    int fd = conn->fd;
    ck_assert(marked(fd));
    ck_assert(!marked(fd + 1) && !marked(fd - 1));
    conn_expect_fd(&w);
    ck_assert_uint_eq(arena.header->op.cur >> 28, OP_FD);
    conn_no_fd(&w);
    ck_assert_int_eq(conn_detach(conn), fd); /* it becomes part of a tunnel */
    ck_assert(!marked(fd));
    ck_assert_int_eq(conn->fd, -1);
    ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
    end(conn, peer); /* leaves the descriptor alone */
    ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
    close(fd);
    conn = new_conn(CONN_BACKEND, AF_UNIX, &peer);
    fd = conn->fd;
    end(conn, peer);
    ck_assert(!marked(fd));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(a_descriptor_that_cannot_be_watched_stays_the_callers)
{
    struct conn conn = {0};
    int regular = memfd_create("regular", 0);
    ck_assert_int_eq(dup2(regular, FD_DYNAMIC + 20), FD_DYNAMIC + 20);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(conn_open(&w, &conn, FD_DYNAMIC + 20, CONN_CLIENT), -EPERM);
        ck_assert_int_eq(conn.fd, -1);
    }
    ck_assert_int_eq(fcntl(FD_DYNAMIC + 20, F_GETFD), 0);
    ck_assert(!marked(FD_DYNAMIC + 20));
    ck_assert_uint_eq(w.places_used, w.free_place_count); /* no place is lost */
    close(regular);
    close(FD_DYNAMIC + 20);
}
END_TEST

START_TEST(nothing_is_done_before_an_event_says_so)
{
    int peer;
    struct conn *conn = new_conn(CONN_CLIENT, AF_UNIX, &peer);
    ck_assert_int_eq(write(peer, "hello", 5), 5);
    ck_assert(!conn_fill(conn, UINT32_MAX));
    ck_assert_int_eq(buf_acquire(&w.pool, &conn->out), 0);
    ck_assert_int_eq(buf_append(&conn->out, SLICE("hi")), 0);
    ck_assert(!conn_flush(conn));
    ck_assert_int_eq(take_events(0), 1);
    ck_assert(conn_fill(conn, UINT32_MAX));
    ck_assert(slice_eq(buf_slice(&conn->in), SLICE("hello")));
    ck_assert(!conn->readable); /* the read was short: that was all */
    ck_assert(conn_flush(conn));
    ck_assert(conn->writable);
    ck_assert_ptr_null(conn->out.data);
    ck_assert_uint_eq(conn->rx, 5);
    ck_assert_uint_eq(conn->tx, 2);
    ck_assert_uint_eq(slot.counters[COUNTER_HTTP_RX_BYTES], 5);
    ck_assert_uint_eq(slot.counters[COUNTER_HTTP_TX_BYTES], 2);
    end(conn, peer);
    conn = new_conn(CONN_BACKEND, AF_UNIX, &peer); /* a backend's bytes are not the clients' */
    ck_assert_int_eq(write(peer, "hello", 5), 5);
    take_events(0);
    ck_assert(conn_fill(conn, UINT32_MAX));
    ck_assert_uint_eq(conn->rx, 5);
    ck_assert_uint_eq(slot.counters[COUNTER_HTTP_RX_BYTES], 5);
    end(conn, peer);
}
END_TEST

START_TEST(a_full_read_means_that_there_may_be_more)
{
    static const char zeros[BUFFER];
    int peer;
    struct conn *conn = new_conn(CONN_CLIENT, AF_UNIX, &peer);
    ck_assert_int_eq(write(peer, zeros, BUFFER), BUFFER);
    take_events(0);
    ck_assert(conn_fill(conn, UINT32_MAX));
    ck_assert(conn->readable);
    ck_assert(!conn_fill(conn, UINT32_MAX)); /* no room */
    ck_assert(conn->readable);
    conn->in.start = conn->in.end;
    ck_assert(!conn_fill(conn, UINT32_MAX)); /* nothing there */
    ck_assert(!conn->readable && !conn->eof && !conn->error);
    ck_assert_ptr_null(conn->in.data); /* and no memory is held for it */
    end(conn, peer);
}
END_TEST

/*
 * Both kinds of "no more", or a loop would spin: TCP cuts a big write short, a UNIX socket takes small
 * ones whole or not at all.
 */
START_TEST(a_full_socket_waits_for_its_event)
{
    static char sink[1 << 20];
    enum { BIG = 1 << 19 };
    int peer;
    struct conn *conn = new_conn(CONN_CLIENT, _i ? AF_UNIX : AF_INET, &peer);
    uint32_t refill = _i ? 1000 : BIG;
    uint32_t got = 0;
    buf_pool_resize(&w.pool, BIG);
    take_events(0);
    for (unsigned round = 0; round < 8; round++) {
        bool left = true;
        while (left && conn->writable) {
            ck_assert_int_eq(buf_acquire(&w.pool, &conn->out), 0);
            uint32_t room = buf_room(&conn->out);
            conn->out.end += room < refill ? room : refill;
            left = conn_flush(conn);
            ck_assert(conn->writable == (buf_len(&conn->out) == 0));
        }
        ck_assert(!conn->writable && !conn->error);
        ck_assert(!conn_flush(conn));
        while (!conn->writable) {
            ssize_t n = recv(peer, sink, sizeof sink, 0);
            got += n > 0 ? (uint32_t)n : 0;
            take_events(n > 0 ? 0 : 1000);
        }
    }
    for (ssize_t n; got < conn->tx && (n = recv(peer, sink, sizeof sink, 0)) > 0;)
        got += (uint32_t)n;
    ck_assert_uint_eq(got, conn->tx);
    end(conn, peer);
}
END_TEST

START_TEST(after_a_hangup_is_read_to_the_end)
{
    for (int bytes = 0; bytes < 3; bytes++) {
        int peer;
        struct conn *conn = new_conn(CONN_CLIENT, _i ? AF_INET : AF_UNIX, &peer);
        ck_assert_int_eq(write(peer, "xyz", (size_t)bytes), bytes);
        shutdown(peer, SHUT_WR);
        while (!conn->hangup) /* FIN and data may come in two events */
            take_events(1000);
        if (bytes > 0) {
            ck_assert(conn_fill(conn, UINT32_MAX));
            ck_assert_uint_eq(buf_len(&conn->in), (unsigned)bytes);
            ck_assert(conn->readable && !conn->eof); /* though the read was short */
        }
        ck_assert(!conn_fill(conn, UINT32_MAX));
        ck_assert(conn->eof && !conn->error);
        ck_assert(!conn_fill(conn, UINT32_MAX));
        ck_assert_uint_eq(buf_len(&conn->in), (unsigned)bytes); /* still there */
        end(conn, peer);
    }
}
END_TEST

START_TEST(no_more_is_read_than_the_limit)
{
    static const char zeros[3 * BUFFER];
    for (uint32_t limit = 1; limit < BUFFER + 200; limit += 97) {
        uint32_t total = 0;
        int peer;
        struct conn *conn = new_conn(CONN_CLIENT, AF_UNIX, &peer);
        REQUIRE(write(peer, zeros, sizeof zeros) == sizeof zeros);
        take_events(0);
        for (uint32_t turn = 0; turn < 200; turn++) {
            uint32_t most = limit < BUFFER ? limit : BUFFER;
            while (conn_fill(conn, limit))
                ;
            REQUIRE(buf_len(&conn->in) <= most);
            REQUIRE(!conn->readable || buf_len(&conn->in) == most || conn->in.end == conn->in.size);
            /* A part is consumed, so that bytes stand anywhere in the buffer. */
            uint32_t part = buf_len(&conn->in) < 1 + turn * 31 % most ? buf_len(&conn->in)
                                                                      : 1 + turn * 31 % most;
            conn->in.start += part;
            total += part;
        }
        REQUIRE(total + buf_len(&conn->in) == conn->rx);
        REQUIRE(limit < 100 || conn->rx == sizeof zeros);
        end(conn, peer);
    }
}
END_TEST

/* ---- the game: no edge is ever lost ---- */

struct game {
    struct conn *conn;
    int peer;
    uint32_t seed;
    bool peer_shut;
    uint32_t peer_sent, peer_got;
};

static uint32_t random_below(struct game *game, uint32_t n)
{
    game->seed = game->seed * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)game->seed * n >> 32);
}

/* Byte number n of a stream, either way. */
static char pattern(uint32_t n)
{
    return (char)(n * 2654435761u >> 24);
}

static void peer_moves(struct game *game)
{
    static char bytes[1 << 16];
    uint32_t n = random_below(game, random_below(game, 4) == 0 ? sizeof bytes : 100);
    ssize_t moved;
    switch (random_below(game, 3)) {
    case 0:
        for (uint32_t i = 0; i < n; i++)
            bytes[i] = pattern(game->peer_sent + i);
        moved = game->peer_shut ? 0 : send(game->peer, bytes, n, MSG_NOSIGNAL);
        game->peer_sent += moved > 0 ? (uint32_t)moved : 0;
        break;
    case 1:
        moved = recv(game->peer, bytes, n, 0);
        for (ssize_t i = 0; i < moved; i++)
            REQUIRE(bytes[i] == pattern(game->peer_got + (uint32_t)i));
        game->peer_got += moved > 0 ? (uint32_t)moved : 0;
        break;
    default:
        if (random_below(game, 2000) == 0) {
            shutdown(game->peer, SHUT_WR);
            game->peer_shut = true;
        }
    }
}

static void conn_moves(struct game *game)
{
    struct conn *conn = game->conn;
    uint32_t limit = random_below(game, 3) == 0 ? 1 + random_below(game, BUFFER) : UINT32_MAX;
    conn_fill(conn, limit);
    for (uint32_t n = random_below(game, buf_len(&conn->in) + 1); n > 0; n--) {
        REQUIRE(*buf_slice(&conn->in).p == pattern(conn->rx - buf_len(&conn->in)));
        conn->in.start++;
    }
    if (random_below(game, 2) == 0) {
        REQUIRE(buf_acquire(&w.pool, &conn->out) == 0);
        uint32_t n = random_below(game, buf_room(&conn->out) + 1);
        uint32_t at = conn->tx + buf_len(&conn->out);
        for (uint32_t i = 0; i < n; i++)
            conn->out.data[conn->out.end++] = pattern(at + i);
    }
    conn_flush(conn);
    REQUIRE(!conn->error);
}

/* What the kernel has before we ask epoll must be known to the connection after we have asked. */
static void check_edges(struct game *game)
{
    struct conn *conn = game->conn;
    struct pollfd now = {.fd = conn->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    REQUIRE(poll(&now, 1, 0) >= 0);
    take_events(0);
    REQUIRE(!(now.revents & POLLIN) || conn->readable || conn->eof);
    REQUIRE(!(now.revents & POLLOUT) || conn->writable);
    REQUIRE(!(now.revents & POLLRDHUP) || conn->hangup);
}

START_TEST(no_edge_is_lost_and_no_byte)
{
    struct game game = {.seed = (uint32_t)_i};
    game.conn = new_conn(CONN_CLIENT, _i % 2 ? AF_INET : AF_UNIX, &game.peer);
    for (uint32_t move = 0; move < 20000; move++) {
        if (random_below(&game, 2) == 0)
            peer_moves(&game);
        else
            conn_moves(&game);
        check_edges(&game);
    }
    struct conn *conn = game.conn;
    shutdown(game.peer, SHUT_WR);
    while (!conn->eof) {
        while (conn->readable && !conn->eof) {
            conn_fill(conn, UINT32_MAX);
            conn->in.start = conn->in.end;
        }
        if (!conn->eof)
            ck_assert_int_gt(take_events(5000), 0);
    }
    ck_assert_uint_eq(conn->rx, game.peer_sent);
    ck_assert_uint_eq(slot.counters[COUNTER_HTTP_RX_BYTES], conn->rx);
    ck_assert_uint_eq(slot.counters[COUNTER_HTTP_TX_BYTES], conn->tx);
    ck_assert_uint_gt(conn->rx, 100000);
    ck_assert_uint_gt(game.peer_got, 100000);
    end(conn, game.peer);
}
END_TEST

/* ---- the ends ---- */

/* What the peer reads: 0 for a FIN, -errno for a reset. */
static int peer_sees(int peer)
{
    struct pollfd poller = {.fd = peer, .events = POLLIN};
    char byte;
    ck_assert_int_eq(poll(&poller, 1, 5000), 1);
    ssize_t n = recv(peer, &byte, 1, 0);
    return n < 0 ? -errno : (int)n;
}

START_TEST(a_close_is_a_fin_and_an_abort_a_reset)
{
    int peer;
    struct conn *conn = new_conn(CONN_CLIENT, AF_INET, &peer);
    conn_close(conn, false);
    ck_assert_int_eq(peer_sees(peer), 0);
    end(conn, peer); /* a second close does nothing */
    conn = new_conn(CONN_CLIENT, AF_INET, &peer);
    ck_assert_int_eq(buf_acquire(&w.pool, &conn->in), 0);
    ck_assert_int_eq(buf_acquire(&w.pool, &conn->out), 0);
    conn_close(conn, true);
    ck_assert_int_eq(peer_sees(peer), -ECONNRESET);
    ck_assert_uint_eq(w.pool.free_count, 2);
    end(conn, peer);
}
END_TEST

START_TEST(a_reset_is_an_error_and_kills_nobody)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int peer;
    struct conn *reader = new_conn(CONN_CLIENT, AF_INET, &peer);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(peer);
    while (!reader->hangup)
        ck_assert_int_gt(take_events(5000), 0);
    ck_assert(!conn_fill(reader, UINT32_MAX));
    ck_assert_int_eq(reader->error, ECONNRESET);
    ck_assert_ptr_null(reader->in.data);
    ck_assert(!conn_fill(reader, UINT32_MAX));
    end(reader, -1);
    struct conn *writer = new_conn(CONN_CLIENT, AF_UNIX, &peer);
    close(peer);
    take_events(0);
    ck_assert_int_eq(buf_acquire(&w.pool, &writer->out), 0);
    ck_assert_int_eq(buf_append(&writer->out, SLICE("hello")), 0);
    ck_assert(!conn_flush(writer)); /* no SIGPIPE */
    ck_assert_int_eq(writer->error, EPIPE);
    ck_assert(!conn_flush(writer));
    ck_assert(!conn_fill(writer, UINT32_MAX));
    end(writer, -1);
}
END_TEST

static void note_expired(void *context, uint32_t id)
{
    *(struct conn **)context = conn_by_timer(&w, id);
    REQUIRE(*(struct conn **)context); /* a timer never outlives its connection */
}

START_TEST(a_connection_has_one_timer)
{
    struct conn *expired = NULL;
    int peers[2];
    struct conn *first = new_conn(CONN_CLIENT, AF_UNIX, &peers[0]);
    struct conn *second = new_conn(CONN_CLIENT, AF_UNIX, &peers[1]);
    conn_timer_set(first, 100);
    conn_timer_set(first, 1000);
    conn_timer_set(second, 500);
    timer_run(&w.timers, w.now_ms += 400, note_expired, &expired);
    ck_assert_ptr_null(expired);
    timer_run(&w.timers, w.now_ms += 200, note_expired, &expired);
    ck_assert_ptr_eq(expired, second);
    timer_run(&w.timers, w.now_ms += 500, note_expired, &expired);
    ck_assert_ptr_eq(expired, first);
    expired = NULL;
    conn_timer_set(first, 100);
    conn_timer_clear(first);
    conn_timer_set(second, 100);
    end(second, peers[1]);       /* closing clears it */
    conn_timer_set(second, 100); /* a closed connection has none */
    timer_run(&w.timers, w.now_ms += 5000, note_expired, &expired);
    ck_assert_ptr_null(expired);
    end(first, peers[0]);
}
END_TEST

START_TEST(places_are_used_again_before_new_ones)
{
    enum { CONNS = 20 };
    struct conn *conns[CONNS];
    int peers[CONNS];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < CONNS; i++)
            conns[i] = new_conn(CONN_CLIENT, AF_UNIX, &peers[i]);
        for (unsigned i = 0; i < CONNS; i++) {
            REQUIRE(conns[i]->place < CONNS);
            for (unsigned other = 0; other < i; other++)
                REQUIRE(conns[other]->place != conns[i]->place);
        }
        for (unsigned i = 0; i < CONNS; i++)
            end(conns[(i + round) % CONNS], peers[(i + round) % CONNS]);
        conn_free_dead(&w);
        REQUIRE(w.graveyard == NULL);
    }
}
END_TEST

int main(void)
{
    take_descriptors();
    Suite *suite = suite_create("conn");
    TCase *tc = tcase_create("conn");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_event_finds_its_connection_and_no_later_one);
    tcase_add_test(tc, the_arena_knows_which_descriptors_die_with_the_worker);
    tcase_add_test(tc, a_descriptor_that_cannot_be_watched_stays_the_callers);
    tcase_add_test(tc, nothing_is_done_before_an_event_says_so);
    tcase_add_test(tc, a_full_read_means_that_there_may_be_more);
    tcase_add_loop_test(tc, a_full_socket_waits_for_its_event, 0, 2);
    tcase_add_loop_test(tc, after_a_hangup_is_read_to_the_end, 0, 2);
    tcase_add_test(tc, no_more_is_read_than_the_limit);
    tcase_add_loop_test(tc, no_edge_is_lost_and_no_byte, 0, 6);
    tcase_add_test(tc, a_close_is_a_fin_and_an_abort_a_reset);
    tcase_add_test(tc, a_reset_is_an_error_and_kills_nobody);
    tcase_add_test(tc, a_connection_has_one_timer);
    tcase_add_test(tc, places_are_used_again_before_new_ones);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
