/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of address prefixes ("10.0.0.0/8", "2001:db8::/32"), each with a value, and the longest one that
 * holds an address: a binary radix tree as an array of nodes, without pointers, so that it may stand
 * in the image. IPv4 lives in ::ffff:0:0/96. Any process; no heap, no I/O.
 */
#ifndef COMMON_PREFIX_TREE_H
#define COMMON_PREFIX_TREE_H

#include "common/addr.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { PREFIX_BITS = 128 };

struct prefix {
    uint8_t bytes[16]; /* network order; zero behind the prefix */
    uint8_t len;       /* bits, 0..128; an IPv4 prefix has at least 96 */
    uint8_t value;     /* not 0 */
};

struct prefix_node {
    uint8_t bytes[16];
    uint32_t child[2]; /* by the next bit: index from the tree's root, 0: none */
    uint8_t len;
    uint8_t value; /* 0: only a fork */
    uint8_t pad[6];
};
_Static_assert(sizeof(struct prefix_node) == 32, "two to a cache line");

/*
 * "10.0.0.0/8", "2001:db8::/32" or a single address. The value is left alone.
 * Returns 0, or -EINVAL with *why set to a fixed text.
 */
int prefix_parse(struct prefix *prefix, struct slice text, const char **why) MUST_CHECK;

/* The order that prefix_tree_build wants: by bytes, then the shorter one. < 0, 0, > 0; for qsort. */
int prefix_compare(const void *a, const void *b);

/*
 * Build the tree of `count` prefixes, sorted and each one there once only. `nodes` has room for
 * 2 * count. Returns the number of nodes used.
 */
uint32_t prefix_tree_build(const struct prefix *sorted, uint32_t count, struct prefix_node *nodes);

/* Can this array be searched safely: does every step lead on, and to a longer prefix? */
bool prefix_tree_ok(const struct prefix_node *nodes, uint32_t count);

/* The value of the longest prefix that holds the address; 0: none does, or it is no IP address. */
uint8_t prefix_tree_find(const struct prefix_node *nodes, uint32_t count,
                         const struct addr *address);

#endif
