/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include "common/cert_type.h"

#include <errno.h>

enum { DAY_MS = 86400 * 1000 };

static const struct stat_column columns[] = {
    {"names", "names", "DNS names, as far as there is room", STAT_TEXT, STAT_KEY, NULL},
    {"type", "key", "kind of its key", STAT_TEXT, STAT_KEY, NULL},
    {"bits", "bits", "of its key", STAT_COUNT, STAT_LOCAL, NULL},
    {"name_count", "n", "DNS names", STAT_COUNT, STAT_WIDE, NULL},
    {"not_before_time_ms", "from", "when it becomes valid, since the epoch", STAT_TIME, STAT_WIDE,
     NULL},
    {"not_after_time_ms", "until", "when it expires, since the epoch", STAT_TIME, 0, NULL},
    {"days_left", "days left", "whole days until it expires; 0 afterwards, too", STAT_COUNT, 0,
     NULL},
    {"expired", "expired", "clients refuse it", STAT_BOOL, 0, NULL},
    {"file", "file", "as configured, or its end", STAT_TEXT, STAT_KEY, NULL},
};

/* The order is that of columns[]. */
static void add_row(const struct stat_view *view, const struct board_certificate *one,
                    struct stat_report *report, struct stat_table *table)
{
    uint64_t left_ms =
        one->not_after_real_ms > view->real_ms ? one->not_after_real_ms - view->real_ms : 0;
    stat_table_text(report, table, one->names);
    stat_table_text(report, table, cert_type_word(one->type));
    stat_table_number(report, table, one->bits);
    stat_table_number(report, table, one->name_count);
    stat_table_number(report, table, one->not_before_real_ms);
    stat_table_number(report, table, one->not_after_real_ms);
    stat_table_number(report, table, left_ms / DAY_MS);
    stat_table_number(report, table, left_ms == 0);
    stat_table_text(report, table, one->path);
}

int stat_certificates(const struct stat_view *view, struct stat_report *report)
{
    struct board_certificate one;
    struct stat_table *table =
        stat_report_table(report, "certificates", columns, ARRAY_LEN(columns), STAT_ROWS);
    table->prefix = "holdfast_certificate_";
    for (uint32_t i = 0; i < view->header.certificates && i < BOARD_CERTIFICATES_MAX; i++) {
        if (stat_view_certificate(view, i, &one))
            add_row(view, &one, report, table);
    }
    return report->no_memory ? -ENOMEM : 0;
}
