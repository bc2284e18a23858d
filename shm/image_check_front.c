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
            route->forwarded > FORWARD_REMOVE)
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
    return pace_ok(&header->front.pace) && routes_ok(header);
}
