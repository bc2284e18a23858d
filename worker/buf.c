/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/buf.h"

#include <errno.h>
#include <stdlib.h>

void buf_pool_trim(struct buf_pool *pool)
{
    while (pool->free_count > 0)
        free(pool->free[--pool->free_count]);
}

void buf_pool_resize(struct buf_pool *pool, uint32_t size)
{
    if (pool->size == size)
        return;
    buf_pool_trim(pool);
    pool->size = size;
}

int buf_acquire(struct buf_pool *pool, struct buf *buf)
{
    if (buf->data)
        return 0;
    buf->start = 0;
    buf->end = 0;
    buf->data = pool->free_count > 0 ? pool->free[--pool->free_count] : malloc(pool->size);
    buf->size = buf->data ? pool->size : 0;
    return buf->data ? 0 : -ENOMEM;
}

void buf_release(struct buf_pool *pool, struct buf *buf)
{
    if (buf->data) {
        if (pool->free_count < BUF_POOL_MAX && buf->size == pool->size)
            pool->free[pool->free_count++] = buf->data;
        else
            free(buf->data);
    }
    *buf = (struct buf){NULL, 0, 0, 0};
}

void buf_release_empty(struct buf_pool *pool, struct buf *buf)
{
    if (buf->start == buf->end)
        buf_release(pool, buf);
}

static void move_to_front(struct buf *buf)
{
    memmove(buf->data, buf->data + buf->start, buf_len(buf));
    buf->end -= buf->start;
    buf->start = 0;
}

uint32_t buf_room(struct buf *buf)
{
    if (buf->start == buf->end) {
        buf->start = 0;
        buf->end = 0;
    } else if (buf->start > 0 && buf->end == buf->size) {
        move_to_front(buf);
    }
    return buf->size - buf->end;
}

int buf_append(struct buf *buf, struct slice bytes)
{
    if (buf_room(buf) < bytes.n && buf->start > 0)
        move_to_front(buf);
    if (buf->size - buf->end < bytes.n)
        return -ENOSPC;
    if (bytes.n > 0)
        memcpy(buf->data + buf->end, bytes.p, bytes.n);
    buf->end += (uint32_t)bytes.n;
    return 0;
}
