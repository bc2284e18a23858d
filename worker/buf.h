/* SPDX-License-Identifier: Apache-2.0 */
/* Byte buffers of requests in flight, of one size, from a small pool. Idle connections hold none. */
#ifndef WORKER_BUF_H
#define WORKER_BUF_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

/* The bytes data[start..end); data is NULL while nothing is held. */
struct buf {
    char *data;
    uint32_t start;
    uint32_t end;
    uint32_t size; /* bytes allocated: a reload may change what new ones get */
};

enum { BUF_POOL_MAX = 64 }; /* free buffers kept for reuse */

struct buf_pool {
    uint32_t size; /* bytes of every new buffer */
    uint32_t free_count;
    char *free[BUF_POOL_MAX];
};

/* New buffers have `size` bytes from now on; free ones of another size are given back. */
void buf_pool_resize(struct buf_pool *pool, uint32_t size);

/* Free the buffers that are kept for reuse. */
void buf_pool_trim(struct buf_pool *pool);

/* Give `buf` memory if it has none. Returns 0 or -ENOMEM. */
int buf_acquire(struct buf_pool *pool, struct buf *buf) MUST_CHECK;

/* Give the memory back and forget the bytes. Accepts a buffer without memory. */
void buf_release(struct buf_pool *pool, struct buf *buf);

/* Give the memory back if no bytes are left in it. */
void buf_release_empty(struct buf_pool *pool, struct buf *buf);

/* The room behind the bytes; when there is none, they are moved to the front first. */
uint32_t buf_room(struct buf *buf);

/* Append if all of it fits. Returns 0 or -ENOSPC. The buffer must have memory. */
int buf_append(struct buf *buf, struct slice bytes) MUST_CHECK;

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->data ? buf->data + buf->start : NULL, buf->end - buf->start};
}

static inline uint32_t buf_len(const struct buf *buf)
{
    return buf->end - buf->start;
}

#endif
