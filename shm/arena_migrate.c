/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/arena_migrate.h"

#include "shm/arena_v2.h"
#include "shm/board.h"
#include "shm/reason.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FRAME_HEADER_MAX = 14, /* RFC 6455 5.2: 2 bytes, 8 of length, 4 of masking key */
    TRACK_FLAGS = WS_IN_MESSAGE | WS_SAW_CLOSE | WS_BROKEN,
};

_Static_assert((int)ARENA_VERSION == (int)ARENA_V2_VERSION + 1,
               "the layout before ours is what we read");
_Static_assert((int)ARENA_V2_CHUNK_SIZE <= (int)ARENA_CHUNK_SIZE,
               "pending bytes fit into one chunk");
_Static_assert((int)ARENA_V2_LISTENERS_MAX <= (int)ARENA_LISTENERS_MAX,
               "listeners keep their places");
_Static_assert((int)ARENA_V2_FDS_MAX <= (int)ARENA_FDS_MAX, "the bitmap has room");

/* One migration. Scratch space is the new arena's own: a keeper has no memory to speak of. */
struct move {
    const uint8_t *base;
    struct arena_v2_header from; /* a copy: what was checked cannot change after */
    uint32_t records;            /* those behind were never used, and are holes */
    struct arena *to;
    uint32_t chunks_used; /* in the new arena: chunk 0 is never used */
    uint64_t claimed[ARENA_V2_CHUNKS_MAX / 64];
};

static uint64_t page_align(uint64_t bytes)
{
    return (bytes + ARENA_V2_ALIGN - 1) & ~(uint64_t)(ARENA_V2_ALIGN - 1);
}

/* ---- the old header ---- */

static bool layout_holds(const struct arena_v2_header *h, uint64_t size)
{
    if (h->tunnels_max == 0 || h->tunnels_max > ARENA_V2_TUNNELS_MAX)
        return false;
    uint32_t chunks = h->tunnels_max;
    if (chunks < ARENA_V2_CHUNKS_MIN)
        chunks = ARENA_V2_CHUNKS_MIN;
    if (chunks > ARENA_V2_CHUNKS_MAX)
        chunks = ARENA_V2_CHUNKS_MAX;
    uint64_t tunnels_off = page_align(sizeof *h);
    uint64_t fds_off = page_align(tunnels_off + h->tunnels_max * sizeof(struct arena_v2_tunnel));
    uint64_t chunks_off = page_align(fds_off + ARENA_V2_FDS_MAX / 8);
    uint64_t end = chunks_off + (uint64_t)chunks * ARENA_V2_CHUNK_SIZE;
    return h->chunks_max == chunks && h->tunnels_off == tunnels_off && h->fds_off == fds_off &&
           h->chunks_off == chunks_off && h->size == end && size == end;
}

static bool at_rest(const struct arena_v2_header *h)
{
    for (uint32_t i = 0; i < ARENA_V2_EVENTS; i++) {
        if (h->events[i].events != 0)
            return false;
    }
    return h->op.cur == 0;
}

static bool listeners_hold(const struct arena_v2_header *h)
{
    for (uint32_t i = 0; i < ARENA_V2_LISTENERS_MAX; i++) {
        if (h->listeners[i].id == 0)
            continue;
        if (h->listeners[i].index >= ARENA_LISTENERS_MAX)
            return false;
        for (uint32_t j = 0; j < i; j++) {
            if (h->listeners[j].id == h->listeners[i].id)
                return false;
        }
    }
    return true;
}

static int read_header(struct move *move, size_t size)
{
    struct arena_v2_header *h = &move->from;
    uint64_t magic;
    uint32_t version;
    if (size < sizeof *h)
        return -EBADMSG;
    memcpy(&magic, move->base, sizeof magic);
    memcpy(&version, move->base + offsetof(struct arena_v2_header, version), sizeof version);
    if (magic != ARENA_MAGIC)
        return -EBADMSG;
    if (version != ARENA_V2_VERSION)
        return -EPROTONOSUPPORT;
    memcpy(h, move->base, sizeof *h);
    if (!layout_holds(h, size) || !listeners_hold(h) || h->slot >= BOARD_SLOTS_MAX ||
        h->mode > SLOT_MODE_STOP)
        return -EBADMSG;
    return at_rest(h) ? 0 : -EBUSY;
}

/* ---- one record ---- */

/* False if somebody has it already: two records with one socket would mix two streams. */
static bool claim(uint64_t *bits, uint32_t index)
{
    uint64_t bit = 1ull << (index % 64);
    bool first = (bits[index / 64] & bit) == 0;
    bits[index / 64] |= bit;
    return first;
}

static const uint64_t *old_fds(const struct move *move)
{
    return (const uint64_t *)(const void *)(move->base + move->from.fds_off);
}

static bool descriptor_holds(const struct move *move, const struct arena_v2_tunnel *old,
                             uint32_t side)
{
    int32_t fd = old->fd[side];
    if (old->state == TUNNEL_CLOSING && fd == -1)
        return true;
    if (fd < FD_DYNAMIC || fd >= ARENA_V2_FDS_MAX)
        return false;
    /* Nor is it one that a successor closes as a dead worker's. */
    bool heap = old_fds(move)[fd / 64] >> (fd % 64) & 1;
    return !heap && claim(move->to->fds, (uint32_t)fd);
}

static bool dir_holds(struct move *move, const struct arena_v2_tunnel *old, uint32_t d)
{
    const struct arena_v2_dir *dir = &old->dir[d];
    uint32_t pending = dir->rx - dir->tx;
    if (dir->flags & ~(uint32_t)ARENA_V2_FLAGS || dir->chunk >= move->from.chunks_max)
        return false;
    if (dir->chunk != 0 && !claim(move->claimed, dir->chunk))
        return false;
    if (old->state == TUNNEL_CLOSING)
        return true; /* what was pending is not sent any more */
    if (dir->flags & ARENA_V2_SHUT && (pending != 0 || !(dir->flags & ARENA_V2_EOF)))
        return false;
    if (pending == 0)
        return true;
    return dir->chunk != 0 && pending <= ARENA_V2_CHUNK_SIZE &&
           dir->tx - dir->base <= ARENA_V2_CHUNK_SIZE - pending;
}

static bool track_holds(const struct arena_v2_track *track)
{
    return track->head <= FRAME_HEADER_MAX && track->need <= FRAME_HEADER_MAX &&
           (track->flags & ~(unsigned)TRACK_FLAGS) == 0;
}

static bool record_holds(struct move *move, const struct arena_v2_tunnel *old)
{
    bool holds = (old->state == TUNNEL_OPEN || old->state == TUNNEL_CLOSING) &&
                 old->reason < REASON_COUNT && old->backend < BOARD_BACKENDS_MAX;
    for (uint32_t d = 0; holds && d < 2; d++)
        holds = descriptor_holds(move, old, d) && dir_holds(move, old, d) &&
                track_holds(&old->track[d]);
    return holds;
}

static uint8_t flags_of(uint32_t old)
{
    static const struct {
        uint32_t from;
        uint32_t to;
    } bits[] = {
        {ARENA_V2_EOF, DIR_EOF},     {ARENA_V2_SHUT, DIR_SHUT},       {ARENA_V2_HANGUP, DIR_HANGUP},
        {ARENA_V2_READY, DIR_READY}, {ARENA_V2_BLOCKED, DIR_BLOCKED}, {ARENA_V2_RESUME, DIR_RESUME},
    };
    uint32_t flags = 0;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        if (old & bits[i].from)
            flags |= bits[i].to;
    }
    return (uint8_t)flags;
}

static int move_pending(struct move *move, const struct arena_v2_dir *old, struct arena_dir *dir)
{
    uint32_t pending = old->rx - old->tx;
    uint32_t chunk = move->chunks_used + 1;
    /* One stays free: the scratch of the next read. */
    if (chunk + 1 >= move->to->header->chunks_max)
        return -ENOSPC;
    const uint8_t *bytes = move->base + move->from.chunks_off +
                           (size_t)old->chunk * ARENA_V2_CHUNK_SIZE + (old->tx - old->base);
    memcpy(arena_chunk(move->to, chunk), bytes, pending);
    move->chunks_used = chunk;
    dir->base = dir->tx;
    dir->chunk = (uint16_t)chunk;
    return 0;
}

static int move_dir(struct move *move, const struct arena_v2_tunnel *old, struct arena_tunnel *t,
                    uint32_t d)
{
    const struct arena_v2_track *track = &old->track[d];
    uint32_t head = d == 1 ? old->head_len : 0; /* positions begin that much earlier now */
    t->fd[d] = old->fd[d];
    t->dir[d] = (struct arena_dir){
        .rx = old->dir[d].rx - head,
        .tx = old->dir[d].tx - head,
        .base = old->dir[d].rx - head,
        .flags = flags_of(old->dir[d].flags),
        .care = d == 0 ? CARE_RSV_ANY : 0, /* nobody knows what extensions were agreed on */
    };
    t->blocked_ms[d] = old->blocked_ms[d];
    t->track[d] = (struct ws_track){
        .left = track->left,
        .frames = track->frames,
        .need = track->need,
        .head = track->head,
        .first = track->first,
        .flags = track->flags,
    };
    t->cookie[d] = old->cookie[d];
    t->src_off[d] = old->src_off[d] + head;
    t->dst_off[d] = old->dst_off[d] + head;
    if (old->dir[d].rx == old->dir[d].tx || old->state != TUNNEL_OPEN)
        return 0;
    return move_pending(move, &old->dir[d], &t->dir[d]);
}

/* Layout 2 has timeouts in each record. As they are no route's, a reload does not change these. */
static uint16_t rules_for(const struct move *move, uint32_t idle_ms, uint32_t send_ms)
{
    uint64_t key = (uint64_t)idle_ms << 32 | send_ms | 1ull << 31;
    for (uint16_t i = 1; i < ARENA_RULES_MAX; i++) {
        struct arena_rules *rules = &move->to->rules[i];
        if (rules->key != 0 && rules->key != key)
            continue;
        rules->key = key;
        rules->idle_ms = idle_ms;
        rules->send_ms = send_ms;
        rules->tunnels++;
        if (i >= move->to->header->rules_used)
            move->to->header->rules_used = i + 1u;
        return i;
    }
    return 0;
}

static int move_record(struct move *move, uint32_t tunnel)
{
    struct arena_v2_tunnel old;
    struct arena_tunnel *t = &move->to->tunnels[tunnel];
    memcpy(&old, move->base + move->from.tunnels_off + (size_t)tunnel * sizeof old, sizeof old);
    if (old.state == TUNNEL_FREE) {
        /* Events and public ids go on to differ from those of the tunnels before. */
        if (old.gen != 0)
            t->gen = old.gen;
        return 0;
    }
    if (!record_holds(move, &old))
        return -EBADMSG;
    t->state = old.state;
    t->reason = old.reason;
    t->gen = old.gen;
    t->heard_ms[0] = old.active_ms;
    t->heard_ms[1] = old.active_ms;
    t->rules = rules_for(move, old.idle_ms, old.send_100ms * 100u);
    if (t->rules == 0)
        return -ENOSPC;
    t->backend = (uint16_t)old.backend;
    t->strike_s = old.strike_s;
    t->strikes = old.strikes;
    t->abort = old.abort;
    int error = move_dir(move, &old, t, 0);
    return error ? error : move_dir(move, &old, t, 1);
}

/* ---- all of it ---- */

static void move_header(const struct move *move)
{
    struct arena_header *header = move->to->header;
    const struct arena_v2_header *from = &move->from;
    header->mode = from->mode;
    header->applied_seq = from->applied_seq;
    header->renewed_seq = from->renewed_seq;
    for (uint32_t i = 0; i < ARENA_V2_LISTENERS_MAX; i++) {
        header->listeners[i].id = from->listeners[i].id;
        header->listeners[i].index = from->listeners[i].index;
    }
}

/* The bitmap was ours for the claims; now it says again what the old one says. */
static void move_fds(const struct move *move)
{
    for (uint32_t i = 0; i < move->records; i++) {
        const struct arena_tunnel *t = &move->to->tunnels[i];
        for (uint32_t side = 0; t->state != TUNNEL_FREE && side < 2; side++) {
            if (t->fd[side] >= 0)
                move->to->fds[t->fd[side] / 64] = 0;
        }
    }
    for (uint32_t word = FD_DYNAMIC / 64; word < ARENA_V2_FDS_MAX / 64; word++) {
        if (old_fds(move)[word] != 0)
            move->to->fds[word] = old_fds(move)[word];
    }
}

int arena_migrate(const void *old, size_t old_size, uint32_t records, struct arena *out, int *fd)
{
    struct move move = {.base = old, .records = records, .to = out};
    *out = (struct arena){0};
    *fd = -1;
    int error = read_header(&move, old_size);
    if (error)
        return error;
    if (records > move.from.tunnels_max)
        return -EBADMSG;
    error = arena_create(out, move.from.slot, move.from.tunnels_max, fd);
    if (error)
        return error;
    for (uint32_t i = 0; !error && i < records; i++)
        error = move_record(&move, i);
    if (error) {
        munmap(out->header, out->header->size);
        close(*fd);
        *out = (struct arena){0};
        *fd = -1;
        return error;
    }
    move_fds(&move);
    move_header(&move);
    return 0;
}

int arena_migrate_open(struct arena_old *old, int fd)
{
    struct stat st;
    *old = (struct arena_old){0};
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct arena_v2_header))
        return -EPROTO;
    struct arena_v2_header *header =
        mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (header == MAP_FAILED)
        return -errno;
    old->base = header;
    old->size = (size_t)st.st_size;
    int error = LOAD_ACQUIRE(&header->magic) == ARENA_MAGIC ? 0 : -EPROTO;
    if (!error) {
        old->version = header->version;
        if (old->version != ARENA_V2_VERSION)
            error = -EPROTONOSUPPORT;
    }
    if (error) {
        munmap(old->base, old->size);
        old->base = NULL;
        return error;
    }
    old->command = &header->command;
    old->parked = &header->parked;
    return 0;
}

void arena_migrate_close(struct arena_old *old)
{
    if (old->base)
        munmap(old->base, old->size);
    *old = (struct arena_old){0};
}
