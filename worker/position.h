/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact stream positions of a TCP socket as the kernel keeps them: what tells a successor how far its
 * predecessor had come. No privileges needed.
 */
#ifndef WORKER_POSITION_H
#define WORKER_POSITION_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct position {
    uint32_t consumed; /* bytes read from the socket since its birth, mod 2^32 */
    uint32_t written;  /* bytes the socket took since its birth, mod 2^32 */
    bool reset;        /* the connection was reset: a FIN may or may not be counted in consumed */
    bool dead;         /* state CLOSE: nothing can be sent any more */
};

/*
 * Read them. `active`: the socket was connected by us, its SYN counts one byte. Does not touch the
 * socket's pending error. Returns 0, -EOPNOTSUPP (not TCP), -EAGAIN (never stood still) or -errno.
 */
int position_read(int fd, bool active, struct position *out) MUST_CHECK;

/*
 * A number that changes when, and only when, the peer has taken bytes that we sent: acknowledged
 * bytes mod 2^32; for a UNIX socket what it has not read yet. Returns 0 or -errno.
 */
int position_acked(int fd, uint32_t *out) MUST_CHECK;

#endif
