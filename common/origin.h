/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages may open a WebSocket: patterns for the Origin field (RFC 6454 7). A browser sends it
 * with every handshake and no script can forge it. Any process; no heap.
 *
 *   "https://example.com"      scheme, host and port as written; a port left out is the scheme's own
 *   "https://(*).example.com"  any name below example.com, written with a bare *
 *   "example.com:8443"         any scheme
 *   "example.com:*"            any port
 *   "same"                     the host and port that the request itself names
 *   "null"                     a page without an origin (a file, a sandboxed frame)
 *   "*"                        any
 */
#ifndef COMMON_ORIGIN_H
#define COMMON_ORIGIN_H

#include "common/slice.h"

#include <stdbool.h>

/* What is wrong with a pattern: a fixed text; NULL: nothing. */
const char *origin_pattern_error(struct slice pattern);

/* Does the field's value fit the pattern? `host` is the request's own Host, as sent. */
bool origin_matches(struct slice pattern, struct slice origin, struct slice host);

#endif
