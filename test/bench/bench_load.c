/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_load.h"

#include "test/bench/bench_net.h"
#include "test/bench/bench_run.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FAULTS = 1, EXIT_TROUBLE = 2, CONNS_MAX = 1000000, SOURCES_MAX = 65536 };

static int usage(void)
{
    fprintf(
        stderr,
        "usage: bench-load -m MODE -a PROXY:PORT -b ADDRESS:PORT... [OPTION...]\n"
        "  -m MODE        echo push setup http hold\n"
        "  -a, -b         where the proxy listens; where its backends are to be: here\n"
        "  -n CONNS       clients (200); -k K: of these only K talk (echo), or are opened first\n"
        "                 (hold)\n"
        "  -o N           connections opened at a time (64)\n"
        "  -s BYTES       of a message, or of an answer's body (64)\n"
        "  -w MS, -t MS   warm up, then measure (200, 1000)\n"
        "  -T, -R         TLS; TLS that resumes a session\n"
        "  -f ADDRESS     clients connect from here and the next -F N addresses (1)\n"
        "  -p PID...      the proxy's processes\n"
        "  -W             listen, print \"ready\" and wait for a line from standard input\n"
        "Prints a line of JSON. With hold it prints \"open\", then does as standard input says:\n"
        "\"more\" opens the rest and prints \"open\", \"talk\" has one echo in each tunnel and\n"
        "prints \"talked\"; it ends with its input.\n"
        "Exits 1 if anything went wrong that should not, 2 if nothing could be measured.\n");
    return EXIT_TROUBLE;
}

static bool parse_number(uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(optarg, &end, 10);
    return errno == 0 && end != optarg && *end == '\0' && *optarg != '-' && *out >= min &&
           *out <= max;
}

static bool parse_u32(uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t value;
    bool good = parse_number(min, max, &value);
    *out = (uint32_t)value;
    return good;
}

static bool parse_mode(struct bench_options *o)
{
    static const char *const names[] = {[MODE_ECHO] = "echo",
                                        [MODE_PUSH] = "push",
                                        [MODE_SETUP] = "setup",
                                        [MODE_HTTP] = "http",
                                        [MODE_HOLD] = "hold"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        o->mode = i;
        if (strcmp(names[i], optarg) == 0)
            return true;
    }
    return false;
}

static bool add_backend(struct bench_options *o)
{
    return o->backend_count < BENCH_BACKENDS_MAX &&
           bench_net_parse(optarg, &o->backends[o->backend_count++]);
}

static bool add_pid(struct bench_options *o)
{
    uint64_t pid;
    if (o->watched_count == BENCH_WATCHED_MAX || !parse_number(1, INT32_MAX, &pid))
        return false;
    o->watched[o->watched_count++] = (pid_t)pid;
    return true;
}

static bool parse_option(struct bench_options *o, int c)
{
    switch (c) {
    case 'm': return parse_mode(o);
    case 'a': return bench_net_parse(optarg, &o->target);
    case 'b': return add_backend(o);
    case 'n': return parse_u32(1, CONNS_MAX, &o->conns);
    case 'k': return parse_u32(0, CONNS_MAX, &o->active);
    case 'o': return parse_u32(1, CONNS_MAX, &o->opening);
    case 's': return parse_u32(BENCH_STAMP, BENCH_SIZE_MAX, &o->size);
    case 'w': return parse_number(0, UINT32_MAX, &o->warm_ms);
    case 't': return parse_number(1, UINT32_MAX, &o->run_ms);
    case 'T': o->tls = true; return true;
    case 'R': o->tls = o->resume = true; return true;
    case 'W': o->gated = true; return true;
    case 'f': return bench_net_parse(optarg, &o->source) && o->source.u.sa.sa_family == AF_INET;
    case 'F': return parse_u32(1, SOURCES_MAX, &o->sources);
    case 'p': return add_pid(o);
    default: return false;
    }
}

static void report(const struct bench_load *load)
{
    const struct ws_load_stat *latency = &load->latency;
    printf("{\"done\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"resumed\":%" PRIu64
           ",\"seconds\":%.6f,\"ramp_s\":%.6f,\"proxy_cpu_s\":%.6f,"
           "\"proxy_waited_s\":%.6f,\"own_cpu_s\":%.6f,\"own_waited_s\":%.6f,"
           "\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}\n",
           load->done, load->faults, load->resumed, (double)load->run_ns / 1e9,
           (double)load->ramp_ns / 1e9, (double)load->proxy_cpu.used_ns / 1e9,
           (double)load->proxy_cpu.waited_ns / 1e9, (double)load->own_cpu.used_ns / 1e9,
           (double)load->own_cpu.waited_ns / 1e9, ws_load_stat_us(latency, 500),
           ws_load_stat_us(latency, 990), ws_load_stat_us(latency, 999),
           (double)latency->max_ns / 1000);
}

static enum bench_tls_use use_of_tls(const struct bench_options *options)
{
    bool messages = options->mode == MODE_ECHO || options->mode == MODE_PUSH;
    return options->resume ? BENCH_TLS_RESUME : messages ? BENCH_TLS_MESSAGES : BENCH_TLS_SHORT;
}

int main(int argc, char **argv)
{
    static struct bench_load load;
    struct bench_options options = {.conns = 200,
                                    .active = UINT32_MAX,
                                    .opening = 64,
                                    .size = 64,
                                    .sources = 1,
                                    .warm_ms = 200,
                                    .run_ms = 1000};
    int c;
    while ((c = getopt(argc, argv, "m:a:b:n:k:o:s:w:t:TRWf:F:p:")) != -1) {
        if (!parse_option(&options, c))
            return usage();
    }
    if (optind != argc || options.target.len == 0 || options.backend_count == 0)
        return usage();
    if (options.active > options.conns)
        options.active = options.conns;
    bench_net_raise_limit();
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    load.options = &options;
    if (options.tls && !(load.tls = bench_tls_new(use_of_tls(&options)))) {
        fprintf(stderr, "bench-load: no TLS\n");
        return EXIT_TROUBLE;
    }
    int rc = bench_run(&load);
    if (rc < 0) {
        fprintf(stderr, "bench-load: %s\n", strerror(-rc));
        return EXIT_TROUBLE;
    }
    report(&load);
    bench_tls_free(&load.tls);
    return load.faults > 0 ? EXIT_FAULTS : 0;
}
