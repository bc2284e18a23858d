/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/accept.h"

#include "worker/client.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BURST = 64,              /* connections accepted for one event */
    IDLE_CLOSED_A_TURN = 32, /* keep-alive clients closed at once when descriptors run short */
    SPARE_FDS = 16,          /* for control messages and logs that arrive as descriptors */
};

static int watch(struct worker *w, uint32_t place)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)EVENT_LISTENER << 56 | place};
    if (w->watched[place])
        return 0;
    if (epoll_ctl(FD_EPOLL, EPOLL_CTL_ADD, FD_LISTENERS + (int)place, &event) < 0 &&
        errno != EEXIST)
        return -errno;
    w->watched[place] = true;
    return 0;
}

void accept_forget(struct worker *w, uint32_t place)
{
    /* Always: a predecessor may have watched it. */
    epoll_ctl(FD_EPOLL, EPOLL_CTL_DEL, FD_LISTENERS + (int)place, NULL);
    w->watched[place] = false;
}

static bool descriptors_short(const struct worker *w)
{
    uint64_t used = FD_DYNAMIC + SPARE_FDS + 2ull * w->me->clients_open +
                    2ull * w->me->tunnels_open + w->me->backend_idle;
    return used + 2 > w->fd_max;
}

static int accept_fd(struct worker *w, uint32_t place, struct addr *address)
{
    *address = (struct addr){.len = sizeof address->u};
    conn_expect_fd(w);
    int fd = accept4(FD_LISTENERS + (int)place, &address->u.sa, &address->len, SOCK_NONBLOCK);
    if (fd < 0)
        conn_no_fd(w);
    return fd;
}

static void take_client(struct worker *w, int fd, const struct addr *address,
                        const struct image_listener *listener)
{
    worker_count(w, COUNTER_ACCEPTED);
    int rc = client_open(w, fd, address, listener);
    if (rc < 0) {
        if (rc != -EACCES) /* that one was not wanted */
            worker_count(w, COUNTER_ACCEPT_SHED);
        worker_count(w, COUNTER_CLIENTS_CLOSED);
        close(fd);
        conn_no_fd(w);
    }
}

/* One connection. Returns false when no more can be accepted now. */
static bool accept_one(struct worker *w, uint32_t place, const struct image_listener *listener)
{
    struct addr address;
    int fd = accept_fd(w, place, &address);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            worker_count(w, COUNTER_ACCEPT_NO_FD);
            w->fd_pressure = true;
            return false;
        }
        /* ECONNABORTED and its like concern one connection only. */
        return errno != EAGAIN && errno != EINVAL && errno != EBADF;
    }
    take_client(w, fd, &address, listener);
    return true;
}

/* NULL: a listener that the newest configuration no longer has. */
static const struct image_listener *listener_at(const struct worker *w, uint32_t place)
{
    uint32_t index = w->arena->header->listeners[place].index;
    if (index >= w->image->header->listeners.count)
        return NULL;
    return image_listener(w->image, index);
}

void accept_event(struct worker *w, uint32_t place)
{
    if (place >= ARENA_LISTENERS_MAX || !w->image)
        return;
    if (!w->watched[place]) { /* a predecessor did: it would be told again and again */
        epoll_ctl(FD_EPOLL, EPOLL_CTL_DEL, FD_LISTENERS + (int)place, NULL);
        return;
    }
    const struct image_listener *listener = listener_at(w, place);
    for (int i = 0; i < BURST; i++) {
        if (descriptors_short(w)) {
            worker_count(w, COUNTER_ACCEPT_NO_FD);
            w->fd_pressure = true;
            return;
        }
        if (!accept_one(w, place, listener))
            return;
    }
}

void accept_drain(struct worker *w, uint32_t place)
{
    if (!w->image)
        return;
    /* Bounded by the backlog: clients that connect meanwhile are other sockets' from then on. */
    const struct image_listener *listener = listener_at(w, place);
    for (int i = 0; i < 65536 && !descriptors_short(w); i++) {
        struct addr address;
        int fd = accept_fd(w, place, &address);
        if (fd < 0)
            return;
        take_client(w, fd, &address, listener);
    }
}

/* Where as many handshakes wait as may be under way, further clients wait in the accept queue. */
static void watch_places(struct worker *w, bool may)
{
    bool shaking = w->shake_head && (!client_shake_is_due(w) ||
                                     w->shake_waiting >= w->image->header->tls.max_handshakes);
    if (w->watching == may && w->watching_full == shaking && !w->listeners_changed)
        return;
    w->watching = may;
    w->watching_full = shaking;
    w->listeners_changed = false;
    for (uint32_t place = 0; place < ARENA_LISTENERS_MAX; place++) {
        if (w->arena->header->listeners[place].id == 0)
            continue;
        const struct image_listener *listener = may ? listener_at(w, place) : NULL;
        bool full = listener && listener->flags & LISTENER_TLS && shaking;
        if (!may || full)
            accept_forget(w, place);
        else if (watch(w, place) < 0)
            log_write(LOG_LEVEL_ERROR, "listen_failed", "place=%u error=%d", place, errno);
    }
}

void accept_regulate(struct worker *w)
{
    if (w->fd_pressure) {
        if (descriptors_short(w))
            client_close_oldest(w, IDLE_CLOSED_A_TURN);
        if (!descriptors_short(w)) {
            w->fd_pressure = false;
        } else if (w->mode == SLOT_MODE_RUN) {
            log_limited(
                &w->limit_local, LOG_LEVEL_WARN, "no_descriptors",
                "limit=%u tunnels=%u clients=%u advice=\"raise LimitNOFILE; new clients wait "
                "in the accept queue\"",
                w->fd_max, w->me->tunnels_open, w->me->clients_open);
        }
    }
    bool may =
        w->mode == SLOT_MODE_RUN && w->image && !w->fd_pressure && !w->master_gone && !w->parking;
    watch_places(w, may);
}
