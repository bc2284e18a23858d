/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "shm/image.h"

#include "shm/image_check.h"
#include "shm/image_fit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Without these somebody could change the image behind the check. */
enum { SEALS = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK };

/* The image of another program, with rows of other sizes, is exchanged for a copy with ours. */
static int make_ours(struct image_header **mapped, uint64_t *size)
{
    struct image_header *theirs = *mapped;
    uint64_t theirs_size = *size;
    if (theirs->magic != IMAGE_MAGIC || theirs->version != IMAGE_VERSION ||
        image_fit_is_ours(theirs))
        return 0; /* image_check has the word */
    int rc = image_fit(theirs, theirs_size, mapped, size);
    if (rc == 0)
        munmap(theirs, theirs_size);
    return rc;
}

/* Once for each process that opens it; the master has tried them before. */
static int compile_patterns(struct image *image)
{
    char why[PATTERN_WHY_MAX];
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < image->header->routes.count; i++) {
        const struct image_route *route = image_route(image, i);
        if (route->match != MATCH_REGEX)
            continue;
        if (!image->patterns)
            image->patterns = calloc(image->header->routes.count, sizeof(struct pattern *));
        rc = image->patterns
                 ? pattern_new(&image->patterns[i], image_slice(image, route->path), why)
                 : -ENOMEM;
    }
    return rc == -EINVAL ? -EBADMSG : rc;
}

int image_open(struct image **out, int fd)
{
    struct stat st;
    *out = NULL;
    if (fstat(fd, &st) < 0)
        return -errno;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || st.st_size < IMAGE_HEADER_SIZE)
        return -EPROTO;
    struct image *image = malloc(sizeof(*image));
    if (!image)
        return -ENOMEM;
    /* Private: older kernels refuse a shared mapping of a descriptor that is sealed and writable. */
    struct image_header *mapped = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    uint64_t size = (uint64_t)st.st_size;
    int rc = mapped == MAP_FAILED ? -errno : make_ours(&mapped, &size);
    if (rc == 0)
        rc = image_check(mapped, size);
    if (rc < 0) {
        if (mapped != MAP_FAILED)
            munmap(mapped, size);
        free(image);
        return rc;
    }
    *image = (struct image){.header = mapped, .size = size, .references = 1};
    rc = compile_patterns(image);
    if (rc < 0) {
        image_release(&image);
        return rc;
    }
    *out = image;
    return 0;
}

struct image *image_acquire(struct image *image)
{
    ASSERT(image->references > 0);
    image->references++;
    return image;
}

void image_release(struct image **image)
{
    struct image *held = *image;
    *image = NULL;
    if (!held)
        return;
    ASSERT(held->references > 0);
    if (--held->references > 0)
        return;
    for (uint32_t i = 0; held->patterns && i < held->header->routes.count; i++)
        pattern_free(&held->patterns[i]);
    free(held->patterns);
    munmap((void *)(uintptr_t)held->header, (size_t)held->size);
    free(held);
}

static const void *entry(const struct image *image, struct image_array array, uint32_t index,
                         size_t size)
{
    ASSERT(index < array.count);
    return (const char *)image->header + array.off + (size_t)index * size;
}

const struct image_listener *image_listener(const struct image *image, uint32_t index)
{
    return entry(image, image->header->listeners, index, sizeof(struct image_listener));
}

const struct image_site *image_site(const struct image *image, uint32_t index)
{
    return entry(image, image->header->sites, index, sizeof(struct image_site));
}

const struct image_route *image_route(const struct image *image, uint32_t index)
{
    return entry(image, image->header->routes, index, sizeof(struct image_route));
}

const struct image_upstream *image_upstream(const struct image *image, uint32_t index)
{
    return entry(image, image->header->upstreams, index, sizeof(struct image_upstream));
}

const struct image_server *image_server(const struct image *image, uint32_t index)
{
    return entry(image, image->header->servers, index, sizeof(struct image_server));
}

const struct image_name *image_name(const struct image *image, uint32_t index)
{
    return entry(image, image->header->names, index, sizeof(struct image_name));
}

const struct image_server *image_upstream_server(const struct image *image,
                                                 const struct image_upstream *upstream, uint32_t i)
{
    return entry(image, upstream->servers, i, sizeof(struct image_server));
}

const struct addr *image_upstream_source(const struct image *image,
                                         const struct image_upstream *upstream, uint32_t i)
{
    return entry(image, upstream->sources, i, sizeof(struct addr));
}

const struct image_part *image_part(const struct image *image, struct image_array parts, uint32_t i)
{
    return entry(image, parts, i, sizeof(struct image_part));
}

const struct image_certificate *image_certificate(const struct image *image, uint32_t index)
{
    return entry(image, image->header->certificates, index, sizeof(struct image_certificate));
}

uint32_t image_choice(const struct image *image, struct image_array choices, uint32_t i)
{
    return *(const uint32_t *)entry(image, choices, i, sizeof(uint32_t));
}

struct slice image_text(const struct image *image, struct image_array texts, uint32_t i)
{
    const struct image_text *text = entry(image, texts, i, sizeof(struct image_text));
    return image_slice(image, text->text);
}

uint8_t image_verdict(const struct image *image, struct image_array tree,
                      const struct addr *address)
{
    const char *base = (const char *)image->header;
    return prefix_tree_find((const struct prefix_node *)(const void *)(base + tree.off), tree.count,
                            address);
}

struct slice image_slice(const struct image *image, struct image_str str)
{
    return (struct slice){(const char *)image->header + str.off, str.len};
}

static const void *find_named(const struct image *image, struct image_array array, size_t size,
                              uint32_t wildcard, struct slice name)
{
    uint32_t from = 0, to = array.count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        const void *at = entry(image, array, middle, size);
        const struct image_named named = image_check_named(at);
        int order =
            image_check_order(wildcard, name, named.wildcard, image_slice(image, named.name));
        if (order == 0)
            return at;
        if (order < 0)
            to = middle;
        else
            from = middle + 1;
    }
    return NULL;
}

static const struct image_host *find_host(const struct image *image, uint32_t wildcard,
                                          struct slice name)
{
    return find_named(image, image->header->hosts, sizeof(struct image_host), wildcard, name);
}

/* Wildcards begin with a dot: try what stands from each dot on, the longest first. */
static const struct image_host *find_wildcard(const struct image *image, struct slice name)
{
    while (name.n > 1) {
        const char *dot = memchr(name.p + 1, '.', name.n - 1);
        if (!dot)
            return NULL;
        name = (struct slice){dot, name.n - (size_t)(dot - name.p)};
        const struct image_host *host = find_host(image, 1, name);
        if (host)
            return host;
    }
    return NULL;
}

const struct image_site *image_find_site(const struct image *image, struct slice host)
{
    const struct image_host *found = find_host(image, 0, host);
    if (!found)
        found = find_wildcard(image, host);
    uint32_t site = found ? found->site : image->header->default_site;
    return site == UINT32_MAX ? NULL : image_site(image, site);
}

struct image_array image_find_certificates(const struct image *image, struct slice name)
{
    struct image_array names = image->header->cert_names;
    size_t size = sizeof(struct image_cert_name);
    const struct image_cert_name *found = find_named(image, names, size, 0, name);
    const char *dot = !found && name.n > 0 ? memchr(name.p, '.', name.n) : NULL;
    /* A label stands in front of it: ".example.com" is nobody's name. */
    if (dot && dot > name.p) {
        struct slice rest = {dot, name.n - (size_t)(dot - name.p)};
        found = find_named(image, names, size, 1, rest);
    }
    return found ? found->choices : image->header->tls.choices;
}

const struct image_edit *image_edit(const struct image *image, struct image_array edits, uint32_t i)
{
    return entry(image, edits, i, sizeof(struct image_edit));
}

const struct image_page *image_page(const struct image *image, struct image_array pages, uint32_t i)
{
    return entry(image, pages, i, sizeof(struct image_page));
}

static uint32_t number_of(const struct image *image, const struct image_route *route)
{
    const char *first = (const char *)image->header + image->header->routes.off;
    return (uint32_t)((size_t)((const char *)route - first) / sizeof(struct image_route));
}

static bool path_fits(const struct image *image, const struct image_route *route, struct slice path,
                      struct slice groups[PATTERN_GROUPS])
{
    struct slice unused[PATTERN_GROUPS];
    switch ((enum image_match)route->match) {
    case MATCH_PREFIX: return slice_starts(path, image_slice(image, route->path));
    case MATCH_EXACT: return slice_eq(path, image_slice(image, route->path));
    case MATCH_REGEX:
        return image->patterns && pattern_match(image->patterns[number_of(image, route)], path,
                                                groups ? groups : unused) == 1;
    }
    return false;
}

const struct image_route *image_find_route(const struct image *image, const struct image_site *site,
                                           struct slice path, const struct image_route *after,
                                           struct slice groups[PATTERN_GROUPS])
{
    uint32_t i = 0;
    if (after)
        i = number_of(image, after) + 1 -
            (site->routes.off - image->header->routes.off) / (uint32_t)sizeof(struct image_route);
    for (; i < site->routes.count; i++) {
        const struct image_route *route = entry(image, site->routes, i, sizeof(struct image_route));
        if (path_fits(image, route, path, groups))
            return route;
    }
    return NULL;
}
