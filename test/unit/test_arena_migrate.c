/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/arena_migrate.h"
#include "shm/board.h"
#include "test/unit/arena_v2_fixture.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SLOT = 5, TUNNELS = 40, FD = FD_DYNAMIC, LEFT = 1000, HEAVY = 20000 };

/* What stands in `old`: see fill(). */
enum { IDLE = 0, PENDING = 3, HALF = 4, CLOSING = 7, CONDEMNED = 9, FREED = 12, HIGH = 13 };

static struct arena_v2 old;
static struct arena made;
static int made_fd;
static uint8_t full[32768];

static struct arena_v2_tunnel *open_tunnel(uint32_t tunnel)
{
    struct arena_v2_tunnel *t = &old.tunnels[tunnel];
    uint32_t n = tunnel * 100;
    *t = (struct arena_v2_tunnel){
        .fd = {FD + (int)tunnel * 2, FD + (int)tunnel * 2 + 1},
        .state = TUNNEL_OPEN,
        .gen = (uint16_t)(n + 1),
        .backend = tunnel + 2,
        .dir = {{.rx = n + 3, .tx = n + 3}, {.rx = n + 4, .tx = n + 4}},
        .active_ms = n + 5,
        .blocked_ms = {n + 6, n + 7},
        .send_100ms = 605,
        .strike_s = (uint16_t)(n + 20),
        .strikes = 1,
        .head_len = (uint16_t)(n + 8),
        .track = {{.left = n + 9, .frames = n + 10, .first = 0x81},
                  {.left = n + 11, .frames = n + 12, .need = 3, .head = 5, .flags = WS_IN_MESSAGE}},
        .idle_ms = n + 13,
        .cookie = {n + 14, n + 15},
        .src_off = {n + 16, n + 17},
        .dst_off = {n + 18, n + 19},
    };
    return t;
}

static void fill(void)
{
    open_tunnel(IDLE);
    struct arena_v2_tunnel *t = open_tunnel(PENDING);
    t->dir[0].tx = UINT32_MAX - 1; /* the count goes past 2^32 amid what is pending */
    arena_v2_stage(&old, &t->dir[0], 200, 32000, "to the backend", 14);
    arena_v2_stage(&old, &t->dir[1], 255, 0, full, sizeof full);
    t = open_tunnel(HALF);
    t->dir[0].flags = ARENA_V2_EOF | ARENA_V2_SHUT;
    t->dir[1].flags = ARENA_V2_HANGUP | ARENA_V2_READY | ARENA_V2_RESUME;
    t->reason = REASON_CLIENT_CLOSED;
    t = open_tunnel(CLOSING);
    t->state = TUNNEL_CLOSING;
    t->reason = REASON_DONE;
    t->fd[0] = -1; /* the first is closed already */
    t->dir[1].rx += 100;
    t->dir[1].chunk = 7;
    t = open_tunnel(CONDEMNED);
    t->state = TUNNEL_CLOSING;
    t->reason = REASON_SEND_TIMEOUT;
    t->abort = 1;
    old.tunnels[FREED].gen = 77;
    old.fds[LEFT / 64] = 1ull << LEFT % 64;
    old.header->mode = SLOT_MODE_DRAIN;
    old.header->applied_seq = 1ull << 40;
    old.header->renewed_seq = 9;
    old.header->listeners[0] = (struct arena_v2_listener){.id = 11, .index = 1};
    old.header->listeners[63] = (struct arena_v2_listener){.id = 12, .index = 63};
}

static void set_up(void)
{
    for (size_t i = 0; i < sizeof full; i++)
        full[i] = (uint8_t)(i * 7 + i / 256);
    arena_v2_init(&old, SLOT, TUNNELS);
    fill();
}

static void tear_down(void)
{
    arena_v2_fini(&old);
}

static int migrate(void)
{
    return arena_migrate(old.header, old.header->size, HIGH, &made, &made_fd);
}

static void drop_made(void)
{
    munmap(made.header, made.header->size);
    close(made_fd);
}

/* Refused, and nothing is left behind. */
static void assert_refused(int error)
{
    struct stat st;
    int next = dup(old.fd);
    close(next);
    ck_assert_int_eq(migrate(), error);
    ck_assert_int_eq(made_fd, -1);
    ck_assert_ptr_null(made.header);
    ck_assert_int_eq(fstat(next, &st), -1);
}

static void assert_moved(const struct arena_tunnel *t, const struct arena_v2_tunnel *from)
{
    ck_assert_uint_eq(t->state, from->state);
    ck_assert_uint_eq(t->reason, from->reason);
    ck_assert_uint_eq(t->gen, from->gen);
    ck_assert_uint_eq(t->backend, from->backend);
    const struct arena_rules *rules = &made.rules[t->rules];
    ck_assert_uint_eq(rules->idle_ms, from->idle_ms);
    ck_assert_uint_eq(rules->send_ms, from->send_100ms * 100u);
    ck_assert_uint_eq(rules->ping_interval_ms, 0);
    ck_assert_uint_eq(t->dir[0].care, from->state == TUNNEL_FREE ? 0 : CARE_RSV_ANY);
    ck_assert_uint_eq(t->tls, 0);
    ck_assert_uint_eq(t->strikes, from->strikes);
    ck_assert_uint_eq(t->strike_s, from->strike_s);
    ck_assert_uint_eq(t->abort, from->abort);
    for (uint32_t d = 0; d < 2; d++) {
        uint32_t head = d == 1 ? from->head_len : 0;
        ck_assert_uint_eq(t->heard_ms[d], from->active_ms);
        ck_assert_int_eq(t->fd[d], from->fd[d]);
        ck_assert_uint_eq(t->dir[d].rx, from->dir[d].rx - head);
        ck_assert_uint_eq(t->dir[d].tx, from->dir[d].tx - head);
        ck_assert_uint_eq(t->blocked_ms[d], from->blocked_ms[d]);
        ck_assert_uint_eq(t->track[d].left, from->track[d].left);
        ck_assert_uint_eq(t->track[d].frames, from->track[d].frames);
        ck_assert_uint_eq(t->track[d].need, from->track[d].need);
        ck_assert_uint_eq(t->track[d].head, from->track[d].head);
        ck_assert_uint_eq(t->track[d].first, from->track[d].first);
        ck_assert_uint_eq(t->track[d].flags, from->track[d].flags);
        ck_assert_uint_eq(t->cookie[d], from->cookie[d]);
        /* What the sockets have counted stays what it was. */
        ck_assert_uint_eq(t->dir[d].rx + t->src_off[d], from->dir[d].rx + from->src_off[d]);
        ck_assert_uint_eq(t->dir[d].tx + t->dst_off[d], from->dir[d].tx + from->dst_off[d]);
    }
}

START_TEST(every_field_of_every_record_is_moved)
{
    ck_assert_int_eq(migrate(), 0);
    for (uint32_t i = 0; i < TUNNELS; i++)
        assert_moved(&made.tunnels[i], &old.tunnels[i]);
    ck_assert_uint_eq(made.tunnels[IDLE].state, TUNNEL_OPEN);
    ck_assert_uint_eq(made.rules[made.tunnels[IDLE].rules].send_ms, 60500);
    ck_assert_uint_eq(made.tunnels[FREED].state, TUNNEL_FREE);
    ck_assert_uint_eq(made.tunnels[FREED].gen, 77);
    drop_made();
}
END_TEST

START_TEST(the_slot_the_mode_and_the_listeners_are_moved_and_nobody_is_parked)
{
    ck_assert_int_eq(migrate(), 0);
    const struct arena_header *h = made.header;
    ck_assert_uint_eq(h->version, ARENA_VERSION);
    ck_assert_uint_eq(h->slot, SLOT);
    ck_assert_uint_eq(h->tunnels_max, TUNNELS);
    ck_assert_uint_eq(h->mode, SLOT_MODE_DRAIN);
    ck_assert_uint_eq(h->applied_seq, 1ull << 40);
    ck_assert_uint_eq(h->renewed_seq, 9);
    ck_assert_uint_eq(h->command, ARENA_RUN);
    ck_assert_uint_eq(h->parked, 0);
    ck_assert_uint_eq(h->go, 0);
    ck_assert_uint_eq(h->op.cur, 0);
    for (uint32_t i = 0; i < ARENA_LISTENERS_MAX; i++) {
        ck_assert_uint_eq(h->listeners[i].id, i == 0 ? 11 : i == 63 ? 12 : 0);
        ck_assert_uint_eq(h->listeners[i].index, i == 0 ? 1 : i == 63 ? 63 : 0);
    }
    for (uint32_t i = 0; i < ARENA_EVENTS; i++)
        ck_assert_uint_eq(h->events[i].events, 0);
    drop_made();
}
END_TEST

START_TEST(pending_bytes_of_both_directions_are_moved)
{
    ck_assert_int_eq(migrate(), 0);
    const struct arena_dir *dir = made.tunnels[PENDING].dir;
    const uint8_t *bytes = arena_chunk(&made, dir[0].chunk) + (dir[0].tx - dir[0].base);
    ck_assert_uint_eq(dir[0].rx - dir[0].tx, 14);
    ck_assert_uint_eq(dir[0].tx, UINT32_MAX - 1);
    ck_assert_mem_eq(bytes, "to the backend", 14);
    bytes = arena_chunk(&made, dir[1].chunk) + (dir[1].tx - dir[1].base);
    ck_assert_uint_eq(dir[1].rx - dir[1].tx, sizeof full);
    ck_assert_mem_eq(bytes, full, sizeof full);
    ck_assert_uint_ne(dir[0].chunk, 0);
    ck_assert_uint_ne(dir[1].chunk, 0);
    ck_assert_uint_ne(dir[0].chunk, dir[1].chunk);
    ck_assert_uint_eq(dir[0].flags, DIR_BLOCKED);
    ck_assert_uint_eq(dir[1].flags, DIR_BLOCKED);
    drop_made();
}
END_TEST

START_TEST(flags_keep_their_meaning)
{
    ck_assert_int_eq(migrate(), 0);
    ck_assert_uint_eq(made.tunnels[HALF].dir[0].flags, DIR_EOF | DIR_SHUT);
    ck_assert_uint_eq(made.tunnels[HALF].dir[1].flags, DIR_HANGUP | DIR_READY | DIR_RESUME);
    ck_assert_uint_eq(made.tunnels[HALF].abort, 0);
    drop_made();
}
END_TEST

START_TEST(a_close_goes_on_without_its_bytes_and_as_it_was_meant)
{
    ck_assert_int_eq(migrate(), 0);
    ck_assert_uint_eq(made.tunnels[CLOSING].dir[1].chunk, 0);
    ck_assert_uint_eq(made.tunnels[CLOSING].abort, 0);
    ck_assert_int_eq(made.tunnels[CLOSING].fd[0], -1);
    ck_assert_uint_eq(made.tunnels[CONDEMNED].abort, 1);
    drop_made();
}
END_TEST

START_TEST(the_descriptor_bitmap_is_moved_and_another_program_can_attach)
{
    struct arena other;
    ck_assert_int_eq(migrate(), 0);
    for (uint32_t i = 0; i < ARENA_FDS_MAX / 64; i++)
        ck_assert_uint_eq(made.fds[i], i == LEFT / 64 ? 1ull << LEFT % 64 : 0);
    ck_assert_int_eq(arena_attach(&other, made_fd), 0);
    munmap(other.header, other.header->size);
    ck_assert_int_eq(ftruncate(made_fd, 0), -1);
    drop_made();
}
END_TEST

START_TEST(the_old_arena_is_not_changed)
{
    uint8_t *before = malloc(old.header->size);
    memcpy(before, old.header, old.header->size);
    struct arena_old opened;
    ck_assert_int_eq(arena_migrate_open(&opened, old.fd), 0);
    ck_assert_uint_eq(opened.version, 2);
    ck_assert_uint_eq(*opened.command, ARENA_PARK);
    ck_assert_uint_eq(*opened.parked, 1);
    ck_assert_int_eq(arena_migrate(opened.base, opened.size, HIGH, &made, &made_fd), 0);
    ck_assert_mem_eq(before, old.header, old.header->size);
    arena_migrate_close(&opened);
    free(before);
    drop_made();
}
END_TEST

START_TEST(a_full_arena_finds_a_chunk_for_everything_pending)
{
    tear_down();
    arena_v2_init(&old, SLOT, 300);
    /* Chunk 0 is never used, and the scratch is nobody's. */
    uint32_t chunk = 2;
    for (uint32_t i = 0; i < 300; i++) {
        struct arena_v2_tunnel *t = open_tunnel(i);
        for (uint32_t d = 0; d < 2 && chunk < old.header->chunks_max; d++, chunk++)
            arena_v2_stage(&old, &t->dir[d], chunk, 1, &i, sizeof i);
    }
    ck_assert_int_eq(arena_migrate(old.header, old.header->size, 300, &made, &made_fd), 0);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < 300; i++) {
        for (uint32_t d = 0; d < 2; d++) {
            const struct arena_dir *dir = &made.tunnels[i].dir[d];
            if (dir->chunk == 0)
                continue;
            moved++;
            ck_assert_mem_eq(arena_chunk(&made, dir->chunk) + (dir->tx - dir->base), &i, sizeof i);
        }
    }
    ck_assert_uint_eq(moved, 298);
    drop_made();
}
END_TEST

/* Then the worker takes back, and its tunnels keep what they have (unit/test_succession.c). */
START_TEST(more_timeouts_than_there_is_place_for_are_refused)
{
    tear_down();
    arena_v2_init(&old, SLOT, ARENA_RULES_MAX);
    for (uint32_t i = 0; i < ARENA_RULES_MAX; i++) {
        old.tunnels[i] =
            (struct arena_v2_tunnel){.state = TUNNEL_CLOSING, .fd = {-1, -1}, .idle_ms = i + 1};
    }
    size_t size = old.header->size;
    ck_assert_int_eq(arena_migrate(old.header, size, ARENA_RULES_MAX, &made, &made_fd), -ENOSPC);
    ck_assert_int_eq(made_fd, -1);
    ck_assert_ptr_null(made.header);
    ck_assert_int_eq(arena_migrate(old.header, size, ARENA_RULES_MAX - 1, &made, &made_fd), 0);
    for (uint32_t i = 0; i < ARENA_RULES_MAX - 1; i++) {
        if (made.rules[made.tunnels[i].rules].idle_ms != i + 1)
            ck_abort_msg("record %u has others' rules", i);
    }
    drop_made();
}
END_TEST

/* A chunk that was let go of last, and what a peek has left: no bytes, so nothing to move. */
START_TEST(a_direction_without_pending_bytes_gets_no_chunk)
{
    old.tunnels[IDLE].dir[0].chunk = 9;
    old.tunnels[IDLE].dir[1].flags = ARENA_V2_BLOCKED;
    ck_assert_int_eq(migrate(), 0);
    ck_assert_uint_eq(made.tunnels[IDLE].dir[0].chunk, 0);
    ck_assert_uint_eq(made.tunnels[IDLE].dir[1].chunk, 0);
    ck_assert_uint_eq(made.tunnels[IDLE].dir[1].flags, DIR_BLOCKED);
    drop_made();
}
END_TEST

START_TEST(records_that_were_never_used_are_not_read)
{
    struct stat before;
    struct stat after;
    tear_down();
    arena_v2_init(&old, SLOT, 100000);
    fill();
    ck_assert_int_eq(fstat(old.fd, &before), 0);
    ck_assert_int_eq(migrate(), 0);
    ck_assert_int_eq(fstat(old.fd, &after), 0);
    /* The bitmap is read: 256 KiB. The records would have been 12 MiB. */
    ck_assert_int_le((after.st_blocks - before.st_blocks) * 512, 262144);
    drop_made();
    ck_assert_int_eq(arena_migrate(old.header, old.header->size, 100001, &made, &made_fd),
                     -EBADMSG);
}
END_TEST

START_TEST(other_versions_are_refused)
{
    static const uint32_t versions[] = {0, 1, ARENA_VERSION, ARENA_VERSION + 1, UINT32_MAX};
    struct arena_old opened;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        old.header->version = versions[i];
        assert_refused(-EPROTONOSUPPORT);
        ck_assert_int_eq(arena_migrate_open(&opened, old.fd), -EPROTONOSUPPORT);
        ck_assert_ptr_null(opened.base);
        ck_assert_uint_eq(opened.version, versions[i]);
        arena_migrate_close(&opened);
    }
    old.header->version = 2;
    ck_assert_int_eq(arena_attach(&made, old.fd), -EPROTONOSUPPORT);
    ck_assert_int_eq(migrate(), 0);
    drop_made();
}
END_TEST

START_TEST(what_is_no_arena_is_refused)
{
    struct arena_old opened;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(arena_migrate_open(&opened, ends[0]), -EPROTO);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(arena_migrate_open(&opened, -1), -EBADF);
    old.header->magic++;
    ck_assert_int_eq(arena_migrate_open(&opened, old.fd), -EPROTO);
    assert_refused(-EBADMSG);
}
END_TEST

START_TEST(a_worker_amid_a_step_or_an_event_is_not_at_a_safe_point)
{
    old.header->op.cur = 1u << 28;
    assert_refused(-EBUSY);
    old.header->op.cur = 0;
    old.header->events[255].events = EPOLLIN;
    assert_refused(-EBUSY);
}
END_TEST

/* One field bent: each alone is reason enough. */
static void bend(int field)
{
    struct arena_v2_header *h = old.header;
    struct arena_v2_tunnel *t = &old.tunnels[PENDING];
    switch (field) {
    case 0: h->size += 4096; break;
    case 1: h->tunnels_max = UINT32_MAX; break;
    case 2: h->tunnels_max = 0; break;
    case 3: h->chunks_max--; break;
    case 4: h->fds_off -= 4096; break;
    case 5: h->chunks_off += 64; break;
    case 6: h->tunnels_off = UINT64_MAX - 127; break;
    case 7: h->slot = BOARD_SLOTS_MAX; break;
    case 8: h->mode = SLOT_MODE_STOP + 1; break;
    case 9: h->listeners[1] = h->listeners[0]; break;
    case 10: h->listeners[0].index = ARENA_LISTENERS_MAX; break;
    case 11: t->state = 3; break;
    case 12: t->reason = REASON_COUNT; break;
    case 13: t->backend = BOARD_BACKENDS_MAX; break;
    case 14: t->fd[0] = FD_DYNAMIC - 1; break;
    case 15: t->fd[1] = -1; break;
    case 16: t->fd[0] = ARENA_FDS_MAX; break;
    case 17: t->fd[0] = t->fd[1]; break;
    case 18: t->fd[0] = old.tunnels[IDLE].fd[1]; break;
    case 19: t->dir[0].chunk = 256; break;
    case 20: t->dir[0].chunk = t->dir[1].chunk; break;
    case 21: t->dir[0].chunk = 7; break; /* of the tunnel that is closing */
    case 22: t->dir[0].chunk = 0; break;
    case 23: t->dir[0].base = t->dir[0].tx - (32768 - 13); break;
    case 24: t->dir[1].rx++; break;
    case 25: t->dir[0].tx = t->dir[0].rx + 1; break;
    case 26: old.fds[t->fd[0] / 64] |= 1ull << t->fd[0] % 64; break;
    case 27: t->dir[0].flags |= 1 << 6; break;
    case 28: t->dir[0].flags |= ARENA_V2_EOF | ARENA_V2_SHUT; break;
    case 29: old.tunnels[IDLE].dir[0].flags = ARENA_V2_SHUT; break;
    case 30: t->track[0].need = 15; break;
    case 31: t->track[1].head = 15; break;
    case 32: t->track[1].flags = 1 << 3; break;
    case 33: old.tunnels[CLOSING].fd[1] = -2; break;
    }
}

START_TEST(a_bent_field_is_refused)
{
    uint64_t size = old.header->size;
    bend(_i);
    ck_assert_int_eq(arena_migrate(old.header, size, HIGH, &made, &made_fd), -EBADMSG);
    ck_assert_int_eq(made_fd, -1);
    ck_assert_ptr_null(made.header);
    old.header->size = size;
}
END_TEST

START_TEST(an_arena_that_was_cut_is_refused)
{
    static const size_t sizes[] = {1, 8, 12, 1023, 4095, 4096, 1 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t *cut = malloc(sizes[i]); /* on the heap: the sanitizer sees a read beyond */
        memcpy(cut, old.header, sizes[i]);
        ck_assert_int_eq(arena_migrate(cut, sizes[i], HIGH, &made, &made_fd), -EBADMSG);
        free(cut);
    }
}
END_TEST

/* ---- damage at random ---- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void assert_sound(void)
{
    for (uint32_t i = 0; i < made.header->tunnels_max; i++) {
        const struct arena_tunnel *t = &made.tunnels[i];
        ck_assert_uint_le(t->state, TUNNEL_CLOSING);
        ck_assert_uint_lt(t->reason, REASON_COUNT);
        for (uint32_t d = 0; t->state != TUNNEL_FREE && d < 2; d++) {
            uint32_t pending = t->dir[d].rx - t->dir[d].tx;
            ck_assert_uint_lt(t->dir[d].chunk, made.header->chunks_max);
            if (t->state == TUNNEL_OPEN) {
                ck_assert_uint_le(pending, ARENA_V2_CHUNK_SIZE);
                ck_assert_int_ge(t->fd[d], FD_DYNAMIC);
                ck_assert_int_eq(t->dir[d].chunk != 0, pending != 0);
            }
        }
    }
}

/*
 * A copy on the heap of exactly its size, so that the sanitizer sees each read outside. Damage to one
 * to four bytes of the header or of the records in use; payload cannot be wrong.
 */
START_TEST(damage_anywhere_is_refused_or_harmless_and_never_crashes)
{
    size_t size = old.header->size;
    size_t records = old.header->tunnels_off;
    uint32_t seed = 20;
    uint32_t moved = 0;
    uint32_t refused = 0;
    uint8_t *copy = aligned_alloc(4096, size);
    memcpy(copy, old.header, size);
    for (uint32_t round = 0; round < HEAVY; round++) {
        uint32_t flips = 1 + next_random(&seed) % 4;
        for (uint32_t i = 0; i < flips; i++) {
            bool header = next_random(&seed) % 3 == 0;
            size_t at = header ? next_random(&seed) % sizeof *old.header
                               : records + next_random(&seed) % (HIGH * 128);
            copy[at] = (uint8_t)next_random(&seed);
        }
        int error = arena_migrate(copy, size, HIGH, &made, &made_fd);
        if (error == 0) {
            moved++;
            assert_sound();
            drop_made();
        } else {
            refused++;
            ck_assert(error == -EBADMSG || error == -EPROTONOSUPPORT || error == -EBUSY);
        }
        memcpy(copy, old.header, sizeof *old.header);
        memcpy(copy + records, old.tunnels, HIGH * 128);
    }
    ck_assert_uint_gt(moved, HEAVY / 10);
    ck_assert_uint_gt(refused, HEAVY / 10);
    free(copy);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("arena_migrate");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, every_field_of_every_record_is_moved);
    tcase_add_test(tcase, the_slot_the_mode_and_the_listeners_are_moved_and_nobody_is_parked);
    tcase_add_test(tcase, pending_bytes_of_both_directions_are_moved);
    tcase_add_test(tcase, flags_keep_their_meaning);
    tcase_add_test(tcase, a_close_goes_on_without_its_bytes_and_as_it_was_meant);
    tcase_add_test(tcase, the_descriptor_bitmap_is_moved_and_another_program_can_attach);
    tcase_add_test(tcase, the_old_arena_is_not_changed);
    tcase_add_test(tcase, a_full_arena_finds_a_chunk_for_everything_pending);
    tcase_add_test(tcase, more_timeouts_than_there_is_place_for_are_refused);
    tcase_add_test(tcase, a_direction_without_pending_bytes_gets_no_chunk);
    tcase_add_test(tcase, records_that_were_never_used_are_not_read);
    tcase_add_test(tcase, other_versions_are_refused);
    tcase_add_test(tcase, what_is_no_arena_is_refused);
    tcase_add_test(tcase, a_worker_amid_a_step_or_an_event_is_not_at_a_safe_point);
    tcase_add_loop_test(tcase, a_bent_field_is_refused, 0, 34);
    tcase_add_test(tcase, an_arena_that_was_cut_is_refused);
    tcase_add_test(tcase, damage_anywhere_is_refused_or_harmless_and_never_crashes);
    Suite *suite = suite_create("arena_migrate");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
