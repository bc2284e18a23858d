/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/stop.h"

#include "common/clock.h"
#include "master/checker.h"
#include "master/listen.h"
#include "master/logs.h"
#include "master/notify.h"
#include "master/operate.h"
#include "master/pidfile.h"
#include "master/process.h"
#include "master/rotate.h"
#include "master/slots.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    STOP_PATIENCE_MS = 2000,
    EXIT_MS = 200,      /* for a keeper between its goodbye and its end */
    KILL_EVERY_MS = 20, /* a worker that is just replacing its keeper may slip through one round */
};

static void enter(struct master *master, enum master_phase phase)
{
    master->phase = phase;
    master->phase_ms = clock_mono_ms();
    master->reload_wanted = false;
    STORE_RELEASE(&master->board.header->state, BOARD_STOPPING);
    checker_stop(master);
    notify_stopping();
}

void stop_now(struct master *master)
{
    if (master->phase == MASTER_STOPPING)
        return;
    log_write(LOG_LEVEL_INFO, "stopping", "workers=%u", master->workers);
    board_event(&master->board, MASTER_EVENT_WRITER, "stopping");
    enter(master, MASTER_STOPPING);
    slots_want_all(master, SLOT_MODE_STOP);
}

/* Tunnels whose clients do not leave by themselves are closed, one after the other. */
static void begin_wave(const struct master *master)
{
    const struct board_wave wave = {.from_ms = clock_mono_ms(),
                                    .for_ms = master->conf->drain_window_ms,
                                    .share = BOARD_WAVE_ALL,
                                    .mark = REASON_SHUTDOWN};
    board_wave_set(&master->board.header->quit, &wave);
    board_wave_tell(&master->board);
}

void stop_gracefully(struct master *master)
{
    if (master->phase == MASTER_STOPPING || master->phase == MASTER_QUITTING)
        return;
    log_write(LOG_LEVEL_INFO, "quitting", "workers=%u", master->workers);
    board_event(&master->board, MASTER_EVENT_WRITER, "quitting");
    enter(master, MASTER_QUITTING);
    begin_wave(master);
    slots_want_all(master, SLOT_MODE_DRAIN);
}

/*
 * A keeper that holds its worker back has nobody to read what we say. With a tunnel to be adopted
 * it may go on; else it ends here.
 */
static void end_throttled(const struct master *master)
{
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        const struct master_slot *s = &master->slots[i];
        const struct board_slot *shown = board_slot(&master->board, i);
        if (!s->running || LOAD_RELAXED(&shown->state) != SLOT_THROTTLED)
            continue;
        if (master->phase == MASTER_STOPPING || LOAD_RELAXED(&shown->tunnels_open) == 0)
            (void)!process_signal(s->keeper, PROCESS_KEEPER, SIGKILL);
    }
}

/* Only children that are not ours are left: of a shell that has exec'ed us, or orphans in a container. */
static bool is_alone(struct master *master, uint64_t now_ms)
{
    bool some = master->checker.pid != 0 || master->renewal.trial != 0;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++)
        some |= master->slots[i].running;
    if (some)
        master->alone_ms = 0;
    else if (master->alone_ms == 0)
        master->alone_ms = now_ms;
    return !some && master_since(now_ms, master->alone_ms) >= EXIT_MS;
}

/* It has nothing to finish, and was told; one that hangs would be waited for until somebody else kills it. */
static void end_hung_checker(const struct master *master, uint64_t now_ms)
{
    if (master->checker.pid != 0 && master_since(now_ms, master->phase_ms) >= STOP_PATIENCE_MS)
        (void)!process_signal(master->checker.pid, PROCESS_CHECKER, SIGKILL);
}

bool stop_step(struct master *master, uint64_t now_ms)
{
    if (master->childless || is_alone(master, now_ms))
        return true;
    end_throttled(master);
    end_hung_checker(master, now_ms);
    if (master->phase == MASTER_STOPPING &&
        master_since(now_ms, master->phase_ms) >= STOP_PATIENCE_MS &&
        master_since(now_ms, master->killed_ms) >= KILL_EVERY_MS) {
        if (master->killed_ms == 0)
            log_write(LOG_LEVEL_WARN, "killing", "after_ms=%d", STOP_PATIENCE_MS);
        master->killed_ms = now_ms;
        process_kill_all();
    }
    return false;
}

static void end_board(struct master *master)
{
    if (!master->board.header)
        return;
    STORE_RELEASE(&master->board.header->state, BOARD_STOPPED);
    int error = board_unlink(master->board_name);
    if (error)
        log_write(LOG_LEVEL_WARN, "board_unlink_failed", "board=%s error=%d", master->board_name,
                  -error);
    board_fini(&master->board);
}

void stop_finish(struct master *master)
{
    listen_close_all(master);
    operate_end(&master->operate);
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (master->slots[i].control >= 0)
            close(master->slots[i].control);
    }
    end_board(master);
    if (master->pid_written)
        pidfile_remove(master->pid_file);
    if (master->image >= 0)
        close(master->image);
    if (master->keys >= 0)
        close(master->keys);
    rotate_end(master);
    if (master->generation > 0)
        log_write(LOG_LEVEL_INFO, "stopped", "status=%d", master->exit_status);
    log_set_fd(STDERR_FILENO);
    logs_close(&master->logs);
    conf_free(&master->conf);
    names_fini(&master->names);
    free(master->board_name);
    free(master->pid_file);
    free(master->user);
    free(master->program);
}
