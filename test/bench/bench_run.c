/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_run.h"

#include "common/clock.h"
#include "test/bench/bench_backend.h"
#include "test/bench/bench_client.h"
#include "test/bench/bench_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 512,
    WAIT_MAX_MS = 20,
    RAMP_MAX_S = 120,
    NOTHING_MAX_S = 20, /* a measurement goes on for so long while all that happens is nothing */
    FAULTS_SHOWN = 5,
    FAULTS_MAX = 1000, /* then a run is given up */
    TEXT_FRAME = 0x81,
    MASKED = 0x80,
};

void bench_fault(struct bench_load *load, const char *what, int error)
{
    if (load->faults++ < FAULTS_SHOWN)
        fprintf(stderr, "bench-load: %s: %s\n", what, error ? strerror(error) : "no error");
}

uint32_t bench_frame_header(uint8_t *out, uint64_t size)
{
    uint32_t ext = size < 126 ? 0 : size < 65536 ? 2 : 8;
    if (!out)
        return 2 + ext;
    out[0] = TEXT_FRAME + 1; /* binary */
    out[1] = (uint8_t)(ext == 0 ? size : ext == 2 ? 126 : 127);
    for (uint32_t i = 0; i < ext; i++)
        out[2 + i] = (uint8_t)(size >> (8 * (ext - 1 - i)));
    return 2 + ext;
}

/* ---- start ---- */

static int watch(struct bench_load *load, enum bench_kind kind, int fd)
{
    struct bench_source *source = &load->sources[load->source_count++];
    *source = (struct bench_source){(uint8_t)kind, fd};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int watch_all(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    int rc = 0;
    for (uint32_t i = 0; i < options->backend_count && rc == 0; i++) {
        int fd = bench_net_listen(&options->backends[i]);
        rc = fd < 0 ? -errno : watch(load, KIND_LISTENER, fd);
    }
    if (rc == 0 && (options->mode == MODE_HOLD || options->gated))
        rc = watch(load, KIND_STDIN, STDIN_FILENO);
    return rc;
}

static void close_all(struct bench_load *load)
{
    bench_client_close_all(load);
    bench_backend_close_all(load);
    for (uint32_t i = 0; i < load->source_count; i++)
        close(load->sources[i].fd);
    close(load->epoll_fd);
    free(load->frame);
    free(load->answer);
}

static void make_messages(struct bench_load *load)
{
    uint32_t size = load->options->size;
    uint8_t header[10];
    uint32_t header_len = bench_frame_header(header, size);
    load->frame_len = header_len + BENCH_CLIENT_HEADER + size;
    load->frame = calloc(1, load->frame_len);
    load->answer = calloc(1, size + 256);
    ASSERT(load->frame && load->answer);
    memcpy(load->frame, header, header_len);
    load->frame[1] |= MASKED;
    int n = snprintf((char *)load->answer, 256,
                     "HTTP/1.1 200 OK\r\n"
                     "Content-Type: application/octet-stream\r\n"
                     "Content-Length: %u\r\n"
                     "\r\n",
                     size);
    load->answer_len = (uint32_t)n + size;
    memset(load->answer + n, 'a', size);
}

/* ---- phases ---- */

static void enter(struct bench_load *load, enum bench_phase phase)
{
    load->phase = phase;
    load->phase_ns = clock_mono_ns();
}

static void begin_traffic(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    if (options->mode == MODE_PUSH && load->tunnel_count != options->conns)
        bench_fault(load, "tunnels end at other backends", 0);
    for (uint32_t i = 0; i < options->active && options->mode == MODE_ECHO; i++)
        bench_client_talk(load, &load->clients[i]);
}

static void begin_measuring(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    pid_t self = getpid();
    load->proxy_cpu = bench_cpu_of(options->watched, options->watched_count);
    load->own_cpu = bench_cpu_of(&self, 1);
    enter(load, PHASE_RUN);
}

static void end_measuring(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    pid_t self = getpid();
    load->run_ns = clock_mono_ns() - load->phase_ns;
    load->proxy_cpu =
        bench_cpu_minus(bench_cpu_of(options->watched, options->watched_count), load->proxy_cpu);
    load->own_cpu = bench_cpu_minus(bench_cpu_of(&self, 1), load->own_cpu);
    enter(load, PHASE_OVER);
}

static void say(const char *word)
{
    printf("%s\n", word);
    fflush(stdout);
}

static void ramp_done(struct bench_load *load)
{
    load->ramp_ns = clock_mono_ns() - load->phase_ns;
    load->talk_next = load->wanted;
    enter(load, load->options->mode == MODE_HOLD ? PHASE_HOLD : PHASE_WARM);
    if (load->phase == PHASE_HOLD)
        say("open");
    else
        begin_traffic(load);
}

static void step(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    uint64_t in_phase_ns = clock_mono_ns() - load->phase_ns;
    if (load->faults > FAULTS_MAX)
        enter(load, PHASE_OVER);
    switch (load->phase) {
    case PHASE_RAMP:
        if (load->open == load->wanted || options->mode == MODE_SETUP)
            ramp_done(load);
        else if (in_phase_ns > RAMP_MAX_S * 1000000000ull)
            load->faults = FAULTS_MAX;
        break;
    case PHASE_WARM:
        if (in_phase_ns >= options->warm_ms * 1000000)
            begin_measuring(load);
        break;
    case PHASE_RUN: {
        bool some = load->done > 0 || load->faults > 0;
        uint64_t most_ms = options->run_ms + (some ? 0 : NOTHING_MAX_S * 1000);
        if (in_phase_ns >= most_ms * 1000000)
            end_measuring(load);
        break;
    }
    case PHASE_GATED:
    case PHASE_HOLD:
    case PHASE_OVER: break;
    }
}

/* ---- the loop ---- */

/* Only the first connection until its session can be resumed; then as many as may be. */
static uint32_t opening_limit(const struct bench_load *load)
{
    return load->tls && load->options->resume && !load->tls->session ? 1 : load->options->opening;
}

static void open_some(struct bench_load *load)
{
    uint32_t limit = opening_limit(load);
    for (; load->next_empty < load->wanted && load->opening < limit; load->next_empty++) {
        if (load->clients[load->next_empty].state == CLIENT_EMPTY)
            bench_client_open(load, &load->clients[load->next_empty]);
    }
}

/* MODE_HOLD: an echo in each tunnel, some at a time. */
static void talk_some(struct bench_load *load)
{
    while (load->talk_next < load->wanted && load->talking < load->options->opening) {
        load->talking++;
        bench_client_talk(load, &load->clients[load->talk_next++]);
    }
}

static void command(struct bench_load *load)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof line);
    if (n <= 0) {
        enter(load, PHASE_OVER);
    } else if (load->phase == PHASE_GATED) {
        enter(load, PHASE_RAMP);
    } else if (load->phase == PHASE_HOLD && line[0] == 'm') {
        load->wanted = load->options->conns;
        enter(load, PHASE_RAMP);
    } else if (load->phase == PHASE_HOLD) {
        load->talk_next = 0;
    }
}

static void handle(struct bench_load *load, void *what, uint32_t events)
{
    const struct bench_source *source = what;
    switch ((enum bench_kind) * (uint8_t *)what) {
    case KIND_CLIENT: bench_client_event(load, what, events); break;
    case KIND_BACKEND: bench_backend_event(load, what, events); break;
    case KIND_LISTENER: bench_backend_accept(load, source->fd); break;
    case KIND_STDIN: command(load); break;
    }
}

static void one_turn(struct bench_load *load)
{
    struct epoll_event events[EVENTS_MAX];
    if (load->phase != PHASE_HOLD && load->phase != PHASE_GATED)
        open_some(load);
    int n = epoll_wait(load->epoll_fd, events, EVENTS_MAX, WAIT_MAX_MS);
    bool was_talking = load->talking > 0;
    for (int i = 0; i < n; i++)
        handle(load, events[i].data.ptr, events[i].events);
    bench_backend_free_dead(load);
    if (load->phase == PHASE_HOLD) {
        talk_some(load);
        if (was_talking && load->talking == 0 && load->talk_next == load->wanted)
            say("talked");
    }
    bool traffic = load->phase == PHASE_WARM || load->phase == PHASE_RUN;
    if (traffic && load->options->mode == MODE_PUSH && load->push_due == 0)
        bench_backend_push(load);
}

static void run_phases(struct bench_load *load)
{
    const struct bench_options *options = load->options;
    make_messages(load);
    load->wanted = options->mode == MODE_HOLD ? options->active : options->conns;
    enter(load, options->gated ? PHASE_GATED : PHASE_RAMP);
    if (options->gated)
        say("ready");
    while (load->phase != PHASE_OVER) {
        one_turn(load);
        step(load);
    }
}

int bench_run(struct bench_load *load)
{
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->clients = calloc(load->options->conns, sizeof *load->clients);
    ASSERT(load->clients != NULL);
    int rc = load->epoll_fd < 0 ? -errno : watch_all(load);
    if (rc == 0)
        run_phases(load);
    close_all(load);
    return rc;
}
