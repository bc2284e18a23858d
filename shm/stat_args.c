/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_args.h"

#include "common/units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WATCH_DEFAULT_MS = 2000, WATCH_MIN_MS = 100, WATCH_MAX_MS = 3600 * 1000, WATCH_LIMIT = 40 };

enum option_id {
    OPTION_BOARD = 'b',
    OPTION_HELP = 'h',
    OPTION_VERSION = 'V',
    OPTION_JSON = 256,
    OPTION_PROMETHEUS,
    OPTION_WATCH,
    OPTION_HEX,
    OPTION_LIMIT,
    OPTION_SITE, /* from here on: tunnels only */
    OPTION_BACKEND,
    OPTION_CLIENT,
    OPTION_WORKER,
    OPTION_IDLE_OVER,
    OPTION_SORT,
    OPTION_REVERSE,
};

static const struct option options[] = {
    {"board", required_argument, NULL, OPTION_BOARD},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"json", no_argument, NULL, OPTION_JSON},
    {"prometheus", no_argument, NULL, OPTION_PROMETHEUS},
    {"watch", optional_argument, NULL, OPTION_WATCH},
    {"hex", no_argument, NULL, OPTION_HEX},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"site", required_argument, NULL, OPTION_SITE},
    {"backend", required_argument, NULL, OPTION_BACKEND},
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"worker", required_argument, NULL, OPTION_WORKER},
    {"idle-over", required_argument, NULL, OPTION_IDLE_OVER},
    {"sort", required_argument, NULL, OPTION_SORT},
    {"reverse", no_argument, NULL, OPTION_REVERSE},
    {NULL, 0, NULL, 0},
};

static const char *const page_names[] = {"overview", "workers", "backends",    "tunnels",
                                         "ring",     "events",  "certificates"};
static const char *const sort_names[] = {"",      "age",    "idle", "rx",  "tx",
                                         "bytes", "frames", "rate", "rtt", "limits"};

/* What was seen besides what struct stat_args tells. */
struct seen {
    const char *for_tunnels; /* an option that only `tunnels` has */
    bool hex, limit, json, prometheus;
};

#define FAIL(...) (snprintf(why, STAT_WHY_SIZE, __VA_ARGS__), -EINVAL)

const char *stat_args_page_name(enum stat_page page)
{
    return page_names[page];
}

static int parse_number(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number > max)
        return -EINVAL;
    *out = number;
    return 0;
}

/* Seconds, perhaps with a fraction. */
static int parse_seconds(const char *text, uint64_t *ms)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds * 1000 >= WATCH_MIN_MS) ||
        seconds * 1000 > WATCH_MAX_MS)
        return -EINVAL;
    *ms = (uint64_t)(seconds * 1000);
    return 0;
}

/* An address, or a prefix "192.0.2.0/24": both families in 16 bytes. "unix:" is all zero. */
static int parse_client(struct stat_args *args, const char *text)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    uint32_t offset = 0;
    uint64_t bits = 128;
    args->by_client = true;
    args->client_bits = 128;
    if (strcmp(text, "unix:") == 0)
        return 0;
    if (n >= sizeof host)
        return -EINVAL;
    memcpy(host, text, n);
    host[n] = '\0';
    if (inet_pton(AF_INET, host, args->client_ip + 12) == 1) {
        memset(args->client_ip + 10, 0xff, 2);
        offset = 96;
        bits = 32;
    } else if (inet_pton(AF_INET6, host, args->client_ip) != 1) {
        return -EINVAL;
    }
    if (slash && parse_number(slash + 1, bits, &bits) < 0)
        return -EINVAL;
    args->client_bits = offset + (uint32_t)bits;
    return 0;
}

static int parse_sort(struct stat_args *args, const char *text)
{
    for (size_t i = 1; i < ARRAY_LEN(sort_names); i++) {
        if (strcmp(text, sort_names[i]) == 0) {
            args->sort = (enum stat_sort)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_board(struct stat_args *args, const char *name)
{
    const char *bare = name[0] == '/' ? name + 1 : name;
    if (bare[0] == '\0' || strchr(bare, '/') || strlen(bare) + 2 > sizeof args->board)
        return -EINVAL;
    snprintf(args->board, sizeof args->board, "/%s", bare);
    return 0;
}

/* --watch takes its seconds from the next word, too, if that is a number. */
static int parse_watch(struct stat_args *args, int argc, char **argv, const char *value)
{
    if (!value && optind < argc && parse_seconds(argv[optind], &args->watch_ms) == 0) {
        optind++;
        return 0;
    }
    args->watch_ms = WATCH_DEFAULT_MS;
    return value ? parse_seconds(value, &args->watch_ms) : 0;
}

static int take_filter(struct stat_args *args, int id, const char *value, char *why)
{
    uint64_t number = 0;
    switch (id) {
    case OPTION_SITE: args->site = value; return 0;
    case OPTION_BACKEND: args->backend = value; return 0;
    case OPTION_REVERSE: args->reverse = true; return 0;
    case OPTION_CLIENT:
        if (parse_client(args, value) < 0)
            return FAIL("--client wants an address or a prefix such as 192.0.2.0/24, not '%s'",
                        value);
        return 0;
    case OPTION_WORKER:
        if (parse_number(value, UINT32_MAX, &number) < 0)
            return FAIL("--worker wants a number, not '%s'", value);
        args->worker = (int64_t)number;
        return 0;
    case OPTION_IDLE_OVER:
        if (units_parse_duration(slice_of(value), &args->idle_over_ms) < 0)
            return FAIL("--idle-over wants a duration such as 500ms, 90s or 10m, not '%s'", value);
        return 0;
    default:
        if (parse_sort(args, value) < 0)
            return FAIL(
                "--sort wants age, idle, rx, tx, bytes, frames, rate, rtt or limits, not '%s'",
                value);
        return 0;
    }
}

static int take_option(struct stat_args *args, struct seen *seen, int id, const char *value,
                       char *why)
{
    switch (id) {
    case OPTION_HELP: args->help = true; return 0;
    case OPTION_VERSION: args->version = true; return 0;
    case OPTION_JSON: seen->json = true; return 0;
    case OPTION_PROMETHEUS: seen->prometheus = true; return 0;
    case OPTION_HEX: seen->hex = true; return 0;
    case OPTION_BOARD:
        return parse_board(args, value) < 0 ? FAIL("'%s' cannot be the name of a board", value) : 0;
    case OPTION_LIMIT:
        seen->limit = true;
        return parse_number(value, UINT32_MAX, &args->limit) < 0
                   ? FAIL("--limit wants a number, not '%s'", value)
                   : 0;
    default:
        for (const struct option *option = options; option->name; option++) {
            if (option->val == id)
                seen->for_tunnels = option->name;
        }
        return take_filter(args, id, value, why);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int take_key(struct stat_args *args, const char *text, bool hex, char *why)
{
    size_t n = strlen(text);
    if (n > (hex ? 2 * STAT_KEY_MAX : STAT_KEY_MAX))
        return FAIL("the key is longer than %d bytes", STAT_KEY_MAX);
    if (!hex) {
        memcpy(args->key, text, n);
        args->key_len = (uint32_t)n;
        return 0;
    }
    for (size_t i = 0; i + 1 < n; i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            break;
        args->key[args->key_len++] = (uint8_t)(high << 4 | low);
    }
    return args->key_len * 2u == n ? 0 : FAIL("--hex wants pairs of hex digits, not '%s'", text);
}

static int take_words(struct stat_args *args, const struct seen *seen, int count, char **words,
                      char *why)
{
    size_t page = 0;
    while (count > 0 && page < ARRAY_LEN(page_names) && strcmp(words[0], page_names[page]) != 0)
        page++;
    if (page == ARRAY_LEN(page_names))
        return FAIL(
            "there is no page '%s': it is overview, workers, backends, tunnels, ring, events "
            "or certificates",
            words[0]);
    args->page = (enum stat_page)page;
    if (args->page == STAT_RING) {
        if (count != 2 && count != 3)
            return FAIL("ring wants a key, or an upstream and a key");
        args->upstream = count == 3 ? words[1] : NULL;
        return take_key(args, words[count - 1], seen->hex, why);
    }
    return count > 1 ? FAIL("nothing may follow '%s', not even '%s'", words[0], words[1]) : 0;
}

/* What does not go together. */
static int check(struct stat_args *args, const struct seen *seen, char *why)
{
    if (seen->for_tunnels && args->page != STAT_TUNNELS)
        return FAIL("--%s is for the page tunnels only", seen->for_tunnels);
    if (seen->limit && args->page != STAT_TUNNELS && args->page != STAT_EVENTS)
        return FAIL("--limit is for the pages tunnels and events only");
    if (seen->hex && args->page != STAT_RING)
        return FAIL("--hex is for the page ring only");
    if (seen->json && seen->prometheus)
        return FAIL("--json and --prometheus exclude each other");
    if (seen->prometheus && args->page > STAT_BACKENDS && args->page != STAT_CERTIFICATES)
        return FAIL("--prometheus is for overview, workers, backends and certificates only");
    if (seen->prometheus && args->watch_ms > 0)
        return FAIL("--prometheus and --watch exclude each other: Prometheus asks again by itself");
    args->form = seen->json ? STAT_JSON : seen->prometheus ? STAT_PROMETHEUS : STAT_TABLE;
    /* What does not fit on a screen would only scroll by. */
    if (args->watch_ms > 0 && args->form == STAT_TABLE && !seen->limit)
        args->limit = WATCH_LIMIT;
    return 0;
}

int stat_args_parse(struct stat_args *args, int argc, char **argv, const char *board,
                    char why[STAT_WHY_SIZE])
{
    struct seen seen = {0};
    int id, rc = 0;
    *args = (struct stat_args){.worker = -1};
    if (parse_board(args, board ? board : "/holdfast") < 0)
        return FAIL("HOLDFAST_BOARD: '%s' cannot be the name of a board", board);
    opterr = 0;
    optind = 0; /* begin anew, also in tests */
    while (rc == 0 && (id = getopt_long(argc, argv, ":b:hV", options, NULL)) != -1) {
        const char *word = argv[optind > 1 ? optind - 1 : 1];
        if (id == ':')
            return FAIL("%s wants a value", word);
        if (id == '?')
            return FAIL("there is no option %s", word);
        if (id != OPTION_WATCH)
            rc = take_option(args, &seen, id, optarg, why);
        else if (parse_watch(args, argc, argv, optarg) < 0)
            return FAIL("--watch wants seconds between 0.1 and 3600, not '%s'", optarg);
    }
    if (rc < 0 || args->help || args->version)
        return rc;
    rc = take_words(args, &seen, argc - optind, argv + optind, why);
    return rc < 0 ? rc : check(args, &seen, why);
}
