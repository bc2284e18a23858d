/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/apply.h"

#include "shm/control.h"
#include "worker/accept.h"
#include "worker/backend.h"
#include "worker/balance.h"
#include "worker/client.h"
#include "worker/crash_point.h"
#include "worker/guard.h"
#include "worker/rules.h"
#include "worker/tls_context.h"
#include "worker/tls_resume.h"
#include "worker/tunnel.h"
#include "worker/wave.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BUF_SLACK = 4096, /* what our own fields may add to a head of full size */
    BUF_MIN = 20480,  /* a whole TLS record and the beginning of the next */
};

/* Put a received descriptor at its fixed number. Takes it. */
static int place_fd(int fd, int number)
{
    int rc = dup3(fd, number, 0) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int use_image(struct worker *w)
{
    struct image *image = NULL;
    struct balancer *balancer = NULL;
    struct tls_contexts *tls = NULL;
    int rc = image_open(&image, FD_IMAGE);
    if (rc == 0 && !(balancer = balance_new(image)))
        rc = -ENOMEM;
    if (rc == 0)
        rc = tls_contexts_new(&tls, image, FD_KEYS, FD_TICKETS);
    if (rc == 0)
        rc = rules_map(w, image);
    if (rc < 0) {
        tls_contexts_release(&tls);
        balance_release(&balancer);
        image_release(&image);
        return rc;
    }
    tls_contexts_release(&w->tls);
    balance_release(&w->balancer);
    image_release(&w->image);
    w->image = image;
    w->balancer = balancer;
    w->tls = tls;
    backend_close_kept(w); /* who is asked now may have to be asked by TLS, or be somebody else */
    tls_resume_prune(w->resume, image, tls);
    uint32_t head = image->header->front.head.head_max + BUF_SLACK;
    buf_pool_resize(&w->pool, head > BUF_MIN ? head : BUF_MIN);
    return 0;
}

static void close_listener(struct worker *w, uint32_t place)
{
    struct arena_listener *listener = &w->arena->header->listeners[place];
    if (w->mode != SLOT_MODE_STOP)
        accept_drain(w, place);
    accept_forget(w, place);
    /* Death here: the successor finds the place taken, and the master tells it again to close it. */
    close(FD_LISTENERS + (int)place);
    if (dup2(FD_RESERVE, FD_LISTENERS + (int)place) < 0)
        log_write(LOG_LEVEL_ERROR, "descriptor_lost", "place=%u error=%d", place, errno);
    listener->id = 0;
}

static bool wanted(const struct control_message *message, uint32_t id)
{
    for (uint32_t i = 0; i < message->listener_count; i++) {
        if (message->listeners[i].id == id)
            return true;
    }
    return false;
}

/* The place of a listener, or a free one; ARENA_LISTENERS_MAX if there is none. */
static uint32_t find_place(const struct worker *w, uint32_t id)
{
    for (uint32_t place = 0; place < ARENA_LISTENERS_MAX; place++) {
        if (w->arena->header->listeners[place].id == id)
            return place;
    }
    return ARENA_LISTENERS_MAX;
}

static void add_listener(struct worker *w, const struct arena_listener *listener, int fd)
{
    struct arena_listener *places = w->arena->header->listeners;
    uint32_t place = find_place(w, listener->id);
    if (place < ARENA_LISTENERS_MAX) { /* we have it: only its index may have changed */
        places[place].index = listener->index;
        close(fd);
        return;
    }
    place = find_place(w, 0);
    if (place == ARENA_LISTENERS_MAX || place_fd(fd, FD_LISTENERS + (int)place) < 0) {
        log_write(LOG_LEVEL_ERROR, "listen_failed", "id=%u error=%d", listener->id, errno);
        return;
    }
    places[place].index = listener->index;
    COMMIT_FENCE();
    places[place].id = listener->id; /* from here on a successor knows it */
}

static void apply_listeners(struct worker *w, const struct control_message *message,
                            const struct control_fds *fds)
{
    const struct arena_listener *places = w->arena->header->listeners;
    w->listeners_changed = true; /* accept_regulate watches the new ones */
    for (uint32_t place = 0; place < ARENA_LISTENERS_MAX; place++) {
        if (places[place].id != 0 && !wanted(message, places[place].id))
            close_listener(w, place);
    }
    for (uint32_t i = 0; i < message->listener_count; i++)
        add_listener(w, &message->listeners[i], fds->listeners[i]);
}

static void apply_logs(struct worker *w, const struct control_message *message,
                       const struct control_fds *fds)
{
    access_log_flush(&w->access_log);
    if (place_fd(fds->error_log, FD_ERROR_LOG) == 0)
        log_set_fd(FD_ERROR_LOG);
    log_set_level((enum log_level)message->log_level);
    if (fds->access_log >= 0 && place_fd(fds->access_log, FD_ACCESS_LOG) < 0)
        log_write(LOG_LEVEL_ERROR, "access_log_failed", "error=%d", errno);
}

/* The same for one that may be missing: then nothing of the old one is kept. */
static int place_or_reserve(bool has, int fd, int number)
{
    if (has)
        return place_fd(fd, number);
    return dup2(FD_RESERVE, number) < 0 ? -errno : 0;
}

/*
 * Death between two of these: a successor that finds keys of another generation than the image refuses
 * both, and the master tells it again.
 */
static int apply_configuration(struct worker *w, const struct control_message *message,
                               const struct control_fds *fds)
{
    int keys = place_or_reserve(message->has_keys, fds->keys, FD_KEYS);
    CRASH_POINT(apply_keys);
    int tickets = place_or_reserve(message->has_tickets, fds->tickets, FD_TICKETS);
    int image = place_fd(fds->image, FD_IMAGE);
    CRASH_POINT(apply_image);
    int rc = keys < 0 ? keys : tickets < 0 ? tickets : image;
    return rc < 0 ? rc : use_image(w);
}

/* Mode and image are in place: set what follows from them. */
static void enter_mode(struct worker *w, uint32_t mode)
{
    w->mode = mode;
    w->arena->header->mode = mode;
    STORE_RELAXED(&w->me->state,
                  mode == SLOT_MODE_RUN ? (uint32_t)SLOT_RUNNING : (uint32_t)SLOT_DRAINING);
    if (mode != SLOT_MODE_RUN) {
        client_close_idle(w);
        backend_close_kept(w);
    }
    accept_regulate(w);
}

/* Open tunnels go by the new configuration from here on. */
static void refresh_tunnels(struct worker *w)
{
    if (!rules_refresh(w))
        return;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        if (w->tunnels[i].state != TUNNEL_OPEN)
            continue;
        guard_look_after(w, i);
        tunnel_arm(w, i);
    }
}

static void apply_message(struct worker *w, const struct control_message *message,
                          const struct control_fds *fds)
{
    apply_logs(w, message, fds);
    int rc = apply_configuration(w, message, fds);
    if (rc < 0) {
        log_write(LOG_LEVEL_ERROR, "image_refused", "error=%d", -rc);
        board_event(w->board, 2 + w->slot, "image_refused worker=%u error=%d", w->slot, -rc);
    } else {
        refresh_tunnels(w);
    }
    access_log_configure(&w->access_log, message->has_access_log && w->image
                                             ? w->image->header->front.access_log_format
                                             : ACCESS_LOG_OFF);
    apply_listeners(w, message, fds);
    if (w->image)
        enter_mode(w, message->mode);
    if (w->image)
        STORE_RELEASE(&w->me->generation, w->image->header->generation);
    wave_look(w);
    w->arena->header->applied_seq = message->seq;
    STORE_RELEASE(&w->me->applied_seq, message->seq);
}

void apply_event(struct worker *w)
{
    struct control_message message;
    struct control_fds fds;
    for (;;) {
        int rc = control_receive(FD_CONTROL, &message, &fds);
        if (rc == 0) {
            apply_message(w, &message, &fds);
            continue;
        }
        if (rc == -EPIPE && !w->master_gone) {
            /* Nobody can tell us what to do any more: serve what is open to its end. */
            w->master_gone = true;
            epoll_ctl(FD_EPOLL, EPOLL_CTL_DEL, FD_CONTROL, NULL);
            log_write(LOG_LEVEL_ERROR, "master_gone", "tunnels=%u", w->me->tunnels_open);
            for (uint32_t place = 0; place < ARENA_LISTENERS_MAX; place++) {
                if (w->arena->header->listeners[place].id != 0)
                    close_listener(w, place);
            }
            if (w->image)
                enter_mode(w, SLOT_MODE_DRAIN);
            else
                w->mode = SLOT_MODE_STOP;
        }
        if (rc == -EPROTO)
            continue;
        return;
    }
}

void apply_inherited(struct worker *w)
{
    if (w->me->applied_seq == 0)
        return; /* nothing was applied yet: the master's message still comes */
    log_set_fd(FD_ERROR_LOG);
    if (use_image(w) < 0)
        return;
    log_set_level((enum log_level)w->image->header->front.log_level);
    access_log_configure(&w->access_log, w->image->header->front.access_log_format);
    enter_mode(w, w->arena->header->mode);
    STORE_RELEASE(&w->me->generation, w->image->header->generation);
}
