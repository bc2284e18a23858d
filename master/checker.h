/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker: a child of the master, unprivileged, that looks at the servers of all upstreams with a
 * `health` group and writes their health to the board, and resolves the names of servers, which it
 * tells the master (names.h). It lives while there is something to check or to resolve,
 * gets each new configuration as workers do (shm/control.h), and ends with the master's socket.
 */
#ifndef MASTER_CHECKER_H
#define MASTER_CHECKER_H

#include "master/master.h"

enum { CHECKER_EVENT_WRITER = 1 /* board.h */ };

/* What the checker starts from. */
struct checker_start {
    const struct board *board; /* mapped, writable */
    int control;
    int error_log;
    enum log_level log_level;
    const struct privileges *privileges;
};

/* Master: there is a new configuration, or other logs: tell it, or start it if it is needed now. */
void checker_tell(struct master *master);

/* Master, in every turn: start it when it is due, send what it has not been sent, hear what it says. */
void checker_step(struct master *master, uint64_t now_ms);

/* Master: a child with this PID ended. Returns true if it was the checker. */
bool checker_reaped(struct master *master, int32_t pid, int status);

/* Master: let it end; it is not started again. */
void checker_stop(struct master *master);

/* The process itself: takes over from the fork, drops privileges, never returns. */
NORETURN void checker_main(const struct checker_start *start);

#endif
