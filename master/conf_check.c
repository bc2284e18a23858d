/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_check.h"

#include "common/uri.h"
#include "master/conf_health.h"
#include "master/conf_schema.h"
#include "master/conf_sticky.h"
#include "shm/arena.h"

#include <stdlib.h>
#include <sys/un.h>

enum { HANG_TIMEOUT_MIN_MS = 2000 };

struct check {
    const struct conf *conf;
    struct conf_errors *errors;
};

/* A text and its field, so that many can be sorted and what stands twice be found. */
struct entry {
    const char *text;
    const void *field;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    /* Equal texts by their fields: the first in memory is the first in the file. */
    return order != 0 ? order : (x->field > y->field) - (x->field < y->field);
}

/* Sort, and report each entry whose text was there before. `entries` is freed. */
static void report_doubles(const struct check *check, struct entry *entries, size_t count,
                           const char *why)
{
    char where[CONF_ERROR_WHERE_MAX];
    qsort(entries, count, sizeof(*entries), compare_entries);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(entries[i].text, entries[i - 1].text) == 0)
            conf_error_field(check->errors, check->conf, entries[i].field,
                             "\"%s\" stands already at %s: %s", entries[i].text,
                             conf_error_where(check->conf, entries[i - 1].field, where), why);
    }
    free(entries);
}

static struct entry *new_entries(const struct check *check, size_t count)
{
    struct entry *entries = calloc(count + 1, sizeof(*entries));
    if (!entries)
        conf_error_field(check->errors, check->conf, NULL, "out of memory");
    return entries;
}

static void add_entry(struct entry *entries, size_t *count, const char *text, const void *field)
{
    if (text)
        entries[(*count)++] = (struct entry){text, field};
}

static void check_limit(const struct check *check, const void *field, uint64_t value, uint64_t max,
                        const char *what)
{
    if (value > max)
        conf_error_field(check->errors, check->conf, field,
                         "%llu %s, but %llu are the most that the board has room for",
                         (unsigned long long)value, what, (unsigned long long)max);
}

/* Addresses with commas, and perhaps spaces, between. */
static void check_resolver(const struct check *check)
{
    const char *at = check->conf->resolver;
    while (at) {
        struct addr addr;
        const char *why;
        const char *comma = strchr(at, ',');
        size_t n = comma ? (size_t)(comma - at) : strlen(at);
        size_t spaces = strspn(at, " ");
        spaces = spaces < n ? spaces : n;
        if (addr_parse(&addr, (struct slice){at + spaces, n - spaces}, 53, false, &why) < 0 ||
            addr.u.sa.sa_family == AF_UNIX)
            conf_error_field(check->errors, check->conf, &check->conf->resolver,
                             "\"%.*s\" is not the address of a DNS server, such as 10.0.0.2 or "
                             "[2001:db8::2]:53",
                             (int)n, at);
        at = comma ? comma + 1 : NULL;
    }
}

static void check_top(const struct check *check)
{
    check_resolver(check);
    const struct conf *conf = check->conf;
    if (conf->hang_timeout_ms != 0 && conf->hang_timeout_ms < HANG_TIMEOUT_MIN_MS)
        conf_error_field(check->errors, conf, &conf->hang_timeout_ms,
                         "is less than %d ms: processes show once a second that they live, so "
                         "those with nothing to do would be killed, too",
                         HANG_TIMEOUT_MIN_MS);
    if (conf->board && (conf->board[0] != '/' || strchr(conf->board + 1, '/') ||
                        strlen(conf->board) < 2 || strlen(conf->board) > 200))
        conf_error_field(check->errors, conf, &conf->board,
                         "the name of a shared memory begins with its only '/', such as "
                         "\"/holdfast\", and has 200 characters at most");
    if (conf->control && strlen(conf->control) >= sizeof((struct sockaddr_un *)0)->sun_path)
        conf_error_field(check->errors, conf,
                         conf_error_written(conf, &conf->control) ? &conf->control
                                                                  : &conf->pid_file,
                         "the path of the control socket, %s, is longer than the %zu bytes that an "
                         "address of a UNIX socket may have",
                         conf->control, sizeof((struct sockaddr_un *)0)->sun_path - 1);
    if (conf->max_line > conf->max_head && conf->max_head > 0)
        conf_error_field(check->errors, conf, &conf->max_line,
                         "is more than max_head (%llu bytes), which counts the request line, too",
                         (unsigned long long)conf->max_head);
}

static void check_listeners(const struct check *check)
{
    char where[CONF_ERROR_WHERE_MAX];
    const struct conf *conf = check->conf;
    if (conf->listeners && conf->listener_count == 0)
        conf_error_field(check->errors, conf, &conf->listeners,
                         "no listener: nobody could connect");
    if (conf->listener_count > ARENA_LISTENERS_MAX)
        conf_error_field(check->errors, conf, &conf->listeners,
                         "%u listeners, but %d are the most that a worker has descriptors for",
                         conf->listener_count, ARENA_LISTENERS_MAX);
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        for (uint32_t j = 0; j < i && listener->text; j++) {
            if (!conf->listeners[j].text ||
                !addr_eq(&listener->address, &conf->listeners[j].address))
                continue;
            conf_error_field(check->errors, conf, &listener->text,
                             "\"%s\" is the address of \"%s\" at %s: two listeners would take "
                             "each other's connections",
                             listener->text, conf->listeners[j].text,
                             conf_error_where(conf, &conf->listeners[j].text, where));
            break;
        }
    }
}

/* Names stand in logs, labels of metrics and on the board: nothing that needs quoting there. */
static void check_name(const struct check *check, char *const *name)
{
    if (!*name)
        return;
    for (const char *c = *name; *c; c++) {
        bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                    (*c >= '0' && *c <= '9') || strchr("_.-", *c);
        if (fine)
            continue;
        conf_error_field(check->errors, check->conf, name,
                         "a name may hold letters, digits and _ . - only: it stands in logs and "
                         "statistics");
        return;
    }
    if (strlen(*name) >= BOARD_NAME_MAX)
        conf_error_field(check->errors, check->conf, name,
                         "the name is longer than the %d characters that the board shows",
                         BOARD_NAME_MAX - 1);
}

static void check_servers(const struct check *check, const struct conf_upstream *upstream)
{
    struct entry *entries = new_entries(check, upstream->server_count);
    size_t count = 0;
    if (upstream->servers && upstream->server_count == 0)
        conf_error_field(check->errors, check->conf, &upstream->servers,
                         "no server: nobody could answer");
    for (uint32_t i = 0; i < upstream->server_count && entries; i++) {
        const struct conf_server *server = &upstream->servers[i];
        add_entry(entries, &count, server->text, &server->text);
        if (server->text && strlen(server->text) >= BOARD_SERVER_MAX)
            conf_error_field(check->errors, check->conf, &server->text,
                             "the address is longer than the %d characters that the board shows",
                             BOARD_SERVER_MAX - 1);
    }
    if (entries)
        report_doubles(check, entries, count,
                       "one server has one set of counters; give it a weight instead");
}

/* Somebody must have the work for which backups stand by. */
static void check_backups(const struct check *check, const struct conf_upstream *upstream)
{
    for (uint32_t i = 0; i < upstream->server_count; i++) {
        if (!upstream->servers[i].backup)
            return;
    }
    if (upstream->server_count > 0)
        conf_error_field(check->errors, check->conf, &upstream->servers[0].backup,
                         "all servers are backups: there is none whose place they could take");
}

static void check_sticky(const struct check *check, const struct conf_upstream *upstream)
{
    const void *field;
    const char *why = conf_sticky_error(&upstream->sticky, &field);
    if (why)
        conf_error_field(check->errors, check->conf, field, "%s", why);
}

static void check_health(const struct check *check, const struct conf_upstream *upstream)
{
    const void *field;
    const char *why = conf_health_error(&upstream->health, &field);
    if (why)
        conf_error_field(check->errors, check->conf, field, "%s", why);
}

static void check_balance(const struct check *check, const struct conf_upstream *upstream)
{
    bool hash = upstream->balance == BALANCE_HASH;
    /* A key that was written and refused has its message. */
    if (hash && !upstream->hash_key && !conf_error_written(check->conf, &upstream->hash_key))
        conf_error_field(check->errors, check->conf, &upstream->balance,
                         "\"hash\" needs a hash_key, or there is nothing to choose by, such as "
                         "hash_key = \"$remote_addr\"");
    if (!hash && upstream->hash_key)
        conf_error_field(check->errors, check->conf, &upstream->hash_key,
                         "is used with balance = \"hash\" only, and would do nothing here");
    if (!hash && upstream->max_load != 0)
        conf_error_field(check->errors, check->conf, &upstream->max_load,
                         "is used with balance = \"hash\" only, and would do nothing here");
}

static void check_upstreams(const struct check *check)
{
    const struct conf *conf = check->conf;
    struct entry *entries = new_entries(check, conf->upstream_count);
    uint64_t servers = 0, points = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        const struct conf_upstream *upstream = &conf->upstreams[i];
        check_name(check, &upstream->name);
        check_balance(check, upstream);
        check_backups(check, upstream);
        check_sticky(check, upstream);
        check_health(check, upstream);
        check_servers(check, upstream);
        servers += upstream->server_count;
        for (uint32_t j = 0; upstream->balance == BALANCE_HASH && j < upstream->server_count; j++)
            points += (uint64_t)upstream->servers[j].weight * KETAMA_POINTS_PER_WEIGHT;
        if (entries)
            add_entry(entries, &count, upstream->name, &upstream->name);
    }
    if (entries)
        report_doubles(check, entries, count, "routes could not say which one they mean");
    check_limit(check, &conf->upstreams, conf->upstream_count, BOARD_UPSTREAMS_MAX, "upstreams");
    check_limit(check, &conf->upstreams, servers, BOARD_BACKENDS_MAX, "servers");
    check_limit(check, &conf->upstreams, points, BOARD_RING_POINTS_MAX,
                "points of consistent hashing (160 for each unit of weight)");
}

/* NULL if this is a name that a Host field can have; else what is wrong. */
static const char *host_error(const char *host)
{
    const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
    size_t n = strlen(name);
    if (strcmp(host, "*") == 0)
        return NULL;
    if (strchr(host, '/'))
        return "a host has no path or scheme: paths stand in the site's routes";
    if (host[0] == '[')
        return host[n - 1] == ']' && strspn(host + 1, "0123456789abcdef:.") == n - 2
                   ? NULL
                   : "an IPv6 address stands in brackets and has no port, such as [::1]";
    if (strchr(host, ':'))
        return "a host has no port: it is the listener that has one, and a site is served on all";
    if (strchr(name, '*'))
        return "a '*' may stand only in front, as in \"*.example.com\"";
    if (n > 0 && (name[0] == '.' || name[n - 1] == '.' || strstr(name, "..")))
        return "a host has no dot at its ends, and no two in a row";
    if (n == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != n)
        return "a host has letters, digits, '-', '_' and '.' only; other letters are written as in "
               "DNS (xn--...)";
    return n > 253 ? "a host has 253 characters at most" : NULL;
}

static void check_hosts(const struct check *check)
{
    char where[CONF_ERROR_WHERE_MAX];
    const struct conf *conf = check->conf;
    const void *first_default = NULL;
    size_t total = 0, count = 0;
    for (uint32_t i = 0; i < conf->site_count; i++)
        total += conf->sites[i].host_count;
    struct entry *entries = new_entries(check, total);
    for (uint32_t i = 0; i < conf->site_count && entries; i++) {
        const struct conf_site *site = &conf->sites[i];
        const void *is_default = site->host_count == 0 ? (const void *)&site->hosts : NULL;
        for (uint32_t j = 0; j < site->host_count; j++) {
            const char *host = site->hosts[j];
            const char *why = host ? host_error(host) : NULL;
            if (host && strcmp(host, "*") == 0)
                is_default = &site->hosts[j];
            else
                add_entry(entries, &count, host, &site->hosts[j]);
            if (why)
                conf_error_field(check->errors, conf, &site->hosts[j], "\"%s\": %s", host, why);
        }
        if (is_default && first_default)
            conf_error_field(check->errors, conf, is_default,
                             "a second site for all hosts that nobody names; the first stands at "
                             "%s, and there can be one only",
                             conf_error_where(conf, first_default, where));
        first_default = first_default ? first_default : is_default;
    }
    if (entries)
        report_doubles(check, entries, count, "one host belongs to one site");
}

static void check_path(const struct check *check, const struct conf_route *route)
{
    char normal[1024];
    if (!route->path)
        return;
    if (strlen(route->path) >= sizeof(normal)) {
        conf_error_field(check->errors, check->conf, &route->path, "is longer than 1023 bytes");
        return;
    }
    if (route->path[0] != '/') {
        conf_error_field(check->errors, check->conf, &route->path,
                         "\"%s\" does not begin with '/', as every path of a request does",
                         route->path);
        return;
    }
    if (strpbrk(route->path, "?#")) {
        conf_error_field(check->errors, check->conf, &route->path,
                         "\"%s\": a query is not part of the path that is compared", route->path);
        return;
    }
    int n = uri_normalise(slice_of(route->path), normal, sizeof(normal));
    if (n >= 0 && (size_t)n == strlen(route->path) && memcmp(normal, route->path, (size_t)n) == 0)
        return;
    conf_error_field(check->errors, check->conf, &route->path,
                     "\"%s\" matches nothing: paths are compared decoded and normalised; write "
                     "\"%.*s\"",
                     route->path, n > 0 ? n : 1, n > 0 ? normal : "/");
}

static int compare_names(const void *key, const void *entry)
{
    return strcmp(key, ((const struct entry *)entry)->text);
}

/* `names` are the upstreams', sorted; NULL when some are missing, so that nobody can say. */
static void check_reference(const struct check *check, const struct conf_route *route,
                            const struct entry *names, size_t count)
{
    if (!route->upstream || !names ||
        bsearch(route->upstream, names, count, sizeof(*names), compare_names))
        return;
    struct conf_nearest nearest = {.word = route->upstream};
    for (size_t i = 0; i < count; i++)
        conf_schema_nearest(&nearest, names[i].text);
    if (nearest.best)
        conf_error_field(check->errors, check->conf, &route->upstream,
                         "there is no upstream \"%s\"; did you mean \"%s\"?", route->upstream,
                         nearest.best);
    else
        conf_error_field(check->errors, check->conf, &route->upstream,
                         "there is no upstream \"%s\", so nobody could answer", route->upstream);
}

static void check_routes(const struct check *check, const struct conf_site *site,
                         const struct entry *names, size_t name_count)
{
    struct entry *entries = new_entries(check, site->route_count);
    size_t count = 0;
    for (uint32_t i = 0; i < site->route_count && entries; i++) {
        const struct conf_route *route = &site->routes[i];
        bool conditions = route->method_count + route->header_count + route->subprotocol_count > 0;
        if (route->match != MATCH_REGEX)
            check_path(check, route);
        check_reference(check, route, names, name_count);
        if (route->match == MATCH_PREFIX && !conditions)
            add_entry(entries, &count, route->path, &route->path);
    }
    if (entries)
        report_doubles(check, entries, count, "only the first would ever be used");
}

static void check_sites(const struct check *check)
{
    const struct conf *conf = check->conf;
    struct entry *names = new_entries(check, conf->upstream_count);
    size_t count = 0;
    for (uint32_t i = 0; i < conf->upstream_count && names; i++)
        add_entry(names, &count, conf->upstreams[i].name, &conf->upstreams[i].name);
    if (names)
        qsort(names, count, sizeof(*names), compare_entries);
    /* An upstream whose name is missing or refused may be the one that a route means. */
    bool complete = count == conf->upstream_count &&
                    (conf->upstreams || !conf_error_written(conf, &conf->upstreams));
    check_hosts(check);
    for (uint32_t i = 0; i < conf->site_count; i++)
        check_routes(check, &conf->sites[i], complete ? names : NULL, count);
    check_limit(check, &conf->sites, conf->site_count, BOARD_SITES_MAX, "sites");
    free(names);
}

void conf_check_all(const struct conf *conf, struct conf_errors *errors)
{
    struct check check = {.conf = conf, .errors = errors};
    check_top(&check);
    check_listeners(&check);
    check_upstreams(&check);
    check_sites(&check);
}
