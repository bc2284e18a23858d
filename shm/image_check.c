/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/image_check.h"

#include "common/log.h"
#include "shm/image_fit.h"

#include <errno.h>

enum { ALIGNMENT = 8, FIELDS_MAX = 65535 };

static const void *at(const struct image_header *header, struct image_array array, uint32_t i,
                      size_t size)
{
    return (const char *)header + array.off + (size_t)i * size;
}

#define AT(header, array, type, i)                                                                 \
    ((const struct type *)at((header), (header)->array, (i), sizeof(struct type)))

static bool array_ok(const struct image_header *header, struct image_array array, size_t size)
{
    return array.off >= IMAGE_HEADER_SIZE && array.off % ALIGNMENT == 0 &&
           array.off <= header->size && array.count <= (header->size - array.off) / size;
}

/* A run of a shared array: begins at an entry and ends inside. */
static bool run_ok(struct image_array whole, struct image_array run, size_t size)
{
    return run.off >= whole.off && (run.off - whole.off) % size == 0 &&
           (run.off - whole.off) / size <= whole.count &&
           run.count <= whole.count - (run.off - whole.off) / size;
}

/* All zero is a text that a program with shorter rows does not have. */
static bool str_ok(const struct image_header *header, struct image_str str)
{
    uint32_t from = header->strings.off, count = header->strings.count;
    if (str.off == 0 && str.len == 0)
        return true;
    return str.off >= from && str.off - from <= count && str.len <= count - (str.off - from);
}

static struct slice str_slice(const struct image_header *header, struct image_str str)
{
    return (struct slice){(const char *)header + str.off, str.len};
}

bool image_check_run(struct image_array whole, struct image_array run, size_t size)
{
    return run_ok(whole, run, size);
}

bool image_check_str(const struct image_header *header, struct image_str str)
{
    return str_ok(header, str);
}

/* Whatever connect, bind and addr_print may be given. */
static bool addr_ok(const struct addr *addr)
{
    switch (addr->u.sa.sa_family) {
    case AF_INET: return addr->len == sizeof(addr->u.in);
    case AF_INET6: return addr->len == sizeof(addr->u.in6);
    case AF_UNIX:
        return addr->len > offsetof(struct sockaddr_un, sun_path) &&
               addr->len <= sizeof(addr->u.un) &&
               memchr(addr->u.un.sun_path, 0, sizeof(addr->u.un.sun_path)) != NULL;
    default: return false;
    }
}

static bool front_ok(const struct image_front *front)
{
    return front->head.line_max > 0 && front->head.head_max >= front->head.line_max &&
           front->head.head_max <= INT32_MAX && front->head.fields_max > 0 &&
           front->head.fields_max <= FIELDS_MAX &&
           front->access_log_format <= ACCESS_LOG_COMBINED && front->log_level <= LOG_LEVEL_DEBUG;
}

static bool arrays_ok(const struct image_header *header)
{
    const struct image_array *strings = &header->strings;
    return array_ok(header, header->listeners, sizeof(struct image_listener)) &&
           array_ok(header, header->hosts, sizeof(struct image_host)) &&
           array_ok(header, header->sites, sizeof(struct image_site)) &&
           array_ok(header, header->routes, sizeof(struct image_route)) &&
           array_ok(header, header->upstreams, sizeof(struct image_upstream)) &&
           array_ok(header, header->servers, sizeof(struct image_server)) &&
           array_ok(header, header->parts, sizeof(struct image_part)) &&
           array_ok(header, header->sources, sizeof(struct addr)) &&
           array_ok(header, header->certificates, sizeof(struct image_certificate)) &&
           array_ok(header, header->cert_names, sizeof(struct image_cert_name)) &&
           array_ok(header, header->names, sizeof(struct image_name)) &&
           array_ok(header, header->prefixes, sizeof(struct prefix_node)) &&
           array_ok(header, header->texts, sizeof(struct image_text)) &&
           array_ok(header, header->edits, sizeof(struct image_edit)) &&
           array_ok(header, header->pages, sizeof(struct image_page)) &&
           array_ok(header, header->choices, sizeof(uint32_t)) &&
           strings->off >= IMAGE_HEADER_SIZE && strings->off <= header->size &&
           strings->count <= header->size - strings->off;
}

static bool listeners_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->listeners.count; i++) {
        const struct image_listener *listener = AT(header, listeners, image_listener, i);
        if (!addr_ok(&listener->address) || !str_ok(header, listener->text))
            return false;
        if (listener->flags & LISTENER_TLS && header->certificates.count == 0)
            return false;
    }
    return true;
}

_Static_assert(
    offsetof(struct image_host, name) == 0 && offsetof(struct image_cert_name, name) == 0 &&
        offsetof(struct image_host, wildcard) == offsetof(struct image_named, wildcard) &&
        offsetof(struct image_cert_name, wildcard) == offsetof(struct image_named, wildcard),
    "image_check_named reads both");

struct image_named image_check_named(const void *host_or_cert_name)
{
    struct image_named named;
    memcpy(&named, host_or_cert_name, sizeof(named));
    return named;
}

int image_check_order(uint32_t a_wildcard, struct slice a, uint32_t b_wildcard, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    if (a_wildcard != b_wildcard)
        return a_wildcard < b_wildcard ? -1 : 1;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

/* Sorted, too: a search in disorder would read nothing foreign, but find nothing either. */
static bool hosts_ok(const struct image_header *header)
{
    const struct image_host *previous = NULL;
    for (uint32_t i = 0; i < header->hosts.count; i++) {
        const struct image_host *host = AT(header, hosts, image_host, i);
        if (!str_ok(header, host->name) || host->wildcard > 1 || host->site >= header->sites.count)
            return false;
        if (previous && image_check_order(previous->wildcard, str_slice(header, previous->name),
                                          host->wildcard, str_slice(header, host->name)) >= 0)
            return false;
        previous = host;
    }
    return true;
}

static bool sites_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->sites.count; i++) {
        const struct image_site *site = AT(header, sites, image_site, i);
        if (!str_ok(header, site->name) || site->board_site >= BOARD_SITES_MAX ||
            !run_ok(header->routes, site->routes, sizeof(struct image_route)))
            return false;
    }
    return header->default_site == UINT32_MAX || header->default_site < header->sites.count;
}

static bool routes_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->routes.count; i++) {
        const struct image_route *route = AT(header, routes, image_route, i);
        if (!str_ok(header, route->path) ||
            (route->match != MATCH_REGEX &&
             !slice_starts(str_slice(header, route->path), SLICE("/"))) ||
            (route->status == 0 && route->upstream >= header->upstreams.count) ||
            !run_ok(header->parts, route->host_header, sizeof(struct image_part)) ||
            route->x_forwarded_for > FORWARD_REMOVE || route->x_forwarded_proto > FORWARD_REMOVE ||
            route->x_forwarded_host > FORWARD_REMOVE || route->x_real_ip > FORWARD_REMOVE ||
            route->x_client_cert > FORWARD_REMOVE || !str_ok(header, route->hsts))
            return false;
    }
    return true;
}

static bool health_ok(const struct image_header *header, const struct image_health *health)
{
    return health->type <= HEALTH_WEBSOCKET && health->status_count <= HEALTH_STATUS_MAX &&
           str_ok(header, health->method) && str_ok(header, health->path) &&
           str_ok(header, health->host) &&
           (health->type == HEALTH_OFF || (health->interval_ms > 0 && health->timeout_ms > 0));
}

static bool upstreams_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->upstreams.count; i++) {
        const struct image_upstream *upstream = AT(header, upstreams, image_upstream, i);
        if (!str_ok(header, upstream->name) || upstream->board_upstream >= BOARD_UPSTREAMS_MAX ||
            upstream->policy > BALANCE_RANDOM_TWO || !str_ok(header, upstream->sticky_cookie) ||
            !str_ok(header, upstream->sticky_attributes) || !health_ok(header, &upstream->health) ||
            upstream->primaries > upstream->servers.count || upstream->max_ejected > 100 ||
            (upstream->max_load != 0 && upstream->max_load < 100) ||
            !run_ok(header->servers, upstream->servers, sizeof(struct image_server)) ||
            !run_ok(header->parts, upstream->hash_key, sizeof(struct image_part)) ||
            !run_ok(header->sources, upstream->sources, sizeof(struct addr)) ||
            !str_ok(header, upstream->tls_chain) || !str_ok(header, upstream->tls_ca))
            return false;
    }
    return true;
}

static bool servers_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->servers.count; i++) {
        const struct image_server *server = AT(header, servers, image_server, i);
        if (!addr_ok(&server->address) || !str_ok(header, server->text) ||
            !str_ok(header, server->sticky) || !str_ok(header, server->tls_name) ||
            server->backend >= BOARD_BACKENDS_MAX || server->weight == 0)
            return false;
    }
    return true;
}

static bool is_digit(const struct image_header *header, struct image_str text)
{
    return str_ok(header, text) && str_slice(header, text).p[0] >= '0' &&
           str_slice(header, text).p[0] <= '9';
}

static bool parts_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->parts.count; i++) {
        const struct image_part *part = AT(header, parts, image_part, i);
        if (part->var == VAR_CAPTURE && (part->text.len != 1 || !is_digit(header, part->text)))
            return false;
        if (part->var > VAR_CAPTURE || !str_ok(header, part->text))
            return false;
    }
    return true;
}

static bool names_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->names.count; i++) {
        if (!str_ok(header, AT(header, names, image_name, i)->text))
            return false;
    }
    return str_ok(header, header->front.resolver);
}

static bool sources_ok(const struct image_header *header)
{
    for (uint32_t i = 0; i < header->sources.count; i++) {
        if (!addr_ok(AT(header, sources, addr, i)))
            return false;
    }
    return true;
}

/* Somebody must be chosen as soon as there is somebody, and what is chosen must be there. */
static bool choices_ok(const struct image_header *header, struct image_array choices)
{
    return run_ok(header->choices, choices, sizeof(uint32_t)) &&
           (choices.count > 0 || header->certificates.count == 0);
}

static bool tls_ok(const struct image_header *header)
{
    const struct image_tls *tls = &header->tls;
    for (uint32_t i = 0; i < header->choices.count; i++) {
        const uint32_t *choice = at(header, header->choices, i, sizeof(uint32_t));
        if (*choice >= header->certificates.count)
            return false;
    }
    return tls->client_certificate <= CLIENT_CERTIFICATE_REQUIRED &&
           tls->https_port <= UINT16_MAX && str_ok(header, tls->ciphers) &&
           str_ok(header, tls->suites) && str_ok(header, tls->groups) &&
           str_ok(header, tls->client_ca) &&
           (tls->client_certificate == CLIENT_CERTIFICATE_OFF || tls->client_ca.len > 0) &&
           choices_ok(header, tls->choices);
}

static bool certificates_ok(const struct image_header *header)
{
    const struct image_cert_name *previous = NULL;
    for (uint32_t i = 0; i < header->certificates.count; i++) {
        const struct image_certificate *one = AT(header, certificates, image_certificate, i);
        if (!str_ok(header, one->chain) || one->chain.len == 0 || !str_ok(header, one->staple))
            return false;
    }
    for (uint32_t i = 0; i < header->cert_names.count; i++) {
        const struct image_cert_name *name = AT(header, cert_names, image_cert_name, i);
        if (!str_ok(header, name->name) || name->wildcard > 1 || !choices_ok(header, name->choices))
            return false;
        if (previous && image_check_order(previous->wildcard, str_slice(header, previous->name),
                                          name->wildcard, str_slice(header, name->name)) >= 0)
            return false;
        previous = name;
    }
    return true;
}

int image_check(const struct image_header *header, uint64_t size)
{
    if (size < IMAGE_HEADER_SIZE || header->magic != IMAGE_MAGIC)
        return -EPROTO;
    if (header->version != IMAGE_VERSION)
        return -EPROTONOSUPPORT;
    /* Offsets have 32 bits; the arrays come first, for all other checks follow them. */
    if (header->size != size || size > UINT32_MAX || !image_fit_is_ours(header) ||
        !arrays_ok(header))
        return -EBADMSG;
    if (!front_ok(&header->front) || !listeners_ok(header) || !sites_ok(header) ||
        !hosts_ok(header) || !routes_ok(header) || !upstreams_ok(header) || !servers_ok(header) ||
        !parts_ok(header) || !sources_ok(header) || !names_ok(header) || !tls_ok(header) ||
        !certificates_ok(header) || !image_check_front(header))
        return -EBADMSG;
    return 0;
}
