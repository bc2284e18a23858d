/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From struct conf to the image. First everything that can fail: places on the board, the image,
 * the rings of a generation that nobody uses yet. Then what the running generation shows, too.
 */
#define _GNU_SOURCE 1
#include "master/conf.h"

#include "master/conf_template.h"
#include "shm/image_fit.h"
#include "shm/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The image in the making: arrays of known size in `bytes`, strings behind them in `strings`. */
struct build {
    const struct conf *conf;
    const struct board *board;
    FILE *errors;
    uint32_t generation;
    uint8_t *bytes;
    size_t size; /* of bytes: header and arrays */
    char *strings;
    size_t strings_used, strings_room;
    struct image_header *header;
    /* Entries used so far of the arrays that are shared by sites or upstreams. */
    uint32_t hosts, routes, servers, parts, sources;
    int error; /* first that happened while filling; 0: none */
    bool told; /* and whether it was printed */
};

static struct image_str add_string(struct build *build, const char *p, size_t n)
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

static struct image_str add_text(struct build *build, const char *text)
{
    return add_string(build, text, strlen(text));
}

static void *entry(const struct build *build, struct image_array array, uint32_t i, size_t size)
{
    ASSERT(i < array.count);
    return build->bytes + array.off + (size_t)i * size;
}

#define ENTRY(build, array, type, i)                                                               \
    ((struct type *)entry((build), (build)->header->array, (i), sizeof(struct type)))

/* The rest of a shared array, of which the caller will use `count`. */
static struct image_array run(struct image_array array, uint32_t used, uint32_t count, size_t size)
{
    ASSERT(count <= array.count - used);
    return (struct image_array){.off = array.off + (uint32_t)(used * size), .count = count};
}

static uint32_t count_parts(const char *text)
{
    struct conf_template template;
    /* It was parsed when it was read. */
    int rc = text ? conf_template_parse(&template, slice_of(text)) : -EINVAL;
    return rc == 0 ? template.count : 0;
}

static struct image_array add_template(struct build *build, const char *text)
{
    struct conf_template template;
    int rc = text ? conf_template_parse(&template, slice_of(text)) : -EINVAL;
    uint32_t count = rc == 0 ? template.count : 0;
    struct image_array parts =
        run(build->header->parts, build->parts, count, sizeof(struct image_part));
    for (uint32_t i = 0; i < count; i++) {
        *ENTRY(build, parts, image_part, build->parts++) = (struct image_part){
            .var = template.parts[i].var,
            .text = add_string(build, template.parts[i].text.p, template.parts[i].text.n),
        };
    }
    return parts;
}

/* Print why there is no place for a name, and pass the error on. */
static int no_place(struct build *build, const char *kind, const char *name, int error)
{
    fprintf(build->errors,
            "%s: %s \"%s\": the board has no place left (%s); names that were configured before "
            "keep theirs until the second reload after the last tunnel to them has ended\n",
            build->conf->path, kind, name, strerror(-error));
    build->told = true;
    return build->error = error;
}

static void fill_front(struct build *build)
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
    };
}

static void fill_listeners(struct build *build)
{
    for (uint32_t i = 0; i < build->conf->listener_count; i++) {
        const struct conf_listener *from = &build->conf->listeners[i];
        *ENTRY(build, listeners, image_listener, i) = (struct image_listener){
            .address = from->address,
            .text = add_text(build, from->text),
            .backlog = from->backlog,
        };
    }
}

static int fill_servers(struct build *build, const struct conf_upstream *from)
{
    for (uint32_t i = 0; i < from->server_count; i++) {
        const struct conf_server *server = &from->servers[i];
        int backend = board_backend_register(build->board, build->generation, slice_of(from->name),
                                             slice_of(server->text));
        if (backend < 0)
            return no_place(build, "server", server->text, backend);
        *ENTRY(build, servers, image_server, build->servers++) = (struct image_server){
            .address = server->address,
            .text = add_text(build, server->text),
            .backend = (uint32_t)backend,
            .weight = server->weight,
            .flags = server->down ? BACKEND_DOWN : 0,
        };
    }
    return 0;
}

static int fill_upstream(struct build *build, uint32_t number)
{
    const struct conf_upstream *from = &build->conf->upstreams[number];
    struct image_upstream *upstream = ENTRY(build, upstreams, image_upstream, number);
    int index = board_upstream_register(build->board, build->generation, slice_of(from->name));
    if (index < 0)
        return no_place(build, "upstream", from->name, index);
    *upstream = (struct image_upstream){
        .name = add_text(build, from->name),
        .servers = run(build->header->servers, build->servers, from->server_count,
                       sizeof(struct image_server)),
        .hash_key = add_template(build, from->hash_key),
        .sources =
            run(build->header->sources, build->sources, from->source_count, sizeof(struct addr)),
        .policy = from->balance,
        .board_upstream = (uint32_t)index,
        .keepalive = from->keepalive,
        .tries = from->tries,
    };
    for (uint32_t i = 0; i < from->source_count; i++)
        *ENTRY(build, sources, addr, build->sources++) = from->sources[i].address;
    return fill_servers(build, from);
}

/* The number of the upstream that a route names: conf_check has seen that there is one. */
static uint32_t find_upstream(const struct conf *conf, const char *name)
{
    uint32_t i = 0;
    while (i < conf->upstream_count && strcmp(conf->upstreams[i].name, name) != 0)
        i++;
    ASSERT(i < conf->upstream_count);
    return i;
}

static void fill_route(struct build *build, const struct conf_route *from)
{
    const struct conf_options *options = &from->options;
    *ENTRY(build, routes, image_route, build->routes++) = (struct image_route){
        .path = add_text(build, from->path),
        .upstream = find_upstream(build->conf, from->upstream),
        .flags = options->upgrade ? ROUTE_UPGRADE : 0,
        .connect_timeout_ms = options->connect_timeout_ms,
        .send_timeout_ms = options->send_timeout_ms,
        .response_timeout_ms = options->response_timeout_ms,
        .body_timeout_ms = options->body_timeout_ms,
        .idle_timeout_ms = options->idle_timeout_ms,
        .max_body = options->max_body,
        .host_header = add_template(build, options->host_header),
        .x_forwarded_for = (uint8_t)options->x_forwarded_for,
        .x_forwarded_proto = (uint8_t)options->x_forwarded_proto,
        .x_forwarded_host = (uint8_t)options->x_forwarded_host,
        .x_real_ip = (uint8_t)options->x_real_ip,
    };
}

/* Longest path first; of the same length by bytes, so that the image does not depend on qsort. */
static int compare_routes(const void *a, const void *b)
{
    const struct conf_route *x = *(const struct conf_route *const *)a;
    const struct conf_route *y = *(const struct conf_route *const *)b;
    size_t x_len = strlen(x->path), y_len = strlen(y->path);
    return x_len != y_len ? (x_len < y_len) - (x_len > y_len) : strcmp(x->path, y->path);
}

static int fill_routes(struct build *build, const struct conf_site *from)
{
    const struct conf_route **order = calloc(from->route_count + 1, sizeof(struct conf_route *));
    if (!order)
        return build->error = -ENOMEM;
    for (uint32_t i = 0; i < from->route_count; i++)
        order[i] = &from->routes[i];
    qsort(order, from->route_count, sizeof(struct conf_route *), compare_routes);
    for (uint32_t i = 0; i < from->route_count; i++)
        fill_route(build, order[i]);
    free(order);
    return 0;
}

static void fill_hosts(struct build *build, const struct conf_site *from, uint32_t number)
{
    for (uint32_t i = 0; i < from->host_count; i++) {
        const char *name = from->hosts[i];
        bool wildcard = name[0] == '*' && name[1] == '.';
        if (strcmp(name, "*") == 0) {
            build->header->default_site = number;
            continue;
        }
        *ENTRY(build, hosts, image_host, build->hosts++) = (struct image_host){
            .name = add_text(build, name + wildcard),
            .wildcard = wildcard,
            .site = number,
        };
    }
    if (from->host_count == 0)
        build->header->default_site = number;
}

static int fill_site(struct build *build, uint32_t number)
{
    const struct conf_site *from = &build->conf->sites[number];
    const char *name = from->host_count > 0 ? from->hosts[0] : "*";
    int index = board_site_register(build->board, build->generation, slice_of(name));
    if (index < 0)
        return no_place(build, "site", name, index);
    *ENTRY(build, sites, image_site, number) = (struct image_site){
        .name = add_text(build, name),
        .board_site = (uint32_t)index,
        .routes = run(build->header->routes, build->routes, from->route_count,
                      sizeof(struct image_route)),
    };
    fill_hosts(build, from, number);
    return fill_routes(build, from);
}

static int compare_hosts(const void *a, const void *b, void *context)
{
    const struct image_host *x = a, *y = b;
    const struct build *build = context;
    uint32_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
    if (x->wildcard != y->wildcard)
        return x->wildcard < y->wildcard ? -1 : 1;
    int order = memcmp(build->strings + (x->name.off - build->size),
                       build->strings + (y->name.off - build->size), n);
    return order != 0 ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int fill(struct build *build)
{
    fill_front(build);
    fill_listeners(build);
    for (uint32_t i = 0; i < build->conf->upstream_count && !build->error; i++)
        fill_upstream(build, i);
    for (uint32_t i = 0; i < build->conf->site_count && !build->error; i++)
        fill_site(build, i);
    if (build->error)
        return build->error;
    qsort_r(build->bytes + build->header->hosts.off, build->hosts, sizeof(struct image_host),
            compare_hosts, build);
    build->header->strings =
        (struct image_array){(uint32_t)build->size, (uint32_t)build->strings_used};
    build->header->size = build->size + build->strings_used;
    return build->header->size > UINT32_MAX ? -EFBIG : 0;
}

static struct image_array reserve(uint64_t *size, uint64_t count, size_t entry_size)
{
    struct image_array array = {.off = (uint32_t)*size, .count = (uint32_t)count};
    /* Every entry may hold 64-bit numbers. */
    *size = (*size + count * entry_size + 7) & ~UINT64_C(7);
    return array;
}

/* Decide where the arrays stand, and allocate them. */
static int lay_out(struct build *build)
{
    const struct conf *conf = build->conf;
    uint64_t size = IMAGE_HEADER_SIZE;
    uint64_t hosts = 0, routes = 0, servers = 0, sources = 0, parts = 0;
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        servers += conf->upstreams[i].server_count;
        sources += conf->upstreams[i].source_count;
        parts += count_parts(conf->upstreams[i].hash_key);
    }
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        for (uint32_t j = 0; j < site->host_count; j++)
            hosts += strcmp(site->hosts[j], "*") != 0;
        for (uint32_t j = 0; j < site->route_count; j++)
            parts += count_parts(site->routes[j].options.host_header);
        routes += site->route_count;
    }
    struct image_header header = {
        .magic = IMAGE_MAGIC,
        .version = IMAGE_VERSION,
        .generation = build->generation,
        .listeners = reserve(&size, conf->listener_count, sizeof(struct image_listener)),
        .default_site = UINT32_MAX,
    };
    header.hosts = reserve(&size, hosts, sizeof(struct image_host));
    header.sites = reserve(&size, conf->site_count, sizeof(struct image_site));
    header.routes = reserve(&size, routes, sizeof(struct image_route));
    header.upstreams = reserve(&size, conf->upstream_count, sizeof(struct image_upstream));
    header.servers = reserve(&size, servers, sizeof(struct image_server));
    header.parts = reserve(&size, parts, sizeof(struct image_part));
    header.sources = reserve(&size, sources, sizeof(struct addr));
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

/* Written, not mapped: F_SEAL_WRITE is refused while a writable mapping exists. */
static int to_memfd(const struct build *build, int *fd)
{
    int image = memfd_create("holdfast-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (image < 0)
        return -errno;
    int rc = write_all(image, build->bytes, build->size);
    if (rc == 0)
        rc = write_all(image, build->strings, build->strings_used);
    if (rc == 0 &&
        fcntl(image, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        rc = -errno;
    if (rc < 0)
        close(image);
    else
        *fd = image;
    return rc;
}

static int publish_ring(struct ring_writer *writer, const struct conf_upstream *from,
                        const struct image_upstream *upstream, const struct image_server *servers)
{
    struct ring_server *ring = calloc(from->server_count, sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    for (uint32_t i = 0; i < from->server_count; i++) {
        ring[i] = (struct ring_server){.text = slice_of(from->servers[i].text),
                                       .weight = servers[i].weight,
                                       .backend = servers[i].backend};
    }
    int rc = ring_publish(writer, upstream->board_upstream, ring, from->server_count);
    free(ring);
    return rc;
}

static const struct image_server *servers_of(const struct build *build,
                                             const struct image_upstream *upstream)
{
    return (const struct image_server *)(const void *)(build->bytes + upstream->servers.off);
}

static int publish_rings(struct build *build)
{
    struct ring_writer writer;
    ring_begin(&writer, build->board, build->generation);
    for (uint32_t i = 0; i < build->conf->upstream_count; i++) {
        const struct conf_upstream *from = &build->conf->upstreams[i];
        const struct image_upstream *upstream = ENTRY(build, upstreams, image_upstream, i);
        if (from->balance != BALANCE_HASH)
            continue;
        int rc = publish_ring(&writer, from, upstream, servers_of(build, upstream));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* What observers see beside the names. Cannot fail, so it comes last. */
static void show(const struct build *build)
{
    for (uint32_t i = 0; i < build->conf->upstream_count; i++) {
        const struct conf_upstream *from = &build->conf->upstreams[i];
        const struct image_upstream *upstream = ENTRY(build, upstreams, image_upstream, i);
        const struct image_server *servers = servers_of(build, upstream);
        struct board_upstream *shown = board_upstream(build->board, upstream->board_upstream);
        STORE_RELAXED(&shown->policy, (uint32_t)from->balance);
        STORE_RELAXED(&shown->servers, from->server_count);
        memset(shown->hash_key, 0, sizeof(shown->hash_key));
        if (from->hash_key)
            memcpy(shown->hash_key, from->hash_key, strlen(from->hash_key));
        for (uint32_t j = 0; j < from->server_count; j++) {
            struct board_backend *backend = board_backend(build->board, servers[j].backend);
            STORE_RELAXED(&backend->weight, servers[j].weight);
            STORE_RELAXED(&backend->flags, servers[j].flags);
        }
    }
}

int conf_image_build(const struct conf *conf, const struct board *board, uint32_t generation,
                     int *fd, FILE *errors)
{
    struct build build = {.conf = conf, .board = board, .errors = errors, .generation = generation};
    int image = -1;
    *fd = -1;
    int rc = lay_out(&build);
    if (rc == 0)
        rc = fill(&build);
    if (rc == 0)
        rc = to_memfd(&build, &image);
    if (rc == 0)
        rc = publish_rings(&build);
    if (rc == 0) {
        show(&build);
        *fd = image;
    } else {
        if (image >= 0)
            close(image);
        if (!build.told)
            fprintf(errors, "%s: cannot compile the configuration: %s\n", conf->path,
                    strerror(-rc));
    }
    free(build.bytes);
    free(build.strings);
    return rc;
}
