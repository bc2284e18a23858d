/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct stat_column columns[] = {
    {"time_ms", "time", "when, since the epoch", STAT_TIME, 0, NULL},
    {"writer", "who", "master, checker, or worker slot: w0, w1 ...", STAT_TEXT, 0, NULL},
    {"seq", "seq", "number of the event, for each writer", STAT_COUNT, STAT_WIDE, NULL},
    {"text", "event", "event word, then key=value", STAT_TEXT, 0, NULL},
};

struct found {
    struct board_event event;
    uint32_t writer;
};

/* By time: of one writer at one time by number. */
static int compare_found(const void *left, const void *right)
{
    const struct found *a = left, *b = right;
    if (a->event.at_real_ms != b->event.at_real_ms)
        return a->event.at_real_ms < b->event.at_real_ms ? -1 : 1;
    if (a->writer != b->writer)
        return a->writer < b->writer ? -1 : 1;
    return a->event.seq < b->event.seq ? -1 : a->event.seq > b->event.seq;
}

/*
 * Has this writer written ever? Its first event went to entry 1; that one and the next are not both
 * being written anew. Looking no further keeps the kernel from giving memory to rings never used.
 */
static bool has_written(const struct stat_view *view, uint32_t writer)
{
    struct board_event event;
    return stat_view_event(view, writer, 1, &event) || stat_view_event(view, writer, 2, &event);
}

static size_t find_all(const struct stat_view *view, struct found *out)
{
    size_t count = 0;
    for (uint32_t writer = 0; writer < BOARD_EVENT_WRITERS; writer++) {
        if (!has_written(view, writer))
            continue;
        for (uint32_t i = 0; i < BOARD_EVENTS_PER_WRITER; i++) {
            out[count].writer = writer;
            count += stat_view_event(view, writer, i, &out[count].event);
        }
    }
    return count;
}

static void add_row(const struct found *found, struct stat_report *report, struct stat_table *table)
{
    char who[16];
    if (found->writer >= 2)
        snprintf(who, sizeof who, "w%" PRIu32, found->writer - 2);
    else
        snprintf(who, sizeof who, "%s", found->writer == 0 ? "master" : "checker");
    stat_table_number(report, table, found->event.at_real_ms);
    stat_table_text(report, table, who);
    stat_table_number(report, table, found->event.seq);
    stat_table_text(report, table, found->event.text);
}

int stat_events(const struct stat_view *view, const struct stat_args *args,
                struct stat_report *report)
{
    struct stat_table *table =
        stat_report_table(report, "events", columns, ARRAY_LEN(columns), STAT_ROWS);
    struct found *found =
        malloc((BOARD_EVENT_WRITERS * BOARD_EVENTS_PER_WRITER + 1) * sizeof *found);
    if (!found)
        return -ENOMEM;
    size_t count = find_all(view, found);
    size_t first = args->limit > 0 && args->limit < count ? count - args->limit : 0;
    qsort(found, count, sizeof *found, compare_found);
    for (size_t i = first; i < count; i++)
        add_row(&found[i], report, table);
    free(found);
    return report->no_memory ? -ENOMEM : 0;
}
