/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "ffffffff\r\n" before and "\r\n" behind the data, and the room for "0\r\n\r\n". */
enum { CHUNK_FRAME_MAX = 10 + 2, LAST_CHUNK_LEN = 5 };

void body_init(struct body *body, enum http_body in, uint64_t length, bool out_chunked,
               uint64_t max)
{
    /* A length goes along with the body: then nobody may announce chunks. */
    ASSERT(!out_chunked || in == HTTP_BODY_CHUNKED || in == HTTP_BODY_UNTIL_CLOSE);
    memset(body, 0, sizeof *body);
    body->in = (uint8_t)in;
    body->left = length;
    body->out_chunked = out_chunked;
    body->max = max;
    body->done = in == HTTP_BODY_NONE || (in == HTTP_BODY_LENGTH && length == 0);
    if (in == HTTP_BODY_CHUNKED)
        http_chunk_init(&body->chunk, BODY_TRAILER_MAX);
}

/* Write as much of `data` as fits; returns how much that was. */
static size_t put_data(struct body *body, struct buf *out, struct slice data)
{
    uint32_t room = buf_room(out);
    if (!body->out_chunked) {
        size_t n = data.n < room ? data.n : room;
        if (n > 0) /* `out` may be without memory */
            memcpy(out->data + out->end, data.p, n);
        out->end += (uint32_t)n;
        return n;
    }
    if (room <= CHUNK_FRAME_MAX + LAST_CHUNK_LEN)
        return 0;
    room -= CHUNK_FRAME_MAX + LAST_CHUNK_LEN;
    size_t n = data.n < room ? data.n : room;
    int size_len = snprintf(out->data + out->end, CHUNK_FRAME_MAX, "%zx\r\n", n);
    out->end += (uint32_t)size_len;
    memcpy(out->data + out->end, data.p, n);
    memcpy(out->data + out->end + n, "\r\n", 2);
    out->end += (uint32_t)n + 2;
    return n;
}

static int count_passed(struct body *body, size_t n)
{
    body->passed += n;
    return body->max != 0 && body->passed > body->max ? -EFBIG : 0;
}

/* Identity coding: by length or until the source closes. */
static int move_plain(struct body *body, struct buf *in, struct buf *out)
{
    struct slice data = buf_slice(in);
    if (body->in == HTTP_BODY_LENGTH && data.n > body->left)
        data.n = (size_t)body->left;
    if (data.n == 0)
        return 0;
    size_t n = put_data(body, out, data);
    in->start += (uint32_t)n;
    if (body->in == HTTP_BODY_LENGTH) {
        body->left -= n;
        body->done = body->left == 0;
    }
    return count_passed(body, n);
}

/*
 * One piece of a chunked body. A decoder step consumes its input, so it is only given as much as
 * surely fits into the output.
 */
static int move_chunk_piece(struct body *body, struct buf *in, struct buf *out, bool *more)
{
    uint32_t room = buf_room(out);
    uint32_t frame = CHUNK_FRAME_MAX + LAST_CHUNK_LEN + 2;
    *more = false;
    if (room <= frame)
        return 0;
    size_t give = buf_len(in) < room - frame ? buf_len(in) : room - frame;
    size_t consumed = 0;
    struct slice data = {NULL, 0};
    int event = http_chunk_step(&body->chunk, in->data + in->start, give, &consumed, &data);
    if (event < 0)
        return -EBADMSG;
    in->start += (uint32_t)consumed;
    *more = event != HTTP_CHUNK_MORE;
    if (event == HTTP_CHUNK_DATA) {
        size_t put = put_data(body, out, data);
        ASSERT(put == data.n);
        return count_passed(body, data.n);
    }
    if (event == HTTP_CHUNK_TRAILER && body->out_chunked && body->keep_trailer) {
        if (!body->in_trailer)
            ASSERT(buf_append(out, SLICE("0\r\n")) == 0);
        body->in_trailer = true;
        ASSERT(buf_append(out, data) == 0);
    }
    if (event == HTTP_CHUNK_END) {
        *more = false;
        body->done = true;
        if (body->out_chunked)
            ASSERT(buf_append(out, body->in_trailer ? SLICE("\r\n") : SLICE("0\r\n\r\n")) == 0);
    }
    return 0;
}

int body_move(struct body *body, struct buf *in, struct buf *out)
{
    if (body->done || buf_len(in) == 0)
        return 0;
    if (body->in != HTTP_BODY_CHUNKED)
        return move_plain(body, in, out);
    bool more = true;
    while (more && buf_len(in) > 0) {
        int rc = move_chunk_piece(body, in, out, &more);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int body_eof(struct body *body, struct buf *out)
{
    if (body->done)
        return 0;
    if (body->in != HTTP_BODY_UNTIL_CLOSE)
        return -EPIPE;
    if (body->out_chunked && buf_append(out, SLICE("0\r\n\r\n")) < 0)
        return 0; /* no room yet: asked again after the next flush */
    body->done = true;
    return 0;
}
