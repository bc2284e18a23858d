/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/starved.h"

#include "worker/tunnel.h"
#include "worker/tunnel_tls.h"

#include <errno.h>
#include <stdlib.h>

enum {
    FED_FROM = 16, /* free chunks with which all that wait for one are woken at once */
    WAIT_MS = 2000,
    HELD_MS = 5000,
    ENDED_PART = 16, /* of all chunks, those that are freed in a second at most */
};

int starved_init(struct worker *w)
{
    struct starved_ring *ring = &w->starved;
    ring->waiting = malloc((size_t)w->arena->header->tunnels_max * 2 * sizeof *ring->waiting);
    return ring->waiting ? 0 : -ENOMEM;
}

/* ---- the ring ---- */

static bool is_starved(const struct worker *w, uint32_t entry)
{
    const struct arena_tunnel *t = &w->tunnels[entry >> 1];
    return t->state == TUNNEL_OPEN && t->dir[entry & 1].flags & DIR_STARVED;
}

static uint32_t room(const struct worker *w)
{
    return w->arena->header->tunnels_max * 2;
}

static void append(struct worker *w, uint32_t entry)
{
    struct starved_ring *ring = &w->starved;
    ring->waiting[(ring->first + ring->count++) % room(w)] = (struct starved){entry, w->now_ms};
}

static uint32_t take(struct worker *w)
{
    struct starved_ring *ring = &w->starved;
    uint32_t first = ring->waiting[ring->first].entry;
    ring->first = (ring->first + 1) % room(w);
    ring->count--;
    return first;
}

/* Tunnels that have ended leave their places in the list; who has their record since may have more. */
static void list_anew(struct worker *w)
{
    w->starved.count = 0;
    for (uint32_t entry = 0; entry < w->tunnels_used * 2; entry++) {
        if (is_starved(w, entry))
            append(w, entry);
    }
}

void starved_add(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct arena_dir *dir = &w->tunnels[tunnel].dir[d];
    if (dir->flags & DIR_STARVED)
        return;
    if (w->starved.count == room(w))
        list_anew(w); /* but for this one all of them: there is room */
    dir->flags |= DIR_STARVED;
    append(w, tunnel << 1 | d);
}

/* Each turn one, at least: few may be free for as long as slow receivers hold the others. */
void starved_feed(struct worker *w)
{
    uint32_t left = w->free_chunk_count < FED_FROM ? 1 : UINT32_MAX;
    while (w->starved.count > 0 && left > 0 && w->free_chunk_count >= STARVED_CHUNKS_A_STEP) {
        uint32_t entry = take(w);
        if (!is_starved(w, entry))
            continue;
        uint32_t tunnel = entry >> 1;
        uint32_t d = entry & 1;
        tunnel_mark_ready(w, tunnel, d); /* first: a successor runs what is marked either way */
        w->tunnels[tunnel].dir[d].flags &= (uint8_t)~DIR_STARVED;
        left--;
    }
}

/* ---- who must make room ---- */

static bool waits_for_long(struct worker *w)
{
    struct starved_ring *ring = &w->starved;
    while (ring->count > 0 && !is_starved(w, ring->waiting[ring->first].entry))
        (void)take(w);
    return ring->count > 0 && w->now_ms - ring->waiting[ring->first].since_ms >= WAIT_MS;
}

/* For how long a tunnel has held a chunk: of several, the one that it took first. */
static uint32_t held_ms(const struct worker *w, uint32_t tunnel)
{
    const struct arena_tunnel *t = &w->tunnels[tunnel];
    const struct vault_side *sides[2] = {tunnel_tls_side(w, tunnel, 0),
                                         tunnel_tls_side(w, tunnel, 1)};
    uint32_t longest_ms = 0;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t held[2] = {t->dir[i].chunk, sides[i] ? sides[i]->in_chunk : 0};
        for (uint32_t j = 0; j < 2; j++) {
            uint32_t ms = held[j] ? w->now_ms - w->chunk_ms[held[j]] : 0;
            longest_ms = ms > longest_ms ? ms : longest_ms;
        }
    }
    return longest_ms;
}

static uint32_t longest_held_ms(const struct worker *w)
{
    uint32_t longest_ms = 0;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        uint32_t ms = w->tunnels[i].state == TUNNEL_OPEN ? held_ms(w, i) : 0;
        longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    return longest_ms;
}

/* End tunnels that have held a chunk for so long, so many at most. Returns how many. */
static uint32_t end_holders(struct worker *w, uint32_t least_ms, uint32_t most)
{
    uint32_t ended = 0;
    for (uint32_t i = 0; i < w->tunnels_used && ended < most; i++) {
        if (w->tunnels[i].state != TUNNEL_OPEN || held_ms(w, i) < least_ms)
            continue;
        tunnel_close(w, i, REASON_HELD_MEMORY, true);
        ended++;
    }
    return ended;
}

void starved_relieve(struct worker *w)
{
    if (!waits_for_long(w))
        return;
    uint32_t most = w->arena->header->chunks_max / ENDED_PART;
    uint32_t ended = 0;
    /* By halves: nearly the order in which they took them, without sorting. */
    for (uint32_t ms = longest_held_ms(w); ms >= HELD_MS && ended < most; ms /= 2)
        ended += end_holders(w, ms / 2 > HELD_MS ? ms / 2 : HELD_MS, most - ended);
    if (ended > 0)
        log_limited(&w->limit_local, LOG_LEVEL_WARN, "chunks_short", "waiting=%u ended=%u",
                    w->starved.count, ended);
}
