/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ticket keys: a memfd that the master makes once and that outlives reloads, deaths and upgrades, so
 * that a client comes again by its session ticket (RFC 5077, RFC 8446 4.6.1) at any worker. All M: workers
 * get a descriptor that cannot write. Never in a core dump.
 *
 * Two sets, of which `serial` tells the one in use: set serial & 1. The master fills the other and then
 * raises serial, so its death in between harms nobody; who finds serial changed after copying a set
 * copies again.
 */
#ifndef SHM_TICKETS_H
#define SHM_TICKETS_H

#include "common/compiler.h"

#include <stdint.h>

#define TICKETS_MAGIC 0x737474656b464855ull
enum { TICKETS_VERSION = 1, TICKETS_KEYS_MAX = 8 };

/* nginx's ssl_session_ticket_key, 80 bytes. */
struct ticket_key {
    uint8_t name[16]; /* stands in the ticket, in the clear */
    uint8_t hmac[32];
    uint8_t aes[32];
};
_Static_assert(sizeof(struct ticket_key) == 80, "as nginx's files are");

struct ticket_set {
    uint32_t count;  /* keys; the first encrypts, all decrypt */
    uint32_t random; /* 1: made by us; 0: from files */
    struct ticket_key keys[TICKETS_KEYS_MAX];
};

struct tickets_header {
    uint64_t magic;
    uint32_t version;
    uint32_t serial;     /* of the set in use; 0: none yet */
    uint64_t changed_ms; /* monotonic: when that was */
    struct ticket_set sets[2];
};

/* A mapping, writable in the master only. */
struct tickets {
    struct tickets_header *header; /* NULL: none */
};

/*
 * Master: make them, without any key. On 0 the caller owns *fd and the mapping, which its children do not
 * inherit. Returns 0 or -errno.
 */
int tickets_create(struct tickets *tickets, int *fd) MUST_CHECK;

/* Master, a new program: map what the old one has made, writable. Returns as tickets_open. */
int tickets_resume(struct tickets *tickets, int fd) MUST_CHECK;

/* Master: another descriptor of the same memory by which nobody can write. Returns it or -errno. */
int tickets_share(int fd) MUST_CHECK;

/*
 * Worker: map the keys behind `fd` for reading; the descriptor stays the caller's.
 * Returns 0, -EPROTO (not ticket keys), -EPROTONOSUPPORT (version) or -errno.
 */
int tickets_open(struct tickets *tickets, int fd) MUST_CHECK;

/* Unmap; a zeroed one is fine. */
void tickets_close(struct tickets *tickets);

/* Master: publish a set. `now_ms`: monotonic. */
void tickets_publish(const struct tickets *tickets, const struct ticket_set *set, uint64_t now_ms);

/* Copy the set in use; one without keys if none was published or it makes no sense. Never blocks. */
void tickets_read(const struct tickets *tickets, struct ticket_set *out);

#endif
