/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/relay.h"

#include "worker/crash_point.h"
#include "worker/guard.h"
#include "worker/relay_made.h"
#include "worker/relay_step.h"
#include "worker/tunnel.h"

#include <errno.h>
#include <sys/socket.h>

/* Reads of one direction before the others get their turn. */
enum { READS_PER_TURN = 8 };

static struct arena_op *op_of(const struct worker *w)
{
    return &w->arena->header->op;
}

void relay_publish(struct worker *w, uint32_t tunnel, uint32_t d, uint32_t bytes, bool heard)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    /* The low halves follow dir.rx and track.frames: adoption mends them if death came before this. */
    STORE_RELAXED(&pub->bytes[d], pub->bytes[d] + bytes);
    uint32_t frames = t->track[d].frames - (uint32_t)pub->frames[d];
    if (frames != 0)
        STORE_RELAXED(&pub->frames[d], pub->frames[d] + frames);
    if (!heard)
        return;
    t->heard_ms[d] = w->now_ms;
    STORE_RELAXED(&pub->active_ms, w->mono_ms);
}

enum relay_result relay_failed(uint32_t side, enum reason *reason)
{
    *reason = side == 0 ? REASON_CLIENT_RESET : REASON_BACKEND_RESET;
    return RELAY_FAILED;
}

void relay_note_blocked(struct worker *w, uint32_t tunnel, uint32_t d)
{
    worker_count(w, COUNTER_BLOCKED);
    tunnel_note_blocked(w, tunnel, d);
}

/*
 * EOF was read and nothing is pending: pass the FIN on. Idempotent: a successor that finds EOF
 * without SHUT calls shutdown again. The second FIN is left to the close that follows at once.
 */
static enum relay_result half_close(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (t->dir[!d].flags & DIR_SHUT)
        return RELAY_CLOSED;
    if (!(t->dir[d].flags & DIR_SHUT)) {
        if (t->tls != 0 && !relay_made_say_end(w, tunnel, d))
            return RELAY_WAIT; /* for room: flush comes back here */
        shutdown(t->fd[!d], SHUT_WR);
        CRASH_POINT(half_shut);
        t->dir[d].flags |= DIR_SHUT;
    }
    return RELAY_WAIT;
}

/*
 * Both in one store: the event that told of the room is handled only while BLOCKED is set, and the
 * source's own has passed. Death after this, before the source was read: RESUME makes a successor read.
 */
static void unblock(struct arena_dir *dir)
{
    dir->flags = (uint8_t)((dir->flags & ~DIR_BLOCKED) | DIR_RESUME);
}

/* Send pending bytes. WAIT: still blocked; MORE: empty now. */
static enum relay_result flush(struct worker *w, uint32_t tunnel, uint32_t d, enum reason *reason)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_dir *dir = &t->dir[d];
    uint32_t pending = dir->rx - dir->tx;
    uint32_t chunk = dir->chunk;
    const uint8_t *bytes = arena_chunk(w->arena, chunk) + (dir->tx - dir->base);

    op_of(w)->base = dir->tx;
    relay_op_begin(w, OP_FLUSH, tunnel, d);
    CRASH_POINT(flush_op_set);
    ssize_t sent = relay_write(w, t, d, bytes, pending);
    if (sent < 0) {
        if (errno != EAGAIN)
            return relay_failed(!d, reason); /* the op stays set until the close takes over */
        relay_op_end(w);
        if (!(dir->flags & DIR_BLOCKED)) {
            dir->flags |= DIR_BLOCKED;
            relay_note_blocked(w, tunnel, d);
        }
        return RELAY_WAIT;
    }
    CRASH_POINT(flush_sent);
    /* Death before this store: the successor takes tx from the kernel, which counted `sent`. */
    dir->tx += (uint32_t)sent;
    CRASH_POINT(flush_tx_stored);
    if (dir->tx != dir->rx) {
        if (!(dir->flags & DIR_BLOCKED))
            worker_count(w, COUNTER_BLOCKED);
        dir->flags |= DIR_BLOCKED;
        relay_op_end(w);
        tunnel_note_blocked(w, tunnel, d);
        return RELAY_WAIT;
    }
    /* Death before the chunk is let go: nothing is pending, so the successor lets it go. */
    dir->chunk = 0;
    unblock(dir);
    CRASH_POINT(flush_chunk_free);
    relay_op_end(w);
    tunnel_chunk_free(w, chunk);
    return RELAY_MORE;
}

/*
 * The receiver took `sent` of the `n` bytes in the scratch chunk: the chunk itself becomes the
 * direction's, nothing is copied. Called with the op in flight; ends it.
 */
static void park(struct worker *w, uint32_t tunnel, uint32_t d, uint32_t n, uint32_t sent)
{
    struct arena_op *op = op_of(w);
    struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    /*
     * Death at any point in here: the op still names us, positions come from the kernel, and pending
     * bytes without a chunk are in op->scratch at op->base.
     */
    dir->base = op->base;
    COMMIT_FENCE();
    CRASH_POINT(park_base);
    dir->chunk = (uint16_t)op->scratch;
    CRASH_POINT(park_chunk);
    dir->flags |= DIR_BLOCKED;
    dir->rx += n;
    CRASH_POINT(park_positions);
    dir->tx += sent;
    COMMIT_FENCE();
    tunnel_chunk_give(w, &op->scratch);
    CRASH_POINT(park_scratch);
    relay_op_end(w);
    relay_note_blocked(w, tunnel, d);
}

enum relay_result relay_source_ended(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (!(t->dir[!d].flags & DIR_EOF))
        t->reason = d == 0 ? REASON_CLIENT_CLOSED : REASON_BACKEND_CLOSED;
    t->dir[d].flags |= DIR_EOF;
    CRASH_POINT(half_eof);
    return half_close(w, tunnel, d);
}

enum relay_result relay_read_ended(struct worker *w, uint32_t tunnel, uint32_t d, ssize_t n,
                                   enum reason *reason)
{
    if (n < 0 && errno != EAGAIN)
        return relay_failed(d, reason);
    relay_op_end(w);
    return n < 0 ? RELAY_WAIT : relay_source_ended(w, tunnel, d);
}

/*
 * No chunk is free to park bytes in, so leave in the kernel what the receiver does not take: peek,
 * send, then drop from the source what was sent.
 */
static enum relay_result peek_once(struct worker *w, uint32_t tunnel, uint32_t d,
                                   enum reason *reason)
{
    struct arena_op *op = op_of(w);
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_dir *dir = &t->dir[d];
    uint8_t *bytes = arena_chunk(w->arena, op->scratch);

    worker_count(w, COUNTER_CHUNKS_SHORT);
    op->base = dir->rx;
    op->track = t->track[d];
    relay_op_begin(w, OP_PEEK, tunnel, d);
    ssize_t n = recv(t->fd[d], bytes, ARENA_CHUNK_SIZE, MSG_PEEK);
    if (n <= 0)
        return relay_read_ended(w, tunnel, d, n, reason);
    ssize_t sent = relay_write(w, t, d, bytes, (size_t)n);
    if (sent < 0 && errno != EAGAIN)
        return relay_failed(!d, reason);
    if (sent > 0) {
        /* Death here: what was sent is ahead of what was read: the successor drops the difference. */
        ssize_t dropped = dir->flags & DIR_EXACT ? relay_read(w, t, d, bytes, (size_t)sent)
                                                 : recv(t->fd[d], NULL, (size_t)sent, MSG_TRUNC);
        if (dropped != sent)
            return relay_failed(d, reason);
        ws_track_feed(&t->track[d], bytes, (size_t)sent);
        dir->rx += (uint32_t)sent;
        dir->tx += (uint32_t)sent;
    }
    if (sent < n)
        dir->flags |= DIR_BLOCKED;
    relay_op_end(w);
    if (sent > 0)
        relay_publish(w, tunnel, d, (uint32_t)sent, true);
    if (sent < n) {
        relay_note_blocked(w, tunnel, d);
        return RELAY_WAIT;
    }
    return n == ARENA_CHUNK_SIZE || dir->flags & DIR_HANGUP ? RELAY_MORE : RELAY_WAIT;
}

/* One recv and one send. */
static enum relay_result relay_once(struct worker *w, uint32_t tunnel, uint32_t d,
                                    enum reason *reason)
{
    struct arena_op *op = op_of(w);
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct arena_dir *dir = &t->dir[d];
    uint8_t *bytes = arena_chunk(w->arena, op->scratch);

    /* The last chunk is the scratch of the next read: it is never parked. */
    if (UNLIKELY(w->free_chunk_count < 2))
        return peek_once(w, tunnel, d, reason);
    op->base = dir->rx;
    op->track = t->track[d];
    relay_op_begin(w, OP_RELAY, tunnel, d);
    CRASH_POINT(relay_op_set);
    ssize_t n = relay_read(w, t, d, bytes, ARENA_CHUNK_SIZE);
    CRASH_POINT(relay_received);
    if (n <= 0)
        return relay_read_ended(w, tunnel, d, n, reason);
    /* Death from here on: the successor scans the chunk again from op->track. */
    ws_track_feed(&t->track[d], bytes, (size_t)n);
    CRASH_POINT(relay_tracked);
    ssize_t sent = relay_write(w, t, d, bytes, (size_t)n);
    CRASH_POINT(relay_sent);
    if (LIKELY(sent == n)) {
        /* Death between the two: the op is still set and both come from the kernel. */
        dir->rx += (uint32_t)n;
        CRASH_POINT(relay_rx_stored);
        dir->tx += (uint32_t)n;
        CRASH_POINT(relay_tx_stored);
        relay_op_end(w);
        CRASH_POINT(relay_op_cleared);
    } else {
        /* The op stays set until the close takes over: a cleared one would drop the bytes read. */
        if (sent < 0 && errno != EAGAIN)
            return relay_failed(!d, reason);
        park(w, tunnel, d, (uint32_t)n, sent < 0 ? 0 : (uint32_t)sent);
    }
    relay_publish(w, tunnel, d, (uint32_t)n, true);
    if (UNLIKELY(sent != n))
        return RELAY_WAIT;
    /* Edge-triggered: a short read has emptied the queue, unless a FIN stands behind it. */
    return n == ARENA_CHUNK_SIZE || dir->flags & DIR_HANGUP ? RELAY_MORE : RELAY_WAIT;
}

enum relay_result relay_run(struct worker *w, uint32_t tunnel, uint32_t d, enum reason *reason)
{
    struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    if (dir->flags & DIR_SHUT)
        return RELAY_WAIT;
    if (dir->rx != dir->tx) {
        enum relay_result result = flush(w, tunnel, d, reason);
        if (result != RELAY_MORE)
            return result;
    }
    if (dir->flags & DIR_BLOCKED)
        unblock(dir);
    if (dir->flags & DIR_EOF)
        return half_close(w, tunnel, d);
    bool tls = w->tunnels[tunnel].tls != 0;
    for (int i = 0; i < READS_PER_TURN; i++) {
        bool walk = dir->care & CARE_WALK;
        enum relay_result result =
            tls || walk ? relay_made_once(w, tunnel, d, reason) : relay_once(w, tunnel, d, reason);
        if (UNLIKELY(walk) && result <= RELAY_MORE) {
            if (guard_advance(w, tunnel, reason))
                return RELAY_REFUSED;
            /* It may have found this direction marked already, by the very list that runs it now. */
            if (result == RELAY_WAIT && !(dir->flags & DIR_STARVED) &&
                guard_has_words(w, tunnel, d))
                result = RELAY_MORE;
        }
        if (result == RELAY_WAIT)
            dir->flags &= (uint8_t)~DIR_RESUME;
        if (result != RELAY_MORE)
            return result;
    }
    return RELAY_MORE;
}
