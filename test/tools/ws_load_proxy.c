/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_proxy.h"

#include "common/ws_frame.h"

#include <stdlib.h>
#include <string.h>

enum { PING_PAYLOAD = 8, HEADER = 2, CODE = 2, ROOM_MIN = 4096 };

static const uint64_t odd = 0x9e3779b97f4a7c15u;

/* ---- payloads that have come ---- */

/* Returns false if it was there. Places: a power of two, 0 is a free one. */
static bool put(uint64_t *places, uint64_t room, uint64_t payload)
{
    uint64_t at = payload * odd;
    while (places[at & (room - 1)] != 0) {
        if (places[at++ & (room - 1)] == payload)
            return false;
    }
    places[at & (room - 1)] = payload;
    return true;
}

static void grow(struct ws_load_seen *seen)
{
    uint64_t room = seen->room == 0 ? ROOM_MIN : 2 * seen->room;
    uint64_t *places = calloc(room, sizeof *places);
    ASSERT(places != NULL);
    for (uint64_t i = 0; i < seen->room; i++) {
        if (seen->places[i] != 0)
            (void)put(places, room, seen->places[i]);
    }
    free(seen->places);
    seen->places = places;
    seen->room = room;
}

/* One set for all tunnels: a payload is that of its tunnel. */
static bool is_new(struct ws_load *load, const struct ws_load_conn *conn)
{
    struct ws_load_seen *seen = &load->seen;
    uint64_t payload;
    memcpy(&payload, conn->in_control, sizeof payload);
    payload ^= conn->id * odd;
    if (2 * seen->count >= seen->room)
        grow(seen);
    seen->count++;
    return put(seen->places, seen->room, payload != 0 ? payload : 1);
}

/* ---- what comes ---- */

/* The frame that has just been counted is none of the tunnel's. */
static void leave_out(struct ws_load *load, const struct ws_load_conn *conn)
{
    load->counts.frames_rx--;
    load->counts.wire_rx -= HEADER + (uint64_t)conn->in_len;
}

bool ws_load_proxy_answers_ping(const struct ws_load_conn *conn)
{
    return conn->out.active && conn->out.control == conn->pong_payload;
}

const char *ws_load_proxy_ping(struct ws_load *load, struct ws_load_conn *conn)
{
    bool unanswered = conn->pong_due || ws_load_proxy_answers_ping(conn);
    bool own = load->options->proxy_pings && conn->in_len == PING_PAYLOAD;
    if (own && unanswered)
        return "a ping before the one before was answered";
    conn->pong_due = true;
    conn->pong_len = conn->in_len;
    memcpy(conn->pong_payload, conn->in_control, conn->in_len);
    if (!own)
        return NULL;
    leave_out(load, conn);
    load->counts.proxy_pings++;
    conn->proxy_pings++;
    return is_new(load, conn) ? NULL : "a ping that has come before";
}

/* Our FIN is out, so the proxy waits for nobody: how much of the echo it reads is its business. */
static void note_mute(struct ws_load *load, const struct ws_load_conn *conn)
{
    load->counts.told_mute++;
    load->counts.mute_bytes += conn->wire_tx;
    load->counts.mute_frames += (uint64_t)conn->tx_frames + conn->pings;
}

bool ws_load_proxy_goodbye(struct ws_load *load, struct ws_load_conn *conn)
{
    unsigned code = (unsigned)conn->in_control[0] << 8 | conn->in_control[1];
    if (conn->close_seen || conn->in_len < CODE || load->options->goodbye == 0 ||
        code != load->options->goodbye)
        return false;
    leave_out(load, conn);
    conn->told = true;
    conn->close_seen = true;
    if (conn->close_sent)
        load->counts.crossed_bytes += (uint64_t)conn->close_len - CODE;
    else if (conn->state == LOAD_ENDING)
        note_mute(load, conn);
    return true;
}

/* ---- what we answer ---- */

bool ws_load_proxy_must_answer(const struct ws_load_conn *conn)
{
    return conn->state == LOAD_OPEN && !conn->close_sent && (conn->pong_due || conn->told);
}

enum ws_load_next ws_load_proxy_answer(struct ws_load *load, struct ws_load_conn *conn)
{
    if (conn->send_at_ms > load->now_ms) {
        conn->resume_at_ms = conn->send_at_ms;
        conn->send_at_ms = 0;
    }
    if (conn->pong_due) {
        conn->pong_due = false;
        if (load->options->proxy_pings && conn->pong_len == PING_PAYLOAD)
            load->counts.proxy_pongs++;
        return ws_load_drive_control(load, conn, WS_PONG, conn->pong_payload, conn->pong_len);
    }
    conn->close_sent = true;
    load->counts.told_bytes += (uint64_t)conn->in_len - CODE;
    return ws_load_drive_control(load, conn, WS_CLOSE, conn->in_control, conn->in_len);
}

void ws_load_proxy_answered(struct ws_load *load, struct ws_load_conn *conn)
{
    if (conn->resume_at_ms > load->now_ms)
        ws_load_drive_pause(load, conn, conn->resume_at_ms - load->now_ms);
    conn->resume_at_ms = 0;
}

bool ws_load_proxy_lets_end(const struct ws_load *load, struct ws_load_conn *conn)
{
    if (!load->options->proxy_pings)
        return true;
    if (!conn->awaits_ping) {
        conn->awaits_ping = true;
        conn->pings_before = conn->proxy_pings;
    }
    return conn->proxy_pings > conn->pings_before;
}
