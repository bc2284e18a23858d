/* SPDX-License-Identifier: Apache-2.0 */
/* The check that makes an image safe to use: part of image_open. */
#ifndef SHM_IMAGE_CHECK_H
#define SHM_IMAGE_CHECK_H

#include "shm/image.h"

/*
 * Check `size` mapped bytes as an image, once and whole: afterwards every offset, run, index and enum
 * in it may be followed without a further look. Rows must have our sizes. Any process; reads only [header, header + size).
 * Returns 0, -EPROTO (not an image), -EPROTONOSUPPORT (another version) or -EBADMSG.
 */
int image_check(const struct image_header *header, uint64_t size) MUST_CHECK;

/* What hosts and names of certificates begin with, and are sorted by. */
struct image_named {
    struct image_str name;
    uint32_t wildcard;
};
struct image_named image_check_named(const void *host_or_cert_name);

/* The order of hosts: by wildcard, then name. < 0, 0, > 0 as memcmp. */
int image_check_order(uint32_t a_wildcard, struct slice a, uint32_t b_wildcard, struct slice b);

/* A run of a shared array: begins at an entry and ends inside. */
bool image_check_run(struct image_array whole, struct image_array run, size_t size) MUST_CHECK;

/* A string inside the strings, or an empty one. */
bool image_check_str(const struct image_header *header, struct image_str str) MUST_CHECK;

/* shm/image_check_front.c: the arrays hold; what do the rows say of who may come in? */
bool image_check_front(const struct image_header *header) MUST_CHECK;

#endif
