/* SPDX-License-Identifier: Apache-2.0 */
/* holdfast-stat on boards that are corrupt: it shows something, in bounds, and always ends. */
#include "test/unit/stat_fixture.h"

#include <errno.h>

enum { CASES = 20000, CASES_A_TEST = 2000, OUTPUT_MAX = 1 << 20, FLIPS_MAX = 24 };

/* A generator of our own: the same seed is the same case on every machine. */
static uint64_t seed;

static uint32_t next_random(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 16) % below);
}

/* ---- is it JSON? (RFC 8259) ---- */

static const char *skip_value(const char *p, int depth);

static const char *skip_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    while (*p != '"') {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p == '\\') {
            if (!strchr("\"\\/bfnrtu", *++p))
                return NULL;
        }
        p++;
    }
    return p + 1;
}

static const char *skip_number(const char *p)
{
    const char *first = p += *p == '-';
    while ((*p >= '0' && *p <= '9') || *p == '.')
        p++;
    return p > first ? p : NULL;
}

static const char *skip_members(const char *p, char end, int depth)
{
    if (*++p == end)
        return p + 1;
    for (;;) {
        if (end == '}') {
            p = skip_string(p);
            if (!p || *p++ != ':')
                return NULL;
        }
        p = skip_value(p, depth + 1);
        if (!p || (*p != ',' && *p != end))
            return NULL;
        if (*p++ == end)
            return p;
    }
}

static const char *skip_value(const char *p, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    if (depth > 8)
        return NULL;
    if (*p == '{' || *p == '[')
        return skip_members(p, *p == '{' ? '}' : ']', depth);
    if (*p == '"')
        return skip_string(p);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strncmp(p, words[i], strlen(words[i])) == 0)
            return p + strlen(words[i]);
    }
    return skip_number(p);
}

static bool is_json(const char *text)
{
    const char *end = skip_value(text, 0);
    return end && strcmp(end, "\n") == 0;
}

/* ---- all pages ---- */

static const struct {
    const char *words[6];
    enum stat_form form;
} pages[] = {
    {{"--json"}, STAT_JSON},
    {{"overview"}, STAT_TABLE},
    {{"workers", "--json"}, STAT_JSON},
    {{"workers"}, STAT_TABLE},
    {{"backends", "--json"}, STAT_JSON},
    {{"backends"}, STAT_TABLE},
    {{"--prometheus"}, STAT_PROMETHEUS},
    {{"tunnels", "--json", "--sort", "bytes"}, STAT_JSON},
    {{"tunnels", "--backend", "chat", "--client", "::/1"}, STAT_TABLE},
    {{"ring", "chat", "192.0.2.1", "--json"}, STAT_JSON},
    {{"ring", "192.0.2.2"}, STAT_TABLE},
    {{"certificates", "--json"}, STAT_JSON},
    {{"certificates"}, STAT_TABLE},
    {{"certificates", "--prometheus"}, STAT_PROMETHEUS},
    {{"events", "--json"}, STAT_JSON},
    {{"events", "--limit", "3"}, STAT_TABLE},
};

/* No byte of the board may reach a terminal as it is. */
static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (((unsigned char)*text < 0x20 && *text != '\n') || (unsigned char)*text >= 0x7f)
            return false;
    }
    return true;
}

/* Each line of Prometheus' form is a comment, or a name, perhaps labels, and a number. */
static bool is_prometheus(const char *text)
{
    while (*text) {
        const char *end = strchr(text, '\n'), *space = end;
        if (!end)
            return false;
        while (space > text && *space != ' ')
            space--;
        if (*text != '#' &&
            (strncmp(text, "holdfast_", 9) != 0 ||
             strspn(space + 1, "0123456789.") != (size_t)(end - space - 1) || end == space + 1))
            return false;
        text = end + 1;
    }
    return true;
}

static bool has_form(const char *text, enum stat_form form)
{
    switch (form) {
    case STAT_JSON: return is_json(text);
    case STAT_PROMETHEUS: return is_prometheus(text);
    default: return is_plain(text);
    }
}

static void show_all(uint64_t which)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        char why[STAT_WHY_SIZE];
        int n = 0;
        while (n < 6 && pages[i].words[n])
            n++;
        int rc = show_with(pages[i].words, n, why);
        ck_assert_msg(rc == 0 || why[0] != '\0', "case %llu: %d without a reason",
                      (unsigned long long)which, rc);
        ck_assert_msg(rc != -ENOMEM, "case %llu", (unsigned long long)which);
        ck_assert_uint_lt(output_size, OUTPUT_MAX);
        if (rc == 0)
            ck_assert_msg(has_form(output, pages[i].form), "case %llu: %.600s",
                          (unsigned long long)which, output);
    }
}

/* ---- flips ---- */

struct region {
    void *at;
    size_t size;
};

/* What is in use: elsewhere a flip changes nothing that anybody reads. */
static size_t list_regions(struct region *out)
{
    size_t n = 0;
    out[n++] = (struct region){board.header, sizeof *board.header};
    out[n++] = (struct region){board_slot(&board, 0), 3 * sizeof(struct board_slot)};
    out[n++] = (struct region){board_backend(&board, 0), 5 * sizeof(struct board_backend)};
    out[n++] = (struct region){board_cell(&board, 0, 0), 5 * sizeof(struct board_cell)};
    out[n++] = (struct region){board_cell(&board, 1, 0), 5 * sizeof(struct board_cell)};
    out[n++] = (struct region){board_upstream(&board, 0), 3 * sizeof(struct board_upstream)};
    out[n++] = (struct region){board_site(&board, 0), 3 * sizeof(struct board_site)};
    out[n++] = (struct region){board_certificate(&board, 0), 3 * sizeof(struct board_certificate)};
    out[n++] = (struct region){board_ring_area(&board, 0), 640 * sizeof(struct ketama_point)};
    out[n++] = (struct region){board_event_at(&board, 0, 0), 4 * sizeof(struct board_event)};
    out[n++] = (struct region){board_event_at(&board, 2, 0), 4 * sizeof(struct board_event)};
    out[n++] = (struct region){board_tunnel(&board, 0, 0), 5 * sizeof(struct board_tunnel)};
    out[n++] = (struct region){board_tunnel(&board, 1, 0), 5 * sizeof(struct board_tunnel)};
    return n;
}

START_TEST(flipped_bits_never_crash_a_page_and_never_break_its_form)
{
    struct region regions[16];
    size_t region_count = list_regions(regions);
    for (uint64_t i = 0; i < CASES_A_TEST; i++) {
        struct {
            uint8_t *at;
            uint8_t mask;
        } flips[FLIPS_MAX];
        uint64_t which = (uint64_t)_i * CASES_A_TEST + i;
        seed = 0x9e3779b97f4a7c15ull ^ (which + 1) * 0xbf58476d1ce4e5b9ull;
        uint32_t count = 1 + next_random(next_random(4) == 0 ? FLIPS_MAX : 3);
        for (uint32_t k = 0; k < count; k++) {
            const struct region *region = &regions[next_random((uint32_t)region_count)];
            flips[k].at = (uint8_t *)region->at + next_random((uint32_t)region->size);
            flips[k].mask = (uint8_t)(1u << next_random(8));
            *flips[k].at ^= flips[k].mask;
        }
        show_all(which);
        while (count-- > 0)
            *flips[count].at ^= flips[count].mask;
    }
}
END_TEST

START_TEST(areas_full_of_noise_never_crash_a_page)
{
    struct region regions[16];
    size_t region_count = list_regions(regions);
    for (uint64_t i = 0; i < 200; i++) {
        seed = i + 1;
        for (size_t k = 0; k < region_count; k++) {
            for (size_t at = 0; at < regions[k].size; at++)
                ((uint8_t *)regions[k].at)[at] = (uint8_t)(i == 0 ? 0xff : next_random(256));
        }
        show_all(i);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stat_corrupt");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 300);
    tcase_add_checked_fixture(tcase, fixture_setup, fixture_teardown);
    tcase_add_loop_test(tcase, flipped_bits_never_crash_a_page_and_never_break_its_form, 0,
                        CASES / CASES_A_TEST);
    tcase_add_test(tcase, areas_full_of_noise_never_crash_a_page);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
