/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/arena.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena made;
static int made_fd;

static void set_up(void)
{
    ck_assert_int_eq(arena_create(&made, 3, 1000, &made_fd), 0);
}

static void tear_down(void)
{
    munmap(made.header, made.header->size);
    close(made_fd);
}

START_TEST(a_new_arena_is_empty_and_knows_its_slot)
{
    ck_assert_uint_eq(made.header->slot, 3);
    ck_assert_uint_eq(made.header->tunnels_max, 1000);
    ck_assert_uint_eq(made.header->op.cur, 0);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(made.tunnels[i].state, TUNNEL_FREE);
    for (uint32_t i = 0; i < ARENA_EVENTS; i++)
        ck_assert_uint_eq(made.header->events[i].events, 0);
}
END_TEST

START_TEST(records_and_chunks_do_not_overlap_and_lie_inside)
{
    uint8_t *base = (uint8_t *)made.header;
    ck_assert((uint8_t *)made.tunnels >= base + sizeof *made.header);
    ck_assert((uint8_t *)made.fds >= (uint8_t *)(made.tunnels + made.header->tunnels_max));
    ck_assert(made.chunks >= (uint8_t *)made.fds + ARENA_FDS_MAX / 8);
    uint8_t *end = arena_chunk(&made, made.header->chunks_max - 1) + ARENA_CHUNK_SIZE;
    ck_assert_ptr_eq(end, base + made.header->size);
    ck_assert_uint_eq((uintptr_t)made.tunnels % CACHE_LINE, 0);
    ck_assert_uint_ge(made.header->chunks_max, 2);
}
END_TEST

START_TEST(an_empty_arena_uses_no_memory_for_its_records)
{
    struct stat st;
    ck_assert_int_eq(fstat(made_fd, &st), 0);
    ck_assert_int_lt(st.st_blocks * 512, 3 * 4096);
}
END_TEST

START_TEST(an_arena_cannot_be_cut_under_a_reader)
{
    ck_assert_int_eq(ftruncate(made_fd, 4096), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(made_fd, (off_t)made.header->size + 4096), -1);
}
END_TEST

START_TEST(a_second_map_sees_what_the_first_wrote)
{
    struct arena other;
    made.tunnels[999].gen = 7;
    arena_chunk(&made, 5)[ARENA_CHUNK_SIZE - 1] = 42;
    ck_assert_int_eq(arena_attach(&other, made_fd), 0);
    ck_assert_ptr_ne(other.header, made.header);
    ck_assert_uint_eq(other.tunnels[999].gen, 7);
    ck_assert_uint_eq(arena_chunk(&other, 5)[ARENA_CHUNK_SIZE - 1], 42);
    munmap(other.header, other.header->size);
}
END_TEST

START_TEST(what_a_killed_writer_stored_is_there_in_program_order)
{
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t writer = fork();
    if (writer == 0) {
        for (uint32_t n = 1;; n++) {
            made.header->op.base = n;
            COMMIT_FENCE();
            made.header->op.cur = n;
            if (n == 100000 && write(ready[1], "x", 1) != 1)
                _exit(1);
        }
    }
    char x;
    ck_assert_int_eq((int)read(ready[0], &x, 1), 1);
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    uint32_t ahead = made.header->op.base - made.header->op.cur;
    ck_assert_uint_le(ahead, 1);
    ck_assert_uint_ge(made.header->op.cur, 100000);
    close(ready[0]);
    close(ready[1]);
}
END_TEST

START_TEST(another_layout_version_is_refused)
{
    struct arena other;
    made.header->version = ARENA_VERSION + 1;
    ck_assert_int_eq(arena_attach(&other, made_fd), -EPROTONOSUPPORT);
    made.header->version = ARENA_VERSION;
    ck_assert_int_eq(arena_attach(&other, made_fd), 0);
    munmap(other.header, other.header->size);
}
END_TEST

/* Each field of the layout, bent: none may make the reader look outside. */
START_TEST(a_bent_header_is_refused)
{
    struct arena other;
    struct arena_header good = *made.header;
    for (int field = 0; field < 7; field++) {
        struct arena_header *h = made.header;
        switch (field) {
        case 0: h->magic++; break;
        case 1: h->size += 4096; break;
        case 2: h->tunnels_max = UINT32_MAX; break;
        case 3: h->chunks_max++; break;
        case 4: h->tunnels_off += 64; break;
        case 5: h->fds_off -= 64; break;
        case 6: h->chunks_off = UINT64_MAX - 4095; break;
        }
        ck_assert_int_eq(arena_attach(&other, made_fd), -EPROTO);
        ck_assert_ptr_null(other.header);
        *h = good;
    }
}
END_TEST

START_TEST(a_short_file_or_a_pipe_is_no_arena)
{
    struct arena other;
    int small = memfd_create("small", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(small, 64), 0);
    ck_assert_int_eq(arena_attach(&other, small), -EPROTO);
    close(small);
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(arena_attach(&other, ends[0]), -EPROTO);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(arena_attach(&other, -1), -EBADF);
}
END_TEST

START_TEST(sizes_without_sense_are_refused_and_give_no_descriptor)
{
    struct arena none;
    int fd = 77;
    ck_assert_int_eq(arena_create(&none, 0, 0, &fd), -EINVAL);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(arena_create(&none, 0, UINT32_MAX, &fd), -EINVAL);
    ck_assert_int_eq(fd, -1);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("arena");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_new_arena_is_empty_and_knows_its_slot);
    tcase_add_test(tcase, records_and_chunks_do_not_overlap_and_lie_inside);
    tcase_add_test(tcase, an_empty_arena_uses_no_memory_for_its_records);
    tcase_add_test(tcase, an_arena_cannot_be_cut_under_a_reader);
    tcase_add_test(tcase, a_second_map_sees_what_the_first_wrote);
    tcase_add_test(tcase, what_a_killed_writer_stored_is_there_in_program_order);
    tcase_add_test(tcase, another_layout_version_is_refused);
    tcase_add_test(tcase, a_bent_header_is_refused);
    tcase_add_test(tcase, a_short_file_or_a_pipe_is_no_arena);
    tcase_add_test(tcase, sizes_without_sense_are_refused_and_give_no_descriptor);
    Suite *suite = suite_create("arena");
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
