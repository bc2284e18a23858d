/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the HTTP parsers share: parse a head in one piece or in many, and compare. */
#ifndef TEST_UNIT_HTTP_CASE_H
#define TEST_UNIT_HTTP_CASE_H

#include "common/http_head.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_FIELDS = 16 };

/* ck_assert_msg without its write to a pipe when all is well: for inner loops. */
#define case_assert(c, ...)                                                                        \
    do {                                                                                           \
        if (!(c))                                                                                  \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

#define CASE_LIMITS ((struct http_limits){.line_max = 1000, .head_max = 4000, .fields_max = 16})

struct http_case {
    struct http_head head;
    struct http_field fields[CASE_FIELDS];
    int rc;
};

static inline void case_init(struct http_case *c, bool answer, struct http_limits limits)
{
    memset(c, 0xa5, sizeof *c); /* what was not written must not matter */
    if (answer)
        http_response_init(&c->head, c->fields, limits, HTTP_GET);
    else
        http_request_init(&c->head, c->fields, limits);
    c->rc = 0;
}

/* Go on with text[0..len), in memory of its own: it has moved, and reading past it is caught. */
static inline void case_feed(struct http_case *c, const char *text, size_t len)
{
    char *moved = malloc(len > 0 ? len : 1);

    memcpy(moved, text, len);
    if (c->rc == 0)
        c->rc = http_head_parse(&c->head, moved, len);
    free(moved);
}

static inline void case_parse(struct http_case *c, bool answer, const char *text, size_t len)
{
    case_init(c, answer, CASE_LIMITS);
    case_feed(c, text, len);
}

/* Same verdict; and, if accepted, the same result to the last byte. */
static inline bool case_same(const struct http_case *a, const struct http_case *b)
{
    if (a->rc != b->rc || a->head.error != b->head.error)
        return false;
    if (a->rc <= 0)
        return true;
    struct http_head x = a->head, y = b->head;
    x.fields = y.fields = NULL;
    return memcmp(&x, &y, sizeof x) == 0 &&
           memcmp(a->fields, b->fields, sizeof *a->fields * x.field_count) == 0;
}

/* Parse with the first piece ending at `cut`, and with single bytes: nothing may change. */
static inline void case_check_split(const struct http_case *whole, bool answer, const char *text,
                                    size_t len, size_t cut)
{
    struct http_case c;

    case_init(&c, answer, whole->head.limits);
    case_feed(&c, text, cut);
    case_feed(&c, text, len);
    case_assert(case_same(whole, &c), "cut at %zu: %d (%s), whole: %d (%s)", cut, c.rc,
                c.head.error ? c.head.error : "", whole->rc,
                whole->head.error ? whole->head.error : "");
}

static inline void case_check_bytewise(const struct http_case *whole, bool answer, const char *text,
                                       size_t len)
{
    struct http_case c;

    case_init(&c, answer, whole->head.limits);
    for (size_t n = 0; n <= len && c.rc == 0; n++)
        c.rc = http_head_parse(&c.head, text, n);
    case_assert(case_same(whole, &c), "bytewise: %d (%s), whole: %d (%s)", c.rc,
                c.head.error ? c.head.error : "", whole->rc,
                whole->head.error ? whole->head.error : "");
}

/* Parse and check that every cut and single bytes give the same; then leave the result in *c. */
static inline void case_parse_all_ways(struct http_case *c, bool answer, const char *text,
                                       size_t len)
{
    case_parse(c, answer, text, len);
    for (size_t cut = 0; cut <= len; cut++)
        case_check_split(c, answer, text, len, cut);
    case_check_bytewise(c, answer, text, len);
}

/* A row of a table of heads: minus the status that must refuse it, or 0 for accepted. */
struct http_row {
    const char *text;
    size_t len;
    int refused;
};

#define ROW(text, refused)                                                                         \
    {                                                                                              \
        (text), sizeof(text) - 1, (refused)                                                        \
    }

static inline void case_check_rows(const struct http_row *rows, size_t count, bool answer)
{
    for (size_t i = 0; i < count; i++) {
        struct http_case c;
        case_parse_all_ways(&c, answer, rows[i].text, rows[i].len);
        int wanted = rows[i].refused ? rows[i].refused : (int)rows[i].len;
        ck_assert_msg(c.rc == wanted, "row %zu: %d (%s), wanted %d: %s", i, c.rc,
                      c.head.error ? c.head.error : "", wanted, rows[i].text);
        ck_assert_msg(c.rc > 0 || c.head.error, "row %zu: refused without a text", i);
    }
}

static inline bool case_is(const char *buf, uint32_t at, uint32_t len, const char *wanted)
{
    return strlen(wanted) == len && memcmp(buf + at, wanted, len) == 0;
}

static inline int case_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
