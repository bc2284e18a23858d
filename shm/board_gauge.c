/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_gauge.h"

#include "shm/board_layout.h"

#include <errno.h>
#include <sched.h>

enum {
    RACES_MAX = 64,     /* for the last place below a limit */
    SEARCHES_MAX = 256, /* for a client's place while others change the bucket */
    SEARCHES_BUSY = 16, /* of these, before we make room for who has the lock and does not run */
};

struct board_gauges *board_gauges(const struct board *board)
{
    return (struct board_gauges *)(void *)((uint8_t *)board->header + BOARD_GAUGES_OFF);
}

static uint32_t *count_of(const struct board *board, uint32_t slot, uint32_t gauge)
{
    ASSERT(slot < BOARD_SLOTS_MAX && gauge < GAUGE_COUNT);
    return &board_gauges(board)->counts[slot][gauge];
}

static void add(uint32_t *count, uint32_t n)
{
    STORE_RELAXED(count, *count + n);
}

static void fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Of different length for every slot, or two that race would do so for ever. */
static void pause_a_little(uint32_t slot, uint32_t turn)
{
    for (uint32_t i = 0; i < 8 * (slot + 1) * (turn + 1); i++)
        COMMIT_FENCE(); /* or the compiler would drop the loop */
}

uint32_t board_gauge_sum(const struct board *board, uint32_t gauge)
{
    uint32_t sum = 0;
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        if (LOAD_RELAXED(&board_slot(board, slot)->starts) != 0)
            sum += LOAD_RELAXED(count_of(board, slot, gauge));
    }
    return sum;
}

bool board_gauge_enter(const struct board *board, uint32_t slot, uint32_t gauge, uint32_t limit)
{
    uint32_t *count = count_of(board, slot, gauge);
    if (limit == 0) {
        add(count, 1);
        return true;
    }
    for (uint32_t race = 0; race < RACES_MAX; race++) {
        add(count, 1);
        fence();
        if (board_gauge_sum(board, gauge) <= limit)
            return true;
        add(count, UINT32_MAX);
        pause_a_little(slot, race);
        if (board_gauge_sum(board, gauge) >= limit)
            return false;
    }
    return false;
}

void board_gauge_leave(const struct board *board, uint32_t slot, uint32_t gauge)
{
    add(count_of(board, slot, gauge), UINT32_MAX);
}

/* ---- places of clients ---- */

static uint32_t gauge_of(uint32_t bucket, uint32_t way)
{
    return GAUGE_CLIENTS + bucket * GAUGE_WAYS + way;
}

/* By the bits above the lowest one, which all keys have set. */
static uint32_t bucket_of(uint64_t key)
{
    return (uint32_t)((key >> 1) % GAUGE_BUCKETS);
}

/* The way with this key, as it stands or marked; GAUGE_WAYS: none. */
static uint32_t find(const struct board_gauge_bucket *bucket, uint64_t key)
{
    uint32_t way = 0;
    while (way < GAUGE_WAYS && (LOAD_ACQUIRE(&bucket->keys[way]) & ~GAUGE_CLOSING) != key)
        way++;
    return way;
}

static bool lock(struct board_gauges *gauges, uint32_t slot, uint32_t bucket)
{
    uint32_t nobody = 0;
    /* Announced first: death right behind the swap leaves a lock that the successor can find. */
    STORE_RELAXED(&gauges->locking[slot], bucket + 1);
    COMMIT_FENCE();
    if (__atomic_compare_exchange_n(&gauges->buckets[bucket].lock, &nobody, slot + 1, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return true;
    STORE_RELAXED(&gauges->locking[slot], 0u);
    return false;
}

static void unlock(struct board_gauges *gauges, uint32_t slot, uint32_t bucket)
{
    STORE_RELEASE(&gauges->buckets[bucket].lock, 0u);
    COMMIT_FENCE();
    STORE_RELAXED(&gauges->locking[slot], 0u);
}

/* Under the lock: take the key off a place that nobody is counted at. */
static bool clear_way(const struct board *board, uint32_t bucket, uint32_t way)
{
    uint64_t *key = &board_gauges(board)->buckets[bucket].keys[way];
    uint64_t before = *key;
    STORE_RELAXED(key, before | GAUGE_CLOSING);
    fence();
    if (board_gauge_sum(board, gauge_of(bucket, way)) == 0)
        return true; /* death here: the mark is taken off, the client has its place, with 0 */
    STORE_RELEASE(key, before);
    return false;
}

/* Under the lock: a place for a client that has none. Returns 0 or -ENOSPC. */
static int place(const struct board *board, uint32_t bucket, uint64_t key)
{
    struct board_gauges *gauges = board_gauges(board);
    uint64_t *keys = gauges->buckets[bucket].keys;
    uint32_t way = find(&gauges->buckets[bucket], 0);
    for (uint32_t i = 0; way == GAUGE_WAYS && i < GAUGE_WAYS; i++) {
        if (clear_way(board, bucket, i))
            way = i;
    }
    if (way == GAUGE_WAYS)
        return -ENOSPC;
    STORE_RELAXED(&gauges->clients_seen, 1u);
    STORE_RELEASE(&keys[way], key);
    return 0;
}

/* One attempt. -EAGAIN: somebody changes this bucket. */
static int try_enter(const struct board *board, uint32_t slot, uint64_t key, uint32_t limit,
                     uint32_t *gauge)
{
    struct board_gauges *gauges = board_gauges(board);
    uint32_t number = bucket_of(key);
    struct board_gauge_bucket *bucket = &gauges->buckets[number];
    uint32_t way = find(bucket, key);
    if (way == GAUGE_WAYS) {
        if (!lock(gauges, slot, number))
            return -EAGAIN;
        /* Somebody may have given it a place just before the lock. */
        int rc = find(bucket, key) == GAUGE_WAYS ? place(board, number, key) : 0;
        unlock(gauges, slot, number);
        return rc < 0 ? rc : -EAGAIN;
    }
    uint32_t *count = count_of(board, slot, gauge_of(number, way));
    add(count, 1);
    fence();
    if (LOAD_RELAXED(&bucket->keys[way]) != key) {
        add(count, UINT32_MAX);
        return -EAGAIN;
    }
    if (board_gauge_sum(board, gauge_of(number, way)) <= limit) {
        *gauge = gauge_of(number, way);
        return 0;
    }
    add(count, UINT32_MAX);
    return -EBUSY;
}

int board_gauge_enter_client(const struct board *board, uint32_t slot, uint64_t hash,
                             uint32_t limit, uint32_t *gauge)
{
    uint64_t key = (hash & ~GAUGE_CLOSING) | 1; /* 0 means free */
    uint32_t races = 0;
    *gauge = 0;
    for (uint32_t turn = 0; turn < SEARCHES_MAX; turn++) {
        int rc = try_enter(board, slot, key, limit, gauge);
        if (rc != -EBUSY && rc != -EAGAIN)
            return rc;
        if (turn < SEARCHES_BUSY)
            pause_a_little(slot, turn);
        else
            sched_yield();
        if (rc == -EAGAIN)
            continue;
        /* Over the limit, or only because another one looked at the same time? */
        uint32_t number = bucket_of(key);
        uint32_t way = find(&board_gauges(board)->buckets[number], key);
        bool full = way < GAUGE_WAYS && board_gauge_sum(board, gauge_of(number, way)) >= limit;
        if (full || ++races == RACES_MAX)
            return -EBUSY;
    }
    return -EBUSY;
}

/* ---- adoption ---- */

static void release_lock(const struct board *board, uint32_t slot)
{
    struct board_gauges *gauges = board_gauges(board);
    uint32_t number = gauges->locking[slot] - 1;
    if (number < GAUGE_BUCKETS && LOAD_RELAXED(&gauges->buckets[number].lock) == slot + 1) {
        uint64_t *keys = gauges->buckets[number].keys;
        for (uint32_t way = 0; way < GAUGE_WAYS; way++)
            STORE_RELAXED(&keys[way], keys[way] & ~GAUGE_CLOSING);
        STORE_RELEASE(&gauges->buckets[number].lock, 0u);
    }
    STORE_RELAXED(&gauges->locking[slot], 0u);
}

void board_gauge_restore(const struct board *board, uint32_t slot, const uint32_t *counts)
{
    struct board_gauges *gauges = board_gauges(board);
    /* Reading what nobody has written would only make the kernel give memory to it. */
    uint32_t end = LOAD_RELAXED(&gauges->clients_seen) ? GAUGE_COUNT : GAUGE_CLIENTS;
    for (uint32_t i = 0; i < end; i++) {
        uint32_t count = counts ? counts[i] : 0;
        if (gauges->counts[slot][i] != count)
            STORE_RELAXED(&gauges->counts[slot][i], count);
    }
    release_lock(board, slot);
}
