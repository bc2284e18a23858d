/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_front.h"

#include "common/origin.h"
#include "common/units.h"
#include "master/conf.h"
#include "master/conf_error.h"

#include <errno.h>
#include <stdlib.h>

/* Bits of an entry in the file: enough for any prefix, and for a comment behind it. */
enum { LINE_MAX_BYTES = 1024, SHOWN_MAX = 80 };

static const char file_mark[] = "file:";

struct list {
    struct conf *conf;
    struct conf_errors *errors;
    struct prefix *prefixes;
    uint32_t count;
    uint32_t room;
    uint8_t verdict;
    bool files;
};

/* ---- reading ---- */

static int add(struct list *list, struct prefix prefix)
{
    if (list->count == list->room) {
        uint32_t room = list->room * 2 + 16;
        struct prefix *bigger = realloc(list->prefixes, room * sizeof *bigger);
        if (!bigger)
            return -ENOMEM;
        list->prefixes = bigger;
        list->room = room;
    }
    prefix.value = list->verdict;
    list->prefixes[list->count++] = prefix;
    return 0;
}

/* A prefix a line; empty lines, and what follows a '#', say nothing. */
static int read_line(struct list *list, struct slice line, struct prefix *prefix, const char **why)
{
    const char *hash = line.n > 0 ? memchr(line.p, '#', line.n) : NULL;
    if (hash)
        line.n = (size_t)(hash - line.p);
    while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    line = slice_trim(line);
    if (line.n == 0)
        return 0;
    int rc = prefix_parse(prefix, line, why);
    return rc < 0 ? rc : add(list, *prefix);
}

static int read_lines(struct list *list, FILE *file, const char *path, const void *field)
{
    char text[LINE_MAX_BYTES];
    struct prefix prefix;
    const char *why = NULL;
    for (unsigned number = 1; fgets(text, sizeof text, file); number++) {
        int rc = read_line(list, slice_of(text), &prefix, &why);
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0) {
            char shown[SHOWN_MAX];
            log_escape(slice_trim((struct slice){text, strcspn(text, "\n")}), shown, sizeof shown);
            conf_error_field(list->errors, list->conf, field, "%s:%u: \"%s\": %s", path, number,
                             shown, why);
            return 0; /* one line of a broken file is enough */
        }
    }
    if (ferror(file))
        conf_error_field(list->errors, list->conf, field, "%s: cannot be read", path);
    return 0;
}

/* Relative to the configuration, wherever the process stands. */
static int read_file(struct list *list, const char *path, const void *field)
{
    FILE *file = conf_route_open(list->conf, path);
    if (!file) {
        conf_error_field(list->errors, list->conf, field, "%s: %s", path, strerror(errno));
        return 0;
    }
    int rc = read_lines(list, file, path, field);
    fclose(file);
    return rc;
}

static int read_texts(struct list *list, char *const *texts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct prefix prefix;
        const char *why = NULL;
        if (!texts[i])
            continue; /* was refused already */
        int rc = 0;
        if (strncmp(texts[i], file_mark, strlen(file_mark)) == 0)
            rc = list->files ? read_file(list, texts[i] + strlen(file_mark), &texts[i]) : 0;
        else if (prefix_parse(&prefix, slice_of(texts[i]), &why) < 0)
            conf_error_field(list->errors, list->conf, &texts[i], "\"%s\": %s", texts[i], why);
        else
            rc = add(list, prefix);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Sorted, each one once; one that is allowed and denied is an error. */
static void sort(struct list *list, const void *field)
{
    struct prefix *prefixes = list->prefixes;
    uint32_t kept = 0;
    qsort(prefixes, list->count, sizeof *prefixes, prefix_compare);
    for (uint32_t i = 0; i < list->count; i++) {
        if (kept == 0 || prefix_compare(&prefixes[kept - 1], &prefixes[i]) != 0)
            prefixes[kept++] = prefixes[i];
        else if (prefixes[kept - 1].value != prefixes[i].value)
            conf_error_field(list->errors, list->conf, field,
                             "a prefix of %u bits stands in both allow and deny",
                             prefixes[i].len >= 96 ? prefixes[i].len - 96u : prefixes[i].len);
    }
    list->count = kept;
}

static int plant(struct list *list, struct conf_prefixes *to, const void *field)
{
    if (list->count == 0)
        return 0;
    sort(list, field);
    to->nodes = calloc(2ull * list->count, sizeof *to->nodes);
    if (!to->nodes)
        return -ENOMEM;
    to->count = prefix_tree_build(list->prefixes, list->count, to->nodes);
    return 0;
}

const struct conf_prefixes *conf_front_find(const struct conf *conf, char *const *allow,
                                            char *const *deny)
{
    const struct conf_prefixes *prefixes = conf->prefixes;
    while (prefixes && (prefixes->allow != allow || prefixes->deny != deny))
        prefixes = prefixes->next;
    return prefixes;
}

/* Two lists, once. */
static int read_pair(const struct list *with, char *const *allow, uint32_t allow_count,
                     char *const *deny, uint32_t deny_count)
{
    struct list list = *with;
    if ((!allow && !deny) || conf_front_find(list.conf, allow, deny))
        return 0;
    struct conf_prefixes *to = calloc(1, sizeof *to);
    if (!to)
        return -ENOMEM;
    to->allow = allow;
    to->deny = deny;
    to->next = list.conf->prefixes;
    list.conf->prefixes = to;
    list.verdict = VERDICT_ALLOW;
    int rc = read_texts(&list, allow, allow_count);
    list.verdict = VERDICT_DENY;
    if (rc == 0)
        rc = read_texts(&list, deny, deny_count);
    if (rc == 0)
        rc = plant(&list, to, deny ? &deny[0] : &allow[0]);
    free(list.prefixes);
    return rc;
}

static int read_options(const struct list *list, const struct conf_options *options)
{
    int rc = read_pair(list, options->trusted_proxies, options->trusted_proxy_count, NULL, 0);
    if (rc == 0)
        rc = read_pair(list, options->allow, options->allow_count, options->deny,
                       options->deny_count);
    return rc;
}

int conf_front_read(struct conf *conf, struct conf_errors *errors, bool files)
{
    const struct list list = {.conf = conf, .errors = errors, .files = files};
    int rc = read_options(&list, &conf->options);
    for (uint32_t i = 0; rc == 0 && i < conf->site_count; i++) {
        for (uint32_t j = 0; rc == 0 && j < conf->sites[i].route_count; j++)
            rc = read_options(&list, &conf->sites[i].routes[j].options);
    }
    return rc;
}

void conf_front_fini(struct conf *conf)
{
    while (conf->prefixes) {
        struct conf_prefixes *next = conf->prefixes->next;
        free(conf->prefixes->nodes);
        free(conf->prefixes);
        conf->prefixes = next;
    }
}

/* ---- rules ---- */

static void check_origins(const struct conf *conf, struct conf_errors *errors,
                          const struct conf_options *options)
{
    for (uint32_t i = 0; i < options->origin_count; i++) {
        const char *why =
            options->origins[i] ? origin_pattern_error(slice_of(options->origins[i])) : NULL;
        if (why)
            conf_error_field(errors, conf, &options->origins[i], "\"%s\": %s", options->origins[i],
                             why);
    }
}

void conf_front_check(const struct conf *conf, struct conf_errors *errors)
{
    check_origins(conf, errors, &conf->options);
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        if (site->options.origins != conf->options.origins)
            check_origins(conf, errors, &site->options);
        for (uint32_t j = 0; j < site->route_count; j++) {
            if (site->routes[j].options.origins != site->options.origins)
                check_origins(conf, errors, &site->routes[j].options);
        }
    }
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        if (listener->proxy_protocol && conf->options.trusted_proxy_count == 0)
            conf_error_field(errors, conf, &listener->proxy_protocol,
                             "needs trusted_proxies at the top level: anybody could say to be "
                             "anybody");
    }
}
