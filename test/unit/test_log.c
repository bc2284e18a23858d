/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "common/log.h"

#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

static int ends[2]; /* the log writes to [1]; each write is one datagram at [0] */

static void setup(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    log_init(ends[1], LOG_LEVEL_INFO, "w3");
}

static void teardown(void)
{
    log_set_fd(STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
}

/* What one write brought, NUL-terminated; NULL: nothing was written. */
static const char *written(void)
{
    static char line[8192];
    ssize_t n = recv(ends[0], line, sizeof line - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    return n > 0 ? line : NULL;
}

/* The line behind its time. */
static const char *written_text(void)
{
    const char *line = written();
    ck_assert_ptr_nonnull(line);
    ck_assert_uint_gt(strlen(line), 25);
    return line + 25;
}

static void stamp(char out[64], uint64_t now_ms)
{
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm tm;
    char seconds[40];
    gmtime_r(&now_s, &tm);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 64, "%s.%03uZ", seconds, (unsigned)(now_ms % 1000));
}

START_TEST(a_line_is_time_level_process_event_and_values)
{
    char before[64];
    char after[64];
    stamp(before, clock_real_ms());
    log_write(LOG_LEVEL_INFO, "closed", "reason=%s rx=%u", "idle_timeout", 812u);
    stamp(after, clock_real_ms());
    const char *line = written();
    ck_assert_str_eq(line + 25, "info w3 closed reason=idle_timeout rx=812\n");
    ck_assert_int_eq(line[24], ' ');
    ck_assert_int_ge(strncmp(line, before, 24), 0);
    ck_assert_int_le(strncmp(line, after, 24), 0);
    ck_assert_ptr_null(written());
}
END_TEST

START_TEST(an_event_may_stand_alone)
{
    const char *nothing = "";
    log_write(LOG_LEVEL_WARN, "parked", "%s", nothing);
    ck_assert_str_eq(written_text(), "warn w3 parked\n");
}
END_TEST

START_TEST(what_is_below_the_level_is_not_written)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    for (unsigned level = 0; level < ARRAY_LEN(words); level++) {
        enum log_level parsed;
        ck_assert_int_eq(log_level_parse(slice_of(words[level]), &parsed), 0);
        ck_assert_uint_eq(parsed, level);
        log_set_level(parsed);
        for (unsigned line = 0; line < ARRAY_LEN(words); line++) {
            struct log_limit limit = {0};
            log_write((enum log_level)line, "event", "n=%u", line);
            ck_assert_int_eq(written() != NULL, line <= level);
            ck_assert_int_eq(log_wanted((enum log_level)line), line <= level);
            log_limited(&limit, (enum log_level)line, "event", "n=%u", line);
            ck_assert_int_eq(written() != NULL, line <= level);
        }
    }
}
END_TEST

START_TEST(other_words_are_no_levels)
{
    static const char *const words[] = {"", "Info", "inf", "infos", "notice"};
    enum log_level level = LOG_LEVEL_DEBUG;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        ck_assert_int_eq(log_level_parse(slice_of(words[i]), &level), -EINVAL);
    ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
}
END_TEST

START_TEST(a_long_name_of_the_process_is_cut)
{
    log_init(ends[1], LOG_LEVEL_INFO, "a_name_that_is_too_long");
    log_write(LOG_LEVEL_INFO, "event", "n=%d", 1);
    ck_assert_str_eq(written_text(), "info a_name_that_is_ event n=1\n");
}
END_TEST

/* Every length around the bound; what the limiter has to say is never what is cut. */
START_TEST(a_long_line_is_cut_and_still_a_line)
{
    static char text[3 * LINE_MAX_BYTES];
    memset(text, 'x', sizeof text - 1);
    for (int len = 900; len < (int)sizeof text - 1; len += len < 1100 ? 1 : 500) {
        struct log_limit limit = {.second = 1, .suppressed = UINT32_MAX};
        log_write(LOG_LEVEL_INFO, "event", "%.*s", len, text);
        const char *line = written();
        ck_assert_ptr_nonnull(line);
        ck_assert_uint_le(strlen(line), LINE_MAX_BYTES);
        ck_assert_uint_gt(strlen(line), 900);
        ck_assert_str_eq(line + strlen(line) - 2, "x\n");
        log_limited(&limit, LOG_LEVEL_INFO, "event", "%.*s", len, text);
        line = written();
        ck_assert_uint_le(strlen(line), LINE_MAX_BYTES);
        ck_assert_str_eq(line + strlen(line) - 24, "x suppressed=4294967295\n");
    }
}
END_TEST

START_TEST(an_event_as_long_as_a_line_is_cut)
{
    static char event[2 * LINE_MAX_BYTES];
    memset(event, 'e', sizeof event - 1);
    log_write(LOG_LEVEL_INFO, event, "n=%d", 1);
    const char *line = written();
    ck_assert_uint_le(strlen(line), LINE_MAX_BYTES);
    ck_assert_int_eq(line[strlen(line) - 1], '\n');
}
END_TEST

START_TEST(lines_that_cannot_be_written_are_counted)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int closed[2];
    uint64_t before = log_lost();
    signal(SIGPIPE, SIG_IGN); /* as all our processes do */
    log_set_fd(full);
    log_write(LOG_LEVEL_INFO, "event", "n=%d", 1);
    ck_assert_uint_eq(log_lost(), before + 1);
    ck_assert_int_eq(pipe(closed), 0);
    close(closed[0]);
    log_set_fd(closed[1]);
    log_write(LOG_LEVEL_INFO, "event", "n=%d", 2);
    ck_assert_uint_eq(log_lost(), before + 2);
    close(closed[1]);
    log_write(LOG_LEVEL_INFO, "event", "n=%d", 3);
    ck_assert_uint_eq(log_lost(), before + 3);
    log_set_fd(ends[1]);
    log_write(LOG_LEVEL_INFO, "event", "n=%d", 4);
    ck_assert_str_eq(written_text(), "info w3 event n=4\n");
    log_write(LOG_LEVEL_DEBUG, "event", "n=%d", 5); /* below the level: not lost */
    ck_assert_uint_eq(log_lost(), before + 3);
    close(full);
}
END_TEST

static unsigned count_written(void)
{
    unsigned count = 0;
    while (written())
        count++;
    return count;
}

START_TEST(a_pipe_that_is_full_loses_lines_and_keeps_nobody_waiting)
{
    int pipes[2];
    char byte = 'x';
    uint64_t lost = log_lost();
    ck_assert_int_eq(pipe2(pipes, O_NONBLOCK), 0);
    while (write(pipes[1], &byte, 1) == 1)
        continue;
    ck_assert_int_eq(fcntl(pipes[1], F_SETFL, 0), 0); /* as a shell would have opened it */
    log_set_fd(pipes[1]);
    log_write(LOG_LEVEL_INFO, "closed", "n=%d", 1);
    ck_assert_uint_eq(log_lost() - lost, 1);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

START_TEST(a_peer_gets_so_many_lines_a_second)
{
    struct log_limit limit;
    uint64_t first;
    do { /* again, should a second have ended in between */
        count_written();
        limit = (struct log_limit){0};
        log_limited(&limit, LOG_LEVEL_INFO, "bad", "n=%d", 0);
        first = limit.second;
        for (int i = 1; i < 37; i++)
            log_limited(&limit, LOG_LEVEL_INFO, "bad", "n=%d", i);
    } while (limit.second != first);
    for (int i = 0; i < LOG_LIMIT_PER_S; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "info w3 bad n=%d\n", i);
        ck_assert_str_eq(written_text(), wanted);
    }
    ck_assert_ptr_null(written());
    limit.second--; /* a second later */
    log_limited(&limit, LOG_LEVEL_INFO, "bad", "n=%d", 37);
    ck_assert_str_eq(written_text(), "info w3 bad n=37 suppressed=27\n");
    log_limited(&limit, LOG_LEVEL_INFO, "bad", "n=%d", 38);
    ck_assert_str_eq(written_text(), "info w3 bad n=38\n"); /* said once */
}
END_TEST

START_TEST(one_peer_does_not_silence_another)
{
    struct log_limit noisy = {0};
    struct log_limit quiet = {0};
    for (int i = 0; i < 1000; i++)
        log_limited(&noisy, LOG_LEVEL_INFO, "bad", "n=%d", i);
    count_written();
    log_limited(&quiet, LOG_LEVEL_INFO, "worse", "n=%d", 1);
    ck_assert_str_eq(written_text(), "info w3 worse n=1\n");
}
END_TEST

START_TEST(escaping_leaves_no_byte_that_could_break_a_line)
{
    char out[8];
    for (unsigned byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        char wanted[8];
        bool plain = byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' && byte != '=';
        snprintf(wanted, sizeof wanted, plain ? "%c" : "\\x%02x", byte);
        ck_assert_ptr_eq(log_escape((struct slice){&c, 1}, out, sizeof out), out);
        ck_assert_str_eq(out, wanted);
    }
    ck_assert_str_eq(log_escape(SLICE(""), out, sizeof out), "");
}
END_TEST

START_TEST(escaping_stays_within_its_room)
{
    static const char *const kinds[] = {"abc", "\n", "a\xff", "\"b"};
    for (size_t size = 8; size < 80; size++) {
        for (size_t len = 0; len < 100; len++) {
            const char *kind = kinds[len % ARRAY_LEN(kinds)];
            char *text = malloc(len + 1);
            char *out = malloc(size); /* of its own: a byte too many is caught */
            char whole[512];
            for (size_t i = 0; i < len; i++)
                text[i] = kind[i % strlen(kind)];
            log_escape((struct slice){text, len}, whole, sizeof whole);
            log_escape((struct slice){text, len}, out, size);
            size_t n = strlen(out);
            bool cut = strcmp(out, whole) != 0;
            if (n >= size || (cut && strcmp(out + n - 3, "...") != 0) ||
                strncmp(out, whole, cut ? n - 3 : n) != 0 || (cut && n + 8 < size))
                ck_abort_msg("%zu bytes in %zu: %s", len, size, out);
            if (!cut && strlen(whole) >= size)
                ck_abort_msg("%zu bytes in %zu were not cut", len, size);
            free(text);
            free(out);
        }
    }
}
END_TEST

START_TEST(escaping_needs_some_room)
{
    char out[7];
    log_escape(SLICE("x"), out, sizeof out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_line_is_time_level_process_event_and_values);
    tcase_add_test(tc, an_event_may_stand_alone);
    tcase_add_test(tc, what_is_below_the_level_is_not_written);
    tcase_add_test(tc, other_words_are_no_levels);
    tcase_add_test(tc, a_long_name_of_the_process_is_cut);
    tcase_add_test(tc, a_long_line_is_cut_and_still_a_line);
    tcase_add_test(tc, an_event_as_long_as_a_line_is_cut);
    tcase_add_test(tc, lines_that_cannot_be_written_are_counted);
    tcase_add_test(tc, a_pipe_that_is_full_loses_lines_and_keeps_nobody_waiting);
    tcase_add_test(tc, a_peer_gets_so_many_lines_a_second);
    tcase_add_test(tc, one_peer_does_not_silence_another);
    tcase_add_test(tc, escaping_leaves_no_byte_that_could_break_a_line);
    tcase_add_test(tc, escaping_stays_within_its_room);
    tcase_add_test_raise_signal(tc, escaping_needs_some_room, SIGABRT);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
