/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and queries, read as nginx reads them. No I/O, no heap. */
#ifndef COMMON_URI_H
#define COMMON_URI_H

#include "common/compiler.h"
#include "common/slice.h"

/*
 * Decode %XX, merge slashes and resolve "." and ".." (RFC 3986 5.2.4), as nginx does for $uri and for
 * choosing a location. `out` must have path.n bytes; the result is never longer.
 * Returns its length, or -EINVAL: bad escape, a NUL, ".." above the root, or no '/' in front.
 */
int uri_normalise(struct slice path, char *out, size_t size) MUST_CHECK;

/* Value of the first argument of that name in a query (names compared without case); found or not. */
bool uri_arg(struct slice query, struct slice name, struct slice *value);

/*
 * Value of the first cookie of that name in a Cookie field's value, read as nginx reads $cookie_NAME:
 * names compared without case, spaces behind the value kept, ',' taken for ';' before the name.
 */
bool uri_cookie(struct slice cookies, struct slice name, struct slice *value);

#endif
