/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: what operators ask of single servers and tunnels, by `holdfast -s drain:...` and
 * the like. A UNIX socket of packets, 0600: one request, one answer, "ok ..." or "error ...", and the end.
 * Only root and the user that the master runs as may ask. Master only; nothing here blocks.
 */
#ifndef MASTER_OPERATE_H
#define MASTER_OPERATE_H

#include "common/compiler.h"
#include "shm/board.h"

#include <poll.h>
#include <stdint.h>

struct master;

enum {
    OPERATE_REQUEST_MAX = 512,
    OPERATE_ANSWER_MAX = 4096,
    OPERATE_CLIENTS = 4, /* at a time; others wait in the backlog */
    OPERATE_FDS = 1 + OPERATE_CLIENTS,
};

struct operate {
    int socket; /* -1: none */
    char *path; /* owned; NULL: none */
    bool is_asked_to_move;
    struct {
        int fd; /* -1: free */
        uint64_t since_ms;
    } clients[OPERATE_CLIENTS];
    uint64_t
        close_seq[BOARD_CLOSE_IDS]; /* what the slot has to have applied to know of the order */
};

void operate_init(struct operate *operate);

/*
 * Have it where the configuration says: bind there, then leave the place before. A socket that nobody
 * listens at is replaced. A failure is logged and no reason not to serve: what there was stays.
 */
void operate_open(struct master *master);

/* The configuration is new: the next step does that, or the first one without a way back. */
void operate_move(struct operate *operate);

/* Close and remove it. */
void operate_end(struct operate *operate);

/* What poll() is to wait for. Returns how many. */
uint32_t operate_watch(const struct operate *operate, struct pollfd fds[OPERATE_FDS]);

/* Take who comes, answer who asks, drop who says nothing. Every turn. */
void operate_step(struct master *master, uint64_t now_ms);

#endif
