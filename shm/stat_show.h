/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a board, from the pages to the output. Observer only. */
#ifndef SHM_STAT_SHOW_H
#define SHM_STAT_SHOW_H

#include "shm/stat_args.h"
#include "shm/stat_output.h"

/*
 * Fill `report` (empty on entry) with the page that args asks for. The caller ends it with
 * stat_report_fini. Returns 0, or -errno with the reason as a sentence in `why`.
 */
int stat_show_look(const struct stat_view *view, const struct stat_args *args,
                   struct stat_report *report, char why[STAT_WHY_SIZE]) MUST_CHECK;

/* Print it in the form that args asks for. */
void stat_show_print(FILE *out, const struct stat_view *view, const struct stat_args *args,
                     const struct stat_report *report, const struct stat_before *before);

#endif
