/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1 /* memfd_create, pipe2 */
#include "worker/access_log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20 };

#define NOON_MS 1795378503123ull /* 2026-11-22T20:15:03.123Z */

/* In main(), before the test runner opens anything: no test may put a log where its pipe is. */
static void take_descriptors(void)
{
    while (dup(STDERR_FILENO) < FD_DYNAMIC)
        ;
}

static int new_file(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_APPEND), 0);
    return fd;
}

static void use_as_log(int fd)
{
    ck_assert_int_eq(dup2(fd, FD_ACCESS_LOG), FD_ACCESS_LOG);
}

/* Begin with a log on `fd`; what the error log says goes to a file that is returned. */
static int begin(struct access_log *log, int fd, uint32_t format)
{
    int errors = new_file();
    memset(log, 0, sizeof *log);
    log_init(errors, LOG_LEVEL_INFO, "w0");
    setenv("TZ", "XYZ-1:30", 1);
    tzset();
    use_as_log(fd);
    access_log_configure(log, format);
    return errors;
}

/* All of a file, NUL-terminated, in a buffer of which there is one. */
static const char *contents(int fd)
{
    static char text[TEXT_MAX];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;
    for (; (text = strstr(text, word)); text += strlen(word))
        count++;
    return count;
}

static struct addr address(const char *text)
{
    struct addr addr;
    const char *why;
    ck_assert_int_eq(addr_parse(&addr, slice_of(text), 0, false, &why), 0);
    return addr;
}

static struct access_request request(const struct addr *client)
{
    return (struct access_request){
        .client = client,
        .method = SLICE("GET"),
        .target = SLICE("/chat?room=7"),
        .host = SLICE("chat.example.com"),
        .user_agent = SLICE("Mozilla/5.0 (X11)"),
        .site = SLICE("chat.example.com"),
        .upstream = SLICE("chat"),
        .server = SLICE("10.0.12.108:9000"),
        .ended_real_ms = NOON_MS,
        .duration_ms = 12,
        .body_in = 5,
        .body_out = 18446744073709551615u,
        .status = 200,
        .tries = 1,
        .minor = 1,
        .reason = "done",
    };
}

static struct access_tunnel tunnel(const char *client)
{
    return (struct access_tunnel){
        .client = slice_of(client),
        .site = SLICE("chat.example.com"),
        .upstream = SLICE("chat"),
        .server = SLICE("10.0.12.108:9000"),
        .tunnel = 0x0100000200000003,
        .ended_real_ms = NOON_MS,
        .duration_ms = 3600000,
        .bytes = {812, 90344},
        .frames = {7, 129},
        .reason = "idle_timeout",
    };
}

static void expect_request(uint32_t format, const struct access_request *line, const char *wanted)
{
    struct access_log log;
    int file = new_file();
    begin(&log, file, format);
    access_log_request(&log, line);
    ck_assert_str_eq(contents(file), ""); /* buffered */
    access_log_flush(&log);
    ck_assert_str_eq(contents(file), wanted);
    access_log_configure(&log, ACCESS_LOG_OFF);
    ck_assert_uint_eq(log.lost, 0);
    close(file);
}

static void expect_tunnel(uint32_t format, const struct access_tunnel *line, const char *wanted)
{
    struct access_log log;
    int file = new_file();
    begin(&log, file, format);
    access_log_tunnel(&log, line);
    access_log_configure(&log, ACCESS_LOG_OFF); /* writes what is buffered */
    ck_assert_str_eq(contents(file), wanted);
    ck_assert_ptr_null(log.buffer);
    close(file);
}

START_TEST(a_request_is_one_line_of_json)
{
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = request(&client);
    expect_request(ACCESS_LOG_JSON, &line,
                   "{\"time\":\"2026-11-22T20:15:03.123Z\",\"type\":\"request\","
                   "\"client\":\"192.0.2.7:5122\",\"method\":\"GET\",\"host\":\"chat.example.com\","
                   "\"target\":\"/chat?room=7\",\"protocol\":\"HTTP/1.1\",\"status\":200,"
                   "\"body_in\":5,\"body_out\":18446744073709551615,\"duration_ms\":12,"
                   "\"site\":\"chat.example.com\",\"upstream\":\"chat\","
                   "\"backend\":\"10.0.12.108:9000\",\"tries\":1,\"reason\":\"done\","
                   "\"referer\":\"\",\"user_agent\":\"Mozilla/5.0 (X11)\"}\n");
}
END_TEST

START_TEST(a_request_that_became_a_tunnel_names_it)
{
    struct addr client = address("[2001:db8::7]:5122");
    struct access_request line = request(&client);
    line.tunnel = 0x0100000200000003;
    line.status = 101;
    line.body_out = 0;
    line.referer = SLICE("https://chat.example.com/");
    expect_request(ACCESS_LOG_JSON, &line,
                   "{\"time\":\"2026-11-22T20:15:03.123Z\",\"type\":\"request\","
                   "\"client\":\"[2001:db8::7]:5122\",\"method\":\"GET\","
                   "\"host\":\"chat.example.com\",\"target\":\"/chat?room=7\","
                   "\"protocol\":\"HTTP/1.1\",\"status\":101,\"body_in\":5,\"body_out\":0,"
                   "\"duration_ms\":12,\"site\":\"chat.example.com\",\"upstream\":\"chat\","
                   "\"backend\":\"10.0.12.108:9000\",\"tries\":1,\"reason\":\"done\","
                   "\"referer\":\"https://chat.example.com/\","
                   "\"user_agent\":\"Mozilla/5.0 (X11)\",\"tunnel\":\"100000200000003\"}\n");
}
END_TEST

START_TEST(a_request_that_was_never_parsed_has_empty_fields)
{
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = {
        .client = &client, .ended_real_ms = NOON_MS, .status = 400, .reason = "bad_request"};
    expect_request(
        ACCESS_LOG_JSON, &line,
        "{\"time\":\"2026-11-22T20:15:03.123Z\",\"type\":\"request\","
        "\"client\":\"192.0.2.7:5122\",\"method\":\"\",\"host\":\"\",\"target\":\"\","
        "\"protocol\":\"\",\"status\":400,\"body_in\":0,\"body_out\":0,"
        "\"duration_ms\":0,\"site\":\"\",\"upstream\":\"\",\"backend\":\"\","
        "\"tries\":0,\"reason\":\"bad_request\",\"referer\":\"\",\"user_agent\":\"\"}\n");
    expect_request(ACCESS_LOG_COMBINED, &line,
                   "192.0.2.7 - - [22/Nov/2026:21:45:03 +0130] \"-\" 400 0 \"-\" \"-\"\n");
    line.status = 0;
    expect_request(ACCESS_LOG_COMBINED, &line,
                   "192.0.2.7 - - [22/Nov/2026:21:45:03 +0130] \"-\" 000 0 \"-\" \"-\"\n");
}
END_TEST

START_TEST(a_tunnel_is_one_line_of_json)
{
    struct access_tunnel line = tunnel("192.0.2.7:5122");
    expect_tunnel(ACCESS_LOG_JSON, &line,
                  "{\"time\":\"2026-11-22T20:15:03.123Z\",\"type\":\"tunnel\","
                  "\"tunnel\":\"100000200000003\",\"client\":\"192.0.2.7:5122\","
                  "\"site\":\"chat.example.com\",\"upstream\":\"chat\","
                  "\"backend\":\"10.0.12.108:9000\",\"duration_ms\":3600000,\"rx_bytes\":812,"
                  "\"tx_bytes\":90344,\"rx_frames\":7,\"tx_frames\":129,"
                  "\"reason\":\"idle_timeout\"}\n");
}
END_TEST

START_TEST(combined_is_nginx_combined)
{
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = request(&client);
    line.target = SLICE("/a\"b");
    line.referer = SLICE("r\\s");
    line.user_agent = SLICE("a\"b\\c\xff\t\x7fz");
    line.body_out = 52;
    expect_request(ACCESS_LOG_COMBINED, &line,
                   "192.0.2.7 - - [22/Nov/2026:21:45:03 +0130] \"GET /a\\x22b HTTP/1.1\" 200 52 "
                   "\"r\\x5Cs\" \"a\\x22b\\x5Cc\\xFF\\x09\\x7Fz\"\n");
    client = address("[2001:db8::7]:5122");
    line.minor = 0;
    line.user_agent = line.referer = SLICE("");
    expect_request(ACCESS_LOG_COMBINED, &line,
                   "2001:db8::7 - - [22/Nov/2026:21:45:03 +0130] \"GET /a\\x22b HTTP/1.0\" 200 52 "
                   "\"-\" \"-\"\n");
}
END_TEST

START_TEST(a_tunnel_looks_like_a_request_in_combined)
{
    static const char *const clients[][2] = {
        {"192.0.2.7:5122", "192.0.2.7"}, {"[2001:db8::7]:5122", "2001:db8::7"}, {"unix:", "unix:"}};
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        struct access_tunnel line = tunnel(clients[i][0]);
        char wanted[512];
        snprintf(wanted, sizeof wanted,
                 "%s - - [22/Nov/2026:21:45:03 +0130] \"TUNNEL 100000200000003\" 101 90344 \"-\" "
                 "\"reason=idle_timeout backend=chat/10.0.12.108:9000 duration_ms=3600000 rx=812 "
                 "tx=90344 rx_frames=7 tx_frames=129\"\n",
                 clients[i][1]);
        expect_tunnel(ACCESS_LOG_COMBINED, &line, wanted);
    }
}
END_TEST

START_TEST(hostile_bytes_stay_inside_their_string)
{
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = request(&client);
    line.target = SLICE("/\",\"status\":500,\"x\":\"\\");
    line.user_agent = SLICE("a\n{\"time\":\0\xff\xc3\xa9");
    expect_request(ACCESS_LOG_JSON, &line,
                   "{\"time\":\"2026-11-22T20:15:03.123Z\",\"type\":\"request\","
                   "\"client\":\"192.0.2.7:5122\",\"method\":\"GET\",\"host\":\"chat.example.com\","
                   "\"target\":\"/\\\",\\\"status\\\":500,\\\"x\\\":\\\"\\\\\","
                   "\"protocol\":\"HTTP/1.1\",\"status\":200,"
                   "\"body_in\":5,\"body_out\":18446744073709551615,\"duration_ms\":12,"
                   "\"site\":\"chat.example.com\",\"upstream\":\"chat\","
                   "\"backend\":\"10.0.12.108:9000\",\"tries\":1,\"reason\":\"done\","
                   "\"referer\":\"\",\"user_agent\":\"a\\u000a{\\\"time\\\":\\u0000\\u00ff\xc3\xa9"
                   "\"}\n");
}
END_TEST

START_TEST(no_line_is_longer_than_the_maximum)
{
    static char junk[100000];
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = request(&client);
    struct access_tunnel end = tunnel("192.0.2.7:5122");
    memset(junk, 0xff, sizeof junk);
    line.method = line.target = line.host = line.referer = line.user_agent =
        (struct slice){junk, sizeof junk};
    line.site = line.upstream = line.server = line.target;
    line.tunnel = UINT64_MAX;
    line.body_in = line.duration_ms = UINT64_MAX;
    line.status = line.tries = UINT32_MAX;
    line.ended_real_ms = end.ended_real_ms = UINT64_MAX;
    end.client = end.site = end.upstream = end.server = line.target;
    end.tunnel = end.duration_ms = end.bytes[0] = end.bytes[1] = UINT64_MAX;
    end.frames[0] = end.frames[1] = UINT64_MAX;
    for (uint32_t format = ACCESS_LOG_JSON; format <= ACCESS_LOG_COMBINED; format++) {
        struct access_log log;
        int file = new_file();
        begin(&log, file, format);
        access_log_request(&log, &line);
        access_log_tunnel(&log, &end);
        access_log_configure(&log, ACCESS_LOG_OFF);
        const char *text = contents(file);
        ck_assert_uint_eq(count_of(text, "\n"), 2);
        ck_assert_uint_le(strcspn(text, "\n") + 1, ACCESS_LOG_LINE_MAX);
        ck_assert_uint_gt(strcspn(text, "\n") + 1, ACCESS_LOG_LINE_MAX - 100);
        ck_assert_uint_le(strlen(text), 2 * ACCESS_LOG_LINE_MAX);
        ck_assert_uint_gt(count_of(text, format == ACCESS_LOG_JSON ? "ff..." : "FF..."), 0);
        ck_assert_uint_eq(count_of(text, "}\n"), format == ACCESS_LOG_JSON ? 2 : 0);
        close(file);
    }
}
END_TEST

START_TEST(off_writes_nothing_and_holds_nothing)
{
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    struct access_request line = request(&client);
    struct access_tunnel end = tunnel("192.0.2.7:5122");
    int file = new_file();
    begin(&log, file, ACCESS_LOG_OFF);
    access_log_request(&log, &line);
    access_log_tunnel(&log, &end);
    access_log_flush(&log);
    ck_assert_ptr_null(log.buffer);
    ck_assert_str_eq(contents(file), "");
}
END_TEST

/* Lines "... GET /N HTTP/1.1 ..." with N counting on, so that holes and torn lines are seen. */
static void log_numbered(struct access_log *log, const struct addr *client, unsigned number,
                         struct slice user_agent)
{
    char target[32];
    struct access_request line = request(client);
    line.target = (struct slice){target, (size_t)snprintf(target, sizeof target, "/%u", number)};
    line.user_agent = user_agent;
    access_log_request(log, &line);
}

/* Reads the number of each whole line of `text`; aborts at any other. Returns how many there were. */
static unsigned check_numbered(const char *text, unsigned *numbers, unsigned max)
{
    unsigned count = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        char line[ACCESS_LOG_LINE_MAX];
        int at = 0;
        memcpy(line, text, (size_t)(end - text));
        line[end - text] = '\0';
        if (count >= max ||
            sscanf(line,
                   "192.0.2.7 - - [22/Nov/2026:21:45:03 +0130] \"GET /%u HTTP/1.1\" 200 "
                   "18446744073709551615 \"-\" \"%*[x]\"%n",
                   &numbers[count], &at) != 1 ||
            at != end - text)
            ck_abort_msg("torn line: %s", line);
        count++;
    }
    ck_assert_str_eq(text, "");
    return count;
}

START_TEST(the_buffer_is_written_when_half_full)
{
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    static unsigned numbers[1000];
    int file = new_file();
    begin(&log, file, ACCESS_LOG_COMBINED);
    for (unsigned i = 0; i < 1000; i++) {
        log_numbered(&log, &client, i, SLICE("xxxx"));
        ck_assert_uint_le(log.used, ACCESS_LOG_BUFFER / 2);
    }
    ck_assert_uint_gt(strlen(contents(file)), ACCESS_LOG_BUFFER / 2);
    access_log_flush(&log);
    ck_assert_uint_eq(check_numbered(contents(file), numbers, 1000), 1000);
    ck_assert_uint_eq(numbers[999], 999);
    ck_assert_uint_eq(log.lost, 0);
    access_log_configure(&log, ACCESS_LOG_OFF);
}
END_TEST

START_TEST(a_full_disk_is_counted_and_said_once)
{
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    unsigned numbers[8];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int file = new_file();
    int errors = begin(&log, full, ACCESS_LOG_COMBINED);
    for (unsigned i = 0; i < 6; i++) {
        log_numbered(&log, &client, i, SLICE("x"));
        if (i % 2 == 1)
            access_log_flush(&log);
    }
    ck_assert_uint_eq(log.lost, 6);
    ck_assert_uint_eq(log.used, 0);
    ck_assert_uint_eq(count_of(contents(errors), "\n"), 1);
    ck_assert_ptr_nonnull(strstr(contents(errors), " warn w0 access_log_failed "
                                                   "error=\"No space left on device\" lost=2\n"));
    use_as_log(file); /* there is room again */
    access_log_configure(&log, ACCESS_LOG_COMBINED);
    for (unsigned i = 6; i < 8; i++) {
        log_numbered(&log, &client, i, SLICE("x"));
        access_log_flush(&log);
    }
    ck_assert_uint_eq(check_numbered(contents(file), numbers, 8), 2);
    ck_assert_uint_eq(numbers[0], 6);
    ck_assert_uint_eq(log.lost, 6);
    ck_assert_uint_eq(count_of(contents(errors), "\n"), 2);
    ck_assert_ptr_nonnull(strstr(contents(errors), " info w0 access_log_works lost=6\n"));
    access_log_configure(&log, ACCESS_LOG_OFF);
}
END_TEST

START_TEST(a_broken_pipe_and_a_missing_descriptor_are_counted)
{
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    int ends[2];
    signal(SIGPIPE, SIG_IGN); /* as in a worker */
    ck_assert_int_eq(pipe(ends), 0);
    int errors = begin(&log, ends[1], ACCESS_LOG_COMBINED);
    close(ends[0]);
    log_numbered(&log, &client, 0, SLICE("x"));
    access_log_flush(&log);
    ck_assert_uint_eq(log.lost, 1);
    ck_assert_ptr_nonnull(strstr(contents(errors), "error=\"Broken pipe\" lost=1\n"));
    close(FD_ACCESS_LOG);
    access_log_configure(&log, ACCESS_LOG_COMBINED);
    log_numbered(&log, &client, 1, SLICE("x"));
    access_log_flush(&log);
    ck_assert_uint_eq(log.lost, 2);
    ck_assert_uint_eq(count_of(contents(errors), "\n"), 1);
    access_log_configure(&log, ACCESS_LOG_OFF);
}
END_TEST

/* All that a pipe holds, behind what `text` has. Returns the new length. */
static size_t drain(int fd, char *text, size_t len)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (poll(&poller, 1, 0) == 1) {
        ssize_t n = read(fd, text + len, TEXT_MAX - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    return len;
}

/* A reader that stands still, then reads: up to the buffer nothing is lost, and nothing is torn. */
static void slow_reader(int flags)
{
    enum { LINES = 3000 };
    static char text[TEXT_MAX];
    static unsigned numbers[2 * LINES];
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, flags), 0);
    int errors = begin(&log, ends[1], ACCESS_LOG_COMBINED);
    for (unsigned i = 0; i < LINES; i++)
        log_numbered(&log, &client, i, SLICE("xxxxxxxxxxxx"));
    uint64_t lost = log.lost;
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_eq(count_of(contents(errors), "access_log_failed"), 1);
    size_t len = 0;
    for (unsigned i = LINES; i < 2 * LINES; i++) {
        len = drain(ends[0], text, len);
        log_numbered(&log, &client, i, SLICE("xxxxxxxxxxxx"));
        access_log_flush(&log);
    }
    drain(ends[0], text, len);
    ck_assert_uint_eq(log.lost, lost);
    ck_assert_uint_eq(count_of(contents(errors), "access_log_works"), 1);
    unsigned count = check_numbered(text, numbers, 2 * LINES);
    ck_assert_uint_eq(count + lost, 2 * LINES);
    for (unsigned i = 0; i < count; i++)
        if (numbers[i] != i + (i < LINES - lost ? 0 : lost))
            ck_abort_msg("line %u is number %u", i, numbers[i]);
    access_log_configure(&log, ACCESS_LOG_OFF);
}

START_TEST(a_full_pipe_costs_no_line_before_the_buffer_is_full)
{
    slow_reader(O_NONBLOCK);
}
END_TEST

START_TEST(a_full_pipe_that_would_block_is_not_waited_for)
{
    slow_reader(0);
}
END_TEST

START_TEST(a_full_terminal_or_socket_is_not_waited_for)
{
    struct access_log log;
    struct addr client = address("192.0.2.7:5122");
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    begin(&log, ends[1], ACCESS_LOG_COMBINED);
    for (unsigned i = 0; i < 20000; i++)
        log_numbered(&log, &client, i, SLICE("xxxxxxxxxxxx"));
    ck_assert_uint_gt(log.lost, 0);
    access_log_configure(&log, ACCESS_LOG_OFF);
}
END_TEST

/* The file takes no byte beyond `bytes`, as a disk that is full. No ck_assert until it is lifted: the
 * test runner writes to a file, too. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        abort();
}

/* For every place inside a line at which a disk can become full. */
START_TEST(a_line_cut_by_a_full_disk_is_made_whole_later)
{
    struct addr client = address("192.0.2.7:5122");
    for (rlim_t cut = 1; cut < 250; cut++) {
        struct access_log log;
        unsigned numbers[8];
        int file = new_file();
        int errors = begin(&log, file, ACCESS_LOG_COMBINED);
        for (unsigned i = 0; i < 4; i++)
            log_numbered(&log, &client, i, SLICE("xxxx"));
        uint32_t all = log.used;
        limit_files(cut);
        access_log_flush(&log); /* a short write */
        limit_files(RLIM_INFINITY);
        uint32_t left = all - (uint32_t)cut;
        if (log.used != left || log.lost != 0)
            ck_abort_msg("cut at %u: %u left", (unsigned)cut, log.used);
        limit_files(cut);
        access_log_flush(&log); /* EFBIG: whole lines are lost, the rest of the torn one stays */
        limit_files(RLIM_INFINITY);
        uint64_t lost = log.lost;
        log_numbered(&log, &client, 4, SLICE("x"));
        access_log_flush(&log);
        unsigned count = check_numbered(contents(file), numbers, 8);
        if (count + lost != 5 || log.lost != lost || numbers[count - 1] != 4 || log.failing)
            ck_abort_msg("cut at %u: %u lines, %u lost", (unsigned)cut, count, (unsigned)lost);
        access_log_configure(&log, ACCESS_LOG_OFF);
        close(file);
        close(errors);
    }
}
END_TEST

START_TEST(the_rest_of_a_torn_line_never_goes_to_another_file)
{
    struct addr client = address("192.0.2.7:5122");
    struct access_log log;
    unsigned numbers[4];
    int old = new_file();
    int new = new_file();
    begin(&log, old, ACCESS_LOG_COMBINED);
    for (unsigned i = 0; i < 3; i++)
        log_numbered(&log, &client, i, SLICE("xxxx"));
    limit_files(10);
    access_log_flush(&log);
    limit_files(RLIM_INFINITY);
    access_log_configure(&log, ACCESS_LOG_COMBINED); /* a reload: the same file */
    ck_assert_uint_eq(log.lost, 0);
    use_as_log(new); /* rotated */
    access_log_configure(&log, ACCESS_LOG_COMBINED);
    access_log_flush(&log);
    ck_assert_uint_eq(check_numbered(contents(new), numbers, 4), 2);
    ck_assert_uint_eq(numbers[0], 1);
    ck_assert_uint_eq(log.lost, 1);
    access_log_configure(&log, ACCESS_LOG_OFF);
}
END_TEST

/* One pipe, several workers, lines of all lengths up to PIPE_BUF: every line arrives whole. */
START_TEST(lines_of_several_workers_do_not_mix)
{
    enum { WORKERS = 3, LINES = 400 };
    static char junk[3500];
    static char text[4 * TEXT_MAX];
    static unsigned numbers[WORKERS * LINES];
    struct addr client = address("192.0.2.7:5122");
    int ends[2];
    size_t len = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    memset(junk, 'x', sizeof junk);
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        if (fork() != 0)
            continue;
        struct access_log log;
        struct pollfd poller = {.fd = ends[1], .events = POLLOUT};
        begin(&log, ends[1], ACCESS_LOG_COMBINED);
        for (unsigned i = 0; i < LINES; i++) {
            size_t agent = 1 + (i * 37 + worker * 11) % sizeof junk;
            log_numbered(&log, &client, worker * LINES + i, (struct slice){junk, agent});
            while (log.used > ACCESS_LOG_BUFFER / 2 && poll(&poller, 1, -1) == 1)
                access_log_flush(&log);
        }
        while (log.used > 0 && poll(&poller, 1, -1) == 1)
            access_log_flush(&log);
        _exit(log.lost == 0 ? 0 : 1);
    }
    close(ends[1]);
    close(FD_ACCESS_LOG);
    for (ssize_t n; (n = read(ends[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    text[len] = '\0';
    ck_assert_uint_eq(check_numbered(text, numbers, WORKERS * LINES), WORKERS * LINES);
}
END_TEST

int main(void)
{
    take_descriptors();
    Suite *suite = suite_create("access_log");
    TCase *tc = tcase_create("access_log");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, a_request_is_one_line_of_json);
    tcase_add_test(tc, a_request_that_became_a_tunnel_names_it);
    tcase_add_test(tc, a_request_that_was_never_parsed_has_empty_fields);
    tcase_add_test(tc, a_tunnel_is_one_line_of_json);
    tcase_add_test(tc, combined_is_nginx_combined);
    tcase_add_test(tc, a_tunnel_looks_like_a_request_in_combined);
    tcase_add_test(tc, hostile_bytes_stay_inside_their_string);
    tcase_add_test(tc, no_line_is_longer_than_the_maximum);
    tcase_add_test(tc, off_writes_nothing_and_holds_nothing);
    tcase_add_test(tc, the_buffer_is_written_when_half_full);
    tcase_add_test(tc, a_full_disk_is_counted_and_said_once);
    tcase_add_test(tc, a_broken_pipe_and_a_missing_descriptor_are_counted);
    tcase_add_test(tc, a_full_pipe_costs_no_line_before_the_buffer_is_full);
    tcase_add_test(tc, a_full_pipe_that_would_block_is_not_waited_for);
    tcase_add_test(tc, a_full_terminal_or_socket_is_not_waited_for);
    tcase_add_test(tc, a_line_cut_by_a_full_disk_is_made_whole_later);
    tcase_add_test(tc, the_rest_of_a_torn_line_never_goes_to_another_file);
    tcase_add_test(tc, lines_of_several_workers_do_not_mix);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
