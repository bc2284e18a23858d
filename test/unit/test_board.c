/* SPDX-License-Identifier: Apache-2.0 */
/* The board: one owner, observers, names that keep their index, events, and writers that are killed. */
#include "shm/board.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct board_shape shape = {.tunnels_max = 64};
static struct board board;
static char name[32];

static void setup(void)
{
    int32_t owner;
    snprintf(name, sizeof name, "/hf-test-board-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
}

static void teardown(void)
{
    board_fini(&board);
    shm_unlink(name);
}

static uint32_t backend(uint32_t generation, const char *upstream, const char *server)
{
    int rc = board_backend_register(&board, generation, slice_of(upstream), slice_of(server));
    ck_assert_int_ge(rc, 0);
    return (uint32_t)rc;
}

START_TEST(an_observer_maps_what_the_master_created)
{
    struct board seen;
    uint32_t version;
    ck_assert_int_eq(board_attach(&seen, name, &version), 0);
    ck_assert_uint_eq(version, BOARD_VERSION);
    ck_assert_int_eq(seen.fd, -1);
    ck_assert_uint_eq(seen.tunnels_max, 64);
    ck_assert_int_eq(seen.header->master_pid, getpid());
    board_tunnel(&board, BOARD_SLOTS_MAX - 1, 63)->id = 42;
    ck_assert_uint_eq(board_tunnel(&seen, BOARD_SLOTS_MAX - 1, 63)->id, 42);
    board_fini(&seen);
    ck_assert_ptr_null(seen.header);
}
END_TEST

START_TEST(the_segment_is_sparse_and_has_mode_0640_whatever_the_umask)
{
    struct board other;
    struct stat st;
    int32_t owner;
    char second[40];
    snprintf(second, sizeof second, "%s-mode", name);
    umask(0777);
    int rc = board_create(&other, second, &shape, &owner);
    umask(022);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(fstat(other.fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(st.st_size, (off_t)other.header->size);
    ck_assert_int_lt(st.st_blocks * 512, 64 * 1024);
    board_fini(&other);
    ck_assert_int_eq(board_unlink(second), 0);
    ck_assert_int_eq(board_unlink(second), -ENOENT);
}
END_TEST

START_TEST(a_second_master_is_told_who_holds_the_board)
{
    pid_t child = fork();
    if (child == 0) {
        struct board mine;
        int32_t owner = 0;
        close(
            board.fd); /* what every child of the master does: the lock goes with the descriptor */
        int rc = board_create(&mine, name, &shape, &owner);
        _exit(rc == -EBUSY && owner == getppid() && !mine.header ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct board seen;
    uint32_t version;
    ck_assert_int_eq(board_attach(&seen, name, &version), 0); /* the name is still ours */
    board_fini(&seen);
}
END_TEST

START_TEST(a_board_whose_master_was_killed_is_replaced_and_old_maps_stay_readable)
{
    struct board left, fresh;
    uint32_t version;
    int32_t owner;
    int ready[2];
    char second[40], byte;
    snprintf(second, sizeof second, "%s-stale", name);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct board mine;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (board_create(&mine, second, &shape, &owner) == 0)
            mine.header->generation = 77;
        ssize_t n = write(ready[1], "x", 1);
        (void)n;
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(board_create(&fresh, second, &shape, &owner), -EBUSY);
    ck_assert_int_eq(owner, child);
    ck_assert_int_eq(board_attach(&left, second, &version), 0);
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);

    ck_assert_int_eq(board_create(&fresh, second, &shape, &owner), 0);
    ck_assert_uint_eq(left.header->generation, 77);
    ck_assert_uint_eq(fresh.header->generation, 0);
    board_fini(&left);
    board_fini(&fresh);
    ck_assert_int_eq(board_unlink(second), 0);
}
END_TEST

START_TEST(what_is_not_our_board_is_refused_by_kind)
{
    struct board seen;
    uint32_t version;
    ck_assert_int_eq(board_attach(&seen, "/hf-test-no-such-board", &version), -ENOENT);

    const uint64_t magic = board.header->magic;
    board.header->magic ^= 1;
    ck_assert_int_eq(board_attach(&seen, name, &version), -EPROTO);
    board.header->magic = magic;

    board.header->version = BOARD_VERSION + 3;
    ck_assert_int_eq(board_attach(&seen, name, &version), -EPROTONOSUPPORT);
    ck_assert_uint_eq(version, BOARD_VERSION + 3);
    board.header->version = BOARD_VERSION;

    const off_t size = (off_t)board.size;
    ck_assert_int_eq(ftruncate(board.fd, size - 1), 0);
    ck_assert_int_eq(board_attach(&seen, name, &version), -EBADMSG);
    ck_assert_int_eq(ftruncate(board.fd, 100), 0);
    ck_assert_int_eq(board_attach(&seen, name, &version), -EPROTO);
    ck_assert_int_eq(ftruncate(board.fd, 0), 0);
    ck_assert_int_eq(board_attach(&seen, name, &version), -EPROTO);
}
END_TEST

/* Every number of the layout is checked: a bit flipped in any of them is noticed, but in those of the
   counters and reasons, which say how much of the room is used. */
START_TEST(a_flipped_bit_in_any_size_or_offset_is_refused)
{
    struct board seen;
    uint32_t version;
    uint8_t *bytes = (uint8_t *)board.header;
    size_t end = offsetof(struct board_header, master_pid);
    for (size_t i = 0; i < end * 8; i++) {
        if (i / 8 >= offsetof(struct board_header, counter_count) &&
            i / 8 < offsetof(struct board_header, slots_off))
            continue;
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        ck_assert_msg(board_attach(&seen, name, &version) < 0, "bit %zu", i);
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    ck_assert_int_eq(board_attach(&seen, name, &version), 0);
    board_fini(&seen);
}
END_TEST

START_TEST(a_board_whose_program_counts_more_or_less_is_taken)
{
    static const struct {
        uint32_t counters, reasons;
        int result;
    } cases[] = {
        {COUNTER_COUNT - 1, REASON_COUNT - 2, 0},
        {COUNTER_COUNT + 1, REASON_COUNT + 1, 0},
        {BOARD_COUNTERS_MAX, BOARD_REASONS_MAX, 0},
        {BOARD_COUNTERS_MAX + 1, REASON_COUNT, -EBADMSG},
        {COUNTER_COUNT, BOARD_REASONS_MAX + 1, -EBADMSG},
    };
    struct board seen;
    uint32_t version;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        board.header->counter_count = cases[i].counters;
        board.header->reason_count = cases[i].reasons;
        ck_assert_int_eq(board_attach(&seen, name, &version), cases[i].result);
        if (cases[i].result == 0)
            board_fini(&seen);
    }
    board_show_counts(&board);
    ck_assert_uint_eq(board.header->counter_count, COUNTER_COUNT);
    ck_assert_uint_eq(board.header->reason_count, REASON_COUNT);
}
END_TEST

START_TEST(a_board_of_a_program_before_grows_when_a_new_one_takes_it_over)
{
    struct board seen, taken;
    uint32_t version;
    uint64_t whole = board.header->size;
    board.header->size = board.header->care_off;
    board.header->care_off = 0;
    ck_assert_int_eq(ftruncate(board.fd, (off_t)board.header->size), 0);
    ck_assert_int_eq(board_attach(&seen, name, &version), 0);
    ck_assert_ptr_null(board_care(&seen, 0, 0)); /* an observer cannot make it grow */
    board_fini(&seen);
    ck_assert_int_eq(board_attach_inherited(&taken, board.fd), 0);
    ck_assert_uint_eq(taken.size, whole);
    board_care(&taken, BOARD_SLOTS_MAX - 1, 63)->pings = 5;
    ck_assert_int_eq(board_attach(&seen, name, &version), 0);
    ck_assert_uint_eq(board_care(&seen, BOARD_SLOTS_MAX - 1, 63)->pings, 5);
    board_fini(&seen);
    board_fini(&taken);
    ck_assert_int_eq(board_attach_inherited(&taken, board.fd), 0); /* once more: it has */
    ck_assert_uint_eq(taken.size, whole);
    ck_assert_uint_eq(taken.tunnels_max, 64);
    board_fini(&taken);
    board.header->care_off = 4096;
    ck_assert_int_eq(board_attach(&seen, name, &version), -EBADMSG);
}
END_TEST

START_TEST(areas_do_not_overlap)
{
    struct board_header *h = board.header;
    const uint8_t *base = (const uint8_t *)h;
#define END_OF(entry) ((uint64_t)((const uint8_t *)((entry) + 1) - base))
    ck_assert_uint_le(sizeof *h, h->slots_off);
    ck_assert_uint_le(END_OF(board_slot(&board, BOARD_SLOTS_MAX - 1)), h->backends_off);
    ck_assert_uint_le(END_OF(board_backend(&board, BOARD_BACKENDS_MAX - 1)), h->cells_off);
    ck_assert_uint_le(END_OF(board_cell(&board, BOARD_SLOTS_MAX - 1, BOARD_BACKENDS_MAX - 1)),
                      h->upstreams_off);
    ck_assert_uint_le(END_OF(board_upstream(&board, BOARD_UPSTREAMS_MAX - 1)), h->sites_off);
    ck_assert_uint_le(END_OF(board_site(&board, BOARD_SITES_MAX - 1)), h->rings_off);
    ck_assert_uint_le(END_OF(board_ring_area(&board, 1) + BOARD_RING_POINTS_MAX - 1),
                      h->events_off);
    ck_assert_uint_le(
        END_OF(board_event_at(&board, BOARD_EVENT_WRITERS - 1, BOARD_EVENTS_PER_WRITER - 1)),
        h->tunnels_off);
    ck_assert_uint_le(END_OF(board_tunnel(&board, BOARD_SLOTS_MAX - 1, 63)), h->care_off);
    ck_assert_uint_le(END_OF(board_care(&board, BOARD_SLOTS_MAX - 1, 63)), h->size);
#undef END_OF
    ck_assert_uint_eq(h->tunnels_off,
                      (uint64_t)((const uint8_t *)board_tunnel(&board, 0, 0) - base));
    ck_assert_uint_eq(h->care_off, (uint64_t)((const uint8_t *)board_care(&board, 0, 0) - base));
}
END_TEST

START_TEST(shapes_that_cannot_be_laid_out_are_refused)
{
    struct board other;
    int32_t owner;
    const struct board_shape none = {0}, huge = {UINT32_MAX};
    ck_assert_int_eq(board_create(&other, "/hf-test-shape", &none, &owner), -EINVAL);
    ck_assert_int_eq(board_create(&other, "/hf-test-shape", &huge, &owner), -EINVAL);
    ck_assert_int_eq(board_create(&other, "/hf/test", &shape, &owner), -EINVAL);
}
END_TEST

START_TEST(a_server_keeps_its_index_and_its_counts_across_reloads)
{
    uint32_t a = backend(1, "chat", "10.0.0.1:80"), b = backend(1, "chat", "10.0.0.2:80");
    ck_assert_uint_ne(a, b);
    board_slot(&board, 2)->starts = 1;
    board_cell(&board, 2, b)->connects = 5;
    ck_assert_uint_eq(backend(2, "chat", "10.0.0.2:80"), b);
    ck_assert_uint_eq(backend(2, "chat", "10.0.0.1:80"), a);
    ck_assert_uint_ne(backend(2, "other", "10.0.0.1:80"), a);
    ck_assert_uint_eq(board_backend(&board, a)->used, 2);
    ck_assert_uint_eq(board_cell(&board, 2, b)->connects, 5);
    ck_assert_str_eq(board_backend(&board, b)->upstream, "chat");
    ck_assert_str_eq(board_backend(&board, b)->server, "10.0.0.2:80");
}
END_TEST

/* Fill the table with generation 1; the caller then says what may be taken over. */
static void fill_backends(void)
{
    char text[32];
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX; i++) {
        struct board_backend *entry = board_backend(&board, i);
        snprintf(text, sizeof text, "10.0.0.1:%u", i);
        snprintf(entry->upstream, sizeof entry->upstream, "full");
        snprintf(entry->server, sizeof entry->server, "%s", text);
        entry->used = 1;
    }
}

START_TEST(only_an_old_entry_that_nobody_uses_is_taken_over)
{
    fill_backends();
    board_slot(&board, 3)->starts = 1;
    board_cell(&board, 3, 0)->conns = 1;
    board_cell(&board, 3, 1)->tunnels = 1;
    board_cell(&board, 3, 2)->requests = 99;
    board_backend(&board, 2)->weight = 9;
    ck_assert_int_eq(board_backend_register(&board, 2, SLICE("new"), SLICE("x:1")), -ENOSPC);
    ck_assert_uint_eq(backend(3, "new", "x:1"), 2);
    ck_assert_uint_eq(board_cell(&board, 3, 2)->requests, 0);
    ck_assert_uint_eq(board_backend(&board, 2)->weight, 0);
    ck_assert_str_eq(board_backend(&board, 2)->upstream, "new");
    ck_assert_str_eq(board_backend(&board, 0)->upstream, "full");
    ck_assert_uint_eq(backend(3, "full", "10.0.0.1:1"), 1);
}
END_TEST

START_TEST(a_site_that_a_tunnel_shows_is_not_taken_over)
{
    char text[32];
    for (uint32_t i = 0; i < BOARD_SITES_MAX; i++) {
        snprintf(text, sizeof text, "s%u.example", i);
        ck_assert_int_eq(board_site_register(&board, 1, slice_of(text)), (int)i);
    }
    ck_assert_int_eq(board_site_register(&board, 2, SLICE("new")), -ENOSPC);
    board_slot(&board, 0)->tunnels_high = 1;
    board_tunnel(&board, 0, 0)->site = 0;
    board_tunnel(&board, 0, 0)->id = 1;
    ck_assert_int_eq(board_site_register(&board, 3, SLICE("new")), 1);
    ck_assert_str_eq(board_site(&board, 0)->name, "s0.example");
}
END_TEST

START_TEST(an_upstream_that_is_taken_over_loses_its_rings)
{
    char text[32];
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        snprintf(text, sizeof text, "u%u", i);
        ck_assert_int_eq(board_upstream_register(&board, 1, slice_of(text)), (int)i);
        board_upstream(&board, i)->ring[1].generation = 1;
    }
    ck_assert_int_eq(board_upstream_register(&board, 3, SLICE("u7")), 7);
    ck_assert_uint_eq(board_upstream(&board, 7)->ring[1].generation, 1);
    ck_assert_int_eq(board_upstream_register(&board, 3, SLICE("new")), 0);
    ck_assert_uint_eq(board_upstream(&board, 0)->ring[1].generation, 0);
}
END_TEST

START_TEST(a_name_that_does_not_fit_stays_a_key)
{
    char a[200], b[200];
    memset(a, 'a', sizeof a);
    memset(b, 'a', sizeof b);
    b[199] = 'b';
    int first = board_site_register(&board, 1, (struct slice){a, sizeof a});
    int second = board_site_register(&board, 1, (struct slice){b, sizeof b});
    ck_assert_int_ne(first, second);
    ck_assert_int_eq(board_site_register(&board, 2, (struct slice){a, sizeof a}), first);
    ck_assert_uint_eq(strlen(board_site(&board, 0)->name), BOARD_NAME_MAX - 1);
    int whole = board_site_register(&board, 1, (struct slice){a, BOARD_NAME_MAX - 1});
    ck_assert_mem_eq(board_site(&board, (uint32_t)whole)->name, a, BOARD_NAME_MAX - 1);
    ck_assert_int_eq(board_site_register(&board, 1, SLICE("")), -EINVAL);
    ck_assert_int_eq(board_backend_register(&board, 1, SLICE("u"), SLICE("")), -EINVAL);
}
END_TEST

START_TEST(connections_are_summed_over_all_slots_that_ever_ran)
{
    board_slot(&board, 0)->starts = 1;
    board_slot(&board, BOARD_SLOTS_MAX - 1)->starts = 4;
    board_cell(&board, 0, 9)->conns = 3;
    board_cell(&board, BOARD_SLOTS_MAX - 1, 9)->conns = 4;
    board_cell(&board, 0, 8)->conns = 100;
    ck_assert_uint_eq(board_backend_conns(&board, 9), 7);
}
END_TEST

START_TEST(events_are_numbered_cut_and_go_round)
{
    for (int i = 1; i <= BOARD_EVENTS_PER_WRITER + 5; i++)
        board_event(&board, 2, "tick n=%d", i);
    board_event(&board, 3, "%0200d", 7);
    const struct board_event *newest = board_event_at(&board, 2, 5);
    ck_assert_uint_eq(newest->seq, BOARD_EVENTS_PER_WRITER + 5);
    ck_assert_str_eq(newest->text, "tick n=261");
    ck_assert_uint_ne(newest->at_real_ms, 0);
    ck_assert_uint_eq(board_event_at(&board, 2, 6)->seq, 6);
    const struct board_event *cut = board_event_at(&board, 3, 1);
    ck_assert_uint_eq(strlen(cut->text), sizeof cut->text - 1);
    ck_assert_uint_eq(board_event_at(&board, 4, 0)->seq, 0);
}
END_TEST

/* The writer of names and events, for the parent to kill at any point. */
static void write_for_ever(int ready)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t generation = 1;; generation += 2) {
        for (int i = 0; i < 8; i++) {
            char upstream[32], server[32];
            snprintf(upstream, sizeof upstream, "u%u", generation);
            snprintf(server, sizeof server, "server-of-u%u", generation);
            int rc =
                board_backend_register(&board, generation, slice_of(upstream), slice_of(server));
            board_event(&board, 0, "event generation=%u rc=%d same=%u", generation, rc, generation);
        }
        if (generation == 1) {
            ssize_t n = write(ready, "x", 1);
            (void)n;
        }
    }
}

/* What must hold of a board at every moment: names and texts that are published are whole. */
static void check_readable(const struct board *seen, uint32_t backends)
{
    for (uint32_t i = 0; i < backends; i++) {
        const struct board_backend *entry = board_backend(seen, i);
        char expected[96];
        if (LOAD_ACQUIRE(&entry->used) == 0)
            continue;
        snprintf(expected, sizeof expected, "server-of-%s", entry->upstream);
        ck_assert_str_eq(entry->server, expected);
    }
    uint64_t newest = 0;
    for (uint32_t i = 0; i < BOARD_EVENTS_PER_WRITER; i++) {
        const struct board_event *event = board_event_at(seen, 0, i);
        unsigned generation, same;
        int rc;
        if (event->seq == 0)
            continue;
        ck_assert_uint_eq(event->seq % BOARD_EVENTS_PER_WRITER, i);
        ck_assert_int_eq(
            sscanf(event->text, "event generation=%u rc=%d same=%u", &generation, &rc, &same), 3);
        ck_assert_uint_eq(generation, same);
        newest = event->seq > newest ? event->seq : newest;
    }
    ck_assert_uint_gt(newest, 0);
}

START_TEST(a_writer_killed_anywhere_leaves_a_readable_board_and_its_successor_goes_on)
{
    for (int round = 0; round < 40; round++) {
        int ready[2];
        char byte;
        ck_assert_int_eq(pipe(ready), 0);
        pid_t child = fork();
        if (child == 0)
            write_for_ever(ready[1]);
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        for (int spin = 0; spin < round * 50; spin++)
            getppid(); /* another moment each round */
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, NULL, 0), child);
        close(ready[0]);
        close(ready[1]);
        check_readable(&board, 64);
        board_event(&board, 0, "event generation=%u rc=%d same=%u", 1, 0, 1);
        check_readable(&board, 64);
    }
}
END_TEST

/* Let a traced child go on by one instruction. Returns false when it has ended. */
static bool step(pid_t child)
{
    int status;
    ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSTOPPED(status);
}

/* A full table in which only entry 0 is old enough to be taken over in generation 5. */
static void fill_upstreams(void)
{
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        struct board_upstream *entry = board_upstream(&board, i);
        snprintf(entry->name, sizeof entry->name, "the-name-before-%u", i);
        entry->used = i == 0 ? 1 : 5;
    }
}

/* What a successor finds, it can use: it gets that entry, whole. */
static void succeed(void)
{
    struct board_upstream *entry = board_upstream(&board, 0);
    const struct board_upstream before = *entry;
    ck_assert_int_eq(board_upstream_register(&board, 7, SLICE("next")), 0);
    ck_assert_str_eq(entry->name, "next");
    ck_assert_uint_eq(entry->used, 7);
    *entry = before;
    ck_assert_int_eq(board_upstream_register(&board, 5, SLICE("the-name-before-9")), 9);
}

/* The same by force: the writer is stopped after each instruction, and what it leaves is looked at. */
START_TEST(every_instruction_of_a_takeover_and_of_an_event_leaves_a_readable_board)
{
    struct board_upstream *entry = board_upstream(&board, 0), last;
    struct board_event *event = board_event_at(&board, 0, 1), last_event;
    uint32_t changes = 0;
    int status;
    fill_upstreams();
    for (int i = 0; i < BOARD_EVENTS_PER_WRITER; i++)
        board_event(&board, 0, "event generation=%u rc=%d same=%u", 1, 0, 1);
    pid_t child = fork();
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(9);
        raise(SIGSTOP);
        int rc = board_upstream_register(&board, 5, SLICE("u2"));
        board_event(&board, 0, "event generation=%u rc=%d same=%u", 5, rc, 5);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSTOPPED(status), "ptrace is not possible here");
    last = *entry;
    last_event = *event;
    while (step(child)) {
        if (memcmp(&last, entry, sizeof last) != 0) {
            if (entry->used != 0)
                ck_assert_str_eq(entry->name, entry->used == 1 ? "the-name-before-0" : "u2");
            succeed();
            last = *entry;
            changes++;
        }
        if (memcmp(&last_event, event, sizeof last_event) != 0) {
            check_readable(&board, 0);
            last_event = *event;
            changes++;
        }
    }
    ck_assert_uint_gt(changes, 6);
    ck_assert_str_eq(entry->name, "u2");
    ck_assert_uint_eq(event->seq, BOARD_EVENTS_PER_WRITER + 1);
}
END_TEST

START_TEST(the_id_of_a_tunnel_says_whose_it_is)
{
    static const uint32_t tunnels[] = {0, 1, 9951, (1u << 27) - 1};
    for (uint32_t slot = 0; slot < BOARD_SLOTS_MAX; slot++) {
        for (size_t i = 0; i < sizeof tunnels / sizeof tunnels[0]; i++) {
            uint64_t id = board_tunnel_id(slot, UINT16_MAX, tunnels[i]);
            struct board_tunnel_place place = board_tunnel_place(id);
            ck_assert_uint_ne(id, board_tunnel_id(slot, 0, tunnels[i]));
            ck_assert_uint_eq(place.slot, slot);
            ck_assert_uint_eq(place.tunnel, tunnels[i]);
        }
    }
    ck_assert_uint_eq(board_tunnel_id(1, 2, 3),
                      0x0100000200000004); /* as logs and orders show it */
    ck_assert_uint_ge(board_tunnel_place(0).tunnel, board.tunnels_max);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("board");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_id_of_a_tunnel_says_whose_it_is);
    tcase_add_test(tcase, an_observer_maps_what_the_master_created);
    tcase_add_test(tcase, the_segment_is_sparse_and_has_mode_0640_whatever_the_umask);
    tcase_add_test(tcase, a_second_master_is_told_who_holds_the_board);
    tcase_add_test(tcase, a_board_whose_master_was_killed_is_replaced_and_old_maps_stay_readable);
    tcase_add_test(tcase, what_is_not_our_board_is_refused_by_kind);
    tcase_add_test(tcase, a_flipped_bit_in_any_size_or_offset_is_refused);
    tcase_add_test(tcase, a_board_whose_program_counts_more_or_less_is_taken);
    tcase_add_test(tcase, a_board_of_a_program_before_grows_when_a_new_one_takes_it_over);
    tcase_add_test(tcase, areas_do_not_overlap);
    tcase_add_test(tcase, shapes_that_cannot_be_laid_out_are_refused);
    tcase_add_test(tcase, a_server_keeps_its_index_and_its_counts_across_reloads);
    tcase_add_test(tcase, only_an_old_entry_that_nobody_uses_is_taken_over);
    tcase_add_test(tcase, a_site_that_a_tunnel_shows_is_not_taken_over);
    tcase_add_test(tcase, an_upstream_that_is_taken_over_loses_its_rings);
    tcase_add_test(tcase, a_name_that_does_not_fit_stays_a_key);
    tcase_add_test(tcase, connections_are_summed_over_all_slots_that_ever_ran);
    tcase_add_test(tcase, events_are_numbered_cut_and_go_round);
    tcase_add_test(tcase,
                   a_writer_killed_anywhere_leaves_a_readable_board_and_its_successor_goes_on);
    tcase_add_test(tcase, every_instruction_of_a_takeover_and_of_an_event_leaves_a_readable_board);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
