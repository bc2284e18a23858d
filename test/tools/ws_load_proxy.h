/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that a proxy puts into a tunnel of its own accord: pings (-P), and the Close by which it ends
 * a tunnel that could go on (-G). It does not count them, so they are left out of what is compared with
 * its counts; our answers are counted by both.
 */
#ifndef TEST_TOOLS_WS_LOAD_PROXY_H
#define TEST_TOOLS_WS_LOAD_PROXY_H

#include "test/tools/ws_load_drive.h"

/*
 * A ping has come whole; it is to be answered. Returns NULL or a fixed text that says what is wrong: with
 * -P no ping comes before the one before was answered, nor with a payload that the tunnel has had.
 */
const char *ws_load_proxy_ping(struct ws_load *load, struct ws_load_conn *conn);

/* Is the frame that is being sent an answer to a ping? */
bool ws_load_proxy_answers_ping(const struct ws_load_conn *conn);

/* A Close has come whole. True if it is the proxy's: then it is noted, and to be answered. */
bool ws_load_proxy_goodbye(struct ws_load *load, struct ws_load_conn *conn);

/* Is there an answer to be sent, and a frame boundary to send it at? */
bool ws_load_proxy_must_answer(const struct ws_load_conn *conn);

/* Begin it. A pause of the shape's goes on behind it (ws_load_proxy_answered). */
enum ws_load_next ws_load_proxy_answer(struct ws_load *load, struct ws_load_conn *conn);
void ws_load_proxy_answered(struct ws_load *load, struct ws_load_conn *conn);

/*
 * May a tunnel with nothing left to say be ended? With -P not before it was pinged once more: after a
 * ping that was lost, or is thought to be under way, none comes. False: a ping is waited for.
 */
bool ws_load_proxy_lets_end(const struct ws_load *load, struct ws_load_conn *conn);

#endif
