/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/image_fit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 8, ROW_MAX = 4096 };

static const struct {
    uint16_t array; /* offset in the header */
    uint16_t size;
} kinds[IMAGE_KINDS] = {
#define KIND(name, type)                                                                           \
    {                                                                                              \
        offsetof(struct image_header, name), sizeof(struct type)                                   \
    }
    [IMAGE_LISTENERS] = KIND(listeners, image_listener),
    [IMAGE_HOSTS] = KIND(hosts, image_host),
    [IMAGE_SITES] = KIND(sites, image_site),
    [IMAGE_ROUTES] = KIND(routes, image_route),
    [IMAGE_UPSTREAMS] = KIND(upstreams, image_upstream),
    [IMAGE_SERVERS] = KIND(servers, image_server),
    [IMAGE_PARTS] = KIND(parts, image_part),
    [IMAGE_SOURCES] = KIND(sources, addr),
    [IMAGE_CERTIFICATES] = KIND(certificates, image_certificate),
    [IMAGE_CERT_NAMES] = KIND(cert_names, image_cert_name),
    [IMAGE_NAMES] = KIND(names, image_name),
    [IMAGE_PREFIXES] = KIND(prefixes, prefix_node),
    [IMAGE_TEXTS] = KIND(texts, image_text),
    [IMAGE_EDITS] = KIND(edits, image_edit),
    [IMAGE_PAGES] = KIND(pages, image_page),
#undef KIND
};

/* Fields of rows that are runs of another array: their offsets move with it. */
static const struct {
    enum image_kind holder;
    enum image_kind target;
    size_t field;
} runs[] = {
    {IMAGE_SITES, IMAGE_ROUTES, offsetof(struct image_site, routes)},
    {IMAGE_ROUTES, IMAGE_PARTS, offsetof(struct image_route, host_header)},
    {IMAGE_ROUTES, IMAGE_PARTS, offsetof(struct image_route, client_key)},
    {IMAGE_ROUTES, IMAGE_PREFIXES, offsetof(struct image_route, trusted)},
    {IMAGE_ROUTES, IMAGE_PREFIXES, offsetof(struct image_route, access)},
    {IMAGE_ROUTES, IMAGE_TEXTS, offsetof(struct image_route, origins)},
    {IMAGE_ROUTES, IMAGE_TEXTS, offsetof(struct image_route, methods)},
    {IMAGE_ROUTES, IMAGE_TEXTS, offsetof(struct image_route, headers)},
    {IMAGE_ROUTES, IMAGE_TEXTS, offsetof(struct image_route, subprotocols)},
    {IMAGE_ROUTES, IMAGE_PARTS, offsetof(struct image_route, rewrite)},
    {IMAGE_ROUTES, IMAGE_PARTS, offsetof(struct image_route, location)},
    {IMAGE_ROUTES, IMAGE_EDITS, offsetof(struct image_route, request_edits)},
    {IMAGE_ROUTES, IMAGE_EDITS, offsetof(struct image_route, response_edits)},
    {IMAGE_ROUTES, IMAGE_PAGES, offsetof(struct image_route, pages)},
    {IMAGE_EDITS, IMAGE_PARTS, offsetof(struct image_edit, value)},
    {IMAGE_LISTENERS, IMAGE_PREFIXES, offsetof(struct image_listener, trusted)},
    {IMAGE_UPSTREAMS, IMAGE_SERVERS, offsetof(struct image_upstream, servers)},
    {IMAGE_UPSTREAMS, IMAGE_PARTS, offsetof(struct image_upstream, hash_key)},
    {IMAGE_UPSTREAMS, IMAGE_SOURCES, offsetof(struct image_upstream, sources)},
};

static struct image_array *array_of(struct image_header *header, uint32_t kind)
{
    return (struct image_array *)(void *)((uint8_t *)header + kinds[kind].array);
}

uint16_t image_fit_row_size(enum image_kind kind)
{
    return kinds[kind].size;
}

bool image_fit_is_ours(const struct image_header *header)
{
    for (uint32_t kind = 0; kind < IMAGE_KINDS; kind++) {
        if (header->row_size[kind] != kinds[kind].size)
            return false;
    }
    return true;
}

/* Rows of their size, inside what there is. A kind that they do not know has none. */
static bool rows_hold(struct image_array array, uint16_t row, uint64_t size)
{
    if (array.count == 0)
        return true;
    return row > 0 && row <= ROW_MAX && row % 4 == 0 && array.off % ALIGNMENT == 0 &&
           array.off <= size && (uint64_t)array.count * row <= size - array.off;
}

/* Behind everything else; the old rows stay where they are, unused. */
static void move_rows(struct image_header *copy, uint32_t kind, uint64_t *end)
{
    struct image_array *array = array_of(copy, kind);
    uint32_t from = copy->row_size[kind];
    uint32_t to = kinds[kind].size;
    uint8_t *base = (uint8_t *)copy;
    for (uint32_t i = 0; i < array->count; i++)
        memcpy(base + *end + (size_t)i * to, base + array->off + (size_t)i * from,
               from < to ? from : to);
    array->off = (uint32_t)*end;
    *end = (*end + (uint64_t)array->count * to + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

static int move_run(const struct image_header *old, struct image_header *copy, uint32_t run)
{
    const struct image_array *holder = array_of(copy, runs[run].holder);
    const struct image_array *now = array_of(copy, runs[run].target);
    uint32_t was_off;
    memcpy(&was_off, (const uint8_t *)old + kinds[runs[run].target].array, sizeof was_off);
    uint32_t from = old->row_size[runs[run].target];
    uint32_t to = kinds[runs[run].target].size;
    for (uint32_t i = 0; i < holder->count; i++) {
        struct image_array *field =
            (struct image_array *)(void *)((uint8_t *)copy + holder->off +
                                           (size_t)i * kinds[runs[run].holder].size +
                                           runs[run].field);
        if (field->count == 0) {
            field->off = now->off; /* also a run that they do not have */
            continue;
        }
        if (from == 0 || field->off < was_off || (field->off - was_off) % from != 0 ||
            (field->off - was_off) / from > now->count)
            return -EBADMSG;
        field->off = now->off + (field->off - was_off) / from * to;
    }
    return 0;
}

int image_fit(const struct image_header *header, uint64_t size, struct image_header **out,
              uint64_t *out_size)
{
    struct image_header old = *header;
    uint64_t end = (size + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    uint64_t room = end;
    for (uint32_t kind = 0; kind < IMAGE_KINDS; kind++) {
        struct image_array array = *array_of(&old, kind);
        if (!rows_hold(array, old.row_size[kind], size))
            return -EBADMSG;
        room += (uint64_t)array.count * kinds[kind].size + ALIGNMENT;
    }
    if (old.size != size || room > UINT32_MAX)
        return -EBADMSG;
    struct image_header *copy =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return -errno;
    memcpy(copy, header, size);
    for (uint32_t kind = 0; kind < IMAGE_KINDS; kind++)
        move_rows(copy, kind, &end);
    int error = 0;
    for (uint32_t run = 0; !error && run < ARRAY_LEN(runs); run++)
        error = move_run(&old, copy, run);
    if (error) {
        munmap(copy, room);
        return error;
    }
    for (uint32_t kind = 0; kind < IMAGE_KINDS; kind++)
        copy->row_size[kind] = kinds[kind].size;
    copy->size = room;
    *out = copy;
    *out_size = room;
    return 0;
}
