/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: a memfd of one worker slot beside its arena, with what must never be seen: the keys of
 * its TLS tunnels. Written by worker i only; never in a core dump. Plain data, no pointers: a successor
 * goes on from it. Traffic keys stand here and nowhere else once a handshake is over.
 */
#ifndef SHM_VAULT_H
#define SHM_VAULT_H

#include "common/compiler.h"
#include "shm/arena_guard.h"

#include <stdbool.h>
#include <stdint.h>

#define VAULT_MAGIC 0x746c756176464855ull
enum { VAULT_VERSION = 1 };

/* Values of tls_session.suite: the AEAD (RFC 8446 B.4; RFC 5288, 5289, 7905 for TLS 1.2). */
enum tls_suite { TLS_SUITE_NONE, TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305 };

/* Values of tls_session.version. */
enum tls_version { TLS_PLAIN = 0, TLS_1_2 = 12, TLS_1_3 = 13 };

/* Bits of tls_session.flags. */
enum {
    TLS_SENT_CLOSE = 1 << 0,  /* our close_notify is sealed: nothing may be sealed after it */
    TLS_RECV_CLOSE = 1 << 1,  /* the peer's close_notify was opened: nothing may be read after it */
    TLS_FATAL = 1 << 2,       /* a fatal alert was sealed or opened: the session is over */
    TLS_UPDATE_OWED = 1 << 3, /* the peer asked for our KeyUpdate (RFC 8446 4.6.3) */
    TLS_UPDATE_ASKED = 1 << 4, /* we asked for the peer's, and it has not come yet */
    TLS_CLIENT_ROLE = 1 << 5,  /* we are the TLS client: NewSessionTickets may come */
};

/* One direction's keys. */
struct tls_dir {
    uint64_t seq;     /* of the next record */
    uint8_t key[32];  /* AES-128: the first 16, then zeros */
    uint8_t iv[12];   /* TLS 1.2 GCM: the 4-byte salt */
    uint32_t updates; /* KeyUpdates so far */
    union {
        uint8_t secret[48]; /* TLS 1.3: traffic secret, of which the next keys are derived */
        struct {
            uint64_t nonce_base; /* TLS 1.2 GCM: explicit nonce = nonce_base + seq */
            uint64_t blocks;     /* TLS 1.2 GCM: AES blocks so far: such keys wear out */
        };
    } u;
};
_Static_assert(sizeof(struct tls_dir) == 104, "layout");

/* A TLS connection whose handshake is over: all that its record layer knows (worker/tls_record.h). */
struct tls_session {
    uint8_t version; /* enum tls_version */
    uint8_t suite;   /* enum tls_suite */
    uint8_t flags;
    uint8_t hs_len; /* bytes in hs: a handshake message that is not whole yet */
    uint8_t hs[5];
    uint8_t empty_run; /* empty records, warning alerts and KeyUpdates in a row */
    uint8_t warn_run;
    uint8_t update_run;
    uint16_t max_fragment; /* RFC 6066 4, as negotiated; 0: 16384 */
    uint16_t pad;
    uint32_t hs_skip; /* client role: bytes of a NewSessionTicket still to pass over */
    uint32_t pad2;
    struct tls_dir rx;
    struct tls_dir tx;
};
_Static_assert(sizeof(struct tls_session) == 232, "layout");

/* The TLS side of a tunnel: four cache lines. All zero: free, or that side of the tunnel is plain. */
struct vault_side {
    struct tls_session session;
    uint32_t opened;   /* content bytes opened in the tunnel, mod 2^32 */
    uint32_t sealed;   /* content bytes sealed in the tunnel, mod 2^32, the 101 left out */
    uint32_t burst;    /* content bytes sealed since the side was last quiet: they size records */
    uint32_t burst_ms; /* when the last of them were, monotonic mod 2^32 */
    uint16_t in_chunk; /* chunk of the arena with bytes that are no whole record yet; 0: none */
    uint16_t in_len;   /* how many, from the chunk's first byte */
    uint32_t check;    /* vault_check() of all above that a wrong store must not change unseen */
};
_Static_assert(sizeof(struct vault_side) == 4 * CACHE_LINE, "with 236 beside it: under 512 bytes");

/*
 * The second half of the journal (arena_op is the first): what a successor goes back to, to do the
 * step in flight again. Opening and sealing are functions of this and of bytes that the arena still
 * has, so that the same ciphertext comes out and no nonce meets other bytes.
 */
struct vault_op {
    struct vault_side before[2]; /* [0] the side that is read, [1] the side that is written */
    uint32_t now_ms;             /* the time that sized the records */
    uint32_t rest;               /* chunk of the worker's own for what is left of the input */
    struct arena_guard guard;    /* the tunnel's, if it has one */
    struct arena_meter meter;    /* likewise */
} ALIGNED(CACHE_LINE);
_Static_assert(sizeof(struct vault_op) % CACHE_LINE == 0, "layout");

struct vault_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot;
    uint64_t size;
    uint32_t sides_max; /* entries of each of both arrays */
    uint32_t used[2];   /* entries from here on were never used: nobody looks at them */
    uint32_t pad;
    uint64_t sides_off[2]; /* struct vault_side[sides_max]: [0] clients, [1] backends */
    struct vault_op op ALIGNED(CACHE_LINE);
};

struct vault {
    struct vault_header *header;
    struct vault_side *sides[2];
};

/*
 * Make the vault of a slot as a memfd, sealed against resizing. Keeper, when it is set up, or when it
 * takes over from a program that had none. On 0 the caller owns *fd. Returns 0 or -errno.
 */
int vault_create(uint32_t slot, uint32_t sides_max, int *fd) MUST_CHECK;

/*
 * Worker: map it, kept out of core dumps. Returns 0, -EPROTO (no vault), -EPROTONOSUPPORT (another
 * layout) or -errno.
 */
int vault_attach(struct vault *vault, int fd) MUST_CHECK;

/* Keeper: would vault_attach do? Maps nothing for longer than the look. Returns likewise. */
int vault_look(int fd) MUST_CHECK;

/* A number that a wrong store in keys or sequence numbers changes. */
uint32_t vault_check(const struct tls_session *session);

#endif
