/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of the configuration ("$remote_addr:$arg_room"), filled in for one request. */
#ifndef WORKER_TEMPLATE_H
#define WORKER_TEMPLATE_H

#include "common/http_head.h"
#include "shm/image.h"

/* What the variables of one request are; all borrowed. */
struct template_vars {
    const struct addr *client;
    const struct http_head *head;
    const char *head_buf;
    struct slice host;          /* lower case, without port */
    struct slice uri;           /* normalised path */
    struct slice rest;          /* what of uri follows the route's path */
    const struct slice *groups; /* PATTERN_GROUPS of them, of its regular expression; NULL: none */
    struct slice backend;       /* chosen server as written; empty before */
    uint16_t server_port;
    bool tls;
};

/*
 * Write the template's value to out[0..size). Returns its length, or -ENOSPC. No NUL is added. A
 * variable without value is the empty string.
 */
int template_eval(const struct image *image, struct image_array parts,
                  const struct template_vars *vars, char *out, size_t size) MUST_CHECK;

/* Value of the cookie of this name, of the first field that has it; empty without. Borrows head_buf. */
struct slice template_cookie(const struct http_head *head, const char *head_buf, struct slice name);

#endif
