/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of tunnels of which a side keeps no counts: a UNIX socket. What a dead worker's last
 * read and write have moved stands nowhere in the kernel then, so the kernel is made to write it into
 * the arena within the very call: recvmmsg and sendmmsg store msg_len there. 6 % more CPU a message
 * than recv and send, so TCP has its counts instead (worker/position.h).
 */
#ifndef WORKER_EXACT_H
#define WORKER_EXACT_H

#include "shm/arena.h"

#include <stddef.h>
#include <sys/types.h>

/* Nothing was moved yet. Before the op names the tunnel. */
void exact_begin(struct arena_header *header);

/*
 * As recv and send, without flags but for MSG_NOSIGNAL; what was moved is in the arena before the call
 * returns. An error of a socket comes before the data that it still has: exact_recv then reads those,
 * and returns 0 or an error only with the next call. `header` is that of the worker's own arena.
 */
ssize_t exact_recv(struct arena_header *header, int fd, void *bytes, size_t n);
ssize_t exact_send(struct arena_header *header, int fd, const void *bytes, size_t n);

/* What the last calls since exact_begin have moved: for a successor. */
uint32_t exact_received(const struct arena_header *header);
uint32_t exact_sent(const struct arena_header *header);

#endif
