/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of servers, resolved without blocking and again by their TTL; answers go to the master, which makes
 * an image of them (names.h). A lookup that fails leaves the last good answer in force. In the
 * checker only; the one file of this program that knows c-ares is checker_names.c.
 */
#ifndef MASTER_CHECKER_NAMES_H
#define MASTER_CHECKER_NAMES_H

#include "shm/image.h"

struct checker_names;

/* Bit of epoll data: the rest is a descriptor of a DNS query. */
#define CHECKER_NAMES_EVENT (UINT64_C(1) << 62)

/* `epoll` watches the queries, `control` leads to the master; both borrowed. NULL: no memory. */
struct checker_names *checker_names_new(int epoll, int control);

/* The names of this image, from now on; known ones keep their answers and their time. 0 or -ENOMEM. */
int checker_names_use(struct checker_names *names, const struct image *image) MUST_CHECK;

/* How many there are. */
uint32_t checker_names_count(const struct checker_names *names);

/*
 * Begin what is due, send what is new; a resolver that cannot be set up (logged) is tried again. Returns the
 * milliseconds until it has to be called again.
 */
int checker_names_run(struct checker_names *names);

/* An epoll event with CHECKER_NAMES_EVENT in its data. */
void checker_names_event(struct checker_names *names, uint64_t data, uint32_t events);

#endif
