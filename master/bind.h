/* SPDX-License-Identifier: Apache-2.0 */
/* One listening socket, IPv4 or IPv6. Master only. */
#ifndef MASTER_BIND_H
#define MASTER_BIND_H

#include "common/addr.h"
#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A non-blocking listening socket: SO_REUSEPORT, so that each slot has its own, TCP_NODELAY and
 * SO_OOBINLINE, which accepted connections inherit (urgent data would upset the kernel's counts).
 * `dual_stack`: an IPv6 wildcard that takes IPv4, or the IPv4 wildcard where there is no IPv6.
 * Returns the descriptor (close-on-exec) or -errno.
 */
int bind_listener(const struct addr *address, bool dual_stack, uint32_t backlog) MUST_CHECK;

/*
 * Is the address free? SO_REUSEPORT would share it silently with another program of the same user
 * that uses it, too; so ask without. Waits up to `patience_ms` while it is in use.
 * Returns 0, -EADDRINUSE or -errno.
 */
int bind_probe(const struct addr *address, bool dual_stack, uint32_t patience_ms) MUST_CHECK;

/*
 * From now on the kernel gives new connections to the first `count` sockets of the group that `fd`
 * belongs to, in the order in which they began to listen; 0: to all of them again. The others can be
 * emptied and closed without losing a connection. Returns 0 or -errno (then all go on taking part).
 */
int bind_steer(int fd, uint32_t count) MUST_CHECK;

#endif
