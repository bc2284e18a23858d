/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker: a child of the master, unprivileged, that looks at the servers of all upstreams with a
 * `health` group and writes their health to the board, and resolves the names of servers, which it
 * tells the master (names.h). It lives while there is something to check or to resolve,
 * gets each new configuration as workers do (shm/control.h), but of the private keys only those that its
 * checks show (checker_keys), and ends with the master's socket.
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

/*
 * Master: of a generation's keys (-1: it has none) those that its checks need, as its image says: ours
 * towards upstreams whose checks speak TLS, no site's. The image is asked, not the configuration: after an
 * upgrade that may be newer than the keys. Both descriptors stay the caller's. On 0 the caller owns *fd, -1
 * if no key is needed. Returns 0, what image_open or keys_select return, or -ENOMEM.
 */
int checker_keys(int image_fd, int keys_fd, int *fd) MUST_CHECK;

/* Master: a child with this PID ended. Returns true if it was the checker. */
bool checker_reaped(struct master *master, int32_t pid, int status);

/* Master: let it end; it is not started again. */
void checker_stop(struct master *master);

/* The process itself: takes over from the fork, drops privileges, never returns. */
NORETURN void checker_main(const struct checker_start *start);

#endif
