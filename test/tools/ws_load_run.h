/* SPDX-License-Identifier: Apache-2.0 */
/* The run from the first connect to the last FIN. */
#ifndef TEST_TOOLS_WS_LOAD_RUN_H
#define TEST_TOOLS_WS_LOAD_RUN_H

#include "test/tools/ws_load.h"

/* What was measured between the beginning (all tunnels open; with a mix: at once) and the end. */
struct ws_load_result {
    double seconds;
    double cpu_s; /* of this process */
    double ramp_s;
    struct ws_load_counts at_begin, at_end;
};

/*
 * Open the tunnels, talk for as long as the options say, end all in order. Tells on standard error
 * when measuring begins and ends. Returns 0, -ETIMEDOUT (the tunnels could not be opened) or -errno.
 */
int ws_load_run(struct ws_load *load, struct ws_load_result *result) MUST_CHECK;

#endif
