/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From struct conf to the image. First everything that can fail: places on the board, the image,
 * the rings of a generation that nobody uses yet. Then what the running generation shows, too.
 */
#define _GNU_SOURCE 1
#include "master/conf_build.h"

#include "common/clock.h"
#include "master/conf_expand.h"
#include "master/conf_health.h"
#include "master/conf_sticky.h"
#include "master/conf_template.h"
#include "master/drain.h"
#include "master/reload.h"
#include "shm/board_reserve.h"
#include "shm/image_check.h"
#include "shm/image_fit.h"
#include "shm/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    EVENT_WRITER = 0, /* board.h: the master */
    NEWS_MAX = 64,    /* events of one reload about servers: more would drive out all others */
};

struct image_str conf_build_string(struct conf_build *build, const void *p, size_t n)
{
    struct image_str str = {.off = (uint32_t)(build->size + build->strings_used),
                            .len = (uint32_t)n};
    if (build->strings_room - build->strings_used < n) {
        size_t room = (build->strings_room + n) * 2 + 4096;
        char *bigger = realloc(build->strings, room);
        if (!bigger) {
            build->error = -ENOMEM;
            return (struct image_str){(uint32_t)build->size, 0};
        }
        build->strings = bigger;
        build->strings_room = room;
    }
    if (n > 0)
        memcpy(build->strings + build->strings_used, p, n);
    build->strings_used += n;
    return str;
}

struct image_str conf_build_text(struct conf_build *build, const char *text)
{
    return conf_build_string(build, text, strlen(text));
}

void *conf_build_entry(const struct conf_build *build, struct image_array array, uint32_t i,
                       size_t size)
{
    ASSERT(i < array.count);
    return build->bytes + array.off + (size_t)i * size;
}

struct image_array conf_build_run(struct image_array array, uint32_t used, uint32_t count,
                                  size_t size)
{
    ASSERT(count <= array.count - used);
    return (struct image_array){.off = array.off + (uint32_t)(used * size), .count = count};
}

uint32_t conf_build_count_parts(const char *text)
{
    struct conf_template template;
    /* It was parsed when it was read. */
    int rc = text ? conf_template_parse(&template, slice_of(text)) : -EINVAL;
    return rc == 0 ? template.count : 0;
}

struct image_array conf_build_template(struct conf_build *build, const char *text)
{
    struct conf_template template;
    int rc = text ? conf_template_parse(&template, slice_of(text)) : -EINVAL;
    uint32_t count = rc == 0 ? template.count : 0;
    struct image_array parts =
        conf_build_run(build->header->parts, build->parts, count, sizeof(struct image_part));
    for (uint32_t i = 0; i < count; i++) {
        *CONF_BUILD_ENTRY(build, parts, image_part, build->parts++) = (struct image_part){
            .var = template.parts[i].var,
            .text = conf_build_string(build, template.parts[i].text.p, template.parts[i].text.n),
        };
    }
    return parts;
}

/* Print why there is no place for a name, and pass the error on. */
static int no_place(struct conf_build *build, const char *kind, const char *name, int error)
{
    fprintf(build->errors,
            "%s: %s \"%s\": the board has no place left (%s); names that were configured before "
            "keep theirs until the second reload after the last tunnel to them has ended\n",
            build->conf->path, kind, name, strerror(-error));
    build->told = true;
    return build->error = error;
}

static void fill_front(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    build->header->front = (struct image_front){
        .head = {.line_max = (uint32_t)conf->max_line,
                 .head_max = (uint32_t)conf->max_head,
                 .fields_max = conf->max_headers},
        .header_timeout_ms = conf->header_timeout_ms,
        .keepalive_timeout_ms = conf->keepalive_timeout_ms,
        .access_log_format = conf->access_log.format,
        .log_level = conf->error_log.level,
        .resolver = conf_build_text(build, conf->resolver ? conf->resolver : ""),
    };
}

static void fill_listeners(struct conf_build *build)
{
    for (uint32_t i = 0; i < build->conf->listener_count; i++) {
        const struct conf_listener *from = &build->conf->listeners[i];
        *CONF_BUILD_ENTRY(build, listeners, image_listener, i) = (struct image_listener){
            .address = from->address,
            .text = conf_build_text(build, from->text),
            .backlog = from->backlog,
            .flags = from->tls ? LISTENER_TLS : 0,
        };
    }
}

static struct image_str add_sticky_value(struct conf_build *build,
                                         const struct conf_upstream *upstream, const char *server)
{
    char value[CONF_STICKY_VALUE_MAX] = "";
    if (conf_sticky_is_on(&upstream->sticky))
        conf_sticky_value(&upstream->sticky, upstream->name, server, value);
    return conf_build_text(build, value);
}

static void add_sticky(struct conf_build *build, const struct conf_sticky *sticky,
                       struct image_upstream *upstream)
{
    char attributes[CONF_STICKY_ATTRIBUTES_MAX] = "";
    if (conf_sticky_is_on(sticky))
        conf_sticky_attributes(sticky, attributes);
    upstream->sticky_cookie = conf_build_text(build, sticky->cookie ? sticky->cookie : "");
    upstream->sticky_attributes = conf_build_text(build, attributes);
}

static void add_health(struct conf_build *build, const struct conf_health *from,
                       struct image_health *health)
{
    bool on = from->type != HEALTH_OFF;
    *health = (struct image_health){
        .type = from->type,
        .interval_ms = from->interval_ms,
        .fast_interval_ms =
            from->fast_interval_ms < from->interval_ms ? from->fast_interval_ms : from->interval_ms,
        .timeout_ms = from->timeout_ms,
        .rise = from->rise,
        .fall = from->fall,
        .method = conf_build_text(build, on ? from->method : ""),
        .path = conf_build_text(build, on ? from->path : ""),
        .host = conf_build_text(build, from->host ? from->host : ""),
    };
    if (on)
        (void)!conf_health_status(from->status, health); /* it was checked when it was read */
}

static int fill_server(struct conf_build *build, const struct conf_upstream *from,
                       const struct conf_expanded *expanded, struct image_upstream *upstream)
{
    const struct conf_server *server = expanded->from;
    int backend = board_backend_register(build->board, build->generation, slice_of(from->name),
                                         slice_of(expanded->text));
    if (backend < 0)
        return no_place(build, "server", expanded->text, backend);
    STORE_RELAXED(&board_backend(build->board, (uint32_t)backend)->upstream_index,
                  upstream->board_upstream);
    *CONF_BUILD_ENTRY(build, servers, image_server, build->servers++) = (struct image_server){
        .address = expanded->address,
        .text = conf_build_text(build, expanded->text),
        .backend = (uint32_t)backend,
        .weight = expanded->weight,
        .flags = (server->down ? BACKEND_DOWN : 0u) | (expanded->backup ? BACKEND_BACKUP : 0u) |
                 (server->drain ? BACKEND_DRAIN : 0u),
        .max_conns = server->max_conns,
        .max_fails = server->max_fails,
        .fail_timeout_ms = server->fail_timeout_ms,
        .slow_start_ms = server->slow_start_ms,
        .sticky = add_sticky_value(build, from, expanded->text),
        .tls_name = conf_image_tls_name(build, from, server),
    };
    upstream->slow_start |= server->slow_start_ms != 0;
    upstream->primaries += !expanded->backup;
    return 0;
}

/* The upstream's run of the expansion. */
static const struct conf_expanded *expanded_of(const struct conf_build *build, uint32_t number,
                                               uint32_t *count)
{
    const struct conf_expansion *all = &build->expansion;
    *count = all->first[number + 1] - all->first[number];
    return &all->servers[all->first[number]];
}

/* What the checker has to resolve. */
static void fill_names(struct conf_build *build, const struct conf_upstream *from)
{
    for (uint32_t i = 0; i < from->server_count; i++) {
        if (from->servers[i].address.len == 0)
            *CONF_BUILD_ENTRY(build, names, image_name, build->names++) =
                (struct image_name){.text = conf_build_text(build, from->servers[i].text)};
    }
}

static int fill_servers(struct conf_build *build, uint32_t number, struct image_upstream *upstream)
{
    uint32_t count;
    const struct conf_expanded *expanded = expanded_of(build, number, &count);
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = fill_server(build, &build->conf->upstreams[number], &expanded[i], upstream);
    return rc;
}

static int fill_upstream(struct conf_build *build, uint32_t number)
{
    const struct conf_upstream *from = &build->conf->upstreams[number];
    struct image_upstream *upstream = CONF_BUILD_ENTRY(build, upstreams, image_upstream, number);
    uint32_t server_count;
    (void)expanded_of(build, number, &server_count);
    int index = board_upstream_register(build->board, build->generation, slice_of(from->name));
    if (index < 0)
        return no_place(build, "upstream", from->name, index);
    *upstream = (struct image_upstream){
        .name = conf_build_text(build, from->name),
        .servers = conf_build_run(build->header->servers, build->servers, server_count,
                                  sizeof(struct image_server)),
        .hash_key = conf_build_template(build, from->hash_key),
        .sources = conf_build_run(build->header->sources, build->sources, from->source_count,
                                  sizeof(struct addr)),
        .policy = from->balance,
        .board_upstream = (uint32_t)index,
        .keepalive = from->keepalive,
        .tries = from->tries,
        .queue = from->queue,
        .queue_timeout_ms = from->queue_timeout_ms,
        .retry_timeout_ms = from->retry_timeout_ms,
        .max_ejected = from->max_ejected,
        .max_load = from->max_load,
    };
    for (uint32_t i = 0; i < from->source_count; i++)
        *CONF_BUILD_ENTRY(build, sources, addr, build->sources++) = from->sources[i].address;
    add_sticky(build, &from->sticky, upstream);
    add_health(build, &from->health, &upstream->health);
    fill_names(build, from);
    int rc = fill_servers(build, number, upstream);
    if (rc == 0)
        conf_image_tls_upstream(build, number);
    return rc;
}

/* The number of the upstream that a route names: conf_check has seen that there is one. */
static uint32_t find_upstream(const struct conf *conf, const char *name)
{
    uint32_t i = 0;
    if (!name)
        return UINT32_MAX; /* the route answers itself */
    while (i < conf->upstream_count && strcmp(conf->upstreams[i].name, name) != 0)
        i++;
    ASSERT(i < conf->upstream_count);
    return i;
}

static void fill_route(struct conf_build *build, const struct conf_site *site,
                       const struct conf_route *from)
{
    const struct conf_options *options = &from->options;
    struct image_route *route = CONF_BUILD_ENTRY(build, routes, image_route, build->routes++);
    *route = (struct image_route){
        .path = conf_build_text(build, from->path),
        .upstream = find_upstream(build->conf, from->upstream),
        .flags = (options->upgrade ? ROUTE_UPGRADE : 0u) |
                 (options->redirect_https ? ROUTE_REDIRECT_HTTPS : 0u),
        .connect_timeout_ms = options->connect_timeout_ms,
        .send_timeout_ms = options->send_timeout_ms,
        .response_timeout_ms = options->response_timeout_ms,
        .body_timeout_ms = options->body_timeout_ms,
        .idle_timeout_ms = options->idle_timeout_ms,
        .max_body = options->max_body,
        .host_header = conf_build_template(build, options->host_header),
        .x_forwarded_for = (uint8_t)options->x_forwarded_for,
        .x_forwarded_proto = (uint8_t)options->x_forwarded_proto,
        .x_forwarded_host = (uint8_t)options->x_forwarded_host,
        .x_real_ip = (uint8_t)options->x_real_ip,
        .x_client_cert = (uint8_t)options->x_client_cert,
        .hsts = conf_build_text(build, options->hsts),
    };
    conf_image_front_route(build, site, from, route);
}

static bool has_conditions(const struct conf_route *route)
{
    return route->method_count + route->header_count + route->subprotocol_count > 0;
}

/*
 * Exact paths, then regular expressions in the order of the file, then prefixes, the longest first. Of
 * the same path those with conditions come first, in the order of the file.
 */
static int compare_routes(const void *a, const void *b)
{
    static const int ranks[] = {[MATCH_EXACT] = 0, [MATCH_REGEX] = 1, [MATCH_PREFIX] = 2};
    const struct conf_route *x = *(const struct conf_route *const *)a;
    const struct conf_route *y = *(const struct conf_route *const *)b;
    int order = x->match != y->match ? ranks[x->match] - ranks[y->match] : 0;
    if (order == 0 && x->match != MATCH_REGEX) {
        size_t x_len = strlen(x->path), y_len = strlen(y->path);
        order = x_len != y_len ? (x_len < y_len) - (x_len > y_len) : strcmp(x->path, y->path);
        if (order == 0)
            order = has_conditions(y) - has_conditions(x);
    }
    return order != 0 ? order : (x > y) - (x < y);
}

static int fill_routes(struct conf_build *build, const struct conf_site *from)
{
    const struct conf_route **order = calloc(from->route_count + 1, sizeof(struct conf_route *));
    if (!order)
        return build->error = -ENOMEM;
    for (uint32_t i = 0; i < from->route_count; i++)
        order[i] = &from->routes[i];
    qsort(order, from->route_count, sizeof(struct conf_route *), compare_routes);
    for (uint32_t i = 0; i < from->route_count; i++)
        fill_route(build, from, order[i]);
    free(order);
    return 0;
}

static void fill_hosts(struct conf_build *build, const struct conf_site *from, uint32_t number)
{
    for (uint32_t i = 0; i < from->host_count; i++) {
        const char *name = from->hosts[i];
        bool wildcard = name[0] == '*' && name[1] == '.';
        if (strcmp(name, "*") == 0) {
            build->header->default_site = number;
            continue;
        }
        *CONF_BUILD_ENTRY(build, hosts, image_host, build->hosts++) = (struct image_host){
            .name = conf_build_text(build, name + wildcard),
            .wildcard = wildcard,
            .site = number,
        };
    }
    if (from->host_count == 0)
        build->header->default_site = number;
}

static int fill_site(struct conf_build *build, uint32_t number)
{
    const struct conf_site *from = &build->conf->sites[number];
    const char *name = from->host_count > 0 ? from->hosts[0] : "*";
    int index = board_site_register(build->board, build->generation, slice_of(name));
    if (index < 0)
        return no_place(build, "site", name, index);
    *CONF_BUILD_ENTRY(build, sites, image_site, number) = (struct image_site){
        .name = conf_build_text(build, name),
        .board_site = (uint32_t)index,
        .routes = conf_build_run(build->header->routes, build->routes, from->route_count,
                                 sizeof(struct image_route)),
    };
    fill_hosts(build, from, number);
    return fill_routes(build, from);
}

int conf_build_compare(const void *a, const void *b, void *context)
{
    const struct conf_build *build = context;
    const struct image_named x = image_check_named(a), y = image_check_named(b);
    struct slice x_name = {build->strings + (x.name.off - build->size), x.name.len};
    struct slice y_name = {build->strings + (y.name.off - build->size), y.name.len};
    return image_check_order(x.wildcard, x_name, y.wildcard, y_name);
}

static int fill(struct conf_build *build)
{
    fill_front(build);
    fill_listeners(build);
    conf_image_tls_fill(build);
    for (uint32_t i = 0; i < build->conf->upstream_count && !build->error; i++)
        fill_upstream(build, i);
    for (uint32_t i = 0; i < build->conf->site_count && !build->error; i++)
        fill_site(build, i);
    conf_image_front_fill(build);
    if (build->error)
        return build->error;
    qsort_r(build->bytes + build->header->hosts.off, build->hosts, sizeof(struct image_host),
            conf_build_compare, build);
    build->header->strings =
        (struct image_array){(uint32_t)build->size, (uint32_t)build->strings_used};
    build->header->size = build->size + build->strings_used;
    return build->header->size > UINT32_MAX ? -EFBIG : 0;
}

struct image_array conf_build_reserve(uint64_t *size, uint64_t count, size_t entry_size)
{
    struct image_array array = {.off = (uint32_t)*size, .count = (uint32_t)count};
    /* Every entry may hold 64-bit numbers. */
    *size = (*size + count * entry_size + 7) & ~UINT64_C(7);
    return array;
}

static uint32_t count_names(const struct conf_upstream *upstream)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < upstream->server_count; i++)
        count += upstream->servers[i].address.len == 0;
    return count;
}

/* Decide where the arrays stand, and allocate them. */
static int lay_out(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    uint64_t size = IMAGE_HEADER_SIZE;
    uint64_t hosts = 0, routes = 0, sources = 0, parts = 0, names = 0;
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        names += count_names(&conf->upstreams[i]);
        sources += conf->upstreams[i].source_count;
        parts += conf_build_count_parts(conf->upstreams[i].hash_key);
    }
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        for (uint32_t j = 0; j < site->host_count; j++)
            hosts += strcmp(site->hosts[j], "*") != 0;
        for (uint32_t j = 0; j < site->route_count; j++)
            parts += conf_build_count_parts(site->routes[j].options.host_header) +
                     conf_image_front_parts(&site->routes[j]);
        routes += site->route_count;
    }
    struct image_header header = {
        .magic = IMAGE_MAGIC,
        .version = IMAGE_VERSION,
        .generation = build->generation,
        .listeners = conf_build_reserve(&size, conf->listener_count, sizeof(struct image_listener)),
        .default_site = UINT32_MAX,
    };
    header.hosts = conf_build_reserve(&size, hosts, sizeof(struct image_host));
    header.sites = conf_build_reserve(&size, conf->site_count, sizeof(struct image_site));
    header.routes = conf_build_reserve(&size, routes, sizeof(struct image_route));
    header.upstreams =
        conf_build_reserve(&size, conf->upstream_count, sizeof(struct image_upstream));
    header.servers = conf_build_reserve(&size, build->expansion.count, sizeof(struct image_server));
    header.parts = conf_build_reserve(&size, parts, sizeof(struct image_part));
    header.sources = conf_build_reserve(&size, sources, sizeof(struct addr));
    header.names = conf_build_reserve(&size, names, sizeof(struct image_name));
    conf_image_tls_reserve(conf, &header, &size);
    conf_image_front_reserve(conf, &header, &size);
    for (uint32_t kind = 0; kind < IMAGE_KINDS; kind++)
        header.row_size[kind] = image_fit_row_size(kind);
    if (size > UINT32_MAX)
        return -EFBIG;
    build->bytes = calloc(1, size);
    if (!build->bytes)
        return -ENOMEM;
    build->size = size;
    build->header = (struct image_header *)(void *)build->bytes;
    *build->header = header;
    return 0;
}

static int write_all(int fd, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Before anything is registered on the board: there may be no descriptor. */
static int open_image(int *image)
{
    *image = memfd_create("holdfast-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return *image < 0 ? -errno : 0;
}

/* Written, not mapped: F_SEAL_WRITE is refused while a writable mapping exists. */
static int write_image(const struct conf_build *build, int image)
{
    int rc = write_all(image, build->bytes, build->size);
    if (rc == 0)
        rc = write_all(image, build->strings, build->strings_used);
    if (rc == 0 &&
        fcntl(image, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        rc = -errno;
    return rc;
}

static int publish_ring(const struct conf_build *build, struct ring_writer *writer, uint32_t number,
                        const struct image_server *servers)
{
    const struct image_upstream *upstream =
        CONF_BUILD_ENTRY(build, upstreams, image_upstream, number);
    uint32_t server_count, count = 0;
    const struct conf_expanded *expanded = expanded_of(build, number, &server_count);
    struct ring_server *ring = calloc(server_count + 1u, sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < server_count; i++) {
        if (servers[i].flags & BACKEND_BACKUP)
            continue;
        ring[count++] = (struct ring_server){.text = slice_of(expanded[i].ring),
                                             .weight = servers[i].weight,
                                             .backend = servers[i].backend};
    }
    int rc = count > 0 ? ring_publish(writer, upstream->board_upstream, ring, count) : 0;
    free(ring);
    return rc;
}

static const struct image_server *servers_of(const struct conf_build *build,
                                             const struct image_upstream *upstream)
{
    return (const struct image_server *)(const void *)(build->bytes + upstream->servers.off);
}

static int publish_rings(struct conf_build *build)
{
    struct ring_writer writer;
    ring_begin(&writer, build->board, build->generation);
    for (uint32_t i = 0; i < build->conf->upstream_count; i++) {
        const struct conf_upstream *from = &build->conf->upstreams[i];
        const struct image_upstream *upstream =
            CONF_BUILD_ENTRY(build, upstreams, image_upstream, i);
        if (from->balance != BALANCE_HASH)
            continue;
        int rc = publish_ring(build, &writer, i, servers_of(build, upstream));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * One that is no longer down, or draining, has come back. `told`: events about others so far. Returns
 * true if it is new, or has changed.
 */
static bool show_server(const struct conf_build *build, const struct image_server *server,
                        uint32_t told)
{
    struct board_backend *backend = board_backend(build->board, server->backend);
    const uint32_t away = BACKEND_DOWN | BACKEND_DRAIN;
    uint32_t told_drain =
        backend->flags & BACKEND_TOLD_DRAIN; /* until undrain, whatever is reloaded */
    uint32_t flags = server->flags | told_drain;
    bool same = backend->weight == server->weight && backend->flags == flags;
    if (!same && build->generation > 1 && told < NEWS_MAX)
        board_event(build->board, EVENT_WRITER,
                    "backend_%s backend=%s/%s weight=%u%s%s%s reason=%s",
                    backend->weight == 0 ? "added" : "set", backend->upstream, backend->server,
                    server->weight, server->flags & BACKEND_DOWN ? " down" : "",
                    server->flags & BACKEND_DRAIN ? " drain" : "",
                    server->flags & BACKEND_BACKUP ? " backup" : "", build->cause);
    if (backend->flags & away && !(server->flags & away) && !told_drain)
        STORE_RELAXED(&backend->recovered_ms, clock_mono_ms());
    STORE_RELAXED(&backend->weight, server->weight);
    STORE_RELAXED(&backend->flags, flags);
    STORE_RELAXED(&backend->max_conns, server->max_conns);
    STORE_RELAXED(&backend->max_fails, server->max_fails);
    STORE_RELAXED(&backend->fail_timeout_ms, server->fail_timeout_ms);
    STORE_RELAXED(&backend->slow_start_ms, server->slow_start_ms);
    return !same;
}

/* A draining server's time begins with the reload that says so first. Returns true if it begins, or ends. */
static bool show_drain(const struct conf_build *build, uint32_t index, uint32_t timeout_ms)
{
    struct board_backend *backend = board_backend(build->board, index);
    bool drains = timeout_ms != 0 && backend->flags & BACKEND_DRAINS;
    STORE_RELAXED(&backend->drain_timeout_ms, timeout_ms);
    return drains ? drain_begin(backend, build->conf->drain_window_ms) : drain_end(backend);
}

/*
 * Servers that the generation before named last: their tunnels live on, for drain_timeout if there is one.
 * Returns true if a time begins.
 */
static bool show_removed(const struct conf_build *build, uint32_t told)
{
    bool begins = false;
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX; i++) {
        struct board_backend *backend = board_backend(build->board, i);
        if (backend->upstream[0] == '\0')
            break;
        if (backend->used == 0 || backend->used + 1 != build->generation)
            continue;
        begins |= drain_begin(backend, build->conf->drain_window_ms);
        if (told++ < NEWS_MAX)
            board_event(build->board, EVENT_WRITER, "backend_removed backend=%s/%s reason=%s",
                        backend->upstream, backend->server, build->cause);
    }
    return begins;
}

/* What observers see beside the names. Cannot fail, so it comes last. */
static void show(const struct conf_build *build)
{
    uint32_t told = 0;
    bool waves = false;
    for (uint32_t i = 0; i < build->conf->upstream_count; i++) {
        const struct conf_upstream *from = &build->conf->upstreams[i];
        const struct image_upstream *upstream =
            CONF_BUILD_ENTRY(build, upstreams, image_upstream, i);
        const struct image_server *servers = servers_of(build, upstream);
        struct board_upstream *shown = board_upstream(build->board, upstream->board_upstream);
        STORE_RELAXED(&shown->policy, (uint32_t)from->balance);
        STORE_RELAXED(&shown->servers, upstream->servers.count);
        memset(shown->hash_key, 0, sizeof(shown->hash_key));
        if (from->hash_key)
            memcpy(shown->hash_key, from->hash_key, strlen(from->hash_key));
        STORE_RELAXED(&shown->max_load, from->max_load);
        STORE_RELAXED(&shown->max_ejected, from->max_ejected);
        STORE_RELAXED(&shown->shed, from->shed);
        STORE_RELAXED(&shown->shed_rate, from->shed_rate);
        for (uint32_t j = 0; j < upstream->servers.count; j++)
            told += show_server(build, &servers[j], told);
        for (uint32_t j = 0; j < upstream->servers.count; j++)
            waves |= show_drain(build, servers[j].backend, from->drain_timeout_ms);
    }
    waves |= show_removed(build, told);
    if (waves)
        board_wave_tell(build->board);
}

/* Which of a client's limits are there? */
static void demand_limits(const struct conf *conf, struct board_demand *demand)
{
    for (uint32_t i = 0; i < conf->site_count; i++) {
        for (uint32_t j = 0; j < conf->sites[i].route_count; j++) {
            const struct conf_options *options = &conf->sites[i].routes[j].options;
            demand->count_clients |= options->client_max_tunnels != 0;
            demand->pace_clients |= options->client_rate && options->client_rate[0] != '\0';
        }
    }
}

/* Nothing is written to the board that it might have no memory for. */
static int reserve_board(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    struct board_demand demand = {
        .generation = build->generation,
        .workers = reload_workers(conf),
        .backends = build->header->servers.count,
        .upstreams = conf->upstream_count,
        .sites = conf->site_count,
        .certificates = conf->certificate_count,
    };
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        uint32_t count;
        const struct conf_expanded *servers = expanded_of(build, i, &count);
        for (uint32_t j = 0; conf->upstreams[i].balance == BALANCE_HASH && j < count; j++)
            demand.ring_points += (uint64_t)servers[j].weight * KETAMA_POINTS_PER_WEIGHT;
    }
    demand_limits(conf, &demand);
    int rc = board_reserve_slots(build->board, demand.workers);
    if (rc == 0)
        rc = board_reserve_names(build->board, &demand);
    if (rc < 0) {
        fprintf(build->errors, "%s: no memory for the board: %s (is /dev/shm full?)\n", conf->path,
                strerror(-rc));
        build->told = true;
    }
    return rc;
}

static int build_image(struct conf_build *build, int *fd)
{
    int image = -1;
    *fd = -1;
    int rc = conf_expand(build->conf, &build->expansion);
    if (rc == 0)
        rc = lay_out(build);
    if (rc == 0)
        rc = reserve_board(build);
    if (rc == 0)
        rc = open_image(&image);
    if (rc == 0)
        rc = fill(build);
    if (rc == 0)
        rc = write_image(build, image);
    if (rc == 0)
        rc = publish_rings(build);
    if (rc == 0) {
        show(build);
        *fd = image;
    } else {
        if (image >= 0)
            close(image);
        if (!build->told)
            fprintf(build->errors, "%s: cannot compile the configuration: %s\n", build->conf->path,
                    strerror(-rc));
    }
    conf_expand_fini(&build->expansion);
    free(build->bytes);
    free(build->strings);
    return rc;
}

int conf_image_build(const struct conf *conf, const struct board *board, uint32_t generation,
                     int *fd, FILE *errors)
{
    struct conf_build build = {.conf = conf,
                               .board = board,
                               .errors = errors,
                               .generation = generation,
                               .cause = "reload"};
    return build_image(&build, fd);
}

int conf_image_follow(const struct conf *conf, const struct board *board, uint32_t generation,
                      int *fd, FILE *errors)
{
    struct conf_build build = {.conf = conf,
                               .board = board,
                               .errors = errors,
                               .generation = generation,
                               .cause = "resolved"};
    return build_image(&build, fd);
}
