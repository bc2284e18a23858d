/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of a configuration file: `file:line: key: what is wrong`, all of them in one run. */
#ifndef MASTER_CONF_ERROR_H
#define MASTER_CONF_ERROR_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct conf;

/* Where a value was written, and the way to it from the top of the file. */
struct conf_place {
    const void *field; /* where the value stands in struct conf */
    const char *file;
    char *file_owned; /* `file`, in the first of a run of places with the same file */
    int line;
    const struct conf_place *parent; /* NULL: top level */
    const char *name;                /* NULL: element `index` of the parent */
    int index;
    struct conf_place *next; /* in the order of the file */
};

struct conf_errors {
    FILE *out;
    const char *path; /* of the main file */
    uint32_t count;
};

/*
 * Remember where `field` was written. `name` is borrowed until the configuration is freed, `file`
 * is copied. Returns the place, which belongs to `conf`, or NULL (out of memory).
 */
struct conf_place *conf_error_place(struct conf *conf, struct conf_place place);

/* Free all places of a configuration. */
void conf_error_fini(struct conf *conf);

/* Print one error of a place and count it. */
void conf_error_at(struct conf_errors *errors, const struct conf_place *place, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/*
 * Print one error of the value at `field` and count it. A field that was not written is reported
 * where its group begins, or at the top of the file.
 */
void conf_error_field(struct conf_errors *errors, const struct conf *conf, const void *field,
                      const char *fmt, ...) PRINTF_LIKE(4, 5);

/* The same for what works, but perhaps not as meant: "warning: " stands in front, nothing is counted. */
void conf_error_warn(struct conf_errors *errors, const struct conf *conf, const void *field,
                     const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Whether a field was written, rightly or wrongly. */
bool conf_error_written(const struct conf *conf, const void *field);

/* "file:line" of a field, for messages about another one. Returns `out`. */
enum { CONF_ERROR_WHERE_MAX = 300 };
const char *conf_error_where(const struct conf *conf, const void *field,
                             char out[CONF_ERROR_WHERE_MAX]);

/* Line of a field, 1 if it was not written. */
int conf_error_line(const struct conf *conf, const void *field);

#endif
