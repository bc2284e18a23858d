/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void stat_report_fini(struct stat_report *report)
{
    for (uint32_t i = 0; i < report->table_count; i++) {
        free(report->tables[i].values);
        free(report->tables[i].texts);
    }
    *report = (struct stat_report){.table_count = 0};
}

void stat_report_note(struct stat_report *report, const char *fmt, ...)
{
    if (report->note_count == STAT_NOTES_MAX)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(report->notes[report->note_count++], STAT_NOTE_SIZE, fmt, args);
    va_end(args);
}

struct stat_table *stat_report_table(struct stat_report *report, const char *name,
                                     const struct stat_column *columns, uint32_t column_count,
                                     enum stat_shape shape)
{
    ASSERT(report->table_count < STAT_TABLES_MAX);
    struct stat_table *table = &report->tables[report->table_count++];
    *table = (struct stat_table){
        .name = name, .columns = columns, .column_count = column_count, .shape = shape};
    return table;
}

/* Room for `more` further elements of `size` bytes. Returns false when there is no memory. */
static bool make_room(void **at, uint32_t *room, uint32_t count, size_t more, size_t size)
{
    if (more > UINT32_MAX / 2 - count)
        return false;
    if (count + more <= *room)
        return true;
    uint32_t wanted = (uint32_t)(count + more) * 2;
    void *grown = realloc(*at, wanted * size);
    if (!grown)
        return false;
    *at = grown;
    *room = wanted;
    return true;
}

static void append(struct stat_report *report, struct stat_table *table, struct stat_value value)
{
    void *values = table->values;
    if (!make_room(&values, &table->value_room, table->value_count, 1, sizeof value)) {
        report->no_memory = true;
        return;
    }
    table->values = values;
    table->values[table->value_count++] = value;
}

void stat_table_number(struct stat_report *report, struct stat_table *table, uint64_t number)
{
    append(report, table, (struct stat_value){.number = number, .set = true});
}

void stat_table_unknown(struct stat_report *report, struct stat_table *table)
{
    append(report, table, (struct stat_value){.set = false});
}

void stat_table_numbers(struct stat_report *report, struct stat_table *table,
                        const uint64_t *numbers, uint32_t known, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        append(report, table, (struct stat_value){.number = numbers[i], .set = i < known});
}

void stat_table_text(struct stat_report *report, struct stat_table *table, const char *text)
{
    size_t size = strlen(text) + 1;
    void *texts = table->texts;
    if (!make_room(&texts, &table->text_room, table->text_count, size, 1)) {
        report->no_memory = true;
        return;
    }
    table->texts = texts;
    memcpy(table->texts + table->text_count, text, size);
    append(report, table, (struct stat_value){.text = table->text_count, .set = true});
    table->text_count += (uint32_t)size;
}

uint32_t stat_table_rows(const struct stat_table *table)
{
    return table->value_count / table->column_count;
}

const struct stat_value *stat_table_value(const struct stat_table *table, uint32_t row,
                                          uint32_t column)
{
    uint64_t at = (uint64_t)row * table->column_count + column;
    ASSERT(column < table->column_count && at < table->value_count);
    return &table->values[at];
}

const char *stat_table_string(const struct stat_table *table, const struct stat_value *value)
{
    return value->set ? table->texts + value->text : "";
}
