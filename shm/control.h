/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Master to slot: one SOCK_SEQPACKET message that carries the whole desired state, descriptors
 * included, so that applying it twice, or only the newest of several, is always right. The worker
 * answers by writing `seq` to its slot on the board (applied_seq). The master sends it again when a
 * worker started anew before it had answered.
 */
#ifndef SHM_CONTROL_H
#define SHM_CONTROL_H

#include "common/compiler.h"
#include "shm/arena.h"

enum { CONTROL_FDS_MAX = 5 + ARENA_LISTENERS_MAX };

struct control_message {
    uint64_t seq;
    uint32_t mode;      /* enum slot_mode */
    uint32_t log_level; /* enum log_level */
    uint32_t listener_count;
    uint32_t has_access_log; /* 1: a descriptor for it follows */
    uint32_t has_keys;       /* 1: the image has private keys, and they follow */
    uint32_t has_tickets;    /* 1: keys of session tickets follow */
    struct arena_listener listeners[ARENA_LISTENERS_MAX];
};

/*
 * Descriptors travel in this order: image, error log, access log (if has_access_log), keys (if
 * has_keys), ticket keys (if has_tickets), then one for each listener. All are duplicates: the receiver
 * owns what it gets.
 */
struct control_fds {
    int image;
    int error_log;
    int access_log; /* -1: none */
    int keys;       /* -1: none */
    int tickets;    /* -1: none */
    int listeners[ARENA_LISTENERS_MAX];
};

/*
 * Master. Never blocks. Borrows all descriptors. Returns 0, -EAGAIN (the slot has not read the one
 * before: send a newer one later), or -errno.
 */
int control_send(int socket, const struct control_message *message,
                 const struct control_fds *fds) MUST_CHECK;

/*
 * Worker. Never blocks. On 0 the caller owns every descriptor in *fds (unused ones are -1).
 * Returns 0, -EAGAIN (none waiting), -EPIPE (the master has gone), -EPROTO (malformed: descriptors
 * were closed), or -errno.
 */
int control_receive(int socket, struct control_message *message,
                    struct control_fds *fds) MUST_CHECK;

#endif
