/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tunnel.h"

#include "shm/board_gauge.h"
#include "shm/board_reserve.h"
#include "worker/conn.h"
#include "worker/crash_point.h"
#include "worker/guard.h"
#include "worker/position.h"
#include "worker/relay_made.h"
#include "worker/rules.h"
#include "worker/tunnel_tls.h"
#include "worker/wave.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Free chunks below this number keep their memory; above it they give it back to the kernel. */
enum { CHUNKS_KEPT = 64 };

/* Records that are given memory on the board at a time: 48 KiB. */
enum { TUNNELS_RESERVED = 512 };

/* ---- chunks ---- */

uint32_t tunnel_chunk_take(struct worker *w)
{
    if (w->free_chunk_count == 0)
        return 0;
    STORE_RELAXED(&w->me->chunks_used, w->me->chunks_used + 1);
    uint32_t chunk = w->free_chunks[--w->free_chunk_count];
    w->chunk_ms[chunk] = w->now_ms;
    return chunk;
}

void tunnel_chunk_give(struct worker *w, uint32_t *own)
{
    w->chunk_ms[*own] = w->now_ms;
    *own = tunnel_chunk_take(w);
}

void tunnel_chunk_free(struct worker *w, uint32_t chunk)
{
    w->free_chunks[w->free_chunk_count++] = (uint16_t)chunk;
    STORE_RELAXED(&w->me->chunks_used, w->me->chunks_used - 1);
    if (chunk >= CHUNKS_KEPT)
        madvise(arena_chunk(w->arena, chunk), ARENA_CHUNK_SIZE, MADV_REMOVE);
}

/* ---- records ---- */

uint64_t tunnel_event_data(const struct arena_tunnel *record, uint32_t tunnel, uint32_t side)
{
    return (uint64_t)EVENT_TUNNEL << 56 | (uint64_t)record->gen << 32 | tunnel << 1 | side;
}

bool tunnel_room(const struct worker *w)
{
    bool record = w->free_tunnel_count > 0 || w->tunnels_used < w->arena->header->tunnels_max;
    return record && w->free_chunk_count >= 4;
}

static void op_set(struct worker *w, enum op_kind kind, uint32_t tunnel)
{
    COMMIT_FENCE();
    w->arena->header->op.cur = kind == OP_NONE ? 0 : (uint32_t)kind << 28 | tunnel << 1;
    COMMIT_FENCE();
}

static uint32_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
        return 0;
    return (uint32_t)cookie;
}

uint64_t tunnel_id(const struct worker *w, uint32_t tunnel)
{
    return board_tunnel_id(w->slot, w->tunnels[tunnel].gen, tunnel);
}

/* Bytes that wait to be sent in a new tunnel's direction: into a chunk. The 101's head does not count. */
static void stage(struct worker *w, uint32_t tunnel, uint32_t d, const struct tunnel_opening *o)
{
    struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    dir->tx = d == 1 ? 0 - o->head_len : 0;
    dir->base = dir->tx;
    dir->rx = dir->tx;
    tunnel_tls_count(w, tunnel, d, o);
    if (o->held[d].n + o->tls[d].plain.n + o->tls[!d].wire_out.n == 0)
        return;
    dir->chunk = (uint16_t)tunnel_chunk_take(w);
    dir->rx += tunnel_tls_stage(w, tunnel, d, o, arena_chunk(w->arena, dir->chunk));
}

/* Bytes of a new tunnel's direction, that no walk has seen yet: is what stands in them allowed? */
static void walk_held(struct worker *w, uint32_t tunnel, uint32_t d, struct tunnel_opening *o)
{
    uint32_t head = d == 1 ? o->head_len : 0;
    uint32_t held = (uint32_t)o->held[d].n - head;
    uint8_t *content = tunnel_tls_content(w);
    struct guard_walk walk = {
        .d = d,
        .now_ms = w->now_ms,
        .in = content,
        .n = held + (uint32_t)o->tls[d].plain.n,
        .counts_out = true,
        .again = true, /* nothing of it is shown yet */
    };
    if (held > 0)
        memcpy(content, o->held[d].p + head, held);
    if (o->tls[d].plain.n > 0)
        memcpy(content + held, o->tls[d].plain.p, o->tls[d].plain.n);
    uint8_t *walked = tunnel_tls_walked(w);
    guard_walk(w, tunnel, &walk, walked);
    o->held[d].n = head;
    o->tls[d].plain = (struct slice){(const char *)walked, walk.out};
}

static void feed_held(struct worker *w, uint32_t tunnel, uint32_t d, const struct tunnel_opening *o)
{
    struct ws_track *track = &w->tunnels[tunnel].track[d];
    uint32_t head = d == 1 ? o->head_len : 0;
    ws_track_feed(track, o->held[d].p + head, o->held[d].n - head);
    ws_track_feed(track, o->tls[d].plain.p, o->tls[d].plain.n);
}

static int fill_record(struct worker *w, uint32_t tunnel, struct tunnel_opening *o)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    uint16_t gen = t->gen;
    memset(t, 0, sizeof *t);
    t->gen = (uint16_t)(gen + 1);
    t->rules = o->rules;
    t->dir[0].care = o->care;
    t->heard_ms[0] = w->now_ms;
    t->heard_ms[1] = w->now_ms;
    t->backend = (uint16_t)o->backend;
    int rc = tunnel_tls_fill(w, tunnel, o);
    if (rc < 0)
        return rc;
    guard_open(w, tunnel);
    uint8_t flags = o->exact ? DIR_EXACT : 0;
    for (uint32_t d = 0; d < 2; d++) {
        t->dir[d].flags = flags;
        t->fd[d] = o->fd[d];
        t->cookie[d] = cookie_of(o->fd[d]);
        if (t->dir[d].care & CARE_WALK)
            walk_held(w, tunnel, d, o);
        else
            feed_held(w, tunnel, d, o);
        stage(w, tunnel, d, o);
        t->src_off[d] = o->rx[d] - t->dir[d].rx;
        t->dst_off[d] = o->tx[!d] - t->dir[d].tx;
    }
    return 0;
}

static void fill_public(struct worker *w, uint32_t tunnel, const struct tunnel_opening *o)
{
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    memset(pub, 0, sizeof *pub);
    pub->opened_real_ms = w->real_ms;
    pub->active_ms = w->mono_ms;
    uint8_t raw[16];
    size_t len = addr_binary(o->client, raw);
    if (len == 4) {
        pub->client_ip[10] = 0xff;
        pub->client_ip[11] = 0xff;
    }
    memcpy(pub->client_ip + 16 - len, raw, len);
    pub->client_port = addr_port(o->client);
    pub->site = (uint16_t)o->site;
    pub->backend = (uint16_t)o->backend;
    pub->client_gauge = o->client_gauge;
    if (o->tls[0].session) {
        pub->tls = (uint8_t)(o->tls[0].session->suite << 4 | o->tls[0].session->version);
    }
    for (uint32_t d = 0; d < 2; d++) {
        pub->bytes[d] = o->held[d].n + o->tls[d].plain.n - (d == 1 ? o->head_len : 0);
        pub->frames[d] = w->tunnels[tunnel].track[d].frames;
    }
    STORE_RELEASE(&pub->id, tunnel_id(w, tunnel));
    if (tunnel >= w->tunnels_used) {
        w->tunnels_used = tunnel + 1;
        STORE_RELEASE(&w->me->tunnels_high, w->tunnels_used);
    }
}

/* From now on events of both sockets name the tunnel. MOD re-arms: nothing that waits is missed. */
static int watch_as_tunnel(const struct arena_tunnel *t, uint32_t tunnel)
{
    for (uint32_t side = 0; side < 2; side++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                    .data.u64 = tunnel_event_data(t, tunnel, side)};
        if (epoll_ctl(FD_EPOLL, EPOLL_CTL_MOD, t->fd[side], &event) < 0)
            return -errno;
    }
    return 0;
}

static void drop_chunks(struct worker *w, struct arena_tunnel *t)
{
    for (uint32_t d = 0; d < 2; d++) {
        if (t->dir[d].chunk != 0) {
            uint32_t chunk = t->dir[d].chunk;
            t->dir[d].chunk = 0;
            tunnel_chunk_free(w, chunk);
        }
    }
}

/* A record that was never used needs memory on the board: for many at a time. */
static bool record_has_memory(struct worker *w, uint32_t tunnel)
{
    if (LIKELY(tunnel < w->tunnels_reserved))
        return true;
    uint32_t end = tunnel + TUNNELS_RESERVED;
    int rc = board_reserve_tunnels(w->board, FD_BOARD, w->slot, w->tunnels_reserved, end);
    if (rc < 0) {
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "board_full", "tunnel=%u error=%d", tunnel,
                    -rc);
        return false;
    }
    w->tunnels_reserved = end;
    return true;
}

int tunnel_open(struct worker *w, const struct tunnel_opening *opening, uint64_t *id)
{
    struct tunnel_opening copy = *opening; /* what a walk takes out of the held bytes */
    struct tunnel_opening *o = &copy;
    if (!tunnel_room(w) || o->rules == 0)
        return -ENOBUFS;
    /* A Close of ours may stand before it, if what came with the handshake is refused. */
    const size_t most = ARENA_CHUNK_SIZE - WS_WALK_EXTRA;
    if (o->held[0].n + o->tls[0].plain.n > most || o->held[1].n + o->tls[1].plain.n > most)
        return -EMSGSIZE;
    /* Low numbers first: untouched records and their lists cost no memory. */
    bool reuse = w->free_tunnel_count > 0;
    uint32_t tunnel = reuse ? w->free_tunnels[w->free_tunnel_count - 1] : w->tunnels_used;
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (!record_has_memory(w, tunnel))
        return -ENOBUFS;
    op_set(w, OP_OPEN, tunnel);
    /* Death before OPEN is stored: the record is free, the sweep closes both descriptors. */
    int rc = fill_record(w, tunnel, o);
    CRASH_POINT(open_filled);
    if (rc == 0)
        rc = watch_as_tunnel(t, tunnel);
    CRASH_POINT(open_watched);
    if (rc < 0) {
        drop_chunks(w, t);
        tunnel_tls_drop(w, tunnel);
        op_set(w, OP_NONE, 0);
        return rc;
    }
    fill_public(w, tunnel, opening);
    /* The record's now, not the heap's. Death before the commit: OP_OPEN makes the sweep look. */
    conn_mark_fd(w, o->fd[0], false);
    conn_mark_fd(w, o->fd[1], false);
    COMMIT_FENCE();
    CRASH_POINT(open_public);
    t->state = TUNNEL_OPEN; /* the commit: from here on the tunnel outlives us */
    CRASH_POINT(open_committed);
    if (reuse)
        w->free_tunnel_count--;
    /* Death in here: adoption counts what is open anew, and opened = closed + open. */
    struct board_cell *cell = board_cell(w->board, w->slot, o->backend);
    STORE_RELAXED(&cell->tunnels, cell->tunnels + 1);
    STORE_RELAXED(&cell->tunnels_opened, cell->tunnels_opened + 1);
    STORE_RELAXED(&w->me->tunnels_open, w->me->tunnels_open + 1);
    worker_count(w, COUNTER_TUNNELS_OPENED);
    rules_join(w, t);
    CRASH_POINT(open_counted);
    op_set(w, OP_NONE, 0);
    *id = tunnel_id(w, tunnel);
    tunnel_arm(w, tunnel);
    tunnel_mark_ready(w, tunnel, 1);
    if (o->held[0].n + o->tls[0].plain.n + o->tls[0].wire_in.n > 0)
        tunnel_mark_ready(w, tunnel, 0);
    guard_look_after(w, tunnel);
    return 0;
}

/* ---- closing ---- */

static void log_end(struct worker *w, uint32_t tunnel, enum reason reason)
{
    if (!access_log_wanted(&w->access_log) && !log_wanted(LOG_LEVEL_DEBUG))
        return;
    const struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    /* The public record is gossip by now: a predecessor may have died of a wild store. */
    struct board_backend *backend = board_backend(w->board, w->tunnels[tunnel].backend);
    uint32_t known_site = pub->site < w->board->header->sites_max ? pub->site : 0;
    struct board_site *site = board_site(w->board, known_site);
    struct addr client = {.u.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(pub->client_port)},
                          .len = sizeof(struct sockaddr_in6)};
    memcpy(&client.u.in6.sin6_addr, pub->client_ip, 16);
    addr_unmap(&client);
    char text[ADDR_TEXT_MAX];
    struct access_tunnel line = {
        .client = {text, addr_print(&client, text)},
        .site = {site->name, strnlen(site->name, sizeof site->name)},
        .upstream = {backend->upstream, strnlen(backend->upstream, sizeof backend->upstream)},
        .server = {backend->server, strnlen(backend->server, sizeof backend->server)},
        .tunnel = pub->id,
        .ended_real_ms = w->real_ms,
        .duration_ms = w->real_ms > pub->opened_real_ms ? w->real_ms - pub->opened_real_ms : 0,
        .bytes = {pub->bytes[0], pub->bytes[1]},
        .frames = {pub->frames[0], pub->frames[1]},
        .reason = reason_word(reason),
    };
    access_log_tunnel(&w->access_log, &line);
    log_write(LOG_LEVEL_DEBUG, "closed",
              "reason=%s tunnel=%llx client=%s backend=%.*s/%.*s rx=%llu tx=%llu",
              reason_word(reason), (unsigned long long)pub->id, text, (int)line.upstream.n,
              line.upstream.p, (int)line.server.n, line.server.p, (unsigned long long)pub->bytes[0],
              (unsigned long long)pub->bytes[1]);
}

/*
 * One counter of a close. The value before is journaled, so that a successor which finds this step
 * begun sets the same result again instead of adding twice.
 */
static void settle_one(struct arena_op *op, uint32_t step, uint64_t *counter, uint64_t n)
{
    if (op->step > 2 * step + 1)
        return; /* done by a predecessor */
    if (op->step < 2 * step + 1) {
        op->saved = *counter;
        COMMIT_FENCE();
        op->step = 2 * step + 1;
        COMMIT_FENCE();
    }
    STORE_RELAXED(counter, op->saved + n);
    COMMIT_FENCE();
    CRASH_POINT(close_settle);
    op->step = 2 * step + 2;
}

/* Its sums move from the live record to the counters; readers see close_seq odd meanwhile. */
void tunnel_gauges(const struct worker *w, uint32_t tunnel, uint32_t gauges[TUNNEL_GAUGES])
{
    const struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    const struct board_backend *backend =
        board_backend(w->board, w->tunnels[tunnel].backend % BOARD_BACKENDS_MAX);
    /* A record that a wild store has hit counts nowhere. */
    bool client = pub->client_gauge >= GAUGE_CLIENTS && pub->client_gauge < GAUGE_COUNT;
    gauges[0] = GAUGE_ALL;
    gauges[1] = GAUGE_SITES + pub->site % BOARD_SITES_MAX;
    gauges[2] = GAUGE_UPSTREAMS + backend->upstream_index % BOARD_UPSTREAMS_MAX;
    gauges[3] = client ? pub->client_gauge : TUNNEL_NO_GAUGE;
}

/* Counted in by the request that it was (worker/admit.c). */
static void leave_gauges(const struct worker *w, uint32_t tunnel)
{
    uint32_t gauges[TUNNEL_GAUGES];
    tunnel_gauges(w, tunnel, gauges);
    for (uint32_t i = 0; i < TUNNEL_GAUGES; i++) {
        if (gauges[i] != TUNNEL_NO_GAUGE)
            board_gauge_leave(w->board, w->slot, gauges[i]);
    }
}

static void settle(struct worker *w, uint32_t tunnel, enum reason reason)
{
    struct arena_op *op = &w->arena->header->op;
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    struct board_cell *cell = board_cell(w->board, w->slot, w->tunnels[tunnel].backend);
    uint64_t *counters = w->me->counters;
    const struct {
        uint64_t *counter;
        uint64_t n;
    } moves[] = {
        {&counters[COUNTER_CLOSED_RX_BYTES], pub->bytes[0]},
        {&counters[COUNTER_CLOSED_TX_BYTES], pub->bytes[1]},
        {&counters[COUNTER_CLOSED_RX_FRAMES], pub->frames[0]},
        {&counters[COUNTER_CLOSED_TX_FRAMES], pub->frames[1]},
        {&counters[COUNTER_TUNNELS_CLOSED], 1},
        {&counters[COUNTER_CLIENTS_CLOSED], 1},
        {&w->me->reasons[reason], 1},
        {&cell->rx_bytes, pub->bytes[0]},
        {&cell->tx_bytes, pub->bytes[1]},
        {&cell->rx_frames, pub->frames[0]},
        {&cell->tx_frames, pub->frames[1]},
        {&cell->tunnels_closed, 1},
    };
    STORE_RELEASE(&w->me->close_seq, w->me->close_seq | 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (uint32_t i = 0; i < ARRAY_LEN(moves); i++)
        settle_one(op, i, moves[i].counter, moves[i].n);
    STORE_RELAXED(&cell->tunnels, cell->tunnels - 1);
    STORE_RELAXED(&cell->conns, cell->conns - 1);
    STORE_RELAXED(&w->me->tunnels_open, w->me->tunnels_open - 1);
    leave_gauges(w, tunnel);
    CRASH_POINT(close_settled);
    STORE_RELEASE(&pub->id, 0);
    STORE_RELEASE(&w->me->close_seq, w->me->close_seq + 1);
}

void tunnel_finish_close(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    timer_clear(&w->timers, tunnel);
    for (uint32_t side = 0; side < 2; side++) {
        int fd = t->fd[side];
        if (fd < 0)
            continue;
        if (t->abort) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        /* Death between the two: the successor's close fails with EBADF, as nobody opens between. */
        close(fd);
        CRASH_POINT(close_fd);
        t->fd[side] = -1;
    }
    drop_chunks(w, t);
    tunnel_tls_drop(w, tunnel);
    rules_leave(w, t);
    guard_forget(w, tunnel);
    CRASH_POINT(close_wiped);
    if (pub->id != 0) {
        log_end(w, tunnel, t->reason);
        settle(w, tunnel, t->reason);
    }
    COMMIT_FENCE();
    t->state = TUNNEL_FREE;
    CRASH_POINT(close_free);
    w->free_tunnels[w->free_tunnel_count++] = tunnel;
    op_set(w, OP_NONE, 0);
}

void tunnel_begin_close(struct worker *w, uint32_t tunnel)
{
    w->arena->header->op.step =
        0; /* before the op names us: a step counts for the tunnel it names */
    op_set(w, OP_CLOSE, tunnel);
}

/* TLS: a last word to whoever takes it at once (RFC 8446 6.1), so that the end is no truncation. */
static void say_ends(struct worker *w, uint32_t tunnel)
{
    for (uint32_t d = 0; d < 2; d++) {
        const struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
        if (dir->rx == dir->tx && !(dir->flags & DIR_SHUT))
            (void)relay_made_say_end(w, tunnel, d);
    }
}

void tunnel_close(struct worker *w, uint32_t tunnel, enum reason reason, bool abort)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    ASSERT(t->state == TUNNEL_OPEN);
    if (t->tls != 0 && !abort && w->arena->header->op.cur == 0)
        say_ends(w, tunnel);
    /* Before anything is closed, so that a successor, too, sends RST and not a clean FIN. */
    t->abort = abort;
    t->reason = (uint8_t)reason;
    tunnel_begin_close(w, tunnel);
    CRASH_POINT(close_marked);
    t->gen++; /* events on their way are stale from here */
    COMMIT_FENCE();
    t->state = TUNNEL_CLOSING; /* from here on a successor finishes the close */
    CRASH_POINT(close_closing);
    tunnel_finish_close(w, tunnel);
}

/* ---- events ---- */

void tunnel_mark_ready(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    if (dir->flags & DIR_READY)
        return;
    dir->flags |= DIR_READY;
    w->ready[w->ready_count++] = tunnel << 1 | d;
}

/* In order if both have sent Close (RFC 6455 7.1.4); else whoever ended first is named. */
static enum reason end_reason(const struct arena_tunnel *t)
{
    bool closed = t->track[0].flags & WS_SAW_CLOSE && t->track[1].flags & WS_SAW_CLOSE;
    return closed ? REASON_DONE : (enum reason)t->reason;
}

void tunnel_close_ended(struct worker *w, uint32_t tunnel)
{
    enum reason reason = end_reason(&w->tunnels[tunnel]);
    tunnel_close(w, tunnel, guard_reason(w, tunnel, reason), false);
}

/*
 * A connection broke. If we were ending the tunnel anyway, that is why it ended, and what the other end
 * was told last arrives: an RST could overtake it.
 */
static void close_broken(struct worker *w, uint32_t tunnel, enum reason reason)
{
    tunnel_close(w, tunnel, guard_reason(w, tunnel, reason), !guard_is_closing(w, tunnel));
}

/* Relay one direction; closes the tunnel when it ends. Returns WAIT or MORE, CLOSED when it is gone. */
static enum relay_result run_direction(struct worker *w, uint32_t tunnel, uint32_t d)
{
    enum reason reason = REASON_DONE;
    enum relay_result result = relay_run(w, tunnel, d, &reason);
    if (result == RELAY_CLOSED)
        tunnel_close_ended(w, tunnel);
    else if (result == RELAY_FAILED)
        close_broken(w, tunnel, reason);
    else if (result == RELAY_REFUSED)
        tunnel_close(w, tunnel, reason, false);
    return result == RELAY_WAIT || result == RELAY_MORE ? result : RELAY_CLOSED;
}

/* The same, and put it on the ready list if there is more. Returns false if the tunnel is gone. */
static bool serve_direction(struct worker *w, uint32_t tunnel, uint32_t d)
{
    enum relay_result result = run_direction(w, tunnel, d);
    if (result == RELAY_MORE)
        tunnel_mark_ready(w, tunnel, d);
    return result != RELAY_CLOSED;
}

void tunnel_event(struct worker *w, uint64_t data, uint32_t events)
{
    uint32_t tunnel = (uint32_t)data >> 1;
    uint32_t side = (uint32_t)data & 1;
    if (tunnel >= w->arena->header->tunnels_max)
        return;
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (t->state != TUNNEL_OPEN || t->gen != (uint16_t)(data >> 32))
        return;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        t->dir[side].flags |= DIR_HANGUP;
    /* Its own half is over, so no read will find the reset: nobody is there to take the other half. */
    if (events & EPOLLERR && t->dir[side].flags & DIR_SHUT) {
        close_broken(w, tunnel, side == 0 ? REASON_CLIENT_RESET : REASON_BACKEND_RESET);
        return;
    }
    /* Room first: what is pending to this side is older than what it may have sent. */
    if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && t->dir[!side].flags & DIR_BLOCKED) {
        if (!serve_direction(w, tunnel, !side))
            return;
    }
    /* While its receiver takes nothing, reading more would only cost a failing send. */
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP) &&
        !(t->dir[side].flags & DIR_BLOCKED))
        serve_direction(w, tunnel, side);
}

void tunnel_run_ready(struct worker *w)
{
    uint32_t count = w->ready_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tunnel = w->ready[i] >> 1;
        uint32_t d = w->ready[i] & 1;
        struct arena_tunnel *t = &w->tunnels[tunnel];
        if (t->state != TUNNEL_OPEN || !(t->dir[d].flags & DIR_READY))
            continue;
        /* The flag is cleared after the work, not before: a successor must find it if we die here. */
        enum relay_result result = run_direction(w, tunnel, d);
        CRASH_POINT(ready_run);
        if (result == RELAY_MORE)
            w->ready[w->ready_count++] = tunnel << 1 | d;
        else if (result == RELAY_WAIT)
            t->dir[d].flags &= (uint8_t)~DIR_READY;
    }
    w->ready_count -= count;
    memmove(w->ready, w->ready + count, w->ready_count * sizeof w->ready[0]);
}

/* ---- start ---- */

/* A chunk of the op's own may have become a direction's in the last step of a dead worker. */
static void keep_own(const struct arena_header *header, uint8_t *used, uint32_t *chunk)
{
    if (*chunk >= header->chunks_max || used[*chunk])
        *chunk = 0;
    used[*chunk] = 1;
}

int tunnel_init(struct worker *w)
{
    const struct arena_header *header = w->arena->header;
    w->free_tunnels = malloc(header->tunnels_max * sizeof *w->free_tunnels);
    w->free_chunks = malloc(header->chunks_max * sizeof *w->free_chunks);
    /* Both directions once, and once more for those that are put back while the list is run. */
    w->ready = malloc((size_t)header->tunnels_max * 4 * sizeof *w->ready);
    w->chunk_ms = malloc(header->chunks_max * sizeof *w->chunk_ms);
    uint8_t *used = calloc(header->chunks_max, 1);
    if (!w->free_tunnels || !w->free_chunks || !w->ready || !w->chunk_ms || !used ||
        starved_init(w) < 0) {
        free(used);
        return -ENOMEM;
    }
    w->tunnels_used =
        w->me->tunnels_high < header->tunnels_max ? w->me->tunnels_high : header->tunnels_max;
    for (uint32_t i = w->tunnels_used; i > 0; i--) {
        const struct arena_tunnel *t = &w->tunnels[i - 1];
        if (t->state == TUNNEL_FREE) {
            w->free_tunnels[w->free_tunnel_count++] = i - 1;
            continue;
        }
        for (uint32_t d = 0; d < 2; d++) {
            if (t->dir[d].chunk < header->chunks_max)
                used[t->dir[d].chunk] = 1;
        }
    }
    int rc = tunnel_tls_init(w, used);
    if (rc < 0) {
        free(used);
        return rc;
    }
    used[0] = 1;
    struct arena_op *op = &w->arena->header->op;
    struct vault_op *vop = &w->vault.header->op;
    keep_own(header, used, &op->scratch);
    keep_own(header, used, &op->out);
    keep_own(header, used, &vop->rest);
    for (uint32_t i = header->chunks_max; i > 0; i--) {
        if (!used[i - 1])
            w->free_chunks[w->free_chunk_count++] = (uint16_t)(i - 1);
        else
            w->chunk_ms[i - 1] = w->now_ms; /* as if anew */
    }
    free(used);
    STORE_RELAXED(&w->me->chunks_used, header->chunks_max - 1 - w->free_chunk_count);
    if (op->scratch == 0)
        op->scratch = tunnel_chunk_take(w);
    if (op->out == 0)
        op->out = tunnel_chunk_take(w);
    if (vop->rest == 0)
        vop->rest = tunnel_chunk_take(w);
    return 0;
}
