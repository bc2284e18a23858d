/* SPDX-License-Identifier: Apache-2.0 */
/* What the requests of the control socket do (master/operate.h). */
#ifndef MASTER_OPERATE_ORDER_H
#define MASTER_OPERATE_ORDER_H

#include "master/operate.h"

struct operate_asker {
    uint32_t uid;
    int32_t pid;
    char name[16]; /* of its process; printable */
};

/*
 * drain:UPSTREAM/SERVER, undrain:UPSTREAM/SERVER, close:TUNNEL or close-server:UPSTREAM/SERVER. Does it, or
 * not, tells log and events who has asked, and writes what is to be said: "ok ..." or "error ...".
 */
void operate_order(struct master *master, const struct operate_asker *asker, const char *request,
                   char answer[OPERATE_ANSWER_MAX]);

/*
 * Take those tunnels from the list of named ones (board_header.close_ids) whose workers have followed: a
 * number comes again once its record was used often enough, and then it is another's. Every turn.
 */
void operate_order_settle(struct master *master);

/* After the slots were handed over by the program before: who has applied its newest state has followed. */
void operate_order_inherit(struct master *master);

#endif
