/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of holdfast-stat. Observer only. */
#ifndef SHM_STAT_ARGS_H
#define SHM_STAT_ARGS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum stat_page {
    STAT_OVERVIEW,
    STAT_WORKERS,
    STAT_BACKENDS,
    STAT_TUNNELS,
    STAT_RING,
    STAT_EVENTS,
    STAT_CERTIFICATES,
};

enum stat_form { STAT_TABLE, STAT_JSON, STAT_PROMETHEUS };

enum stat_sort {
    STAT_SORT_NONE, /* as they stand on the board */
    STAT_SORT_AGE,
    STAT_SORT_IDLE,
    STAT_SORT_RX,
    STAT_SORT_TX,
    STAT_SORT_BYTES,
    STAT_SORT_FRAMES,
    STAT_SORT_RATE,
    STAT_SORT_RTT,
    STAT_SORT_LIMITS,
};

enum { STAT_KEY_MAX = 4096 };

struct stat_args {
    char board[256]; /* with its leading '/' */
    enum stat_page page;
    enum stat_form form;
    uint64_t watch_ms; /* 0: look once */
    bool help;
    bool version;

    /* ring */
    const char *upstream; /* NULL: the only one that hashes */
    uint8_t key[STAT_KEY_MAX];
    uint32_t key_len;

    /* tunnels */
    const char *site; /* NULL: all */
    const char *backend;
    bool by_client;
    uint8_t client_ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint32_t client_bits;  /* of them that count */
    int64_t worker;        /* -1: all */
    uint64_t idle_over_ms;
    enum stat_sort sort;
    bool reverse;
    uint64_t limit; /* rows of tunnels and events; 0: all */
};

enum { STAT_WHY_SIZE = 256 };

/*
 * Read argv; borrows its strings for good. `board` is the name if -b is not given (NULL: "/holdfast").
 * Returns 0, or -EINVAL with the reason as a sentence in `why`.
 */
int stat_args_parse(struct stat_args *args, int argc, char **argv, const char *board,
                    char why[STAT_WHY_SIZE]) MUST_CHECK;

/* "overview", "workers" ... */
const char *stat_args_page_name(enum stat_page page);

#endif
