/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys: private keys of one generation of the configuration, in a sealed memfd of their own beside
 * its image, so that they stand nowhere else: key i belongs to certificate i of the image; behind those
 * come the keys by which we show ourselves to upstreams (image_upstream.tls_key). All M, before
 * publishing; immutable after. Never in a core dump.
 */
#ifndef SHM_KEYS_H
#define SHM_KEYS_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define KEYS_MAGIC 0x7379656b2d464855ull
enum { KEYS_VERSION = 1, KEYS_MAX = 65536 };

struct keys_entry {
    uint32_t off; /* from the start; DER, as d2i_AutoPrivateKey takes it */
    uint32_t len;
};

struct keys_header {
    uint64_t magic;
    uint32_t version;
    uint32_t generation; /* of the image that they belong to */
    uint64_t size;
    uint32_t count;
    uint32_t pad;
    struct keys_entry entries[];
};

/* Mapped keys. */
struct keys {
    const struct keys_header *header; /* NULL: none */
    uint64_t size;
};

/*
 * Master: write `count` keys into a sealed memfd. The bytes are borrowed and copied into the kernel only.
 * On 0 the caller owns *fd (close-on-exec). Returns -E2BIG (too many), or -errno.
 */
int keys_create(const struct slice *secrets, uint32_t count, uint32_t generation,
                int *fd) MUST_CHECK;

/*
 * Master: the same keys for another generation, whose certificates are the same. `from` stays the
 * caller's. Returns as keys_open and keys_create do.
 */
int keys_renew(int from, uint32_t generation, int *fd) MUST_CHECK;

/*
 * Master: of the same generation only the keys that are `wanted`, by index (those from `count` on are not),
 * for somebody who shall not have the others: these are empty. `from` stays the caller's. Returns as
 * keys_renew.
 */
int keys_select(int from, const bool *wanted, uint32_t count, int *fd) MUST_CHECK;

/*
 * Worker, checker: map the keys in `fd`, which stays the caller's, read-only and kept out of core dumps, and check
 * them whole once. On 0 the caller owns the mapping.
 * Returns 0, -EPROTO (no keys, or not sealed), -EPROTONOSUPPORT (version), -EBADMSG (an offset points
 * outside) or -errno; then keys->header is NULL.
 */
int keys_open(struct keys *keys, int fd) MUST_CHECK;

/* Unmap; a zeroed one is fine. */
void keys_close(struct keys *keys);

/* Key `index`, borrowed from the mapping; empty if there is none of that index. */
struct slice keys_get(const struct keys *keys, uint32_t index);

#endif
