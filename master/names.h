/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the names of servers stand for: the checker resolves them (checker_names.c) and tells the
 * master, which makes images of it. What a child reports is gossip: it is checked before it is kept.
 */
#ifndef MASTER_NAMES_H
#define MASTER_NAMES_H

#include "common/addr.h"
#include "master/conf.h"
#include "shm/board.h"

#include <stdbool.h>

enum {
    NAMES_ADDRESSES_MAX = 64, /* of one name; more are left out */
    NAMES_MAGIC = 0x4e53414e,
};

struct names_address {
    struct addr address; /* IPv4 or IPv6, with port */
    uint16_t weight;     /* SRV: its weight; 0: as configured */
    uint16_t backup;     /* SRV: 1: not of the first priority */
};

/* A name's addresses, sorted; also the message from checker to master, one packet. */
struct names_answer {
    uint32_t magic;
    uint32_t count;
    char text[BOARD_SERVER_MAX]; /* `address` as written */
    struct names_address addresses[NAMES_ADDRESSES_MAX];
};

struct names {
    struct names_answer **answers; /* owned */
    uint32_t count;
};

/* Is this an answer, whoever sent it: with addresses, all of them sound, the text ended? */
bool names_is_sound(const struct names_answer *answer);

/* Sort the addresses and drop doubles, so that equal answers are equal. */
void names_sort(struct names_answer *answer);

/* Do both name the same addresses? Both sorted. */
bool names_equal(const struct names_answer *a, const struct names_answer *b);

/* The answer for a server as written; NULL: none yet. `names` may be NULL. */
const struct names_answer *names_find(const struct names *names, const char *text);

/* Keep a copy of a sound answer. Returns 1 if it is new, 0 if it is known, or -ENOMEM. */
int names_set(struct names *names, const struct names_answer *answer) MUST_CHECK;

/* Has the configuration a server that is written as this name? */
bool names_wanted(const struct conf *conf, const char *text);

/* Let go of what the configuration has no server for any more. */
void names_keep(struct names *names, const struct conf *conf);

void names_fini(struct names *names);

#endif
