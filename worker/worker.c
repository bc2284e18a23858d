/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/worker.h"

#include "common/clock.h"
#include "common/sha1.h"
#include "worker/accept.h"
#include "worker/adopt.h"
#include "worker/apply.h"
#include "worker/backend.h"
#include "worker/client.h"
#include "worker/context.h"
#include "worker/crash_point.h"
#include "worker/disown.h"
#include "worker/park.h"
#include "worker/queue.h"
#include "worker/starved.h"
#include "worker/tunnel.h"
#include "worker/tunnel_tls.h"
#include "worker/wave.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BEAT_MS = 1000,
    STORM_MIN = 16,                    /* clients accepted in a second */
    LOOK_MS = 5,                       /* how often what nobody tells us about is looked at */
    EVENTS_AT_ONCE = ARENA_EVENTS / 2, /* the other half is for those that come meanwhile */
    TURN_MAX = 4 * ARENA_EVENTS, /* events of connections in a turn; then no more room is made */
    OTHERS_AT_ONCE =
        8, /* events of connections, at 10 to 200 us each, between two looks at tunnels */
};

static void update_clock(struct worker *w)
{
    uint64_t ahead_ms = w->real_ms - w->mono_ms;
    w->mono_ms = clock_mono_ms();
    w->real_ms = clock_real_ms();
    wave_look_at_clock(w, ahead_ms);
    w->now_ms = (uint32_t)w->mono_ms;
    STORE_RELAXED(&w->me->beat_ms, w->mono_ms);
}

/* The descriptor limit bounds the tables that are indexed by descriptor. */
static int make_tables(struct worker *w)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    w->fd_max = limit.rlim_cur < ARENA_FDS_MAX ? (uint32_t)limit.rlim_cur : ARENA_FDS_MAX;
    w->conns = calloc(w->fd_max, sizeof *w->conns);
    w->free_places = malloc(w->fd_max * sizeof *w->free_places);
    if (!w->conns || !w->free_places)
        return -ENOMEM;
    return timer_init(&w->timers, w->arena->header->tunnels_max + w->fd_max, w->now_ms);
}

static int watch_infrastructure(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)EVENT_CONTROL << 56};
    if (epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, FD_CONTROL, &event) < 0 && errno != EEXIST)
        return -errno;
    event.data.u64 = (uint64_t)EVENT_WAKE << 56;
    if (epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, FD_WAKE, &event) < 0 && errno != EEXIST)
        return -errno;
    /* The number may name another pidfd than the predecessor's: put it in anew. */
    event.data.u64 = (uint64_t)EVENT_KEEPER << 56;
    epoll_ctl(FD_EPOLL, EPOLL_CTL_DEL, FD_KEEPER_PID, NULL);
    if (epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, FD_KEEPER_PID, &event) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

static void keeper_event(struct worker *w)
{
    struct pollfd keeper = {.fd = FD_KEEPER_PID, .events = POLLIN};
    if (poll(&keeper, 1, 0) != 1 || w->mode == SLOT_MODE_STOP)
        return;
    int rc = w->start->respawn_keeper(w->start->context, disown_secrets, w);
    if (rc < 0) {
        log_limited(&w->limit_local, LOG_LEVEL_ERROR, "keeper_lost", "error=%d", -rc);
        return;
    }
    rc = watch_infrastructure();
    if (rc < 0)
        log_write(LOG_LEVEL_ERROR, "keeper_unwatched", "error=%d", -rc);
}

static void conn_event(struct worker *w, uint64_t data, uint32_t events)
{
    struct conn *conn = conn_by_event(w, data);
    if (!conn)
        return;
    if (conn->kind == CONN_CLIENT)
        client_event((struct client *)conn, events);
    else
        backend_event((struct backend *)conn, events);
}

static void handle(struct worker *w, uint64_t data, uint32_t events)
{
    switch ((enum event_tag)(data >> 56)) {
    case EVENT_TUNNEL: tunnel_event(w, data, events); break;
    case EVENT_CONN: conn_event(w, data, events); break;
    case EVENT_LISTENER: accept_event(w, (uint32_t)data); break;
    case EVENT_CONTROL: apply_event(w); break;
    case EVENT_KEEPER: keeper_event(w); break;
    case EVENT_WAKE: park_event(w); break;
    }
}

static void timer_due(void *context, uint32_t id)
{
    struct worker *w = context;
    if (id < w->arena->header->tunnels_max) {
        tunnel_timer(w, id);
        return;
    }
    struct conn *conn = conn_by_timer(w, id);
    if (conn && conn->kind == CONN_CLIENT)
        client_timer((struct client *)conn);
    else if (conn)
        backend_timer((struct backend *)conn);
}

/*
 * The allocator keeps what a storm of connections has used, up to 55 KB for each TLS handshake at a
 * time. Give it back once the storm is over; not amid one, for the next second would fetch it again.
 */
static void give_back_memory(struct worker *w)
{
    uint64_t accepted = w->me->counters[COUNTER_ACCEPTED] - w->accepted_before;
    w->accepted_before += accepted;
    if (accepted > w->storm)
        w->storm = accepted;
    if (w->storm < STORM_MIN || accepted > w->storm / 8)
        return;
    buf_pool_trim(&w->pool);
    (void)malloc_trim(0);
    w->storm = 0;
}

static void each_second(struct worker *w)
{
    give_back_memory(w);
    starved_relieve(w);
    access_log_flush(&w->access_log);
    wave_look(w);
    if (w->mode != SLOT_MODE_RUN)
        client_close_idle(w);
    STORE_RELAXED(&w->me->counters[COUNTER_LOG_LOST], w->access_log.lost + log_lost());
}

static bool is_tunnel(const struct epoll_event *event)
{
    return event->data.u64 >> 56 == EVENT_TUNNEL;
}

/*
 * Of thousands of tunnels hardly a record is in the cache: fetch that of an event to come while the
 * kernel works for those before it.
 */
static void prefetch_record(const struct worker *w, const struct epoll_event *event)
{
    uint32_t tunnel = (uint32_t)event->data.u64 >> 1;
    if (!is_tunnel(event) || tunnel >= w->arena->header->tunnels_max)
        return;
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct board_tunnel *pub = board_tunnel(w->board, w->slot, tunnel);
    __builtin_prefetch(t, 1);
    __builtin_prefetch(t->track, 1);
    __builtin_prefetch(&pub->active_ms, 1);
    __builtin_prefetch(&pub->frames[1], 1);
}

/* The entries of its sides that are TLS: by its record, which has come by now. */
static void prefetch_sides(const struct worker *w, const struct epoll_event *event)
{
    uint32_t tunnel = (uint32_t)event->data.u64 >> 1;
    if (!is_tunnel(event) || tunnel >= w->arena->header->tunnels_max)
        return;
    for (uint32_t side = 0; side < 2; side++) {
        const uint8_t *entry = (const uint8_t *)tunnel_tls_side(w, tunnel, side);
        for (size_t at = 0; entry && at < sizeof(struct vault_side); at += CACHE_LINE)
            __builtin_prefetch(entry + at, 1);
    }
}

/* Has a server room for a request that waits; are requests done, so that we can park? */
static void look(struct worker *w)
{
    if (w->queue_waiting > 0) {
        queue_run(w);
        conn_free_dead(w);
    }
    if (w->parking)
        park_when_ready(w);
}

/* One event from the buffer. Death before it is marked: a successor handles it again; edges come once. */
static void handle_at(struct worker *w, int i)
{
    struct epoll_event *event = &w->arena->header->events[i];
    handle(w, event->data.u64, event->events);
    COMMIT_FENCE();
    CRASH_POINT(event_handled);
    event->events = 0;
}

static void handle_tunnels(struct worker *w, int from, int count)
{
    const struct epoll_event *events = w->arena->header->events;
    for (int i = from; i < count; i++) {
        if (i + 2 < count)
            prefetch_record(w, &events[i + 2]);
        if (i + 1 < count)
            prefetch_sides(w, &events[i + 1]);
        if (is_tunnel(&events[i]))
            handle_at(w, i);
    }
}

/* One burst of a listener a turn: its event is level-triggered, and comes again with the next. */
static void forget_listeners(struct worker *w, int from, int count)
{
    struct epoll_event *events = w->arena->header->events;
    for (int i = from; i < count; i++) {
        if (events[i].data.u64 >> 56 == EVENT_LISTENER)
            events[i].events = 0;
    }
}

/* Behind `count` events that are taken already: what has come since, tunnels at once. Returns how many. */
static int look_again(struct worker *w, int count)
{
    int more = epoll_wait(FD_EPOLL, w->arena->header->events + count, (int)ARENA_EVENTS - count, 0);
    update_clock(w);
    if (more <= 0)
        return 0;
    forget_listeners(w, count, count + more);
    handle_tunnels(w, count, count + more);
    if (w->ready_count > 0)
        tunnel_run_ready(w);
    return more;
}

/*
 * The buffer is full, but those up to `next` are handled: move up the rest, so that there is room to look.
 * Death amid it: tunnels' events are all handled, and of others a successor needs none.
 */
static int make_room(struct worker *w, int next, int count)
{
    struct epoll_event *events = w->arena->header->events;
    int rest = count - next;
    memmove(events, events + next, (size_t)rest * sizeof *events);
    memset(events + rest, 0, (size_t)(count - rest) * sizeof *events);
    return rest;
}

/* New connections, however many, never starve open tunnels; nor, TURN_MAX, timers. */
static void handle_others(struct worker *w, int count)
{
    const struct epoll_event *events = w->arena->header->events;
    int handled = 0;
    for (int i = 0; i < count; i++) {
        if (is_tunnel(&events[i]) || events[i].events == 0)
            continue;
        handle_at(w, i);
        if (++handled % OTHERS_AT_ONCE != 0)
            continue;
        if (count == (int)ARENA_EVENTS && handled < TURN_MAX) {
            count = make_room(w, i + 1, count);
            i = -1;
        }
        if (count < (int)ARENA_EVENTS)
            count += look_again(w, count);
    }
}

static void one_turn(struct worker *w)
{
    uint32_t limit = w->looking ? LOOK_MS : BEAT_MS;
    bool more = w->ready_count > 0 || client_shake_is_due(w);
    uint32_t wait = more ? 0 : timer_wait(&w->timers, w->now_ms, limit);
    int count = epoll_wait(FD_EPOLL, w->arena->header->events, EVENTS_AT_ONCE, (int)wait);
    update_clock(w);
    w->shake_begun = 0;
    handle_tunnels(w, 0, count);
    handle_others(w, count);
    if (w->ready_count > 0)
        tunnel_run_ready(w);
    timer_run(&w->timers, w->now_ms, timer_due, w);
    starved_feed(w);
    client_shake_next(w);
    accept_regulate(w);
    conn_free_dead(w);
    if (w->looking)
        look(w);
}

static bool finished(const struct worker *w)
{
    return w->mode == SLOT_MODE_STOP || (w->mode == SLOT_MODE_DRAIN && !worker_busy(w));
}

static void close_tunnels(struct worker *w)
{
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        if (w->tunnels[i].state == TUNNEL_OPEN)
            tunnel_close(w, i, REASON_SHUTDOWN, false);
    }
}

static NORETURN void end(struct worker *w)
{
    close_tunnels(w);
    each_second(w);
    STORE_RELAXED(&w->me->state, (uint32_t)SLOT_FREE);
    log_write(LOG_LEVEL_INFO, "worker_ended", "mode=%u", w->mode);
    _exit(WORKER_EXIT_DONE);
}

static int begin(struct worker *w, const struct worker_start *start)
{
    char who[16];
    w->start = start;
    w->board = start->board;
    w->arena = start->arena;
    w->tunnels = start->arena->tunnels;
    w->slot = start->slot;
    w->me = board_slot(start->board, start->slot);
    w->accepted_before = w->me->counters[COUNTER_ACCEPTED];
    prctl(PR_SET_NAME, "hf-worker");
    snprintf(who, sizeof who, "w%u", start->slot);
    log_init(STDERR_FILENO, LOG_LEVEL_INFO, who);
    assert_set_last_words(w->me->last_words, sizeof w->me->last_words);
    update_clock(w);
    crash_point_init((unsigned)getpid());
    STORE_RELAXED(&w->me->started_real_ms, w->real_ms);
    STORE_RELAXED(&w->me->state, (uint32_t)SLOT_STARTING);
    int rc = make_tables(w);
    if (rc == 0)
        rc = vault_attach(&w->vault, FD_VAULT);
    return rc < 0 ? rc : watch_infrastructure();
}

NORETURN void worker_main(const struct worker_start *start)
{
    static struct worker worker; /* one a process */
    struct worker *w = &worker;
    /* A keeper that a worker has cloned hands that worker's memory down to its own workers. */
    memset(w, 0, sizeof *w);
    int rc = begin(w, start);
    if (rc < 0) {
        log_write(LOG_LEVEL_ERROR, "worker_failed", "error=%d", -rc);
        _exit(1);
    }
    apply_inherited(w);
    rc = adopt_predecessor(w);
    if (rc < 0) {
        log_write(LOG_LEVEL_ERROR, "adopt_failed", "error=%d", -rc);
        _exit(1);
    }
    uint64_t next_second = w->mono_ms + BEAT_MS;
    apply_event(w);
    /* A turn for the tunnels before the library loads its digests: that takes a millisecond. */
    one_turn(w);
    if (sha1_init() < 0) {
        log_write(LOG_LEVEL_ERROR, "worker_failed", "error=\"no SHA-1\"");
        _exit(1);
    }
    while (!finished(w)) {
        one_turn(w);
        if (w->mono_ms >= next_second) {
            each_second(w);
            next_second = w->mono_ms + BEAT_MS;
        }
    }
    end(w);
}
