/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the table of keys, among the files that they stand in: conf_schema*.c. */
#ifndef MASTER_CONF_SCHEMA_ROWS_H
#define MASTER_CONF_SCHEMA_ROWS_H

#include "master/conf_schema.h"

/* 24 days: what fits into signed 32-bit milliseconds with room to spare. */
#define DURATION_MAX UINT64_C(2073600000)
#define SIZE_NO_MAX  (UINT64_C(1) << 50)

#define AT(type, field)   .offset = offsetof(struct type, field)
#define ALSO(type, field) .extra = offsetof(struct type, field)

/* Those of CONF_OPTIONS, in the order of the reference: conf_schema_options.c. */
extern const struct conf_key conf_schema_options[];
extern const size_t conf_schema_option_count;

#endif
