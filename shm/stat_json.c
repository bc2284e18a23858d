/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_output.h"

#include "shm/stat_text.h"

#include <inttypes.h>

static void print_value(FILE *out, const struct stat_table *table, uint32_t row, uint32_t column)
{
    const struct stat_value *value = stat_table_value(table, row, column);
    if (!value->set)
        fputs("null", out);
    else if (table->columns[column].kind == STAT_TEXT)
        stat_text_json(out, stat_table_string(table, value));
    else if (table->columns[column].kind == STAT_BOOL)
        fputs(value->number ? "true" : "false", out);
    else if (table->columns[column].kind == STAT_RATE)
        fprintf(out, "%" PRIu64 ".%03" PRIu64, value->number / 1000, value->number % 1000);
    else
        fprintf(out, "%" PRIu64, value->number);
}

static void print_row(FILE *out, const struct stat_rates *rates, uint32_t row)
{
    const struct stat_table *table = rates->now;
    const struct stat_group *group = NULL;
    const char *comma = "";
    double rate;
    fputc('{', out);
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct stat_column *column = &table->columns[i];
        if (column->flags & STAT_TERMINAL)
            continue;
        if (column->group != group) {
            fputs(group ? "}" : "", out);
            if (column->group)
                fprintf(out, "%s\"%s\":{", group ? "," : comma, column->group->name);
            comma = column->group ? "" : ",";
            group = column->group;
        }
        fprintf(out, "%s\"%s\":", comma, column->name);
        print_value(out, table, row, i);
        comma = ",";
        if ((column->flags & STAT_TOTAL) && stat_rates_get(rates, row, i, &rate))
            fprintf(out, ",\"%s_per_s\":%.3f", column->name, rate);
    }
    fputs(group ? "}}" : "}", out);
}

static void print_table(FILE *out, const struct stat_rates *rates)
{
    uint32_t rows = stat_table_rows(rates->now);
    fprintf(out, ",\"%s\":", rates->now->name);
    if (rates->now->shape != STAT_ROWS) {
        if (rows > 0)
            print_row(out, rates, 0);
        else
            fputs("null", out);
        return;
    }
    for (uint32_t row = 0; row < rows; row++) {
        fputc(row == 0 ? '[' : ',', out);
        print_row(out, rates, row);
    }
    fputs(rows == 0 ? "[]" : "]", out);
}

void stat_json(FILE *out, const char *page, const struct stat_view *view,
               const struct stat_report *report, const struct stat_before *before)
{
    fprintf(out, "{\"page\":\"%s\",\"board\":", page);
    stat_text_json(out, view->name);
    fprintf(out, ",\"layout\":%d,\"time_ms\":%" PRIu64 ",\"generation\":%" PRIu32, BOARD_VERSION,
            view->real_ms, view->header.generation);
    fprintf(out, ",\"master\":{\"pid\":%" PRId32 ",\"state\":\"%s\",\"silent_ms\":%" PRIu64 "}",
            view->header.master_pid, stat_view_master_word(view), view->silent_ms);
    fputs(",\"notes\":[", out);
    for (uint32_t i = 0; i < report->note_count; i++) {
        fputs(i > 0 ? "," : "", out);
        stat_text_json(out, report->notes[i]);
    }
    fputc(']', out);
    for (uint32_t i = 0; i < report->table_count; i++) {
        struct stat_rates rates;
        stat_rates_init(&rates, report, i, before);
        print_table(out, &rates);
        stat_rates_fini(&rates);
    }
    fputs("}\n", out);
}
