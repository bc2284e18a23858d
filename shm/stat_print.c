/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_output.h"

#include "shm/stat_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, NAME_WIDTH = 24, VALUE_WIDTH = 16 };

static bool shown(const struct stat_column *column)
{
    return !(column->flags & STAT_WIDE);
}

static bool right_aligned(const struct stat_column *column)
{
    return column->kind == STAT_COUNT || column->kind == STAT_BYTES || column->kind == STAT_MS ||
           column->kind == STAT_RATE;
}

static void spaces(FILE *out, size_t n)
{
    while (n-- > 0)
        fputc(' ', out);
}

/* A number as text; the caller prints STAT_TEXT itself, for it has to be escaped. */
static void format_number(char out[STAT_TEXT_NUMBER], uint8_t kind, uint64_t number)
{
    switch (kind) {
    case STAT_BYTES: stat_text_bytes(out, number); break;
    case STAT_MS: stat_text_duration(out, number); break;
    case STAT_TIME: stat_text_time(out, number); break;
    case STAT_BOOL: snprintf(out, STAT_TEXT_NUMBER, "%s", number ? "yes" : "no"); break;
    case STAT_RATE:
        snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64 ".%" PRIu64, number / 1000, number % 1000 / 100);
        break;
    default: snprintf(out, STAT_TEXT_NUMBER, "%" PRIu64, number); break;
    }
}

static void format_rate(char out[STAT_TEXT_NUMBER], uint8_t kind, double rate)
{
    char text[STAT_TEXT_NUMBER];
    if (kind == STAT_BYTES && rate >= 1024) {
        stat_text_bytes(text, rate < 1e19 ? (uint64_t)rate : UINT64_MAX);
        snprintf(out, STAT_TEXT_NUMBER, "%.29s/s", text);
    } else {
        snprintf(out, STAT_TEXT_NUMBER, rate < 10 ? "%.1f/s" : "%.0f/s", rate);
    }
}

/* What stands in one place of the table: text of the board, or `number`. */
static const char *cell_text(const struct stat_rates *rates, uint32_t row, uint32_t column,
                             char number[STAT_TEXT_NUMBER])
{
    const struct stat_table *table = rates->now;
    const struct stat_value *value = stat_table_value(table, row, column);
    const struct stat_column *about = &table->columns[column];
    double rate;
    if (!value->set)
        return "-";
    if (about->kind == STAT_TEXT)
        return stat_table_string(table, value);
    if (rates->past && (about->flags & STAT_TOTAL) && table->shape == STAT_ROWS) {
        if (!stat_rates_get(rates, row, column, &rate))
            return "-";
        format_rate(number, about->kind, rate);
    } else {
        format_number(number, about->kind, value->number);
    }
    return number;
}

static void print_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
    size_t used = stat_text_width(text);
    size_t fill = used < width ? width - used : 0;
    if (right)
        spaces(out, fill);
    stat_text_print(out, text);
    if (!right && !last)
        spaces(out, fill);
    if (!last)
        spaces(out, GAP);
}

/* The last column that is shown, so that no line ends in blanks. */
static uint32_t last_shown(const struct stat_table *table)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (shown(&table->columns[i]))
            last = i;
    }
    return last;
}

static void print_rows(FILE *out, const struct stat_rates *rates)
{
    const struct stat_table *table = rates->now;
    uint32_t rows = stat_table_rows(table), last = last_shown(table);
    char number[STAT_TEXT_NUMBER];
    size_t *widths = calloc(table->column_count, sizeof *widths);
    for (uint32_t i = 0; widths && i < table->column_count; i++) {
        widths[i] = strlen(table->columns[i].title);
        for (uint32_t row = 0; shown(&table->columns[i]) && row < rows; row++) {
            size_t width = stat_text_width(cell_text(rates, row, i, number));
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    /* Without memory for widths the columns stand crooked. */
    for (uint32_t i = 0; i < table->column_count; i++) {
        if (shown(&table->columns[i]))
            print_cell(out, table->columns[i].title, widths ? widths[i] : 0,
                       right_aligned(&table->columns[i]), i == last);
    }
    fputc('\n', out);
    for (uint32_t row = 0; row < rows; row++) {
        for (uint32_t i = 0; i < table->column_count; i++) {
            if (shown(&table->columns[i]))
                print_cell(out, cell_text(rates, row, i, number), widths ? widths[i] : 0,
                           right_aligned(&table->columns[i]), i == last);
        }
        fputc('\n', out);
    }
    free(widths);
}

static void print_record_line(FILE *out, const struct stat_rates *rates, uint32_t column)
{
    const struct stat_column *about = &rates->now->columns[column];
    char number[STAT_TEXT_NUMBER], rate_text[STAT_TEXT_NUMBER];
    double rate;
    print_cell(out, about->title, NAME_WIDTH, false, false);
    print_cell(out, cell_text(rates, 0, column, number), VALUE_WIDTH, about->kind != STAT_TEXT,
               false);
    if (rates->past) {
        bool known = (about->flags & STAT_TOTAL) && stat_rates_get(rates, 0, column, &rate);
        if (known)
            format_rate(rate_text, about->kind, rate);
        print_cell(out, known ? rate_text : "", VALUE_WIDTH, true, false);
    }
    stat_text_print(out, about->doc);
    fputc('\n', out);
}

/* What a record leaves out on a terminal: figures of a group that are nought. */
static bool silent(const struct stat_table *table, uint32_t column)
{
    const struct stat_value *value = stat_table_value(table, 0, column);
    return table->columns[column].group && (!value->set || value->number == 0);
}

static void print_record(FILE *out, const struct stat_rates *rates)
{
    const struct stat_table *table = rates->now;
    const struct stat_group *group = NULL;
    for (uint32_t i = 0; stat_table_rows(table) > 0 && i < table->column_count; i++) {
        if (!shown(&table->columns[i]) || silent(table, i))
            continue;
        if (table->columns[i].group != group) {
            group = table->columns[i].group;
            fprintf(out, "\n%s\n", group ? group->name : "");
        }
        print_record_line(out, rates, i);
    }
}

void stat_print(FILE *out, const struct stat_report *report, const struct stat_before *before)
{
    for (uint32_t i = 0; i < report->note_count; i++) {
        fputs("note: ", out);
        stat_text_print(out, report->notes[i]);
        fputc('\n', out);
    }
    for (uint32_t i = 0; i < report->table_count; i++) {
        struct stat_rates rates;
        stat_rates_init(&rates, report, i, before);
        if (i > 0 || report->note_count > 0)
            fputc('\n', out);
        if (report->tables[i].shape == STAT_ROWS)
            print_rows(out, &rates);
        else
            print_record(out, &rates);
        stat_rates_fini(&rates);
    }
}
