/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS sides of tunnels: entries of the vault, from the commit to the close. */
#ifndef WORKER_TUNNEL_TLS_H
#define WORKER_TUNNEL_TLS_H

#include "worker/tls_record.h"
#include "worker/tunnel.h"

/*
 * The entry of a side; NULL: the side is plain. arena_tunnel.tls tells which sides have one: to look
 * into an entry that was never used would make the kernel give memory to it.
 */
static inline struct vault_side *tunnel_tls_side(const struct worker *w, uint32_t tunnel,
                                                 uint32_t side)
{
    uint32_t tls = w->tunnels[tunnel].tls;
    return tls & 1u << side ? &w->vault.sides[side][tls >> 2] : NULL;
}

/* Make the worker's ciphers if it has none yet. Returns 0 or -ENOMEM. */
int tunnel_tls_engine(struct worker *w) MUST_CHECK;

/* Where content stands between opening and sealing: ARENA_CHUNK_SIZE bytes of the worker's own. */
uint8_t *tunnel_tls_content(struct worker *w);

/* Likewise, between looking at its frames and sealing. */
uint8_t *tunnel_tls_walked(struct worker *w);

/*
 * A tunnel is being opened, OP_OPEN names it: fill its entries. Death in here: the record is not OPEN,
 * a successor finds the entries to be nobody's and wipes them. Returns 0, -ENOBUFS or -EMSGSIZE.
 */
int tunnel_tls_fill(struct worker *w, uint32_t tunnel,
                    const struct tunnel_opening *opening) MUST_CHECK;

/* Bytes that a new tunnel's direction begins with are counted, if its source is TLS: also if none go out. */
void tunnel_tls_count(struct worker *w, uint32_t tunnel, uint32_t d,
                      const struct tunnel_opening *opening);

/*
 * Bytes that a new tunnel's direction begins with, as its destination will get them, into the chunk.
 * Returns how many. The chunk has room: tunnel_tls_fill has looked.
 */
uint32_t tunnel_tls_stage(struct worker *w, uint32_t tunnel, uint32_t d,
                          const struct tunnel_opening *opening, uint8_t *chunk);

/* A tunnel is closing, or was not opened after all: wipe its entries, free its chunks. */
void tunnel_tls_drop(struct worker *w, uint32_t tunnel);

/*
 * Content bytes of a direction since the tunnel began, mod 2^32, the 101's head left out. False: its
 * entries are wiped already.
 */
bool tunnel_tls_content_bytes(const struct worker *w, uint32_t tunnel, uint32_t d, uint32_t *bytes);

/* More to do without an event, as a successor finds it: a close_notify that was not acted on. */
bool tunnel_tls_must_run(const struct worker *w, uint32_t tunnel, uint32_t d);

/* On start: rebuild the list of free entries, wipe what no tunnel owns. Marks used chunks. */
int tunnel_tls_init(struct worker *w, uint8_t *used_chunks) MUST_CHECK;

/* After a crash: may the entries of a tunnel be believed? `claimed`: one byte an entry. */
bool tunnel_tls_holds(const struct worker *w, uint32_t tunnel, uint8_t *claimed, uint8_t *chunks);

#endif
