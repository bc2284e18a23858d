/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/adopt.h"

#include "shm/board_gauge.h"
#include "worker/crash_point.h"
#include "worker/exact.h"
#include "worker/guard.h"
#include "worker/position.h"
#include "worker/queue.h"
#include "worker/relay_made.h"
#include "worker/rules.h"
#include "worker/tunnel_tls.h"
#include "worker/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the step in flight ---- */

/* PEEK: what was sent and not yet dropped from the source is dropped now. */
static int drop_sent(const struct arena_tunnel *t, uint32_t d, uint32_t n)
{
    while (n > 0) {
        ssize_t dropped = recv(t->fd[d], NULL, n, MSG_TRUNC | MSG_DONTWAIT);
        if (dropped <= 0)
            return -EIO;
        n -= (uint32_t)dropped;
    }
    return 0;
}

/* Bytes that were read: the tracker goes over them again from where it stood before. */
static void rescan(struct worker *w, struct arena_tunnel *t, uint32_t d, uint32_t rx)
{
    const struct arena_op *op = &w->arena->header->op;
    uint32_t n = rx - op->base;
    uint32_t chunk =
        t->dir[d].chunk != 0 && t->dir[d].base == op->base ? t->dir[d].chunk : op->scratch;
    t->track[d] = op->track;
    ws_track_feed(&t->track[d], arena_chunk(w->arena, chunk), n);
}

/* What both positions of the direction in flight are now. */
struct resolved {
    uint32_t rx;
    uint32_t tx;
};

static int read_positions(const struct arena_tunnel *t, uint32_t d, struct position *src,
                          struct position *dst)
{
    int rc = position_read(t->fd[d], d == 1, src);
    if (rc == 0)
        rc = position_read(t->fd[!d], d == 0, dst);
    if (rc < 0)
        return rc;
    return src->reset || dst->dead ? -ECONNRESET : 0;
}

/* From the kernel's counts of both sockets. */
static int resolve_counts(uint32_t kind, const struct arena_tunnel *t, uint32_t d,
                          struct resolved *now)
{
    struct position src;
    struct position dst;
    int rc = read_positions(t, d, &src, &dst);
    if (rc < 0)
        return rc;
    now->rx = src.consumed - t->src_off[d];
    now->tx = dst.written - t->dst_off[d];
    if (kind == OP_PEEK) {
        if (now->tx - now->rx > ARENA_CHUNK_SIZE || drop_sent(t, d, now->tx - now->rx) < 0)
            return -EIO;
        now->rx = now->tx;
    }
    return 0;
}

/*
 * From the lengths that the kernel has written into the arena. A PEEK's read is what it dropped: all
 * that was sent, or nothing yet; then it is dropped now, and a successor of ours finds that it was.
 */
static int resolve_lengths(const struct worker *w, uint32_t kind, const struct arena_tunnel *t,
                           uint32_t d, struct resolved *now)
{
    struct arena_header *header = w->arena->header;
    const struct arena_op *op = &header->op;
    uint32_t received = exact_received(header);
    uint32_t sent = exact_sent(header);
    now->tx = op->base + sent;
    now->rx = op->base + received;
    if (kind == OP_FLUSH || kind == OP_RELAY)
        return sent > ARENA_CHUNK_SIZE || (kind == OP_RELAY && sent > received) ? -ERANGE : 0;
    if (received == 0 && sent > 0 && sent <= ARENA_CHUNK_SIZE) {
        uint8_t *bytes = arena_chunk(w->arena, op->scratch);
        received = (uint32_t)exact_recv(header, t->fd[d], bytes, sent);
    }
    now->rx = now->tx;
    return received == sent ? 0 : -EIO;
}

/* Into the record. Idempotent: it may be killed and run again. */
static int resolve_positions(struct worker *w, uint32_t kind, struct arena_tunnel *t, uint32_t d)
{
    const struct arena_op *op = &w->arena->header->op;
    struct arena_dir *dir = &t->dir[d];
    struct resolved now;
    int rc = dir->flags & DIR_EXACT ? resolve_lengths(w, kind, t, d, &now)
                                    : resolve_counts(kind, t, d, &now);
    if (rc < 0)
        return rc;
    if (kind == OP_FLUSH)
        now.rx = dir->rx; /* nothing was being read */
    if (crash_point_ignores_counts())
        now = (struct resolved){dir->rx, dir->tx};
    if (now.rx - now.tx > ARENA_CHUNK_SIZE ||
        (kind != OP_FLUSH && now.rx - op->base > ARENA_CHUNK_SIZE))
        return -ERANGE;
    if (kind != OP_FLUSH)
        rescan(w, t, d, now.rx);
    dir->rx = now.rx;
    CRASH_POINT(adopt_positions);
    dir->tx = now.tx;
    if (now.rx == now.tx) {
        dir->chunk = 0;
    } else if (dir->chunk == 0) {
        dir->base = op->base;
        COMMIT_FENCE();
        dir->chunk = (uint16_t)op->scratch;
        dir->flags |= DIR_BLOCKED;
    }
    return 0;
}

/* A step whose output was made is done again; here is how much was read and written in it. */
static int resolve_made(struct worker *w, uint32_t kind, const struct arena_tunnel *t, uint32_t d)
{
    const struct arena_op *op = &w->arena->header->op;
    uint32_t consumed = exact_received(w->arena->header);
    uint32_t sent = exact_sent(w->arena->header);
    if (!(t->dir[d].flags & DIR_EXACT)) {
        struct position src;
        struct position dst;
        int rc = read_positions(t, d, &src, &dst);
        if (rc < 0)
            return rc;
        consumed = src.consumed - (op->base + op->src_off);
        sent = dst.written - (op->base + t->dst_off[d]);
    }
    if (kind == OP_END)
        consumed = 0;
    if (crash_point_ignores_counts()) {
        consumed = 0;
        sent = 0;
    }
    return relay_made_resolve(w, (uint32_t)(t - w->tunnels), d, consumed, sent);
}

static void resolve_op(struct worker *w)
{
    struct arena_op *op = &w->arena->header->op;
    uint32_t kind = op->cur >> 28;
    uint32_t tunnel = (op->cur & 0x0fffffff) >> 1;
    uint32_t d = op->cur & 1;
    if (kind == OP_NONE || kind == OP_OPEN || kind == OP_FD ||
        tunnel >= w->arena->header->tunnels_max)
        return;
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (kind == OP_CLOSE) {
        if (t->state == TUNNEL_OPEN)
            t->state = TUNNEL_CLOSING;
        return;
    }
    if (t->state != TUNNEL_OPEN)
        return;
    if (verify_is_strike(w->start->died_by_signal) && verify_strike(w, t)) {
        log_write(LOG_LEVEL_ERROR, "quarantined", "tunnel=%u signal=%d last_words=\"%.200s\"",
                  tunnel, w->start->died_by_signal, w->me->last_words);
        board_event(w->board, 2 + w->slot, "quarantined worker=%u tunnel=%u", w->slot, tunnel);
        return;
    }
    /* What has ended is read no more; its last word may still be under way. */
    bool reads = kind != OP_END && kind != OP_FLUSH;
    if ((t->dir[d].flags & DIR_EOF && reads) || op->scratch >= w->arena->header->chunks_max)
        return;
    bool made = kind == OP_MADE || kind == OP_END;
    int rc = made ? resolve_made(w, kind, t, d) : resolve_positions(w, kind, t, d);
    if (rc < 0) {
        log_write(LOG_LEVEL_WARN, "tunnel_lost", "tunnel=%u error=%d", tunnel, -rc);
        if (rc != -ECONNRESET && rc != -EPROTO)
            worker_count(w, COUNTER_TUNNELS_LOST);
        enum reason reset = d == 0 ? REASON_CLIENT_RESET : REASON_BACKEND_RESET;
        verify_condemn(t, rc == -ECONNRESET ? reset
                          : rc == -EPROTO   ? REASON_TLS_ERROR
                                            : REASON_WORKER_DIED);
        return;
    }
    /* The event that was being handled is repeated in full. */
    t->dir[0].flags |= DIR_READY;
    t->dir[1].flags |= DIR_READY;
    /*
     * The record has the result now. Were the op still set, a successor of ours would do the step again,
     * from chunks that tunnel_init has given away since, and by rules that are newer.
     */
    COMMIT_FENCE();
    op->cur = 0;
}

/* ---- descriptors ---- */

/*
 * Connections that were not tunnels died with their worker's heap. Bits are cleared after closing.
 * Returns the highest descriptor that was closed.
 */
static uint32_t close_heap_fds(struct worker *w)
{
    uint32_t highest = 0;
    for (uint32_t word = FD_DYNAMIC / 64; word < w->fd_max / 64 + 1; word++) {
        uint64_t bits = w->arena->fds[word];
        while (bits != 0) {
            int fd = (int)(word * 64 + (uint32_t)__builtin_ctzll(bits));
            bits &= bits - 1;
            highest = (uint32_t)fd;
            close(fd);
        }
        if (w->arena->fds[word] != 0)
            w->arena->fds[word] = 0;
    }
    return highest;
}

/*
 * A descriptor was being made or closed: look at the numbers that no record owns. New ones are the
 * lowest that are free, so one that nobody knows stands below the highest known, or just above.
 */
enum { SWEEP_SLACK = 128 };
static int sweep(struct worker *w, uint32_t highest)
{
    uint8_t *owned = calloc(w->fd_max, 1);
    if (!owned)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        const struct arena_tunnel *t = &w->tunnels[i];
        for (uint32_t side = 0; t->state != TUNNEL_FREE && side < 2; side++) {
            if (t->fd[side] >= 0 && (uint32_t)t->fd[side] < w->fd_max)
                owned[t->fd[side]] = 1;
            if (t->state != TUNNEL_FREE && t->fd[side] > (int)highest)
                highest = (uint32_t)t->fd[side];
        }
    }
    uint32_t end = highest + SWEEP_SLACK < w->fd_max ? highest + SWEEP_SLACK : w->fd_max;
    for (uint32_t fd = FD_DYNAMIC; fd < end; fd++) {
        if (!owned[fd] && fcntl((int)fd, F_GETFD) >= 0)
            close((int)fd);
    }
    free(owned);
    return 0;
}

/* ---- the board ---- */

/*
 * What a backend's cell says is open, in one store each and from above: other workers count on it that
 * it never shows less than there is (worker/balance_place.c).
 */
static void set_cell(struct worker *w, uint32_t backend, uint32_t open, uint32_t closing,
                     bool opening)
{
    struct board_cell *cell = board_cell(w->board, w->slot, backend);
    STORE_RELAXED(&cell->conns, open);
    STORE_RELAXED(&cell->tunnels, open);
    if (cell->closing != closing)
        STORE_RELAXED(&cell->closing, closing);
    if (opening)
        STORE_RELAXED(&cell->tunnels_opened, cell->tunnels_closed + open);
}

/* What lives on is counted; what was a handshake has died with the worker, and its place is given back. */
static int recount_gauges(struct worker *w)
{
    uint32_t *counts = calloc(GAUGE_COUNT, sizeof *counts);
    if (!counts)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        uint32_t gauges[TUNNEL_GAUGES];
        if (w->tunnels[i].state == TUNNEL_FREE || board_tunnel(w->board, w->slot, i)->id == 0)
            continue;
        tunnel_gauges(w, i, gauges);
        for (uint32_t j = 0; j < TUNNEL_GAUGES; j++) {
            if (gauges[j] != TUNNEL_NO_GAUGE)
                counts[gauges[j]]++;
        }
    }
    board_gauge_restore(w->board, w->slot, counts);
    free(counts);
    return 0;
}

/*
 * What is open is counted anew, by public records: one that is closing has its id until its sums have
 * moved. A death while a tunnel was being opened may have missed a count: opened is closed and open.
 */
static int recount(struct worker *w, uint32_t kind)
{
    bool opening = kind == OP_OPEN;
    uint32_t open = 0;
    uint32_t *by_backend = calloc(2 * BOARD_BACKENDS_MAX, sizeof *by_backend);
    uint32_t *closing = by_backend + BOARD_BACKENDS_MAX;
    if (!by_backend)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        const struct arena_tunnel *t = &w->tunnels[i];
        if (t->state == TUNNEL_FREE || board_tunnel(w->board, w->slot, i)->id == 0)
            continue;
        if (t->backend < BOARD_BACKENDS_MAX) {
            by_backend[t->backend]++;
            closing[t->backend] += guard_is_counted(w, i);
        }
        open++;
    }
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX && board_backend(w->board, i)->upstream[0]; i++)
        set_cell(w, i, by_backend[i], closing[i], opening);
    free(by_backend);
    STORE_RELAXED(&w->me->tunnels_open, open);
    if (opening)
        STORE_RELAXED(&w->me->counters[COUNTER_TUNNELS_OPENED],
                      w->me->counters[COUNTER_TUNNELS_CLOSED] + open);
    STORE_RELAXED(&w->me->reasons[REASON_WORKER_DIED],
                  w->me->reasons[REASON_WORKER_DIED] + w->me->requests_open);
    STORE_RELAXED(&w->me->clients_open, 0u);
    STORE_RELAXED(&w->me->requests_open, 0u);
    STORE_RELAXED(&w->me->backend_idle, 0u);
    queue_forget(w);
    rules_recount(w);
    return recount_gauges(w);
}

/* Byte and frame counts of the public record follow the private one: mend what death cut off. */
static void mend_public(struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    for (uint32_t d = 0; d < 2; d++) {
        uint32_t bytes = t->dir[d].rx - guard_extra(w, tunnel, d);
        if (t->tls != 0 && !tunnel_tls_content_bytes(w, tunnel, d, &bytes))
            continue;
        uint32_t missing = bytes - (uint32_t)pub->bytes[d];
        if (missing <= ARENA_CHUNK_SIZE)
            STORE_RELAXED(&pub->bytes[d], pub->bytes[d] + missing);
        STORE_RELAXED(&pub->frames[d],
                      pub->frames[d] + (t->track[d].frames - (uint32_t)pub->frames[d]));
    }
}

/* ---- going on ---- */

/* A receiver that was blocked may have taken bytes since: its time begins anew. */
static void restart_blocked(struct worker *w, struct arena_tunnel *t)
{
    for (uint32_t d = 0; d < 2; d++) {
        if (t->dir[d].flags & DIR_BLOCKED)
            t->blocked_ms[d] = w->now_ms;
    }
}

/* The predecessor died between the last FIN and the close. */
static bool ended(const struct arena_tunnel *t)
{
    return t->dir[0].flags & DIR_SHUT && t->dir[1].flags & DIR_SHUT;
}

/* Where the last word of TLS has to go first, the direction is run (must_run). */
static void finish_half_closes(struct arena_tunnel *t)
{
    for (uint32_t d = 0; d < 2; d++) {
        const struct arena_dir *dir = &t->dir[d];
        if (dir->flags & DIR_EOF && !(dir->flags & DIR_SHUT) && t->tls == 0)
            shutdown(t->fd[!d], SHUT_WR); /* once more does no harm */
    }
}

/*
 * More to do without an event: marked so; an end that was not passed on; or pending bytes that nobody
 * has tried to send, those that a new tunnel begins with.
 */
static bool must_run(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    const struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    bool half = dir->flags & DIR_EOF && !(dir->flags & DIR_SHUT);
    bool unsent = dir->rx != dir->tx && !(dir->flags & DIR_BLOCKED);
    return dir->flags & (DIR_READY | DIR_RESUME | DIR_STARVED) || half || unsent ||
           tunnel_tls_must_run(w, tunnel, d);
}

static uint32_t go_on(struct worker *w)
{
    uint32_t adopted = 0;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        struct arena_tunnel *t = &w->tunnels[i];
        if (t->state == TUNNEL_FREE)
            STORE_RELAXED(&board_tunnel(w->board, w->slot, i)->id, 0);
        if (t->state != TUNNEL_OPEN)
            continue;
        mend_public(w, i);
        guard_begin_anew(w, i);
        if (ended(t)) {
            tunnel_close_ended(w, i);
            continue;
        }
        adopted++;
        restart_blocked(w, t);
        finish_half_closes(t);
        tunnel_arm(w, i);
        for (uint32_t d = 0; d < 2; d++) {
            if (must_run(w, i, d)) {
                t->dir[d].flags |= DIR_READY; /* never cleared here: a successor needs it, too */
                t->dir[d].flags &= (uint8_t)~DIR_STARVED;
                w->ready[w->ready_count++] = i << 1 | d;
            }
        }
        guard_look_after(w, i);
    }
    return adopted;
}

/* Events taken from the kernel and not handled: edges come only once. */
static void replay_events(struct worker *w)
{
    struct epoll_event *events = w->arena->header->events;
    for (uint32_t i = 0; i < ARENA_EVENTS; i++) {
        if (events[i].events == 0)
            continue;
        if (events[i].data.u64 >> 56 == EVENT_TUNNEL)
            tunnel_event(w, events[i].data.u64, events[i].events);
        COMMIT_FENCE();
        events[i].events = 0;
    }
}

/* The close that was in flight goes on at its step; the others begin. */
static void finish_closes(struct worker *w)
{
    const struct arena_op *op = &w->arena->header->op;
    uint32_t tunnel = (op->cur & 0x0fffffff) >> 1;
    if (op->cur >> 28 == OP_CLOSE && tunnel < w->tunnels_used &&
        w->tunnels[tunnel].state == TUNNEL_CLOSING)
        tunnel_finish_close(w, tunnel);
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        if (w->tunnels[i].state == TUNNEL_CLOSING) {
            mend_public(w, i);
            tunnel_begin_close(w, i);
            tunnel_finish_close(w, i);
        }
    }
}

/*
 * All closes are finished: what was accepted and is no tunnel has died with the heap. Not by counting
 * clients_open down: it lags behind both ends of a client's life.
 */
static void settle_counts(struct worker *w)
{
    STORE_RELAXED(&w->me->counters[COUNTER_CLIENTS_CLOSED],
                  w->me->counters[COUNTER_ACCEPTED] - w->me->tunnels_open);
    if (w->me->close_seq & 1) /* death between the last step of a close and this */
        STORE_RELEASE(&w->me->close_seq, w->me->close_seq + 1);
}

/* SIGKILL cannot tear a record; a wild store before SIGSEGV can. Re-arm events, too: trust nothing. */
static int check_after_crash(struct worker *w)
{
    if (!verify_is_crash(w->start->died_by_signal))
        return 0;
    int condemned = verify_records(w);
    if (condemned < 0)
        return condemned;
    uint32_t high = w->arena->header->tunnels_max;
    while (high > 0 && w->tunnels[high - 1].state == TUNNEL_FREE)
        high--;
    if (high > w->me->tunnels_high || w->me->tunnels_high > w->arena->header->tunnels_max)
        w->me->tunnels_high = high;
    worker_add(w, COUNTER_TUNNELS_LOST, (uint64_t)condemned);
    log_write(LOG_LEVEL_WARN, "verified", "condemned=%d", condemned);
    return 0;
}

int adopt_predecessor(struct worker *w)
{
    struct arena_op *op = &w->arena->header->op;
    uint32_t kind = op->cur >> 28;
    int rc = 0;
    if (w->me->starts > 1) {
        resolve_op(w);
        CRASH_POINT(adopt_resolved);
        rc = check_after_crash(w);
    }
    if (rc == 0)
        rc = tunnel_init(w);
    if (rc < 0 || w->me->starts <= 1)
        return rc;
    CRASH_POINT(adopt_lists);
    uint32_t highest = close_heap_fds(w);
    rc = recount(w, kind);
    if (rc < 0)
        return rc;
    CRASH_POINT(adopt_recounted);
    finish_closes(w);
    settle_counts(w);
    if (kind == OP_FD || kind == OP_OPEN)
        rc = sweep(w, highest);
    if (rc < 0)
        return rc;
    CRASH_POINT(adopt_closed);
    rules_refresh(w);
    uint32_t adopted = go_on(w);
    CRASH_POINT(adopt_going_on);
    COMMIT_FENCE();
    op->cur = 0;
    replay_events(w);
    worker_add(w, COUNTER_TUNNELS_ADOPTED, adopted);
    log_write(LOG_LEVEL_WARN, "adopted", "tunnels=%u died_by_signal=%d", adopted,
              w->start->died_by_signal);
    board_event(w->board, 2 + w->slot, "adopted worker=%u tunnels=%u", w->slot, adopted);
    return 0;
}
