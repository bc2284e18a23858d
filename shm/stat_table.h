/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page of holdfast-stat hands to the printers: tables of typed values, and notes. A column says
 * once how its values are named, documented, printed and exported; texts are kept raw and escaped by the
 * printer. Observer only; heap only.
 */
#ifndef SHM_STAT_TABLE_H
#define SHM_STAT_TABLE_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

enum stat_kind {
    STAT_TEXT,
    STAT_COUNT,
    STAT_BYTES,
    STAT_MS,   /* a duration in milliseconds */
    STAT_TIME, /* milliseconds since the epoch */
    STAT_BOOL,
    STAT_RATE, /* thousandths a second */
};

/* Bits of stat_column.flags. */
enum {
    STAT_KEY = 1 << 0,   /* names the row: a label in Prometheus, and how --watch finds it again */
    STAT_TOTAL = 1 << 1, /* only grows: has a rate; a counter in Prometheus */
    STAT_WIDE = 1 << 2,  /* too much for a terminal: JSON and Prometheus only */
    STAT_LOCAL = 1 << 3, /* means nothing over time: not for Prometheus */
    STAT_TERMINAL = 1 << 4, /* repeats others: terminal only */
};

/* Columns that belong together: an object of their own in JSON. */
struct stat_group {
    const char *name; /* JSON field */
    const char
        *metric; /* not NULL: one Prometheus metric, in which `label` tells the columns apart */
    const char *label;
    const char *doc; /* of the metric */
};

struct stat_column {
    const char *name; /* JSON field; Prometheus name behind the table's prefix */
    const char *title;
    const char *doc;
    uint8_t kind;                   /* enum stat_kind */
    uint8_t flags;                  /* STAT_* */
    const struct stat_group *group; /* NULL: none; a group's columns stand together */
};

struct stat_value {
    uint64_t number;
    uint32_t text; /* STAT_TEXT: offset into texts */
    bool set;      /* false: not known */
};

/* How a table looks. */
enum stat_shape {
    STAT_ROWS,
    STAT_RECORD, /* one row: an object in JSON; a line for each column on a terminal, but zeros of groups */
};

struct stat_table {
    const char *name;   /* JSON field of the table */
    const char *prefix; /* of Prometheus names; NULL: not exported */
    const struct stat_column *columns;
    uint32_t column_count;
    enum stat_shape shape;
    struct stat_value *values; /* row by row */
    uint32_t value_count, value_room;
    char *texts;
    uint32_t text_count, text_room;
};

enum { STAT_TABLES_MAX = 16, STAT_NOTES_MAX = 16, STAT_NOTE_SIZE = 512 };

struct stat_report {
    struct stat_table tables[STAT_TABLES_MAX];
    uint32_t table_count;
    char notes[STAT_NOTES_MAX][STAT_NOTE_SIZE]; /* raw text */
    uint32_t note_count;
    bool no_memory; /* something is missing: an error at the end */
};

void stat_report_fini(struct stat_report *report);

/* One more line for the reader; the seventeenth is dropped. */
void stat_report_note(struct stat_report *report, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A new table in the report, borrowed from it; borrows all its arguments for the report's life. */
struct stat_table *stat_report_table(struct stat_report *report, const char *name,
                                     const struct stat_column *columns, uint32_t column_count,
                                     enum stat_shape shape);

/*
 * Append the next value, row by row, left to right. Text is copied. Out of memory is noted in the
 * report, and the value left out.
 */
void stat_table_number(struct stat_report *report, struct stat_table *table, uint64_t number);
void stat_table_text(struct stat_report *report, struct stat_table *table, const char *text);
void stat_table_unknown(struct stat_report *report, struct stat_table *table);

/* `count` numbers of which the first `known` are known. */
void stat_table_numbers(struct stat_report *report, struct stat_table *table,
                        const uint64_t *numbers, uint32_t known, uint32_t count);

uint32_t stat_table_rows(const struct stat_table *table);
const struct stat_value *stat_table_value(const struct stat_table *table, uint32_t row,
                                          uint32_t column);

/* The text of a value of a STAT_TEXT column; "" if it is not set. */
const char *stat_table_string(const struct stat_table *table, const struct stat_value *value);

#endif
