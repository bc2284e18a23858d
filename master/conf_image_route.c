/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions, changed heads and own answers of routes, compiled (master/conf_route.h). */
#include "master/conf_build.h"

#include <stdlib.h>

uint64_t conf_image_route_texts(const struct conf_route *route)
{
    return (uint64_t)route->method_count + route->header_count + route->subprotocol_count;
}

void conf_image_route_reserve(const struct conf *conf, struct image_header *header, uint64_t *size)
{
    uint64_t edits = 0, pages = 0;
    for (uint32_t i = 0; i < conf->site_count; i++) {
        for (uint32_t j = 0; j < conf->sites[i].route_count; j++) {
            const struct conf_options *options = &conf->sites[i].routes[j].options;
            edits += (uint64_t)options->request_header_count + options->response_header_count;
            pages += options->error_page_count;
        }
    }
    header->edits = conf_build_reserve(size, edits, sizeof(struct image_edit));
    header->pages = conf_build_reserve(size, pages, sizeof(struct image_page));
}

static uint32_t count_parts(char *const *edits, uint32_t count)
{
    uint32_t parts = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct conf_edit edit;
        if (!conf_route_edit(edits[i], &edit) && edit.kind != EDIT_REMOVE)
            parts += conf_build_count_parts(edit.value.p);
    }
    return parts;
}

uint32_t conf_image_route_parts(const struct conf_route *route)
{
    const struct conf_options *options = &route->options;
    return conf_build_count_parts(route->rewrite) + conf_build_count_parts(route->location) +
           count_parts(options->request_headers, options->request_header_count) +
           count_parts(options->response_headers, options->response_header_count);
}

static struct image_array add_edits(struct conf_build *build, char *const *texts, uint32_t count)
{
    struct image_array run =
        conf_build_run(build->header->edits, build->edits, count, sizeof(struct image_edit));
    for (uint32_t i = 0; i < count; i++) {
        struct conf_edit edit;
        const char *why = conf_route_edit(texts[i], &edit);
        ASSERT(!why);
        *CONF_BUILD_ENTRY(build, edits, image_edit, build->edits++) = (struct image_edit){
            .name = conf_build_string(build, edit.name.p, edit.name.n),
            .value = conf_build_template(build, edit.kind == EDIT_REMOVE ? NULL : edit.value.p),
            .kind = edit.kind,
        };
    }
    return run;
}

static struct image_array add_pages(struct conf_build *build, char *const *texts, uint32_t count)
{
    struct image_array run =
        conf_build_run(build->header->pages, build->pages, count, sizeof(struct image_page));
    for (uint32_t i = 0; i < count; i++) {
        const struct conf_page *page = build->conf->pages;
        while (page && page->text != texts[i])
            page = page->next;
        ASSERT(page);
        *CONF_BUILD_ENTRY(build, pages, image_page, build->pages++) = (struct image_page){
            .body = conf_build_string(build, page->body, page->size),
            .status = page->status,
        };
    }
    return run;
}

void conf_image_route_fill(struct conf_build *build, const struct conf_route *from,
                           struct image_route *route)
{
    const struct conf_options *options = &from->options;
    route->match = from->match;
    route->methods = conf_build_texts(build, from->methods, from->method_count);
    route->headers = conf_build_texts(build, from->headers, from->header_count);
    route->subprotocols = conf_build_texts(build, from->subprotocols, from->subprotocol_count);
    route->rewrite = conf_build_template(build, from->rewrite);
    route->request_edits =
        add_edits(build, options->request_headers, options->request_header_count);
    route->response_edits =
        add_edits(build, options->response_headers, options->response_header_count);
    route->pages = add_pages(build, options->error_pages, options->error_page_count);
    route->status = from->status;
    route->location = conf_build_template(build, from->location);
    route->body = conf_build_text(build, from->body);
    route->content_type = conf_build_text(build, from->content_type);
}
