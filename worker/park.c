/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/park.h"

#include "common/clock.h"
#include "worker/accept.h"
#include "worker/backend.h"
#include "worker/client.h"
#include "worker/request.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    COMMIT_WITHIN_MS = 1500, /* a new program that is silent for so long has failed */
    KEEPER_LOOK_MS = 2,      /* how often we look whether the keeper lives */
};

void park_event(struct worker *w)
{
    uint64_t count;
    ssize_t ignored = read(FD_WAKE, &count, sizeof count);
    (void)ignored;
    if (LOAD_ACQUIRE(&w->arena->header->command) != ARENA_PARK || w->parking)
        return;
    w->parking = true;
    worker_set_looking(w);
    accept_regulate(w);
    backend_close_kept(w);
}

/* Requests that did not end in time: their clients see a close, as after a death. */
static void give_up_requests(struct worker *w)
{
    for (uint32_t place = 0; place < w->places_used; place++) {
        struct conn *conn = w->conns[place];
        if (!conn || conn->kind != CONN_CLIENT)
            continue;
        struct client *client = (struct client *)conn;
        if (client->request) {
            request_abort(client->request, REASON_SHUTDOWN);
            continue;
        }
        client_close(client, false);
    }
    conn_free_dead(w);
}

/*
 * Is anybody still asking, about to ask, or being answered? Who has the whole answer and only lingers is not waited
 * for: new clients would wait as long as that one pleases.
 */
static bool clients_busy(const struct worker *w)
{
    for (uint32_t place = 0; w->me->clients_open > 0 && place < w->places_used; place++) {
        const struct conn *conn = w->conns[place];
        if (conn && conn->kind == CONN_CLIENT &&
            ((const struct client *)conn)->state != CLIENT_LINGER)
            return true;
    }
    return false;
}

static void futex_wake(uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static bool keeper_died(void)
{
    struct pollfd keeper = {.fd = FD_KEEPER_PID, .events = POLLIN};
    return poll(&keeper, 1, 0) == 1;
}

/* Take the command back, unless the keeper has committed meanwhile. */
static bool take_back(struct arena_header *header)
{
    uint32_t expected = ARENA_PARK;
    return __atomic_compare_exchange_n(&header->command, &expected, ARENA_RUN, false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Until the keeper commits (EXIT), gives up (RUN), dies or is silent for too long. */
static void wait_parked(struct worker *w)
{
    struct arena_header *header = w->arena->header;
    uint64_t until_ms = clock_mono_ms() + COMMIT_WITHIN_MS;
    struct timespec look = {.tv_nsec = KEEPER_LOOK_MS * 1000000L};
    for (;;) {
        uint32_t command = LOAD_ACQUIRE(&header->command);
        if (command == ARENA_EXIT)
            _exit(WORKER_EXIT_PARKED);
        if (command == ARENA_RUN)
            return;
        if (keeper_died() && take_back(header))
            return; /* the loop finds the keeper dead and replaces it */
        if (clock_mono_ms() > until_ms && take_back(header)) {
            /* It execs a program that hangs: it must not wake up later and commit. */
            kill((pid_t)LOAD_ACQUIRE(&w->me->keeper_pid), SIGKILL);
            return;
        }
        (void)syscall(SYS_futex, &header->command, FUTEX_WAIT, ARENA_PARK, &look, NULL, 0);
    }
}

void park_when_ready(struct worker *w)
{
    struct arena_header *header = w->arena->header;
    if (LOAD_ACQUIRE(&header->command) != ARENA_PARK) {
        w->parking = false; /* the keeper changed its mind */
        worker_set_looking(w);
        accept_regulate(w);
        return;
    }
    client_close_idle(w);
    if (w->mono_ms < header->park_by_ms && clients_busy(w))
        return;
    give_up_requests(w);
    access_log_flush(&w->access_log);
    /* No operation is in flight, all events taken are handled: any program may go on from here. */
    ASSERT(header->op.cur == 0);
    STORE_RELEASE(&header->parked, 1);
    futex_wake(&header->parked);
    wait_parked(w);
    STORE_RELEASE(&header->parked, 0);
    w->parking = false;
    worker_set_looking(w);
    log_write(LOG_LEVEL_WARN, "park_undone", "tunnels=%u", w->me->tunnels_open);
    accept_regulate(w);
}
