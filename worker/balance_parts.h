/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of balance.h; nobody else includes this. */
#ifndef WORKER_BALANCE_PARTS_H
#define WORKER_BALANCE_PARTS_H

#include "worker/balance.h"

struct balancer {
    uint32_t references;
    uint32_t server_count;
    uint32_t map_count;
    uint32_t *server_of; /* by backend index on the board: 1 + server index in the image, 0: none */
    uint64_t random;     /* state of random_two's generator */
    int64_t current[];   /* smooth weighted round robin: one value a server of the image */
};

/* Bits of a pick. */
enum balance_bit {
    BALANCE_TRIED,   /* handed out to this request */
    BALANCE_SKIPPED, /* somebody was faster: not again in this call */
    BALANCE_SEEN,    /* met on the ring by the walk under way */
    BALANCE_BITS
};
bool balance_bit(struct balance_pick *pick, enum balance_bit bit, uint32_t server);
void balance_bit_set(struct balance_pick *pick, enum balance_bit bit, uint32_t server);
void balance_bits_clear(struct balance_pick *pick, enum balance_bit bit, uint32_t servers);

/* One call of balance_next. */
struct balance_round {
    struct balance_pick *pick;
    const struct balance_ask *ask;
    uint64_t slots;   /* that have cells, see balance_slots; 0: not looked up yet */
    uint32_t first;   /* the upstream's first server in the image */
    bool backups;     /* choose among these, instead of the primary servers */
    bool named;       /* the client's cookie asks for one server, whatever its role */
    bool ignore_slow; /* slow start holds nobody back */
    bool slowed;      /* found: slow start has held one back */
    bool full;        /* found: one could be used but for its limit */
    int8_t panic;     /* too many are ejected: -1 not looked at yet, 0, 1 */
};

/* The slots that have cells: looked up once, and only for who counts; one has, the caller's. */
uint64_t balance_slots(struct balance_round *round);

const struct image_server *balance_server(const struct balance_round *round, uint32_t i);

/* May server `i` be chosen now? Notes in the round what holds back one that otherwise could. */
bool balance_usable(struct balance_round *round, uint32_t i);

/* By the configuration or by an operator's word: it gets nothing new. */
bool balance_drains(const struct balance_round *round, const struct image_server *server);

/*
 * Are more servers ejected than max_ejected allows? Then the fault is hardly theirs, and what is left of
 * them would be trampled: nobody counts as ejected. A matter of the moment, the same for all workers.
 */
bool balance_panic(struct balance_round *round);

/*
 * Policies: an index into *out, or -ENOENT. By hash also -ESTALE: no ring, or it was overwritten.
 * `eligible`: a byte a server, only these; NULL: all.
 */
int balance_round_robin(struct balance_round *round, const uint8_t *eligible,
                        uint32_t *out) MUST_CHECK;
int balance_least_conn(struct balance_round *round, uint32_t *out) MUST_CHECK;
int balance_random_two(struct balance_round *round, uint32_t *out) MUST_CHECK;
int balance_hash(struct balance_round *round, uint32_t *out) MUST_CHECK;
int balance_hash_bounded(struct balance_round *round, uint32_t *out) MUST_CHECK;

/*
 * Bounded load: the most connections that server `i` may have at this moment, when `coming` more are
 * not in the counts yet. May it have one more? True without a bound.
 */
uint32_t balance_bound(struct balance_round *round, uint32_t i, uint32_t coming);
bool balance_has_room(struct balance_round *round, uint32_t i);

/*
 * Count the request in at server `i`, unless that would pass a limit; takes the probe if the server is
 * ejected. False: somebody was faster.
 */
bool balance_take(struct balance_round *round, uint32_t i);

/* Slow start: note a request for the upstream; does it hold server `i` back; it was chosen. */
void balance_slow_note(const struct balance_ask *ask);
bool balance_slow_holds(struct balance_round *round, uint32_t i);
void balance_slow_taken(const struct balance_round *round, uint32_t i);

#endif
