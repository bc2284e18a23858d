/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder for the chunked transfer coding (RFC 9112 7.1), strict: CRLF only, 1 to 16 hex digits,
 * a size of at most 2^63-1, no white space around it, extensions checked for syntax and dropped,
 * trailers checked like header fields; fields that a proxy knows (enum http_field_id) are refused in
 * trailers. No I/O, no heap.
 */
#ifndef COMMON_HTTP_CHUNK_H
#define COMMON_HTTP_CHUNK_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

struct http_chunk {
    uint64_t left;          /* data bytes still to come of the current chunk */
    const char *error;      /* why the coding was refused */
    uint32_t overhead;      /* bytes of size lines and extensions since the last data: bounded */
    uint32_t trailer_bytes; /* bytes of the trailer section so far: bounded */
    uint32_t trailer_max;   /* bound for the trailer section, in bytes */
    uint8_t state;
    uint8_t digits; /* of the chunk size so far; in the trailer: bytes of `name` */
    char name[24];  /* start of the trailer field's name, as long as names we know */
};

/* What one step found. */
enum http_chunk_event {
    HTTP_CHUNK_MORE = 0, /* all input used, no event: give more */
    HTTP_CHUNK_DATA,     /* *out is body data, points into the input */
    HTTP_CHUNK_TRAILER,  /* *out is (part of) the raw trailer section, field lines with their CRLF,
                            checked, without the final empty line; points into the input */
    HTTP_CHUNK_END, /* the body is complete; bytes behind *consumed belong to the next message */
};

void http_chunk_init(struct http_chunk *chunk, uint32_t trailer_max);

/*
 * Look at in[0..len): sets *consumed (<= len; those bytes are done with) and, for DATA and TRAILER,
 * *out. Call again with the rest until it says MORE or END. A line of the trailer section is
 * checked as its bytes pass, so a TRAILER piece may be part of a line.
 * Returns an enum http_chunk_event, or -EBADMSG (syntax) or -EMSGSIZE (a bound was passed).
 */
int http_chunk_step(struct http_chunk *chunk, const char *in, size_t len, size_t *consumed,
                    struct slice *out) MUST_CHECK;

#endif
