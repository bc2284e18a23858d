/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load.h"

#include "common/units.h"
#include "test/tools/ws_load_io.h"
#include "test/tools/ws_load_report.h"
#include "test/tools/ws_load_run.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_FAULTS = 1, EXIT_TROUBLE = 2, CONNS_MAX = 1000000, SIZE_MAX_BYTES = 64 << 20 };

uint64_t ws_load_random(uint64_t *state, uint64_t low, uint64_t high)
{
    /* splitmix64: any seed does, 0 too. */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return low + z % (high - low + 1);
}

static int usage(FILE *to)
{
    fprintf(
        to,
        "usage: ws-load [OPTION...]\n"
        "  -a ADDRESS:PORT    of the proxy (127.0.0.1:8080)\n"
        "  -p PATH, -H HOST   of the request (/load; load.test)\n"
        "  -n CONNS           tunnels held open (1000)\n"
        "  -t DURATION        \"30s\", \"500ms\" (10s); -d SECONDS is the same\n"
        "  -s SEED            (1)\n"
        "  -i DURATION        for so long may nothing move that should (8s)\n"
        "  -x NAME=WEIGHT,..  change the mix of shapes\n"
        "  -r BYTES, -R N     bytes, messages a second of the shapes that would take all (64m,\n"
        "                     20000 for the mix, else 0: no limit)\n"
        "  -S SHAPE           this shape only, as fast as it goes, measured once all are open:\n"
        "                     chat pingpong bulk slow short half idle abort push\n"
        "  -m BYTES           size of a message; -w N: messages in flight; -k N: messages a\n"
        "                     tunnel, then it is closed and opened anew\n"
        "  -A, --active K     of the tunnels only K talk\n"
        "  -b N               use N source addresses, 127.0.0.1 and up\n"
        "  -T 12|13           by TLS of that version; -C SUITES; -K N: new keys before one of N\n"
        "                     sends\n"
        "  -P                 the proxy pings who is silent\n"
        "  -G CODE            it ends tunnels by a Close with that code\n"
        "  -j                 result as one line of JSON\n"
        "Exits 1 if a tunnel was lost, corrupt or stalled, 2 if nothing could be measured.\n");
    return to == stdout ? 0 : EXIT_TROUBLE;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-' && *out >= min && *out <= max;
}

static bool parse_u32(const char *text, uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t value;
    bool good = parse_number(text, min, max, &value);
    *out = (uint32_t)value;
    return good;
}

/* "chat=3,bulk=0". */
static bool parse_mix(char *text, uint32_t *weights)
{
    for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
        char *equals = strchr(word, '=');
        if (!equals)
            return false;
        *equals = '\0';
        int id = ws_load_shape_find(word);
        if (id < 0 || id == SHAPE_PUSH || !parse_u32(equals + 1, 0, 1000000, &weights[id]))
            return false;
    }
    uint64_t sum = 0;
    for (int i = 0; i < WS_LOAD_SHAPES; i++)
        sum += weights[i];
    return sum > 0;
}

static bool parse_size(const char *text, uint64_t max, uint64_t *out)
{
    return units_parse_size(slice_of(text), out) == 0 && *out <= max;
}

static bool parse_duration(const char *text, uint64_t *ms)
{
    return units_parse_duration(slice_of(text), ms) == 0 && *ms > 0;
}

static bool parse_seconds(const char *text, uint64_t *ms)
{
    bool good = parse_number(text, 1, 86400, ms);
    *ms *= 1000;
    return good;
}

/* What says how much is sent. Returns false if the value is not one. */
static bool parse_traffic(struct ws_load_options *o, int c)
{
    uint64_t value;
    switch (c) {
    case 'S': o->shape = ws_load_shape_find(optarg); return o->shape >= 0;
    case 'm':
        if (!parse_size(optarg, SIZE_MAX_BYTES, &value))
            return false;
        o->size = (uint32_t)value;
        return value > 0;
    case 'w': return parse_u32(optarg, 1, 1000000, &o->window);
    case 'k': return parse_u32(optarg, 1, UINT32_MAX - 1, &o->count);
    case 'r': return parse_size(optarg, UINT64_MAX >> 21, &o->bytes_per_s);
    case 'R': return parse_number(optarg, 0, UINT32_MAX, &o->messages_per_s);
    case 'x': return parse_mix(optarg, o->weights);
    default: return false;
    }
}

static bool parse_option(struct ws_load_options *o, int c)
{
    const char *why;
    uint64_t value;
    switch (c) {
    case 'a': return addr_parse(&o->target, slice_of(optarg), 80, false, &why) == 0;
    case 'p': o->path = optarg; return *optarg == '/';
    case 'H': o->host = optarg; return *optarg != '\0';
    case 'n': return parse_u32(optarg, 1, CONNS_MAX, &o->conns);
    case 't': return parse_duration(optarg, &o->run_ms);
    case 'd': return parse_seconds(optarg, &o->run_ms);
    case 'i': return parse_duration(optarg, &o->stall_ms);
    case 's': return parse_number(optarg, 0, UINT64_MAX, &o->seed);
    case 'A': return parse_u32(optarg, 0, CONNS_MAX, &o->active);
    case 'b': return parse_u32(optarg, 1, 60000, &o->sources);
    case 'j': o->json = true; return true;
    case 'P': o->proxy_pings = true; return true;
    case 'G': return parse_u32(optarg, 1000, 4999, &o->goodbye);
    case 'C': o->suites = optarg; return true;
    case 'K': return parse_u32(optarg, 1, UINT32_MAX, &o->key_updates);
    case 'T':
        if (!parse_number(optarg, 12, 13, &value))
            return false;
        o->tls = (int)value;
        return true;
    default: return parse_traffic(o, c);
    }
}

/* Returns 0, or the status to exit with. */
static int parse_options(struct ws_load_options *o, int argc, char **argv)
{
    static const struct option longs[] = {{"active", required_argument, NULL, 'A'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "a:p:H:n:t:d:i:s:S:m:w:k:r:R:x:A:b:T:C:K:PG:jh", longs,
                            NULL)) != -1) {
        if (c == 'h')
            exit(usage(stdout));
        if (!parse_option(o, c)) {
            if (c != '?')
                fprintf(stderr, "ws-load: bad value for -%c: %s\n", c, optarg);
            return usage(stderr);
        }
    }
    return optind == argc ? 0 : usage(stderr);
}

/* What follows from the other options. */
static void complete_options(struct ws_load_options *o)
{
    static char push_path[64];
    if (o->shape >= 0) {
        o->bytes_per_s = o->messages_per_s = 0;
        if (o->size == 0 && o->shape == SHAPE_PUSH)
            o->size = ws_load_shape(SHAPE_PUSH)->size_min;
    }
    if (o->shape >= 0 && o->count == 0 && o->shape != SHAPE_SHORT)
        o->count = UINT32_MAX;
    if (o->shape == SHAPE_PUSH) {
        snprintf(push_path, sizeof push_path, "/push?n=%llu&bytes=%u", 1ull << 60, o->size);
        o->path = push_path;
    }
    if (o->active > o->conns)
        o->active = o->conns;
}

/* As many descriptors as the options need. Returns false if there are not enough. */
static bool raise_limit(const struct ws_load_options *o)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (o->conns + 16ull <= limit.rlim_max)
        return true;
    fprintf(stderr, "ws-load: %u tunnels, but only %llu descriptors\n", o->conns,
            (unsigned long long)limit.rlim_max);
    return false;
}

int main(int argc, char **argv)
{
    static struct ws_load load;
    struct ws_load_options options = {.path = "/load",
                                      .host = "load.test",
                                      .conns = 1000,
                                      .active = UINT32_MAX,
                                      .sources = 1,
                                      .run_ms = 10000,
                                      .stall_ms = 8000,
                                      .seed = 1,
                                      .shape = -1,
                                      .bytes_per_s = 64 << 20,
                                      .messages_per_s = 20000};
    struct ws_load_result result = {0};
    const char *why;

    for (unsigned i = 0; i < WS_LOAD_SHAPES; i++)
        options.weights[i] = ws_load_shape(i)->weight;
    ASSERT(addr_parse(&options.target, SLICE("127.0.0.1:8080"), 80, false, &why) == 0);
    int status = parse_options(&options, argc, argv);
    if (status != 0)
        return status;
    complete_options(&options);
    if (!raise_limit(&options))
        return EXIT_TROUBLE;
    load.options = &options;
    if (ws_load_io_init(&load) < 0)
        return EXIT_TROUBLE;
    ws_load_frame_init(options.seed);
    int rc = ws_load_run(&load, &result);
    if (rc < 0)
        fprintf(stderr, "ws-load: %s: %u of %u tunnels open, %llu refused, %llu declined\n",
                strerror(-rc), load.open, options.conns, (unsigned long long)load.counts.refused,
                (unsigned long long)load.counts.declined);
    if (rc < 0)
        return EXIT_TROUBLE;
    ws_load_report(&load, &result);
    if (ws_load_report_faults(&load) > 0)
        return EXIT_FAULTS;
    return load.counts.opened > 0 ? 0 : EXIT_TROUBLE;
}
