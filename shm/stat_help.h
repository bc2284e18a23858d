/* SPDX-License-Identifier: Apache-2.0 */
/* The manual that holdfast-stat -h prints. */
#ifndef SHM_STAT_HELP_H
#define SHM_STAT_HELP_H

#include <stdio.h>

void stat_help(FILE *out);

#endif
