/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_output.h"

#include "shm/stat_text.h"

#include <inttypes.h>
#include <string.h>

/* HELP text: a backslash or line break would have to be escaped, and our doc strings have none. */
static void print_head(FILE *out, const char *name, const char *doc, bool total)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, doc, name, total ? "counter" : "gauge");
}

static void print_labels(FILE *out, const struct stat_table *table, uint32_t row,
                         const struct stat_group *group, const char *group_value)
{
    const char *comma = "{";
    char text[24];
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct stat_value *value = stat_table_value(table, row, i);
        if (!(table->columns[i].flags & STAT_KEY))
            continue;
        fprintf(out, "%s%s=", comma, table->columns[i].name);
        snprintf(text, sizeof text, "%" PRIu64, value->number);
        stat_text_label(out, table->columns[i].kind == STAT_TEXT ? stat_table_string(table, value)
                                                                 : text);
        comma = ",";
    }
    if (group) {
        fprintf(out, "%s%s=", comma, group->label);
        stat_text_label(out, group_value);
        comma = ",";
    }
    fputs(*comma == ',' ? "} " : " ", out);
}

/* Prometheus counts time in seconds. Rates are thousandths, too. */
static void print_number(FILE *out, uint8_t kind, uint64_t number)
{
    if (kind == STAT_MS || kind == STAT_TIME || kind == STAT_RATE)
        fprintf(out, "%" PRIu64 ".%03" PRIu64 "\n", number / 1000, number % 1000);
    else
        fprintf(out, "%" PRIu64 "\n", number);
}

static void print_samples(FILE *out, const char *name, const struct stat_table *table,
                          uint32_t column, const struct stat_group *group)
{
    for (uint32_t row = 0; row < stat_table_rows(table); row++) {
        const struct stat_value *value = stat_table_value(table, row, column);
        if (!value->set)
            continue;
        fputs(name, out);
        print_labels(out, table, row, group, table->columns[column].name);
        print_number(out, table->columns[column].kind, value->number);
    }
}

static void metric_name(char *out, size_t size, const struct stat_table *table,
                        const struct stat_column *column)
{
    size_t n = strlen(column->name);
    bool time = column->kind == STAT_MS || column->kind == STAT_TIME;
    if (time && n > 3 && strcmp(column->name + n - 3, "_ms") == 0)
        n -= 3;
    snprintf(out, size, "%s%.*s%s%s", table->prefix, (int)n, column->name, time ? "_seconds" : "",
             column->flags & STAT_TOTAL ? "_total" : "");
}

static bool exported(const struct stat_column *column)
{
    return column->kind != STAT_TEXT && !(column->flags & (STAT_KEY | STAT_LOCAL | STAT_TERMINAL));
}

static void print_table(FILE *out, const struct stat_table *table)
{
    const struct stat_group *group = NULL;
    char name[128];
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct stat_column *column = &table->columns[i];
        bool labelled = column->group && column->group->metric;
        if (!exported(column))
            continue;
        if (labelled)
            snprintf(name, sizeof name, "%s_total", column->group->metric);
        else
            metric_name(name, sizeof name, table, column);
        if (!labelled || column->group != group)
            print_head(out, name, labelled ? column->group->doc : column->doc,
                       column->flags & STAT_TOTAL);
        group = column->group;
        print_samples(out, name, table, i, labelled ? group : NULL);
    }
}

void stat_prometheus(FILE *out, const struct stat_report *report)
{
    for (uint32_t i = 0; i < report->table_count; i++) {
        if (report->tables[i].prefix)
            print_table(out, &report->tables[i]);
    }
}
