/* SPDX-License-Identifier: Apache-2.0 */
/* The three forms of a report, and the rates that --watch adds. Observer only; write to `out` alone. */
#ifndef SHM_STAT_OUTPUT_H
#define SHM_STAT_OUTPUT_H

#include "shm/stat_table.h"
#include "shm/stat_view.h"

#include <stdio.h>

/*
 * The look before this one. With `report` NULL there was none, and no rate is shown. Rows are found
 * again by their STAT_KEY columns.
 */
struct stat_before {
    const struct stat_report *report;
    uint64_t elapsed_ms;
};

/* Lines for people: notes, then the tables. */
void stat_print(FILE *out, const struct stat_report *report, const struct stat_before *before);

/*
 * One JSON object on one line: page, board, layout, time_ms, generation, master, notes, and each table
 * under its name. With `before`, each total NAME has a NAME_per_s beside it.
 */
void stat_json(FILE *out, const char *page, const struct stat_view *view,
               const struct stat_report *report, const struct stat_before *before);

/* Prometheus' text exposition format 0.0.4 of all tables that have a prefix. */
void stat_prometheus(FILE *out, const struct stat_report *report);

/* Index from the keys of a table to its rows. */
struct stat_rates {
    const struct stat_table *now;
    const struct stat_table *past; /* NULL: no rates */
    uint64_t elapsed_ms;
    uint32_t *rows; /* 1 + row of `past` by hash; 0: empty */
    uint32_t mask;
};

/* Table `index` of the report; without memory there are no rates. End with _fini. */
void stat_rates_init(struct stat_rates *rates, const struct stat_report *report, uint32_t index,
                     const struct stat_before *before);
void stat_rates_fini(struct stat_rates *rates);

/* How fast a total grew, per second. Returns false if that is not known. */
bool stat_rates_get(const struct stat_rates *rates, uint32_t row, uint32_t column, double *rate);

#endif
