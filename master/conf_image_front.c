/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in, compiled: trees of prefixes, origins, limits (master/conf_front.h). */
#include "common/units.h"
#include "master/conf_build.h"
#include "master/conf_schema.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t count_nodes(const struct conf *conf)
{
    uint64_t nodes = 0;
    for (const struct conf_prefixes *p = conf->prefixes; p; p = p->next)
        nodes += p->count;
    return nodes;
}

void conf_image_front_reserve(const struct conf *conf, struct image_header *header, uint64_t *size)
{
    uint64_t texts = 0;
    for (uint32_t i = 0; i < conf->site_count; i++) {
        for (uint32_t j = 0; j < conf->sites[i].route_count; j++)
            texts += conf->sites[i].routes[j].options.origin_count +
                     conf_image_route_texts(&conf->sites[i].routes[j]);
    }
    header->prefixes = conf_build_reserve(size, count_nodes(conf), sizeof(struct prefix_node));
    header->texts = conf_build_reserve(size, texts, sizeof(struct image_text));
    conf_image_route_reserve(conf, header, size);
}

uint32_t conf_image_front_parts(const struct conf_route *route)
{
    return conf_build_count_parts(route->options.client_key) + conf_image_route_parts(route);
}

/* Every tree stands once, in the order of the list. */
static struct image_array tree_of(const struct conf_build *build, char *const *allow,
                                  char *const *deny)
{
    const struct conf_prefixes *wanted = conf_front_find(build->conf, allow, deny);
    struct image_array tree = {.off = build->header->prefixes.off, .count = 0};
    if (!wanted || (!allow && !deny))
        return tree;
    for (const struct conf_prefixes *p = build->conf->prefixes; p != wanted; p = p->next)
        tree.off += p->count * (uint32_t)sizeof(struct prefix_node);
    tree.count = wanted->count;
    return tree;
}

struct image_array conf_build_texts(struct conf_build *build, char *const *texts, uint32_t count)
{
    struct image_array run =
        conf_build_run(build->header->texts, build->texts, count, sizeof(struct image_text));
    for (uint32_t i = 0; i < count; i++)
        CONF_BUILD_ENTRY(build, texts, image_text, build->texts++)->text =
            conf_build_text(build, texts[i]);
    return run;
}

static uint64_t interval_of(const char *rate)
{
    uint64_t interval_us = 0;
    /* It was parsed when it was read. */
    return rate && units_parse_rate(slice_of(rate), &interval_us) == 0 ? interval_us : 0;
}

static struct pace pace_of(const char *rate, uint32_t burst, uint32_t queue_ms)
{
    uint64_t interval_us = interval_of(rate);
    return (struct pace){
        .interval_us = interval_us,
        .burst_us = interval_us * (burst - 1),
        .queue_us = queue_ms * UINT64_C(1000),
    };
}

static bool is_set(const struct conf_options *options, const char *name)
{
    return options->set & conf_schema_bit(conf_schema_find(CONF_OPTIONS, name));
}

static bool sets_limits(const struct conf_options *options)
{
    return is_set(options, "client_key") || is_set(options, "client_max_tunnels") ||
           is_set(options, "client_rate") || is_set(options, "client_burst");
}

/*
 * What the limits of a client are counted for: all, a site or a route, wherever the nearest of their
 * keys is written. By name, so that a reload goes on counting.
 */
static struct image_str scope_of(struct conf_build *build, const struct conf_site *site,
                                 const struct conf_route *route)
{
    char text[2048] = "";
    const char *name = site->host_count > 0 ? site->hosts[0] : "*";
    if (sets_limits(&route->options))
        snprintf(text, sizeof text, "%s%s", name, route->path);
    else if (sets_limits(&site->options))
        snprintf(text, sizeof text, "%s", name);
    return conf_build_text(build, text);
}

void conf_image_front_route(struct conf_build *build, const struct conf_site *site,
                            const struct conf_route *from, struct image_route *route)
{
    const struct conf_options *options = &from->options;
    route->trusted = tree_of(build, options->trusted_proxies, NULL);
    route->access = tree_of(build, options->allow, options->deny);
    route->origins = conf_build_texts(build, options->origins, options->origin_count);
    route->client_key = conf_build_template(build, options->client_key);
    route->client_scope = scope_of(build, site, from);
    route->client_max_tunnels = options->client_max_tunnels;
    route->client_pace = pace_of(options->client_rate, options->client_burst, 0);
    route->forwarded = options->forwarded;
    conf_image_route_fill(build, from, route);
    conf_image_tunnel_fill(build, from, route);
    if (options->origin_required)
        route->flags |= ROUTE_ORIGIN_REQUIRED;
    if (options->allow_count > 0)
        route->flags |= ROUTE_ALLOW_LISTED;
}

static void copy_trees(struct conf_build *build)
{
    uint32_t used = 0;
    for (const struct conf_prefixes *p = build->conf->prefixes; p; p = p->next) {
        for (uint32_t i = 0; i < p->count; i++)
            *CONF_BUILD_ENTRY(build, prefixes, prefix_node, used++) = p->nodes[i];
    }
}

void conf_image_front_fill(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    struct image_front *front = &build->header->front;
    front->max_tunnels = conf->max_tunnels;
    front->pace = pace_of(conf->handshake_rate, conf->handshake_burst, conf->handshake_queue_ms);
    copy_trees(build);
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        struct image_listener *listener = CONF_BUILD_ENTRY(build, listeners, image_listener, i);
        listener->trusted = tree_of(build, conf->options.trusted_proxies, NULL);
        if (conf->listeners[i].proxy_protocol)
            listener->flags |= LISTENER_PROXY;
    }
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        const struct conf_upstream *from = &conf->upstreams[i];
        struct image_upstream *upstream = CONF_BUILD_ENTRY(build, upstreams, image_upstream, i);
        upstream->max_tunnels = from->max_tunnels;
        upstream->proxy_protocol = from->proxy_protocol;
        if (from->proxy_protocol != PROXY_PROTOCOL_OFF)
            upstream->keepalive = 0; /* a connection is one client's */
        upstream->pace =
            pace_of(from->handshake_rate, from->handshake_burst, from->handshake_queue_ms);
    }
    for (uint32_t i = 0; i < conf->site_count; i++)
        CONF_BUILD_ENTRY(build, sites, image_site, i)->max_tunnels = conf->sites[i].max_tunnels;
}
