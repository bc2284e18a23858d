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

#endif
