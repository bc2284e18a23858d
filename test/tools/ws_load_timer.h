/* SPDX-License-Identifier: Apache-2.0 */
/* One timer a connection, to the millisecond, at O(1). */
#ifndef TEST_TOOLS_WS_LOAD_TIMER_H
#define TEST_TOOLS_WS_LOAD_TIMER_H

#include "test/tools/ws_load.h"

/* Arm or re-arm for a point in time; one that has passed means at once. */
void ws_load_timer_set(struct ws_load *load, struct ws_load_conn *conn, uint64_t at_ms);

void ws_load_timer_clear(struct ws_load *load, struct ws_load_conn *conn);

/* Call `due` for each connection whose time has come; it is disarmed before. */
typedef void ws_load_timer_due(struct ws_load *load, struct ws_load_conn *conn);
void ws_load_timer_run(struct ws_load *load, ws_load_timer_due *due);

/* Milliseconds until a timer may be due, at most `limit`. */
int ws_load_timer_wait(const struct ws_load *load, int limit);

#endif
