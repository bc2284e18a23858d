/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int report_begin(struct report *report)
{
    *report = (struct report){0};
    report->messages = open_memstream(&report->text, &report->size);
    return report->messages ? 0 : -errno;
}

void report_log(struct report *report, enum log_level level, const char *event)
{
    if (!report->messages)
        return;
    fclose(report->messages);
    char *rest = report->text;
    for (char *line; rest && (line = strsep(&rest, "\n"));) {
        for (char *c = line; *c; c++) {
            if (*c == '"')
                *c = '\'';
        }
        if (*line)
            log_write(level, event, "message=\"%s\"", line);
    }
    free(report->text);
    *report = (struct report){0};
}
