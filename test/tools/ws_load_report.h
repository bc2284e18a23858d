/* SPDX-License-Identifier: Apache-2.0 */
/* Results for people and, as one line of JSON, for programs. */
#ifndef TEST_TOOLS_WS_LOAD_REPORT_H
#define TEST_TOOLS_WS_LOAD_REPORT_H

#include "test/tools/ws_load.h"
#include "test/tools/ws_load_run.h"

/* Print a table to standard output, or the line of JSON if the options ask for it. */
void ws_load_report(const struct ws_load *load, const struct ws_load_result *result);

/* Tunnels that were lost, corrupt or stalled. */
uint64_t ws_load_report_faults(const struct ws_load *load);

#endif
