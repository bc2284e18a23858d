/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/spawn.h"

#include "common/clock.h"
#include "master/keeper.h"
#include "master/slots.h"
#include "master/way_back.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static NORETURN void run_keeper(struct master *master, uint32_t slot, int control)
{
    way_back_close();
    struct privileges privileges = master->privileges;
    char board_name[256];
    snprintf(board_name, sizeof board_name, "%s", master->board_name);
    struct keeper_start start = {
        .board = &master->board,
        .board_name = board_name,
        .slot = slot,
        .tunnels_max = master->board.tunnels_max,
        .control = control,
        .error_log = master->logs.error,
        .log_level = master->conf->error_log.level,
        .detached = master->daemon,
        .descriptors = master->descriptors,
        .privileges = &privileges,
    };
    keeper_main(&start);
}

/*
 * Fork a keeper for a slot that does not run, with a new control socket, and have the slot's state sent
 * to it. The child gives back what the master's memory holds, so that it is tiny.
 * Returns 0 or -errno (no memory, no process).
 */
static int fork_keeper(struct master *master, uint32_t slot)
{
    struct master_slot *s = &master->slots[slot];
    struct board_slot *shown = board_slot(&master->board, slot);
    ASSERT(!s->running);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    /* Nobody else writes the slot now: what its last keeper left must not be taken for the new one. */
    STORE_RELEASE(&shown->keeper_pid, 0);
    STORE_RELEASE(&shown->worker_pid, 0);
    STORE_RELEASE(&shown->state, SLOT_STARTING);
    pid_t pid = fork();
    if (pid == 0)
        run_keeper(master, slot, ends[1]);
    int error = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return error;
    }
    s->running = true;
    s->control = ends[0];
    s->keeper = (int32_t)pid;
    s->gone_ms = 0;
    s->started_ms = clock_mono_ms();
    slots_want(master, slot, slots_mode(master));
    return 0;
}

void spawn_missing(struct master *master, uint64_t now_ms)
{
    if (master->phase != MASTER_STARTING && master->phase != MASTER_RUNNING)
        return;
    for (uint32_t i = 0; i < master->workers; i++) {
        struct master_slot *s = &master->slots[i];
        if (s->running || now_ms < s->start_at_ms)
            continue;
        int error = fork_keeper(master, i);
        if (!error)
            continue;
        uint32_t wait_ms = throttle_pause_ms(&s->throttle, 0, SIGKILL);
        s->start_at_ms = now_ms + (wait_ms > 0 ? wait_ms : MASTER_TICK_MS);
        log_write(LOG_LEVEL_ERROR, "keeper_fork_failed", "slot=%u retry_ms=%u error=\"%s\"", i,
                  wait_ms, strerror(-error));
    }
}
