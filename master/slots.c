/* SPDX-License-Identifier: Apache-2.0 */
#include "master/slots.h"

#include "common/clock.h"
#include "master/listen.h"
#include "shm/control.h"

#include <errno.h>
#include <string.h>

enum { RESEND_MS = 1000 };

void slots_init(struct master *master)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        master->slots[i].control = -1;
        master->slots[i].mode = SLOT_MODE_STOP;
    }
}

void slots_want(struct master *master, uint32_t slot, enum slot_mode mode)
{
    struct master_slot *s = &master->slots[slot];
    s->mode = mode;
    s->drain_ms = 0;
    s->seq = ++master->seq;
    s->unsent = true;
    s->changed_ms = clock_mono_ms();
}

void slots_leave(struct master *master, uint32_t slot)
{
    struct master_slot *s = &master->slots[slot];
    uint64_t due_ms = s->drain_ms;
    if (s->mode != SLOT_MODE_RUN) {
        slots_want(master, slot, SLOT_MODE_DRAIN);
        return;
    }
    slots_want(master, slot, SLOT_MODE_RUN); /* it still accepts, by the new generation */
    s->drain_ms = due_ms ? due_ms : clock_mono_ms() + SLOTS_HANDSHAKE_MS;
}

bool slots_drain_due(struct master *master, uint64_t now_ms)
{
    bool waiting = false;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        const struct master_slot *s = &master->slots[i];
        if (s->drain_ms == 0)
            continue;
        if (now_ms >= s->drain_ms)
            slots_want(master, i, SLOT_MODE_DRAIN);
        else
            waiting = true;
    }
    return waiting;
}

void slots_want_all(struct master *master, enum slot_mode mode)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (master->slots[i].running)
            slots_want(master, i, mode);
    }
}

void slots_want_again(struct master *master)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        uint64_t drain_ms = master->slots[i].drain_ms;
        if (!master->slots[i].running)
            continue;
        slots_want(master, i, master->slots[i].mode);
        master->slots[i].drain_ms = drain_ms;
    }
}

enum slot_mode slots_mode(const struct master *master)
{
    return master->paused ? SLOT_MODE_PAUSED : SLOT_MODE_RUN;
}

static int send_state(const struct master *master, uint32_t slot)
{
    const struct master_slot *s = &master->slots[slot];
    struct control_message message;
    struct control_fds fds;
    memset(&message, 0, sizeof message);
    message.seq = s->seq;
    message.mode = s->mode;
    message.log_level = master->conf->error_log.level;
    message.has_access_log = master->logs.access >= 0;
    message.has_keys = master->keys >= 0;
    message.has_tickets = 1;
    fds.image = master->image;
    fds.error_log = master->logs.error;
    fds.tickets = master->tickets.shared;
    fds.access_log = master->logs.access;
    fds.keys = master->keys;
    for (uint32_t i = 0; i < master->listeners.count; i++) {
        const struct master_listener *l = &master->listeners.items[i];
        if (!listen_is_wanted(master, l, slot) || l->fds[slot] < 0)
            continue;
        ASSERT(message.listener_count < ARENA_LISTENERS_MAX);
        message.listeners[message.listener_count].id = l->id;
        message.listeners[message.listener_count].index = l->index;
        fds.listeners[message.listener_count++] = l->fds[slot];
    }
    return control_send(s->control, &message, &fds);
}

void slots_tell(struct master *master, uint64_t now_ms)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct master_slot *s = &master->slots[i];
        if (!s->running || slots_has_applied(master, i))
            continue;
        uint32_t starts = LOAD_RELAXED(&board_slot(&master->board, i)->starts);
        if (!s->unsent && starts == s->sent_starts && master_since(now_ms, s->sent_ms) < RESEND_MS)
            continue;
        int error = send_state(master, i);
        if (error == -EAGAIN)
            continue; /* it has not read the one before, perhaps because it is about to be restarted */
        if (error && error != -EPIPE && error != -ECONNRESET && error != -ECONNREFUSED)
            log_write(LOG_LEVEL_ERROR, "control_failed", "slot=%u error=\"%s\"", i,
                      strerror(-error));
        s->unsent = false;
        s->sent_starts = starts;
        s->sent_ms = now_ms;
    }
}

bool slots_has_applied(const struct master *master, uint32_t slot)
{
    const struct master_slot *s = &master->slots[slot];
    return !s->running || LOAD_ACQUIRE(&board_slot(&master->board, slot)->applied_seq) >= s->seq;
}

bool slots_all_applied(const struct master *master)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (!slots_has_applied(master, i))
            return false;
    }
    return true;
}

bool slots_follow(const struct master *master)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (!master->slots[i].running)
            continue;
        const struct board_slot *shown = board_slot(&master->board, i);
        if (!slots_has_applied(master, i) || LOAD_RELAXED(&shown->generation) < master->generation)
            return false;
    }
    return true;
}
