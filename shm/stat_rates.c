/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_output.h"

#include <stdlib.h>
#include <string.h>

static bool same_key(const struct stat_table *a, uint32_t row_a, const struct stat_table *b,
                     uint32_t row_b)
{
    for (uint32_t i = 0; i < a->column_count; i++) {
        const struct stat_value *x, *y;
        if (!(a->columns[i].flags & STAT_KEY))
            continue;
        x = stat_table_value(a, row_a, i);
        y = stat_table_value(b, row_b, i);
        if (x->number != y->number ||
            (a->columns[i].kind == STAT_TEXT &&
             strcmp(stat_table_string(a, x), stat_table_string(b, y)) != 0))
            return false;
    }
    return true;
}

/* FNV-1a over the key columns. */
static uint32_t hash_key(const struct stat_table *table, uint32_t row)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < table->column_count; i++) {
        const struct stat_value *value = stat_table_value(table, row, i);
        if (!(table->columns[i].flags & STAT_KEY))
            continue;
        uint64_t number = value->number;
        for (int k = 0; k < 8; k++, number >>= 8)
            hash = (hash ^ (uint32_t)(number & 0xff)) * 16777619u;
        if (table->columns[i].kind != STAT_TEXT)
            continue;
        for (const char *p = stat_table_string(table, value); *p; p++)
            hash = (hash ^ (unsigned char)*p) * 16777619u;
    }
    return hash;
}

void stat_rates_init(struct stat_rates *rates, const struct stat_report *report, uint32_t index,
                     const struct stat_before *before)
{
    *rates = (struct stat_rates){.now = &report->tables[index]};
    if (!before->report || before->elapsed_ms == 0 || index >= before->report->table_count ||
        before->report->tables[index].columns != rates->now->columns)
        return;
    const struct stat_table *past = &before->report->tables[index];
    uint32_t count = stat_table_rows(past), size = 16;
    while (size / 2 < count && size < 1u << 30)
        size *= 2;
    rates->rows = calloc(size, sizeof *rates->rows);
    if (!rates->rows || size / 2 < count)
        return;
    rates->mask = size - 1;
    for (uint32_t row = 0; row < count; row++) {
        uint32_t at = hash_key(past, row) & rates->mask;
        while (rates->rows[at] != 0)
            at = (at + 1) & rates->mask;
        rates->rows[at] = row + 1;
    }
    rates->past = past;
    rates->elapsed_ms = before->elapsed_ms;
}

void stat_rates_fini(struct stat_rates *rates)
{
    free(rates->rows);
    rates->rows = NULL;
}

bool stat_rates_get(const struct stat_rates *rates, uint32_t row, uint32_t column, double *rate)
{
    if (!rates->past)
        return false;
    uint32_t at = hash_key(rates->now, row) & rates->mask;
    while (rates->rows[at] != 0 && !same_key(rates->now, row, rates->past, rates->rows[at] - 1))
        at = (at + 1) & rates->mask;
    if (rates->rows[at] == 0)
        return false;
    const struct stat_value *now = stat_table_value(rates->now, row, column);
    const struct stat_value *past = stat_table_value(rates->past, rates->rows[at] - 1, column);
    /* A total that shrank is another one: a new board, or an entry that changed hands. */
    if (!now->set || !past->set || now->number < past->number)
        return false;
    *rate = (double)(now->number - past->number) * 1000.0 / (double)rates->elapsed_ms;
    return true;
}
