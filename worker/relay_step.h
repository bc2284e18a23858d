/* SPDX-License-Identifier: Apache-2.0 */
/* Between relay.c and relay_made.c: the journal around a step, and how a direction ends. */
#ifndef WORKER_RELAY_STEP_H
#define WORKER_RELAY_STEP_H

#include "worker/exact.h"
#include "worker/relay.h"

#include <sys/socket.h>

/* From here on a successor looks at the kernel's counts of this tunnel before it goes on. */
static inline void relay_op_begin(struct worker *w, enum op_kind kind, uint32_t tunnel, uint32_t d)
{
    if (UNLIKELY(w->tunnels[tunnel].dir[d].flags & DIR_EXACT))
        exact_begin(w->arena->header);
    COMMIT_FENCE();
    w->arena->header->op.cur = (uint32_t)kind << 28 | tunnel << 1 | d;
    COMMIT_FENCE();
}

/* Read a direction's source, write to its destination. As recv and send. */
static inline ssize_t relay_read(const struct worker *w, const struct arena_tunnel *t, uint32_t d,
                                 uint8_t *bytes, size_t n)
{
    if (UNLIKELY(t->dir[d].flags & DIR_EXACT))
        return exact_recv(w->arena->header, t->fd[d], bytes, n);
    return recv(t->fd[d], bytes, n, 0);
}

static inline ssize_t relay_write(const struct worker *w, const struct arena_tunnel *t, uint32_t d,
                                  const uint8_t *bytes, size_t n)
{
    if (UNLIKELY(t->dir[d].flags & DIR_EXACT))
        return exact_send(w->arena->header, t->fd[!d], bytes, n);
    return send(t->fd[!d], bytes, n, MSG_NOSIGNAL);
}

/* The same, of bytes with which a FIN is to leave at once: both in one segment. */
static inline ssize_t relay_write_last(const struct worker *w, const struct arena_tunnel *t,
                                       uint32_t d, const uint8_t *bytes, size_t n)
{
    if (t->dir[d].flags & DIR_EXACT)
        return exact_send(w->arena->header, t->fd[!d], bytes, n);
    return send(t->fd[!d], bytes, n, MSG_NOSIGNAL | MSG_MORE);
}

/* All stores of the step stand before this one: a successor finds either the op or its result. */
static inline void relay_op_end(struct worker *w)
{
    COMMIT_FENCE();
    w->arena->header->op.cur = 0;
}

/* The connection of a side broke. The op stays set until the close takes over. */
enum relay_result relay_failed(uint32_t side, enum reason *reason);

/* recv has returned n <= 0. An error is consumed: the op stays set until the close takes over. */
enum relay_result relay_read_ended(struct worker *w, uint32_t tunnel, uint32_t d, ssize_t n,
                                   enum reason *reason);

/* The source has ended in order: note it, and pass it on as soon as nothing is pending. */
enum relay_result relay_source_ended(struct worker *w, uint32_t tunnel, uint32_t d);

void relay_note_blocked(struct worker *w, uint32_t tunnel, uint32_t d);

#endif
