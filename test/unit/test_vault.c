/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "shm/vault.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int made;

static void set_up(void)
{
    ck_assert_int_eq(vault_create(3, 1000, &made), 0);
}

static void tear_down(void)
{
    close(made);
}

/* The header as it stands in the file, changed by the test. */
static void patch(off_t at, uint32_t value)
{
    ck_assert_int_eq(pwrite(made, &value, sizeof value, at), sizeof value);
}

START_TEST(a_new_vault_is_empty_and_knows_its_slot)
{
    struct vault vault;
    ck_assert_int_eq(vault_attach(&vault, made), 0);
    ck_assert_uint_eq(vault.header->slot, 3);
    ck_assert_uint_eq(vault.header->sides_max, 1000);
    ck_assert_uint_eq(vault.header->used[0] + vault.header->used[1], 0);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(vault.sides[0][i].session.version, TLS_PLAIN);
        ck_assert_uint_eq(vault.sides[1][i].session.version, TLS_PLAIN);
    }
    ck_assert(vault.sides[1] >= vault.sides[0] + 1000);
    munmap(vault.header, vault.header->size);
}
END_TEST

START_TEST(what_was_written_is_there_for_the_next_who_maps_it)
{
    struct vault vault;
    ck_assert_int_eq(vault_attach(&vault, made), 0);
    vault.sides[1][999].session.tx.seq = 77;
    munmap(vault.header, vault.header->size);
    ck_assert_int_eq(vault_look(made), 0);
    ck_assert_int_eq(vault_attach(&vault, made), 0);
    ck_assert_uint_eq(vault.sides[1][999].session.tx.seq, 77);
    munmap(vault.header, vault.header->size);
}
END_TEST

START_TEST(entries_that_are_not_used_cost_no_memory)
{
    struct stat st;
    ck_assert_int_eq(fstat(made, &st), 0);
    ck_assert_int_le(st.st_blocks * 512, 2 * 4096);
    ck_assert_int_ge(st.st_size, 2000 * (int)sizeof(struct vault_side));
}
END_TEST

START_TEST(nobody_can_cut_it)
{
    ck_assert_int_lt(ftruncate(made, 4096), 0);
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(it_is_kept_out_of_core_dumps)
{
    struct vault vault;
    char line[256];
    char start[32];
    bool inside = false;
    bool excluded = false;
    ck_assert_int_eq(vault_attach(&vault, made), 0);
    snprintf(start, sizeof start, "%lx-", (unsigned long)vault.header);
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (strncmp(line, start, strlen(start)) == 0)
            inside = true;
        else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            excluded = strstr(line, " dd") != NULL;
            break;
        }
    }
    fclose(maps);
    munmap(vault.header, vault.header->size);
    ck_assert(inside);
    ck_assert(excluded);
}
END_TEST

START_TEST(what_is_no_vault_is_refused)
{
    struct vault vault;
    int null = open("/dev/null", O_RDWR);
    ck_assert_int_eq(vault_attach(&vault, null), -EPROTO);
    close(null);
    patch(offsetof(struct vault_header, magic), 1);
    ck_assert_int_eq(vault_look(made), -EPROTO);
}
END_TEST

START_TEST(another_layout_is_refused_as_such)
{
    patch(offsetof(struct vault_header, version), VAULT_VERSION + 1);
    ck_assert_int_eq(vault_look(made), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_refused)
{
    patch(offsetof(struct vault_header, sides_max), 2000);
    ck_assert_int_eq(vault_look(made), -EPROTO);
    patch(offsetof(struct vault_header, sides_max), 0);
    ck_assert_int_eq(vault_look(made), -EPROTO);
    patch(offsetof(struct vault_header, sides_max), UINT32_MAX);
    ck_assert_int_eq(vault_look(made), -EPROTO);
}
END_TEST

START_TEST(a_vault_of_no_entries_or_too_many_cannot_be_made)
{
    int fd;
    ck_assert_int_eq(vault_create(0, 0, &fd), -EINVAL);
    ck_assert_int_eq(vault_create(0, UINT32_MAX, &fd), -EINVAL);
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(every_bit_of_a_session_changes_its_check)
{
    struct tls_session session;
    uint8_t *bytes = (uint8_t *)&session;
    for (size_t i = 0; i < sizeof session; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    uint32_t check = vault_check(&session);
    for (size_t bit = 0; bit < sizeof session * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(vault_check(&session) != check, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_uint_eq(vault_check(&session), check);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vault");
    TCase *tests = tcase_create("vault");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_new_vault_is_empty_and_knows_its_slot);
    tcase_add_test(tests, what_was_written_is_there_for_the_next_who_maps_it);
    tcase_add_test(tests, entries_that_are_not_used_cost_no_memory);
    tcase_add_test(tests, nobody_can_cut_it);
    tcase_add_test(tests, it_is_kept_out_of_core_dumps);
    tcase_add_test(tests, what_is_no_vault_is_refused);
    tcase_add_test(tests, another_layout_is_refused_as_such);
    tcase_add_test(tests, sizes_that_do_not_fit_are_refused);
    tcase_add_test(tests, a_vault_of_no_entries_or_too_many_cannot_be_made);
    tcase_add_test(tests, every_bit_of_a_session_changes_its_check);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
