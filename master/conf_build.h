/* SPDX-License-Identifier: Apache-2.0 */
/* The image in the making, among the files that make it: conf_image.c and conf_image_*.c. */
#ifndef MASTER_CONF_BUILD_H
#define MASTER_CONF_BUILD_H

#include "master/conf.h"
#include "master/conf_expand.h"

/* Arrays of known size in `bytes`, strings behind them in `strings`. */
struct conf_build {
    const struct conf *conf;
    const struct board *board;
    FILE *errors;
    uint32_t generation;
    const char *cause; /* of what changes, for the board's events */
    uint8_t *bytes;
    size_t size; /* of bytes: header and arrays */
    char *strings;
    size_t strings_used, strings_room;
    struct image_header *header;
    /* Entries used so far of the arrays that are shared by sites, upstreams or certificates. */
    uint32_t hosts, routes, servers, parts, sources, names, cert_names, choices, texts, edits,
        pages;
    struct conf_expansion expansion; /* servers, with their names resolved */
    int error;                       /* first that happened while filling; 0: none */
    bool told;                       /* and whether it was printed */
};

/* Append to the strings; an error is kept in `build`. */
struct image_str conf_build_string(struct conf_build *build, const void *p, size_t n);
struct image_str conf_build_text(struct conf_build *build, const char *text);

/* Entry `i` of an array. */
void *conf_build_entry(const struct conf_build *build, struct image_array array, uint32_t i,
                       size_t size);

#define CONF_BUILD_ENTRY(build, array, type, i)                                                    \
    ((struct type *)conf_build_entry((build), (build)->header->array, (i), sizeof(struct type)))

/* The rest of a shared array, of which the caller will use `count`. */
struct image_array conf_build_run(struct image_array array, uint32_t used, uint32_t count,
                                  size_t size);

/* Room for an array at *size, which moves on. */
struct image_array conf_build_reserve(uint64_t *size, uint64_t count, size_t entry_size);

/* An array of texts. */
struct image_array conf_build_texts(struct conf_build *build, char *const *texts, uint32_t count);

/* The parts of a template (NULL: none), and how many there are. */
struct image_array conf_build_template(struct conf_build *build, const char *text);
uint32_t conf_build_count_parts(const char *text);

/* Names in the order in which an image holds hosts and names of certificates; for qsort_r. */
int conf_build_compare(const void *a, const void *b, void *build);

/* ---- conf_image_tls.c ---- */

/* Reserve the arrays of certificates in `header`. */
void conf_image_tls_reserve(const struct conf *conf, struct image_header *header, uint64_t *size);

/* Fill in the group `tls` and all certificates. */
void conf_image_tls_fill(struct conf_build *build);

/* What a server must be called in its certificate; empty: the upstream has no TLS. */
struct image_str conf_image_tls_name(struct conf_build *build, const struct conf_upstream *upstream,
                                     const struct conf_server *server);

/* The part of upstream `number` that is about TLS, but for its servers. */
void conf_image_tls_upstream(struct conf_build *build, uint32_t number);

#endif
