/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_run.h"

#include "common/clock.h"
#include "test/tools/ws_load_conn.h"
#include "test/tools/ws_load_drive.h"
#include "test/tools/ws_load_timer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 512,
    OPENING_MAX = 128, /* handshakes in flight: kinder than the accept queue's limit */
    WAIT_MAX_MS = 50,
    RAMP_MAX_S = 120,
    LOOK_MS = 1000, /* how often stalls are looked for */
};

static void update_clock(struct ws_load *load)
{
    load->now_ns = clock_mono_ns();
    load->now_ms = load->now_ns / 1000000;
}

static double cpu_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void open_some(struct ws_load *load)
{
    uint32_t conns = load->options->conns;
    for (uint32_t tries = load->queue_len;
         tries > 0 && load->opening < OPENING_MAX && !load->stopping; tries--) {
        uint32_t slot = load->queue[load->queue_head];
        load->queue_head = (load->queue_head + 1) % conns;
        load->queue_len--;
        ws_load_conn_open(load, &load->conns[slot]);
    }
}

static void begin_measuring(struct ws_load *load, struct ws_load_result *result, uint64_t start_ns)
{
    load->measuring = true;
    result->ramp_s = (double)(load->now_ns - start_ns) / 1e9;
    result->at_begin = load->counts;
    result->cpu_s = cpu_now();
    fprintf(stderr, "ws-load: begin open=%u\n", load->open);
}

static void end_measuring(struct ws_load *load, struct ws_load_result *result, uint64_t begin_ns)
{
    load->measuring = load->options->shape < 0; /* of a mix, the end counts, too */
    result->seconds = (double)(load->now_ns - begin_ns) / 1e9;
    result->at_end = load->counts;
    result->cpu_s = cpu_now() - result->cpu_s;
    fprintf(stderr, "ws-load: end open=%u\n", load->open);
    load->stopping = true;
    for (uint32_t i = 0; i < load->options->conns; i++)
        ws_load_conn_stop(load, &load->conns[i]);
}

static void one_turn(struct ws_load *load)
{
    struct epoll_event events[EVENTS_MAX];
    open_some(load);
    int wait = ws_load_timer_wait(load, WAIT_MAX_MS);
    if (load->queue_len > 0 && load->opening < OPENING_MAX)
        wait = 0;
    int n = epoll_wait(load->epoll_fd, events, EVENTS_MAX, wait);
    update_clock(load);
    ws_load_drive_fill_meter(load);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            ws_load_conn_event(load, events[i].data.ptr, events[i].events);
        else
            load->interrupted = true;
    }
    ws_load_timer_run(load, ws_load_conn_timer);
}

static void look_for_stalls(struct ws_load *load)
{
    for (uint32_t i = 0; i < load->options->conns; i++)
        ws_load_conn_check_stall(load, &load->conns[i]);
}

/* TERM and INT end the run early and in order. */
static int watch_signals(const struct ws_load *load)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (fd < 0 || epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    return 0;
}

static int set_up(struct ws_load *load)
{
    uint32_t conns = load->options->conns;
    load->conns = calloc(conns, sizeof *load->conns);
    load->queue = calloc(conns, sizeof *load->queue);
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!load->conns || !load->queue)
        return -ENOMEM;
    if (load->epoll_fd < 0)
        return -errno;
    for (uint32_t i = 0; i < conns; i++) {
        load->conns[i].slot = i;
        load->conns[i].fd = -1;
        load->queue[i] = i;
    }
    load->queue_len = conns;
    load->next_id = 1;
    load->rng = load->options->seed * 2862933555777941757u + 3037000493u;
    update_clock(load);
    load->timer_tick_ms = load->now_ms;
    load->meter.filled_ns = load->now_ns;
    return watch_signals(load);
}

int ws_load_run(struct ws_load *load, struct ws_load_result *result)
{
    const struct ws_load_options *options = load->options;
    int rc = set_up(load);
    if (rc < 0)
        return rc;
    bool mix = options->shape < 0;
    bool churning = mix || ws_load_shape((unsigned)options->shape)->forever < 100;
    uint64_t start_ns = load->now_ns;
    uint64_t begin_ns = 0;
    uint64_t look_ms = load->now_ms + LOOK_MS;

    while (load->done < options->conns) {
        one_turn(load);
        /* Connections that come and go are hardly ever all open at once: count openings. */
        bool ready = mix || load->open == options->conns ||
                     (churning && load->counts.opened >= options->conns);
        if (begin_ns == 0 && ready) {
            begin_ns = load->now_ns;
            begin_measuring(load, result, start_ns);
        }
        if (begin_ns == 0 && load->now_ns - start_ns > RAMP_MAX_S * 1000000000ull)
            return -ETIMEDOUT;
        bool over = begin_ns != 0 && load->now_ns - begin_ns >= options->run_ms * 1000000;
        if (!load->stopping && begin_ns != 0 && (over || load->interrupted))
            end_measuring(load, result, begin_ns);
        if (load->interrupted && begin_ns == 0)
            return -EINTR;
        if (load->now_ms >= look_ms) {
            look_ms = load->now_ms + LOOK_MS;
            look_for_stalls(load);
        }
    }
    return 0;
}
