/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/listen.h"

#include "master/bind.h"
#include "master/slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* "*:80" and "80" take IPv4, too; "[::]:80" is IPv6 alone, as in nginx. */
static bool takes_both(const struct conf_listener *from)
{
    return from->address.u.sa.sa_family == AF_INET6 && from->text[0] != '[';
}

static const struct master_listener *find(const struct master *master,
                                          const struct master_listener *wanted)
{
    for (uint32_t i = 0; i < master->listeners.count; i++) {
        const struct master_listener *l = &master->listeners.items[i];
        if (l->dual_stack == wanted->dual_stack && addr_eq(&l->address, &wanted->address))
            return l;
    }
    return NULL;
}

/* An address of ours with the same port would make the probe fail, though both can be bound. */
static bool port_is_ours(const struct master *master, const struct addr *address)
{
    for (uint32_t i = 0; i < master->listeners.count; i++) {
        if (addr_port(&master->listeners.items[i].address) == addr_port(address))
            return true;
    }
    return false;
}

static void complain(const struct listen_plan *plan, uint32_t index, int error)
{
    const struct conf_listener *from = &plan->conf->listeners[index];
    const char *remedy = "";
    if (error == -EADDRINUSE)
        remedy = ": another program listens there; stop it or choose another port";
    else if (error == -EACCES)
        remedy = ": ports below 1024 need root or CAP_NET_BIND_SERVICE";
    else if (error == -EADDRNOTAVAIL)
        remedy = ": no interface has this address";
    fprintf(plan->errors, "%s:%d: listeners: cannot bind %s: %s%s\n", plan->conf->path, from->line,
            from->text, strerror(-error), remedy);
}

static void take_over(const struct master *master, const struct listen_plan *plan, uint32_t index,
                      struct master_listener *out)
{
    const struct conf_listener *from = &plan->conf->listeners[index];
    *out = (struct master_listener){
        .index = index, .address = from->address, .dual_stack = takes_both(from)};
    const struct master_listener *old = find(master, out);
    out->ordered = old ? old->ordered : true;
    out->steered = old && old->steered;
    if (old)
        out->id = old->id;
    for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++)
        out->fds[s] = old ? old->fds[s] : -1;
}

/* All addresses that are new are asked for before any is bound: ours may overlap one another. */
static int probe_all(const struct master *master, const struct listen_plan *plan,
                     const struct master_listeners *next)
{
    int first = 0;
    for (uint32_t i = 0; i < next->count; i++) {
        const struct master_listener *l = &next->items[i];
        if (l->id > 0 || port_is_ours(master, &l->address))
            continue;
        int error = bind_probe(&l->address, l->dual_stack, plan->patience_ms);
        if (error)
            complain(plan, i, error);
        if (error && !first)
            first = error;
    }
    return first;
}

static int open_slot(struct master_listener *listener, uint32_t slot, uint32_t backlog)
{
    if (listener->fds[slot] >= 0) {
        /* The backlog may have changed, and a worker may have shut a leaving socket down. */
        return listen(listener->fds[slot], (int)backlog) < 0 ? -errno : 0;
    }
    int fd = bind_listener(&listener->address, listener->dual_stack, backlog);
    if (fd < 0)
        return fd;
    for (uint32_t s = slot + 1; s < BOARD_SLOTS_MAX; s++)
        listener->ordered &= listener->fds[s] < 0;
    listener->fds[slot] = fd;
    listener->fresh |= UINT64_C(1) << slot;
    return 0;
}

static int open_all(const struct listen_plan *plan, struct master_listeners *next)
{
    int first = 0;
    for (uint32_t i = 0; i < next->count; i++) {
        int error = 0;
        for (uint32_t s = 0; s < plan->workers && !error; s++)
            error = open_slot(&next->items[i], s, plan->conf->listeners[i].backlog);
        if (error)
            complain(plan, i, error);
        if (error && !first)
            first = error;
    }
    return first;
}

int listen_prepare(const struct master *master, const struct listen_plan *plan,
                   struct master_listeners *next)
{
    uint32_t count = plan->conf->listener_count;
    next->count = 0;
    next->items = NULL;
    if (count > ARENA_LISTENERS_MAX) {
        fprintf(plan->errors, "%s: listeners: %u are configured, at most %d are possible\n",
                plan->conf->path, count, ARENA_LISTENERS_MAX);
        return -E2BIG;
    }
    next->items = calloc(count, sizeof *next->items);
    if (!next->items)
        return -ENOMEM;
    next->count = count;
    for (uint32_t i = 0; i < count; i++)
        take_over(master, plan, i, &next->items[i]);
    int error = probe_all(master, plan, next);
    if (!error)
        error = open_all(plan, next);
    if (error)
        listen_give_up(next);
    return error;
}

static void keep_leaving(struct master_listeners *next, const struct master_listener *old)
{
    for (uint32_t i = 0; i < next->count; i++) {
        if (next->items[i].id == old->id)
            return;
    }
    struct master_listener *items = reallocarray(next->items, next->count + 1, sizeof *items);
    if (!items) {
        /* No memory to close it in order: queued connections are lost, nothing else. */
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
            if (old->fds[s] >= 0)
                close(old->fds[s]);
        }
        return;
    }
    next->items = items;
    items[next->count] = *old;
    items[next->count++].leaving = true;
}

void listen_commit(struct master *master, struct master_listeners *next)
{
    for (uint32_t i = 0; i < next->count; i++) {
        next->items[i].fresh = 0;
        if (next->items[i].id == 0)
            next->items[i].id = ++master->listener_id;
    }
    for (uint32_t i = 0; i < master->listeners.count; i++)
        keep_leaving(next, &master->listeners.items[i]);
    free(master->listeners.items);
    master->listeners = *next;
    *next = (struct master_listeners){0};
}

void listen_give_up(struct master_listeners *next)
{
    for (uint32_t i = 0; i < next->count; i++) {
        struct master_listener *l = &next->items[i];
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
            if (l->fresh & (UINT64_C(1) << s))
                close(l->fds[s]);
        }
    }
    free(next->items);
    *next = (struct master_listeners){0};
}

bool listen_is_wanted(const struct master *master, const struct master_listener *listener,
                      uint32_t slot)
{
    return !listener->leaving && master->slots[slot].mode == SLOT_MODE_RUN;
}

/* True if a slot from `first` on has a socket. */
static bool is_open_from(const struct master_listener *listener, uint32_t first)
{
    for (uint32_t s = first; s < BOARD_SLOTS_MAX; s++) {
        if (listener->fds[s] >= 0)
            return true;
    }
    return false;
}

/*
 * The kernel closes a gap among a group's sockets with the last one, so the slots that stay keep
 * their places as long as only higher ones go.
 */
static void steer(struct master_listener *listener, uint32_t workers)
{
    if (!is_open_from(listener, 1))
        listener->ordered = true;
    bool some_leave = is_open_from(listener, workers) && listener->fds[0] >= 0;
    if (some_leave && listener->ordered)
        listener->steered = bind_steer(listener->fds[0], workers) == 0;
    else if (listener->steered && listener->fds[0] >= 0)
        listener->steered = bind_steer(listener->fds[0], 0) != 0;
}

void listen_steer(struct master *master)
{
    for (uint32_t i = 0; i < master->listeners.count; i++)
        steer(&master->listeners.items[i], master->workers);
}

/* True while a socket of this listener waits for its slot to let go. */
static bool close_unwanted(struct master *master, struct master_listener *listener, uint64_t now_ms,
                           bool *closed)
{
    bool waiting = false;
    for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
        if (listener->fds[s] < 0 || listen_is_wanted(master, listener, s))
            continue;
        if (!slots_has_applied(master, s) &&
            master_since(now_ms, master->slots[s].changed_ms) < SLOTS_PATIENCE_MS) {
            waiting = true;
            continue;
        }
        close(listener->fds[s]);
        listener->fds[s] = -1;
        *closed = true;
    }
    return waiting;
}

bool listen_close_unwanted(struct master *master, uint64_t now_ms)
{
    struct master_listeners *all = &master->listeners;
    bool waiting = false;
    bool closed = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        struct master_listener *l = &all->items[i];
        waiting |= close_unwanted(master, l, now_ms, &closed);
        if (!l->leaving || is_open_from(l, 0))
            all->items[kept++] = *l;
    }
    all->count = kept;
    if (closed)
        listen_steer(master);
    return waiting;
}

void listen_close_all(struct master *master)
{
    struct master_listeners *all = &master->listeners;
    for (uint32_t i = 0; i < all->count; i++) {
        struct master_listener *l = &all->items[i];
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
            if (l->fds[s] >= 0)
                close(l->fds[s]);
        }
    }
    free(all->items);
    *all = (struct master_listeners){0};
}
