/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/queue.h"

#include "common/clock.h"

#include <errno.h>
#include <stdlib.h>

/* A worker that waits turns every few milliseconds; one that does not hangs, and nobody waits for it. */
enum { SILENT_MS = 200 };

/* Those of one upstream, oldest first. By its index on the board, so over reloads. */
struct request_queue {
    struct request *head;
    struct request *tail;
};

static struct board_queue *cell_of(const struct request *r)
{
    const struct worker *w = r->client->conn.w;
    return board_queue(w->board, w->slot, r->upstream->board_upstream);
}

static struct request_queue *queue_of(const struct request *r)
{
    return &r->client->conn.w->queues[r->upstream->board_upstream];
}

/* Requests of all workers that wait for an upstream. */
static uint32_t sum_waiting(const struct board *board, uint32_t upstream)
{
    uint32_t sum = 0;
    for (uint64_t slots = board_slots_started(board); slots != 0; slots &= slots - 1)
        sum +=
            LOAD_RELAXED(&board_queue(board, (uint32_t)__builtin_ctzll(slots), upstream)->waiting);
    return sum;
}

bool queue_is_waiting(const struct request *r)
{
    return r->upstream->queue != 0 &&
           sum_waiting(r->client->conn.w->board, r->upstream->board_upstream) != 0;
}

/* The limit is kept as those of servers are: announce, then verify (worker/balance_place.c). */
static int announce(const struct request *r)
{
    struct board_queue *cell = cell_of(r);
    STORE_RELAXED(&cell->waiting, cell->waiting + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (sum_waiting(r->client->conn.w->board, r->upstream->board_upstream) <= r->upstream->queue)
        return 0;
    STORE_RELAXED(&cell->waiting, cell->waiting - 1);
    STORE_RELAXED(&cell->refused, cell->refused + 1);
    return -EBUSY;
}

int queue_enter(struct request *r)
{
    struct worker *w = r->client->conn.w;
    if (r->upstream->queue == 0)
        return -EBUSY;
    if (!w->queues)
        w->queues = calloc(BOARD_UPSTREAMS_MAX, sizeof *w->queues);
    if (!w->queues)
        return -ENOMEM;
    int rc = announce(r);
    if (rc < 0)
        return rc;
    struct board_queue *cell = cell_of(r);
    struct request_queue *queue = queue_of(r);
    r->state = REQUEST_QUEUED;
    r->queued_ns = clock_mono_ns();
    r->queue_next = NULL;
    r->queue_prev = queue->tail;
    if (queue->tail)
        queue->tail->queue_next = r;
    else
        queue->head = r;
    queue->tail = r;
    STORE_RELAXED(&cell->oldest_ns, queue->head->queued_ns);
    STORE_RELAXED(&cell->queued, cell->queued + 1);
    w->queue_waiting++;
    worker_set_looking(w);
    return 0;
}

void queue_leave(struct request *r)
{
    if (r->state != REQUEST_QUEUED)
        return;
    struct worker *w = r->client->conn.w;
    struct board_queue *cell = cell_of(r);
    struct request_queue *queue = queue_of(r);
    if (r->queue_prev)
        r->queue_prev->queue_next = r->queue_next;
    else
        queue->head = r->queue_next;
    if (r->queue_next)
        r->queue_next->queue_prev = r->queue_prev;
    else
        queue->tail = r->queue_prev;
    r->state = REQUEST_CONNECT;
    STORE_RELAXED(&cell->oldest_ns, queue->head ? queue->head->queued_ns : 0);
    STORE_RELAXED(&cell->waiting, cell->waiting - 1);
    STORE_RELAXED(&cell->waited_ms, cell->waited_ms + (clock_mono_ns() - r->queued_ns) / 1000000);
    w->queue_waiting--;
    worker_set_looking(w);
}

/* Does another worker that is awake hold an older one? */
static bool is_oldest(const struct worker *w, const struct request *r)
{
    for (uint64_t slots = board_slots_started(w->board); slots != 0; slots &= slots - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(slots);
        uint64_t oldest =
            LOAD_RELAXED(&board_queue(w->board, slot, r->upstream->board_upstream)->oldest_ns);
        uint64_t beat_ms = LOAD_RELAXED(&board_slot(w->board, slot)->beat_ms);
        if (slot != w->slot && oldest != 0 && oldest < r->queued_ns &&
            beat_ms + SILENT_MS > w->mono_ms)
            return false;
    }
    return true;
}

static bool is_over(const struct request *r, uint64_t now_ns)
{
    return now_ns - r->queued_ns >= UINT64_C(1000000) * r->upstream->queue_timeout_ms;
}

static void refuse(struct request *r)
{
    struct board_queue *cell = cell_of(r);
    struct client *client = r->client;
    STORE_RELAXED(&cell->timeouts, cell->timeouts + 1);
    queue_leave(r);
    request_refuse(r, 503, REASON_QUEUE_TIMEOUT);
    client_continue(client);
}

static void run_one(struct worker *w, struct request_queue *queue)
{
    uint64_t now_ns = clock_mono_ns();
    while (queue->head && is_over(queue->head, now_ns))
        refuse(queue->head);
    while (queue->head && is_oldest(w, queue->head)) {
        struct client *client = queue->head->client;
        if (!dispatch_queued(queue->head))
            return;
        client_continue(client);
    }
}

void queue_run(struct worker *w)
{
    /* Most of the 1,024 are empty: their heads are 16 KB in a row, looked through in a microsecond. */
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX && w->queue_waiting > 0; i++) {
        if (w->queues[i].head)
            run_one(w, &w->queues[i]);
    }
}

void queue_forget(struct worker *w)
{
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX && board_upstream(w->board, i)->name[0]; i++) {
        struct board_queue *cell = board_queue(w->board, w->slot, i);
        STORE_RELAXED(&cell->oldest_ns, 0);
        STORE_RELAXED(&cell->waiting, 0u);
    }
}
