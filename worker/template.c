/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/template.h"

#include "common/uri.h"

#include <errno.h>
#include <stdio.h>

static struct slice field_value(const struct template_vars *vars, const struct http_field *field)
{
    return field ? http_field_value(vars->head_buf, field) : SLICE("");
}

struct slice template_cookie(const struct http_head *head, const char *head_buf, struct slice name)
{
    struct slice value = SLICE("");
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].id == HTTP_FIELD_COOKIE &&
            uri_cookie(http_field_value(head_buf, &head->fields[i]), name, &value))
            break;
    }
    return value;
}

static uint32_t number_at(struct slice text, size_t *at)
{
    uint32_t value = 0;
    for (; *at < text.n && text.p[*at] >= '0' && text.p[*at] <= '9'; (*at)++)
        value = value * 10 + (uint32_t)(text.p[*at] - '0');
    return value;
}

/* $remote_net_V4_V6, `bits` is "V4_V6": the address with the bits behind cleared, and their number. */
static struct slice remote_net(const struct addr *client, struct slice bits,
                               char scratch[ADDR_TEXT_MAX])
{
    struct addr net = *client;
    uint8_t raw[16];
    size_t at = 0;
    size_t n = addr_binary(client, raw);
    uint32_t v4 = number_at(bits, &at);
    at++;
    uint32_t v6 = number_at(bits, &at);
    uint32_t keep = n == 4 ? v4 : v6;
    addr_unmap(&net);
    for (uint32_t i = keep; i < n * 8; i++)
        raw[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
    if (n == 4)
        memcpy(&net.u.in.sin_addr, raw, n);
    else if (n == 16)
        memcpy(&net.u.in6.sin6_addr, raw, n);
    size_t len = addr_print_host(&net, scratch);
    if (n > 0)
        len += (size_t)snprintf(scratch + len, ADDR_TEXT_MAX - len, "/%u", keep);
    return (struct slice){scratch, len};
}

/* A target in absolute-form names the host, too, which is no part of what is asked of it. */
static struct slice request_uri(const struct template_vars *vars)
{
    const struct http_head *head = vars->head;
    if (head->flags & HTTP_TARGET_ABSOLUTE)
        return (struct slice){vars->head_buf + head->path, head->path_len};
    return (struct slice){vars->head_buf + head->target, head->target_len};
}

/* What follows that: the query with its '?', which an empty path in absolute-form is not beside. */
static struct slice behind_request_uri(const struct template_vars *vars)
{
    const struct http_head *head = vars->head;
    if (!(head->flags & HTTP_TARGET_ABSOLUTE) || head->query_len == 0)
        return SLICE("");
    return (struct slice){vars->head_buf + head->query - 1, head->query_len + 1};
}

/* Variables that point into the request; the others are written to scratch. */
static struct slice value_of(const struct image_part *part, struct slice text,
                             const struct template_vars *vars, char scratch[ADDR_TEXT_MAX])
{
    const struct http_head *head = vars->head;
    struct slice value = SLICE("");
    switch (part->var) {
    case VAR_TEXT: return text;
    case VAR_REMOTE_ADDR: return (struct slice){scratch, addr_print_host(vars->client, scratch)};
    case VAR_BINARY_REMOTE_ADDR:
        return (struct slice){scratch, addr_binary(vars->client, (uint8_t *)scratch)};
    case VAR_REMOTE_PORT:
        return (struct slice){
            scratch, (size_t)snprintf(scratch, ADDR_TEXT_MAX, "%u", addr_port(vars->client))};
    case VAR_SERVER_PORT:
        return (struct slice){scratch,
                              (size_t)snprintf(scratch, ADDR_TEXT_MAX, "%u", vars->server_port)};
    case VAR_HOST: return vars->host;
    case VAR_HTTP_HOST:
        return (struct slice){vars->head_buf + head->authority, head->authority_len};
    case VAR_URI: return vars->uri;
    case VAR_REQUEST_URI: return request_uri(vars);
    case VAR_ARGS: return (struct slice){vars->head_buf + head->query, head->query_len};
    case VAR_SCHEME: return vars->tls ? SLICE("https") : SLICE("http");
    case VAR_METHOD: return http_head_method(head, vars->head_buf);
    case VAR_ARG:
        uri_arg((struct slice){vars->head_buf + head->query, head->query_len}, text, &value);
        return value;
    case VAR_HTTP: return field_value(vars, http_head_find_name(head, vars->head_buf, text));
    case VAR_COOKIE: return template_cookie(head, vars->head_buf, text);
    case VAR_BACKEND: return vars->backend;
    case VAR_REST: return vars->rest;
    case VAR_CAPTURE: return vars->groups ? vars->groups[text.p[0] - '0'] : value;
    case VAR_REMOTE_NET: return remote_net(vars->client, text, scratch);
    default: return value;
    }
}

/* One piece to out[*n..size). */
static int put(char *out, size_t size, size_t *n, struct slice piece)
{
    if (piece.n > size - *n)
        return -ENOSPC;
    if (piece.n > 0)
        memcpy(out + *n, piece.p, piece.n);
    *n += piece.n;
    return 0;
}

int template_eval(const struct image *image, struct image_array parts,
                  const struct template_vars *vars, char *out, size_t size)
{
    size_t n = 0;
    for (uint32_t i = 0; i < parts.count; i++) {
        const struct image_part *part = image_part(image, parts, i);
        char scratch[ADDR_TEXT_MAX];
        int rc = put(out, size, &n, value_of(part, image_slice(image, part->text), vars, scratch));
        if (rc == 0 && part->var == VAR_REQUEST_URI)
            rc = put(out, size, &n, behind_request_uri(vars));
        if (rc < 0)
            return rc;
    }
    return (int)n;
}
