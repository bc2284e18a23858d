/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-1, for Sec-WebSocket-Accept only (RFC 6455 1.3): it guards nothing. */
#ifndef COMMON_SHA1_H
#define COMMON_SHA1_H

#include "common/compiler.h"
#include "common/slice.h"

enum { SHA1_LEN = 20 };

/*
 * Make what every digest needs, once a process, so that no handshake can fail for want of memory.
 * Any process, before its first sha1_of; more calls do nothing. A process that is cloned later has
 * its own copy. Never freed.
 * Returns 0, -ENOMEM, or -ENOTSUP (the library offers no SHA-1).
 */
int sha1_init(void) MUST_CHECK;

/* Digest of a, then b. Calls sha1_init if nobody did, and asserts that it works. */
void sha1_of(struct slice a, struct slice b, uint8_t out[SHA1_LEN]);

#endif
