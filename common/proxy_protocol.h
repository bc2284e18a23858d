/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol, versions 1 and 2: what stands before a connection's first byte and says whose it
 * is. No I/O, no heap: bytes in; consumed, more or error out.
 */
#ifndef COMMON_PROXY_PROTOCOL_H
#define COMMON_PROXY_PROTOCOL_H

#include "common/addr.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PROXY_HEADER_MAX = 4096, /* longest header that is read, TLVs included */
    PROXY_WRITE_MAX = 256,   /* longest header that is written */
};

/* `source.len` is 0 if the header names nobody (LOCAL, UNKNOWN, UNIX, datagrams): the connection's own
   addresses hold then. */
struct proxy_header {
    struct addr source;
    struct addr destination;
    uint8_t version; /* 1 or 2 */
};

/*
 * Parse the header that a connection begins with. Its TLVs are ignored.
 * Returns its length (> 0), 0 when more is needed, or -EPROTO: no header, a broken one, or one longer
 * than PROXY_HEADER_MAX. *out is set when the length is returned.
 */
int proxy_protocol_parse(struct proxy_header *out, const char *buf, size_t len) MUST_CHECK;

/* What version 2 tells about a client's TLS. */
struct proxy_tls {
    struct slice version; /* "TLSv1.3"; empty: the client came without TLS */
    bool verified;        /* it showed a certificate, which was verified */
};

/*
 * Write a header that names `source` and `destination`; both must be IP addresses or the header says
 * that the sender speaks for itself. `tls` is for version 2 only, NULL: nothing is said.
 * Returns the length.
 */
size_t proxy_protocol_write_v1(const struct addr *source, const struct addr *destination,
                               char out[PROXY_WRITE_MAX]);
size_t proxy_protocol_write_v2(const struct addr *source, const struct addr *destination,
                               const struct proxy_tls *tls, char out[PROXY_WRITE_MAX]);

#endif
