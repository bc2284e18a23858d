/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection does next, by its shape: which frame it sends, when it waits, how it ends. */
#ifndef TEST_TOOLS_WS_LOAD_DRIVE_H
#define TEST_TOOLS_WS_LOAD_DRIVE_H

#include "test/tools/ws_load.h"

enum ws_load_next {
    NEXT_FRAME,    /* conn->out is to be sent */
    NEXT_NOTHING,  /* until an echo or a timer */
    NEXT_SHUTDOWN, /* send FIN */
    NEXT_RESET,    /* close by RST */
};

/* Begin the life of an open tunnel: how many messages it will send, and when. */
void ws_load_drive_init(struct ws_load *load, struct ws_load_conn *conn);

/* No frame is being sent: what comes now? May arm the timer. */
enum ws_load_next ws_load_drive_next(struct ws_load *load, struct ws_load_conn *conn);

/* Begin a control frame; the payload is borrowed until it is sent. */
enum ws_load_next ws_load_drive_control(struct ws_load *load, struct ws_load_conn *conn,
                                        unsigned opcode, const uint8_t *payload, uint8_t len);

/* A message came back. May arm the timer. */
void ws_load_drive_echoed(struct ws_load *load, struct ws_load_conn *conn);

/* The run is over: send the last message, or no more. */
void ws_load_drive_stop(struct ws_load_conn *conn);

/* Send nothing (read nothing) for so long. */
void ws_load_drive_pause(struct ws_load *load, struct ws_load_conn *conn, uint64_t ms);
void ws_load_drive_pause_reading(struct ws_load *load, struct ws_load_conn *conn, uint64_t ms);

/* Give limited shapes what the time since the last call allows. */
void ws_load_drive_fill_meter(struct ws_load *load);

#endif
