/* SPDX-License-Identifier: Apache-2.0 */
/* Who a request came from, as proxies tell each other: X-Forwarded-For, and Forwarded (RFC 7239). */
#ifndef COMMON_FORWARDED_H
#define COMMON_FORWARDED_H

#include "common/addr.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>

/* Cut the last element off a comma-separated list, trimmed; empty ones are skipped. False: none left. */
bool forwarded_last(struct slice *list, struct slice *element);

/*
 * An element of X-Forwarded-For: an IP address, IPv6 also in brackets, with or without a port.
 * IPv4-mapped addresses become IPv4. Returns 0 or -EINVAL ("unknown", a name, garbage).
 */
int forwarded_address(struct slice element, struct addr *out) MUST_CHECK;

/*
 * One element of Forwarded: `for=192.0.2.1;host="example.com:8080";proto=https`, quoted where the RFC
 * wants it. `host` may be empty, and has no quote and no backslash. Returns its length, or -ENOSPC.
 */
int forwarded_print(const struct addr *client, struct slice host, struct slice proto, char *out,
                    size_t size) MUST_CHECK;

#endif
