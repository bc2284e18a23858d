/* SPDX-License-Identifier: Apache-2.0 */
/* Who may come in, as the configuration says it: lists of prefixes, origins, limits. Master only. */
#ifndef MASTER_CONF_FRONT_H
#define MASTER_CONF_FRONT_H

#include "common/compiler.h"
#include "common/prefix_tree.h"

#include <stdint.h>

struct conf;
struct conf_build;
struct conf_errors;
struct conf_route;
struct conf_site;
struct image_header;
struct image_route;

/*
 * The prefixes of two lists together, those of their files included, as a tree. Sites and
 * routes that have a list from above have the same one, so it is known by the addresses of its texts.
 */
struct conf_prefixes {
    char *const *allow;
    char *const *deny;
    struct prefix_node *nodes;
    uint32_t count; /* of nodes */
    struct conf_prefixes *next;
};

/*
 * Read all lists and, with `files`, the files that they name, relative to the configuration's
 * directory. Errors are printed and counted. Returns 0 or -ENOMEM.
 */
int conf_front_read(struct conf *conf, struct conf_errors *errors, bool files) MUST_CHECK;

/* What these two lists came to; NULL: nothing was read of them. */
const struct conf_prefixes *conf_front_find(const struct conf *conf, char *const *allow,
                                            char *const *deny);

/* Rules of these keys. */
void conf_front_check(const struct conf *conf, struct conf_errors *errors);

/* Free what conf_front_read has made. */
void conf_front_fini(struct conf *conf);

/* ---- conf_image_front.c ---- */

/* Reserve the arrays in `header`. */
void conf_image_front_reserve(const struct conf *conf, struct image_header *header, uint64_t *size);

/* Parts of templates that a route needs. */
uint32_t conf_image_front_parts(const struct conf_route *route);

/* Fill them, and what of it concerns listeners, sites and upstreams: their rows stand already. */
void conf_image_front_fill(struct conf_build *build);

/* What of it concerns one route of this site. */
void conf_image_front_route(struct conf_build *build, const struct conf_site *site,
                            const struct conf_route *from, struct image_route *route);

#endif
