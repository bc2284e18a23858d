/* SPDX-License-Identifier: Apache-2.0 */
/* What a route is and does beside its upstream: patterns, conditions, changed heads, own answers. */
#ifndef MASTER_CONF_ROUTE_H
#define MASTER_CONF_ROUTE_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct conf;
struct conf_build;
struct conf_errors;
struct conf_route;
struct image_header;
struct image_route;

enum { CONF_PAGE_MAX = 8192 }; /* bytes of an own answer's body */

/* A file of error_pages, known by its text's address: sites and routes share lists. */
struct conf_page {
    const char *text; /* "503 PATH" */
    uint32_t status;
    char body[CONF_PAGE_MAX];
    size_t size;
    struct conf_page *next;
};

/* One of request_headers, cut: what is to be done, the name and the template. */
struct conf_edit {
    uint32_t kind; /* enum image_edit_kind */
    struct slice name;
    struct slice value;
};

/* NULL, or what is wrong with the text. */
const char *conf_route_edit(const char *text, struct conf_edit *edit);

/* Read the files of error_pages, with `files`. Errors are printed and counted. Returns 0 or -ENOMEM. */
int conf_route_read(struct conf *conf, struct conf_errors *errors, bool files) MUST_CHECK;

/* Rules of these keys. */
void conf_route_check(const struct conf *conf, struct conf_errors *errors);

/* Free what conf_route_read has made. */
void conf_route_fini(struct conf *conf);

/* A file of `path`, relative to the configuration's directory; NULL with errno (ENODEV: it is no file). */
FILE *conf_route_open(const struct conf *conf, const char *path);

/* ---- conf_image_route.c ---- */

/* Reserve the arrays in `header`, texts included; parts that a route needs; fill in one route. */
void conf_image_route_reserve(const struct conf *conf, struct image_header *header, uint64_t *size);
uint64_t conf_image_route_texts(const struct conf_route *route);
uint32_t conf_image_route_parts(const struct conf_route *route);
void conf_image_route_fill(struct conf_build *build, const struct conf_route *from,
                           struct image_route *route);

#endif
