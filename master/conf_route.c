/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "master/conf_route.h"

#include "common/http_head.h"
#include "common/pattern.h"
#include "master/conf.h"
#include "master/conf_error.h"
#include "master/conf_template.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- changes of heads ---- */

/* Fields that say how a message is framed, or whose keys are elsewhere. */
static bool is_ours(struct slice name)
{
    static const char *const names[] = {
        "host",      "connection", "content-length", "transfer-encoding", "upgrade",
        "te",        "trailer",    "keep-alive",     "proxy-connection",  "expect",
        "forwarded", "x-real-ip",
    };
    if (name.n > 10 && slice_ieq((struct slice){name.p, 10}, SLICE("x-forwarde")))
        return true;
    if (name.n > 14 && slice_ieq((struct slice){name.p, 14}, SLICE("sec-websocket-")))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_ieq(name, slice_of(names[i])))
            return true;
    }
    return false;
}

static bool is_token(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (!http_is_tchar((unsigned char)name.p[i]))
            return false;
    }
    return name.n > 0;
}

const char *conf_route_edit(const char *text, struct conf_edit *edit)
{
    const char *name = text[0] == '+' || text[0] == '-' ? text + 1 : text;
    const char *colon = strchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : strlen(name);
    edit->kind = text[0] == '+' ? EDIT_ADD : text[0] == '-' ? EDIT_REMOVE : EDIT_SET;
    edit->name = (struct slice){name, n};
    edit->value = slice_trim(slice_of(colon ? colon + 1 : ""));
    if (!is_token(edit->name))
        return "write \"Name: template\", \"+Name: template\" or \"-Name\"";
    if (is_ours(edit->name))
        return "this field is written by the proxy itself: it has a key of its own, or frames the "
               "message";
    if (edit->kind == EDIT_REMOVE)
        return colon ? "what is removed needs no value" : NULL;
    return edit->value.n == 0 ? "the value is missing: write \"Name: template\"" : NULL;
}

static void check_edits(const struct conf *conf, struct conf_errors *errors, char *const *texts,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct conf_edit edit;
        struct conf_template template;
        const char *why = texts[i] ? conf_route_edit(texts[i], &edit) : NULL;
        if (texts[i] && !why && edit.kind != EDIT_REMOVE &&
            conf_template_parse(&template, edit.value) < 0)
            why = template.why;
        if (why)
            conf_error_field(errors, conf, &texts[i], "\"%s\": %s", texts[i], why);
    }
}

/* ---- error pages ---- */

/* Not blocking, for it may be a pipe. */
static FILE *open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = fd < 0 || fstat(fd, &st) < 0 ? errno : 0;
    if (!error && !S_ISREG(st.st_mode))
        error = S_ISDIR(st.st_mode) ? EISDIR : ENODEV;
    FILE *file = error ? NULL : fdopen(fd, "r");
    if (file)
        return file;
    error = error ? error : errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return NULL;
}

FILE *conf_route_open(const struct conf *conf, const char *path)
{
    const char *slash = strrchr(conf->path, '/');
    char *whole = NULL;
    if (path[0] == '/' || !slash)
        return open_file(path);
    if (asprintf(&whole, "%.*s%s", (int)(slash - conf->path + 1), conf->path, path) < 0) {
        errno = ENOMEM;
        return NULL;
    }
    FILE *file = open_file(whole);
    int error = errno;
    free(whole);
    errno = error;
    return file;
}

/* "503 PATH". Returns the path, NULL if it is not written so. */
static const char *split_page(const char *text, uint32_t *status)
{
    char *end;
    *status = (uint32_t)strtoul(text, &end, 10);
    if (end != text + 3 || *end != ' ' || end[1] == '\0' || *status < 400 || *status > 599)
        return NULL;
    return end + 1;
}

static const char *fill_page(const struct conf *conf, const char *path, struct conf_page *page)
{
    FILE *file = conf_route_open(conf, path);
    if (!file)
        return strerror(errno);
    page->size = fread(page->body, 1, sizeof page->body, file);
    bool more = fgetc(file) != EOF;
    bool failed = ferror(file);
    fclose(file);
    return failed ? "cannot be read" : more ? "is bigger than 8 KB" : NULL;
}

static const struct conf_page *find_page(const struct conf *conf, const char *text)
{
    const struct conf_page *page = conf->pages;
    while (page && page->text != text)
        page = page->next;
    return page;
}

static int read_page(struct conf *conf, struct conf_errors *errors, char *const *text, bool files)
{
    uint32_t status;
    if (!*text || find_page(conf, *text))
        return 0;
    struct conf_page *page = calloc(1, sizeof *page);
    if (!page)
        return -ENOMEM;
    const char *path = split_page(*text, &status);
    const char *why = path ? NULL : "write the status, 400 to 599, a space and a file";
    if (path && files)
        why = fill_page(conf, path, page);
    if (why)
        conf_error_field(errors, conf, text, "\"%s\": %s", *text, why);
    page->text = *text;
    page->status = status;
    page->next = conf->pages;
    conf->pages = page;
    return 0;
}

static int read_pages(struct conf *conf, struct conf_errors *errors,
                      const struct conf_options *options, bool files)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < options->error_page_count; i++)
        rc = read_page(conf, errors, &options->error_pages[i], files);
    return rc;
}

int conf_route_read(struct conf *conf, struct conf_errors *errors, bool files)
{
    int rc = read_pages(conf, errors, &conf->options, files);
    for (uint32_t i = 0; rc == 0 && i < conf->site_count; i++) {
        rc = read_pages(conf, errors, &conf->sites[i].options, files);
        for (uint32_t j = 0; rc == 0 && j < conf->sites[i].route_count; j++)
            rc = read_pages(conf, errors, &conf->sites[i].routes[j].options, files);
    }
    return rc;
}

void conf_route_fini(struct conf *conf)
{
    while (conf->pages) {
        struct conf_page *next = conf->pages->next;
        free(conf->pages);
        conf->pages = next;
    }
}

/* ---- rules ---- */

static void check_regex(const struct conf *conf, struct conf_errors *errors,
                        const struct conf_route *route)
{
    char why[PATTERN_WHY_MAX];
    struct pattern *pattern;
    if (route->match != MATCH_REGEX || !route->path)
        return;
    if (pattern_new(&pattern, slice_of(route->path), why) == -EINVAL)
        conf_error_field(errors, conf, &route->path, "\"%s\": %s", route->path, why);
    pattern_free(&pattern);
}

static void check_answer(const struct conf *conf, struct conf_errors *errors,
                         const struct conf_route *route)
{
    bool written = conf_error_written(conf, &route->upstream);
    if (route->status != 0 && route->status < 200)
        conf_error_field(errors, conf, &route->status,
                         "%u is out of range: 200 to 599 are possible, or 0", route->status);
    if (route->status == 0 && !written && route->path)
        conf_error_field(errors, conf, &route->path,
                         "\"%s\" has neither upstream nor return: nobody would answer",
                         route->path);
    if (route->status != 0 && written)
        conf_error_field(errors, conf, &route->status,
                         "answers for the upstream, which would never be asked: write one of them");
    /* Texts that were refused, or whose group was, are NULL. */
    bool body = route->body && route->body[0];
    if (route->status == 0 && (route->location || body))
        conf_error_field(errors, conf, route->location ? &route->location : &route->body,
                         "needs return: it belongs to an answer of our own");
    if (body && strlen(route->body) > CONF_PAGE_MAX)
        conf_error_field(errors, conf, &route->body, "is longer than 8 KB");
    for (const char *c = route->content_type; c && *c; c++) {
        if (*c < ' ' || *c > '~') {
            conf_error_field(errors, conf, &route->content_type, "is no media type");
            break;
        }
    }
}

static void check_conditions(const struct conf *conf, struct conf_errors *errors,
                             const struct conf_route *route)
{
    for (uint32_t i = 0; i < route->method_count; i++) {
        if (route->methods[i] && !is_token(slice_of(route->methods[i])))
            conf_error_field(errors, conf, &route->methods[i], "\"%s\" is no method",
                             route->methods[i]);
    }
    for (uint32_t i = 0; i < route->subprotocol_count; i++) {
        if (route->subprotocols[i] && !is_token(slice_of(route->subprotocols[i])))
            conf_error_field(errors, conf, &route->subprotocols[i], "\"%s\" is no subprotocol",
                             route->subprotocols[i]);
    }
    for (uint32_t i = 0; i < route->header_count; i++) {
        const char *text = route->headers[i];
        if (text && !is_token((struct slice){text, strcspn(text, ":")}))
            conf_error_field(errors, conf, &route->headers[i],
                             "\"%s\": write \"Name\" or \"Name: value\"", text);
    }
}

/* Lists that a site or a route has from above were checked there. */
static void check_options(const struct conf *conf, struct conf_errors *errors,
                          const struct conf_options *options, const struct conf_options *above)
{
    if (!above || options->request_headers != above->request_headers)
        check_edits(conf, errors, options->request_headers, options->request_header_count);
    if (!above || options->response_headers != above->response_headers)
        check_edits(conf, errors, options->response_headers, options->response_header_count);
}

void conf_route_check(const struct conf *conf, struct conf_errors *errors)
{
    check_options(conf, errors, &conf->options, NULL);
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        check_options(conf, errors, &site->options, &conf->options);
        for (uint32_t j = 0; j < site->route_count; j++) {
            const struct conf_route *route = &site->routes[j];
            check_options(conf, errors, &route->options, &site->options);
            check_regex(conf, errors, route);
            check_answer(conf, errors, route);
            check_conditions(conf, errors, route);
        }
    }
}
