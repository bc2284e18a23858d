/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_template.h"

#include "common/log.h"
#include "master/conf_schema.h"

#include <errno.h>
#include <stdio.h>

struct variable {
    const char *name;
    enum image_var var;
    const char *doc;
};

static const struct variable VARIABLES[] = {
    {"$remote_addr", VAR_REMOTE_ADDR, "client address as text, without port"},
    {"$binary_remote_addr", VAR_BINARY_REMOTE_ADDR, "client address, 4 or 16 raw bytes"},
    {"$remote_port", VAR_REMOTE_PORT, "client port"},
    {"$host", VAR_HOST, "host of the request without port, lower case"},
    {"$http_host", VAR_HTTP_HOST, "Host as the client sent it"},
    {"$server_port", VAR_SERVER_PORT, "port of the listener"},
    {"$uri", VAR_URI, "path, decoded and normalised, without query"},
    {"$request_uri", VAR_REQUEST_URI, "path and query as the client sent them"},
    {"$args", VAR_ARGS, "query as the client sent it"},
    {"$scheme", VAR_SCHEME, "http or https"},
    {"$request_method", VAR_METHOD, "method"},
    {"$proxy_host", VAR_BACKEND, "the chosen server as written (host_header only)"},
    {"$arg_NAME", VAR_ARG, "argument NAME of the query"},
    {"$http_NAME", VAR_HTTP, "header field NAME, with _ for -"},
    {"$cookie_NAME", VAR_COOKIE, "cookie NAME"},
    {"$remote_net_24_64", VAR_REMOTE_NET,
     "client address cut to 24 bits of IPv4 or 64 of IPv6; any numbers may stand there"},
    {"$rest", VAR_REST, "what of $uri follows the route's path"},
    {"$1", VAR_CAPTURE, "group 1 to 9 of the route's regular expression"},
};

const char *conf_template_variable(uint32_t i, const char **doc)
{
    if (i >= ARRAY_LEN(VARIABLES))
        return NULL;
    *doc = VARIABLES[i].doc;
    return VARIABLES[i].name;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The part before NAME in a family such as "arg_NAME"; no bytes for a variable on its own. */
static struct slice family_prefix(const struct variable *variable)
{
    struct slice name = slice_of(variable->name + 1);
    switch (variable->var) {
    case VAR_ARG:
    case VAR_HTTP:
    case VAR_COOKIE: name.n -= strlen("NAME"); break;
    case VAR_REMOTE_NET: name.n -= strlen("24_64"); break;
    default: name.n = 0; break;
    }
    return name;
}

/* "24_64": bits that IPv4 and IPv6 have. */
static bool fits_family(enum image_var var, struct slice name)
{
    char text[8];
    unsigned v4, v6;
    int used = 0;
    if (var != VAR_REMOTE_NET)
        return true;
    if (name.n >= sizeof text)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    return sscanf(text, "%2u_%3u%n", &v4, &v6, &used) == 2 && (size_t)used == name.n && v4 <= 32 &&
           v6 <= 128;
}

static bool lookup(struct slice name, struct conf_template_part *part)
{
    if (name.n == 1 && name.p[0] >= '1' && name.p[0] <= '9') {
        *part = (struct conf_template_part){.var = VAR_CAPTURE, .text = name};
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(VARIABLES); i++) {
        struct slice prefix = family_prefix(&VARIABLES[i]);
        if (prefix.n == 0 && slice_eq(name, slice_of(VARIABLES[i].name + 1))) {
            *part = (struct conf_template_part){.var = VARIABLES[i].var, .text = {name.p, 0}};
            return true;
        }
        if (prefix.n > 0 && name.n > prefix.n && slice_starts(name, prefix) &&
            fits_family(VARIABLES[i].var, (struct slice){name.p + prefix.n, name.n - prefix.n})) {
            *part = (struct conf_template_part){.var = VARIABLES[i].var,
                                                .text = {name.p + prefix.n, name.n - prefix.n}};
            return true;
        }
    }
    return false;
}

static int unknown(struct conf_template *template, struct slice name)
{
    char shown[64];
    snprintf(shown, sizeof(shown), "$%.*s", (int)(name.n < 60 ? name.n : 60), name.p);
    struct conf_nearest nearest = {.word = shown};
    for (size_t i = 0; i < ARRAY_LEN(VARIABLES); i++)
        conf_schema_nearest(&nearest, VARIABLES[i].name);
    /* An unknown name beside a family, such as "$args_room", is nearest to the family. */
    const char *best = nearest.best;
    for (size_t i = 0; i < ARRAY_LEN(VARIABLES) && !best; i++) {
        struct slice prefix = family_prefix(&VARIABLES[i]);
        if (prefix.n > 1 && slice_starts(name, (struct slice){prefix.p, prefix.n - 1}))
            best = VARIABLES[i].name;
    }
    if (best)
        snprintf(template->why, sizeof(template->why),
                 "unknown variable \"%s\"; did you mean \"%s\"?", shown, best);
    else
        snprintf(template->why, sizeof(template->why),
                 "unknown variable \"%s\"; there are $remote_addr, $host, $uri, $arg_NAME, "
                 "$http_NAME, $cookie_NAME and more, see --keys",
                 shown);
    return -EINVAL;
}

static int fail(struct conf_template *template, const char *why)
{
    snprintf(template->why, sizeof(template->why), "%s", why);
    return -EINVAL;
}

/* rest begins behind a '$'; cuts the variable off. */
static int parse_variable(struct conf_template *template, struct slice *rest,
                          struct conf_template_part *part)
{
    bool braced = rest->n > 0 && rest->p[0] == '{';
    struct slice name = {rest->p + braced, 0};
    size_t room = rest->n - braced;
    while (name.n < room && is_name_char(name.p[name.n]))
        name.n++;
    if (name.n == 0)
        return fail(template, "a variable's name must follow \"$\"");
    if (braced && (name.n == room || name.p[name.n] != '}'))
        return fail(template, "\"${\" is not closed by \"}\"");
    size_t used = name.n + (braced ? 2 : 0);
    rest->p += used;
    rest->n -= used;
    return lookup(name, part) ? 0 : unknown(template, name);
}

int conf_template_parse(struct conf_template *template, struct slice text)
{
    template->count = 0;
    template->why[0] = '\0';
    if (text.n == 0)
        return fail(template, "the template is empty");
    while (text.n > 0) {
        if (template->count == CONF_TEMPLATE_PARTS_MAX)
            return fail(template, "more than 32 variables and pieces of text");
        struct conf_template_part *part = &template->parts[template->count++];
        if (text.p[0] == '$') {
            text.p++;
            text.n--;
            int rc = parse_variable(template, &text, part);
            if (rc < 0)
                return rc;
            continue;
        }
        const char *dollar = memchr(text.p, '$', text.n);
        size_t n = dollar ? (size_t)(dollar - text.p) : text.n;
        *part = (struct conf_template_part){.var = VAR_TEXT, .text = {text.p, n}};
        text.p += n;
        text.n -= n;
    }
    return 0;
}
