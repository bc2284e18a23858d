/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts made fit for where they go. What a board holds may be anything: no byte of it may steer a
 * terminal or end a JSON string. Observer only.
 */
#ifndef SHM_STAT_TEXT_H
#define SHM_STAT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* For a terminal: printable ASCII as it is, all other bytes and '\' as \xHH. Returns the width. */
size_t stat_text_print(FILE *out, const char *text);
size_t stat_text_width(const char *text);

/* A JSON string with its quotes: UTF-8 as it is, bytes that are not UTF-8 as the text \xHH. */
void stat_text_json(FILE *out, const char *text);

/* A label value of Prometheus' text format with its quotes, by the same rules. */
void stat_text_label(FILE *out, const char *text);

enum { STAT_TEXT_NUMBER = 32 }; /* enough for each of these, with NUL */

/* "320ms", "45.2s", "3m12s", "5h12m", "3d4h". */
void stat_text_duration(char out[STAT_TEXT_NUMBER], uint64_t ms);

/* "812", "1.2K", "3.4M" ... by 1024. */
void stat_text_bytes(char out[STAT_TEXT_NUMBER], uint64_t bytes);

/* "2026-11-22T20:15:03.123Z"; "-" for times that no calendar has. */
void stat_text_time(char out[STAT_TEXT_NUMBER], uint64_t real_ms);

#endif
