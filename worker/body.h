/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a request or an answer on its way: bytes in one buffer become bytes in another, so
 * that what leaves has one reading only: chunked bodies are decoded and coded anew.
 */
#ifndef WORKER_BODY_H
#define WORKER_BODY_H

#include "common/compiler.h"
#include "common/http_chunk.h"
#include "common/http_head.h"
#include "worker/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { BODY_TRAILER_MAX = 4096 }; /* bytes of a trailer section */

struct body {
    struct http_chunk chunk;
    uint64_t left;    /* HTTP_BODY_LENGTH: bytes to come */
    uint64_t passed;  /* body bytes that went through */
    uint64_t max;     /* bytes allowed to pass, 0: no limit */
    uint8_t in;       /* enum http_body */
    bool out_chunked; /* code the output in chunks */
    bool in_trailer;  /* the last chunk was written, trailer lines go out */
    bool
        keep_trailer; /* pass trailer fields on (answers); requests lose theirs: RFC 9110 6.5.1 lets
                          us, and no backend can mistake one for a header */
    bool done;        /* all of it is in the output buffer */
};

/*
 * `length` counts with HTTP_BODY_LENGTH only. HTTP_BODY_NONE is done at once. Output in chunks is for
 * bodies without a known length (ASSERT).
 */
void body_init(struct body *body, enum http_body in, uint64_t length, bool out_chunked,
               uint64_t max);

/*
 * Move what `in` holds to `out`, as far as there is room. Both must have memory, or be empty.
 * Returns 0 (body->done tells whether that was all), -EBADMSG (bad chunked coding) or
 * -EFBIG (more than max).
 */
int body_move(struct body *body, struct buf *in, struct buf *out) MUST_CHECK;

/* The source has closed: with HTTP_BODY_UNTIL_CLOSE that ends the body. Returns 0 or -EPIPE (cut off). */
int body_eof(struct body *body, struct buf *out) MUST_CHECK;

#endif
