/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_pace.h"

#include "shm/board_layout.h"

#include <errno.h>
#include <stdbool.h>

#define RETRY_MAX_US UINT64_C(120000000)
#define TIME_MASK    ((UINT64_C(1) << 40) - 1)

enum { UNIT_US = 64, CLIENT_RACES_MAX = 64 };

struct board_paces *board_paces(const struct board *board)
{
    return (struct board_paces *)(void *)((uint8_t *)board->header + BOARD_PACES_OFF);
}

static struct board_pace *pace_at(const struct board *board, uint32_t index)
{
    ASSERT(index < PACE_COUNT);
    return &board_paces(board)->paces[index];
}

static bool swap(uint64_t *word, uint64_t *expected, uint64_t wanted)
{
    return __atomic_compare_exchange_n(word, expected, wanted, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

int64_t board_pace_take(const struct board *board, uint32_t index, const struct pace *pace,
                        uint64_t now_us)
{
    uint64_t *next = &pace_at(board, index)->next_us;
    uint64_t before = LOAD_RELAXED(next);
    for (;;) {
        uint64_t ahead = before > now_us ? before - now_us : 0;
        uint64_t wait = ahead > pace->burst_us ? ahead - pace->burst_us : 0;
        if (wait > pace->queue_us)
            return -EBUSY;
        if (swap(next, &before, later(before, now_us) + pace->interval_us))
            return (int64_t)wait;
    }
}

uint64_t board_pace_retry(const struct board *board, uint32_t index, const struct pace *pace,
                          uint64_t now_us)
{
    struct board_pace *at = pace_at(board, index);
    uint64_t next = LOAD_RELAXED(&at->next_us);
    uint64_t before = LOAD_RELAXED(&at->retry_us);
    for (;;) {
        uint64_t turn = later(later(before, next), now_us) + pace->interval_us;
        if (turn > now_us + RETRY_MAX_US)
            return RETRY_MAX_US;
        if (swap(&at->retry_us, &before, turn))
            return turn - now_us;
    }
}

/* ---- clients ---- */

/* Units from now until the entry's time, as far as it is ahead; a time too far ahead has wrapped. */
static uint64_t ahead_of(uint64_t entry, uint64_t now, uint64_t most)
{
    uint64_t ahead = ((entry & TIME_MASK) - now) & TIME_MASK;
    return ahead > most ? 0 : ahead;
}

/* The entry of this tag, or a free one, or one whose time has passed (*taken: not its own). */
static uint64_t *find(struct board_pace_bucket *bucket, uint64_t tag, uint64_t now, uint64_t most)
{
    uint64_t *place = NULL;
    for (uint32_t i = 0; i < PACE_WAYS; i++) {
        uint64_t entry = LOAD_RELAXED(&bucket->entries[i]);
        if (entry >> 40 == tag)
            return &bucket->entries[i];
        if (!place && (entry == 0 || ahead_of(entry, now, most) == 0))
            place = &bucket->entries[i];
    }
    return place;
}

int64_t board_pace_take_client(const struct board *board, uint64_t hash, const struct pace *pace,
                               uint64_t now_us)
{
    struct board_pace_bucket *bucket = &board_paces(board)->clients[hash % PACE_BUCKETS];
    uint64_t tag = hash >> 40 | 1; /* 0 means free */
    uint64_t now = now_us / UNIT_US & TIME_MASK;
    uint64_t interval = (pace->interval_us + UNIT_US - 1) / UNIT_US;
    uint64_t burst = pace->burst_us / UNIT_US;
    uint64_t most = UINT64_C(1) << 36; /* 51 days: a thousand hours and more (conf_check) */
    for (uint32_t race = 0; race < CLIENT_RACES_MAX; race++) {
        uint64_t *place = find(bucket, tag, now, most);
        if (!place)
            return -ENOSPC;
        uint64_t before = LOAD_RELAXED(place);
        uint64_t ahead = before >> 40 == tag ? ahead_of(before, now, most) : 0;
        if (before >> 40 != tag && before != 0 && ahead_of(before, now, most) != 0)
            continue; /* another client was faster */
        if (ahead > burst)
            return (int64_t)((ahead - burst) * UNIT_US);
        uint64_t after = tag << 40 | ((now + ahead + interval) & TIME_MASK);
        if (swap(place, &before, after))
            return 0;
    }
    return -ENOSPC;
}
