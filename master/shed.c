/* SPDX-License-Identifier: Apache-2.0 */
#include "master/shed.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"

#include <stdlib.h>

/* A tunnel of a server that sheds. */
struct candidate {
    uint32_t backend;
    uint32_t pick;
};

struct candidates {
    struct candidate *at; /* owned; by server, then by pick */
    size_t count;
};

/* An upstream that has grown. */
struct group {
    bool grown;
    uint64_t tunnels; /* of servers that take new ones */
    uint64_t weight;
    uint64_t surplus; /* that are to be closed */
};

static bool takes(const struct board *board, uint32_t generation, uint32_t i)
{
    const uint32_t away = BACKEND_DOWN | BACKEND_DRAINS | BACKEND_BACKUP;
    const struct board_backend *backend = board_backend(board, i);
    return backend->used >= generation && backend->weight > 0 && !(backend->flags & away) &&
           LOAD_RELAXED(&backend->health) != BACKEND_FAILING;
}

static uint32_t backends(const struct board *board)
{
    uint32_t count = 0;
    while (count < BOARD_BACKENDS_MAX && board_backend(board, count)->upstream[0] != '\0')
        count++;
    return count;
}

/* One that fails its checks, or did, has been there before: what comes and goes is no growth. */
static bool is_member(const struct board *board, uint32_t generation, uint32_t i)
{
    const struct board_backend *backend = board_backend(board, i);
    return takes(board, generation, i) ||
           (backend->used >= generation && LOAD_RELAXED(&backend->health) == BACKEND_FAILING);
}

void shed_note(const struct board *board, uint32_t generation, struct shed_before *before)
{
    uint32_t count = backends(board);
    *before = (struct shed_before){{0}};
    for (uint32_t i = 0; i < count; i++)
        before->takes[i / 64] |= (uint64_t)is_member(board, generation, i) << i % 64;
}

static struct group *group_of(struct group *groups, const struct board *board, uint32_t i)
{
    return &groups[board_backend(board, i)->upstream_index % BOARD_UPSTREAMS_MAX];
}

/* What a server has beyond its share, as far as it may be closed; *fair_share is that. */
static uint32_t surplus_of(const struct group *group, const struct board *board, uint32_t i,
                           uint32_t *fair_share)
{
    const struct board_backend *backend = board_backend(board, i);
    uint32_t percent = board_upstream(board, backend->upstream_index % BOARD_UPSTREAMS_MAX)->shed;
    uint64_t has = board_backend_tunnels(board, i);
    *fair_share = 1;
    if (group->weight == 0) /* the checker has changed its mind since it was summed up */
        return 0;
    uint64_t fair = (group->tunnels * backend->weight + group->weight - 1) / group->weight;
    uint64_t most = has * (percent < 100 ? percent : 100) / 100;
    uint64_t over = has > fair ? has - fair : 0;
    *fair_share = fair > 0 ? (uint32_t)fair : 1;
    return (uint32_t)(over < most ? over : most);
}

static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->backend != b->backend)
        return a->backend < b->backend ? -1 : 1;
    return a->pick < b->pick ? -1 : a->pick > b->pick;
}

/* The tunnels of all servers that shed. None at all without memory. */
static void find_candidates(const struct board *board, const struct group *groups,
                            struct candidates *found)
{
    size_t room = 0;
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++)
        room += LOAD_RELAXED(&board_slot(board, slot)->tunnels_open);
    *found = (struct candidates){.at = calloc(room + 1, sizeof *found->at)};
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX && found->at; slot++) {
        uint32_t high = LOAD_RELAXED(&board_slot(board, slot)->tunnels_high);
        for (uint32_t i = 0; i < high && i < board->tunnels_max && found->count < room; i++) {
            const struct board_tunnel *tunnel = board_tunnel(board, slot, i);
            uint32_t backend = LOAD_RELAXED(&tunnel->backend);
            if (LOAD_ACQUIRE(&tunnel->id) == 0 || backend >= BOARD_BACKENDS_MAX ||
                groups[board_backend(board, backend)->upstream_index % BOARD_UPSTREAMS_MAX]
                        .surplus == 0)
                continue;
            found->at[found->count++] =
                (struct candidate){backend, board_wave_pick(board, slot, i)};
        }
    }
    if (found->count > 0)
        qsort(found->at, found->count, sizeof *found->at, compare_candidates);
}

/*
 * The share of a server's tunnels (see board_wave_pick) that are `surplus` exactly: a share by its size
 * alone would now and then be some more, and leave less than a fair share.
 */
static uint32_t share_of(const struct candidates *all, uint32_t backend, uint32_t surplus)
{
    size_t low = 0, high = all->count;
    while (low < high) { /* the server's first one */
        size_t middle = low + (high - low) / 2;
        if (all->at[middle].backend < backend)
            low = middle + 1;
        else
            high = middle;
    }
    if (low + surplus >= all->count || all->at[low + surplus].backend != backend)
        return 0; /* it has no more than that by now */
    return all->at[low + surplus].pick;
}

static bool is_closed_already(const struct board_backend *backend, uint64_t now_ms)
{
    struct board_wave wave;
    return board_wave_read(&backend->wave, &wave) &&
           (wave.mark & 0xff) == REASON_CLOSED_BY_OPERATOR && now_ms < wave.from_ms + wave.for_ms;
}

static void begin_wave(const struct group *group, const struct board *board,
                       const struct candidates *all, uint32_t i)
{
    struct board_backend *backend = board_backend(board, i);
    uint32_t rate = board_upstream(board, backend->upstream_index % BOARD_UPSTREAMS_MAX)->shed_rate;
    uint32_t fair;
    uint32_t surplus = surplus_of(group, board, i, &fair);
    uint32_t has = board_backend_tunnels(board, i);
    uint64_t now_ms = clock_mono_ms();
    uint32_t share = surplus > 0 ? share_of(all, i, surplus) : 0;
    if (share == 0 || is_closed_already(backend, now_ms))
        return;
    uint64_t for_ms = group->surplus * 1000 / (rate > 0 ? rate : 1);
    struct board_wave wave = {
        .from_ms = now_ms,
        .opened_before_real_ms = clock_real_ms() + 1,
        .for_ms = for_ms < UINT32_MAX ? (uint32_t)for_ms : UINT32_MAX,
        .share = share,
        .floor = fair,
        .mark = REASON_SHED,
    };
    board_wave_set(&backend->wave, &wave);
    log_write(LOG_LEVEL_INFO, "shed", "backend=%s/%s tunnels=%u of=%u fair=%u over_ms=%u",
              backend->upstream, backend->server, surplus, has, fair, wave.for_ms);
    board_event(board, MASTER_EVENT_WRITER, "shed backend=%s/%s tunnels=%u of=%u over_ms=%u",
                backend->upstream, backend->server, surplus, has, wave.for_ms);
}

/* Upstreams that shed, and have servers now that took nothing before. Returns true if there is one. */
static bool find_grown(const struct board *board, uint32_t generation,
                       const struct shed_before *before, struct group *groups)
{
    uint32_t count = backends(board);
    bool any = false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t upstream = board_backend(board, i)->upstream_index % BOARD_UPSTREAMS_MAX;
        if (board_upstream(board, upstream)->shed == 0 || before->takes[i / 64] >> i % 64 & 1 ||
            !takes(board, generation, i))
            continue;
        groups[upstream].grown = any = true;
    }
    return any;
}

void shed_begin(const struct board *board, uint32_t generation, const struct shed_before *before)
{
    uint32_t count = backends(board);
    uint32_t fair;
    struct candidates candidates;
    struct group *groups = calloc(BOARD_UPSTREAMS_MAX, sizeof *groups);
    if (!groups || !find_grown(board, generation, before, groups)) {
        free(groups);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct group *group = group_of(groups, board, i);
        if (!group->grown || !takes(board, generation, i))
            continue;
        group->tunnels += board_backend_tunnels(board, i);
        group->weight += board_backend(board, i)->weight;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct group *group = group_of(groups, board, i);
        if (group->grown && takes(board, generation, i))
            group->surplus += surplus_of(group, board, i, &fair);
    }
    find_candidates(board, groups, &candidates);
    for (uint32_t i = 0; i < count; i++) {
        const struct group *group = group_of(groups, board, i);
        if (group->grown && takes(board, generation, i))
            begin_wave(group, board, &candidates, i);
    }
    board_wave_tell(board);
    free(candidates.at);
    free(groups);
}
