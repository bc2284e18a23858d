/* SPDX-License-Identifier: Apache-2.0 */
/* What the front of the house needs of an image (shm/image_check.h). */
#include "shm/image_check.h"

/* Trees are shared by many routes: one that has just been looked at is not walked again. */
static bool tree_ok(const struct image_header *header, struct image_array tree,
                    struct image_array *last)
{
    if (!image_check_run(header->prefixes, tree, sizeof(struct prefix_node)))
        return false;
    if (tree.off == last->off && tree.count == last->count)
        return true;
    *last = tree;
    const char *at = (const char *)header + tree.off;
    return prefix_tree_ok((const struct prefix_node *)(const void *)at, tree.count);
}

static bool pace_ok(const struct pace *pace)
{
    return pace->interval_us <= UINT64_C(3600000000) && pace->queue_us <= UINT64_C(60000000) &&
           pace->burst_us <= UINT64_C(3600000000) * 1000000;
}

/* What may be added to a time mod 2^32, and the sum be compared. */
static bool duration_ok(uint32_t ms)
{
    return ms <= INT32_MAX;
}

static bool rules_ok(const struct image_header *header, const struct image_route *route)
{
    return route->match <= MATCH_REGEX &&
           image_check_run(header->texts, route->methods, sizeof(struct image_text)) &&
           image_check_run(header->texts, route->headers, sizeof(struct image_text)) &&
           image_check_run(header->texts, route->subprotocols, sizeof(struct image_text)) &&
           image_check_run(header->parts, route->rewrite, sizeof(struct image_part)) &&
           image_check_run(header->parts, route->location, sizeof(struct image_part)) &&
           image_check_run(header->edits, route->request_edits, sizeof(struct image_edit)) &&
           image_check_run(header->edits, route->response_edits, sizeof(struct image_edit)) &&
           image_check_run(header->pages, route->pages, sizeof(struct image_page)) &&
           image_check_str(header, route->body) && image_check_str(header, route->content_type) &&
           (route->status == 0 || (route->status >= 200 && route->status <= 599));
}

/* Nothing that a tunnel could be sent, or held up by for ever. */
static bool tunnel_ok(const struct image_header *header, const struct image_route *route)
{
    uint32_t code = route->close_code;
    for (uint32_t d = 0; d < 2; d++) {
        for (uint32_t kind = 0; kind < RATE_KINDS; kind++) {
            const struct arena_rate *rate = &route->limits.rates[d][kind];
            if ((rate->per_s != 0) != (rate->burst != 0))
                return false;
        }
    }
    return (code == 0 || code == 1001 || code == 1012 || code == 1013 ||
            (code >= 3000 && code <= 4999)) &&
           image_check_str(header, route->close_reason) &&
           route->close_reason.len <= CLOSE_REASON_MAX &&
           route->max_age_spread_ms <= route->max_age_ms &&
           (route->ping_interval_ms == 0 || route->ping_timeout_ms != 0) &&
           duration_ok(route->ping_interval_ms) && duration_ok(route->ping_timeout_ms) &&
           duration_ok(route->close_timeout_ms) && duration_ok(route->max_age_ms);
}

static bool edits_ok(const struct image_header *header)
{
    const char *base = (const char *)header;
    const struct image_edit *edits =
        (const struct image_edit *)(const void *)(base + header->edits.off);
    const struct image_page *pages =
        (const struct image_page *)(const void *)(base + header->pages.off);
    for (uint32_t i = 0; i < header->edits.count; i++) {
        if (!image_check_str(header, edits[i].name) || edits[i].kind > EDIT_REMOVE ||
            !image_check_run(header->parts, edits[i].value, sizeof(struct image_part)))
            return false;
    }
    for (uint32_t i = 0; i < header->pages.count; i++) {
        if (!image_check_str(header, pages[i].body))
            return false;
    }
    return true;
}

static bool routes_ok(const struct image_header *header)
{
    struct image_array trusted = {0, 0}, access = {0, 0};
    const struct image_route *routes =
        (const struct image_route *)(const void *)((const char *)header + header->routes.off);
    for (uint32_t i = 0; i < header->routes.count; i++) {
        const struct image_route *route = &routes[i];
        if (!tree_ok(header, route->trusted, &trusted) ||
            !tree_ok(header, route->access, &access) ||
            !image_check_run(header->texts, route->origins, sizeof(struct image_text)) ||
            !image_check_run(header->parts, route->client_key, sizeof(struct image_part)) ||
            !image_check_str(header, route->client_scope) || !pace_ok(&route->client_pace) ||
            route->forwarded > FORWARD_REMOVE || !rules_ok(header, route) ||
            !tunnel_ok(header, route))
            return false;
    }
    return true;
}

bool image_check_front(const struct image_header *header)
{
    const char *base = (const char *)header;
    struct image_array last = {0, 0};
    const struct image_listener *listeners =
        (const struct image_listener *)(const void *)(base + header->listeners.off);
    for (uint32_t i = 0; i < header->listeners.count; i++) {
        if (!tree_ok(header, listeners[i].trusted, &last))
            return false;
    }
    const struct image_upstream *upstreams =
        (const struct image_upstream *)(const void *)(base + header->upstreams.off);
    for (uint32_t i = 0; i < header->upstreams.count; i++) {
        if (!pace_ok(&upstreams[i].pace) || upstreams[i].proxy_protocol > PROXY_PROTOCOL_V2)
            return false;
    }
    const struct image_text *texts =
        (const struct image_text *)(const void *)(base + header->texts.off);
    for (uint32_t i = 0; i < header->texts.count; i++) {
        if (!image_check_str(header, texts[i].text))
            return false;
    }
    return pace_ok(&header->front.pace) && edits_ok(header) && routes_ok(header);
}
