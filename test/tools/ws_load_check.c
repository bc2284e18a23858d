/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_check.h"

#include "common/ws_frame.h"
#include "test/tools/ws_load_drive.h"
#include "test/tools/ws_load_proxy.h"

#include <stdio.h>
#include <string.h>

enum { FIN = 0x80, OPCODE = 0x0f, CONTROL = 0x08, MASKED = 0x80, LENGTH = 0x7f };

uint8_t ws_load_check_ping(const struct ws_load_conn *conn, uint32_t number, uint8_t *out)
{
    memcpy(out, &conn->id, sizeof conn->id);
    memcpy(out + sizeof conn->id, &number, sizeof number);
    return sizeof conn->id + sizeof number;
}

bool ws_load_check_complete(const struct ws_load_conn *conn)
{
    return !conn->out.active && conn->echoed == conn->begun && !conn->tx_plan.in_message &&
           conn->pongs == conn->pings && conn->in_have == 0 && !conn->in_payload;
}

static bool is_control(const struct ws_load_conn *conn)
{
    return conn->in_header[0] & CONTROL;
}

static size_t header_size(const struct ws_load_conn *conn)
{
    if (conn->in_have < 2)
        return 2;
    unsigned len = conn->in_header[1] & LENGTH;
    return len == 126 ? 4 : len == 127 ? 10 : 2;
}

static uint64_t length_of(const struct ws_load_conn *conn)
{
    uint64_t len = conn->in_header[1] & LENGTH;
    size_t end = header_size(conn);
    if (end > 2)
        len = 0;
    for (size_t i = 2; i < end; i++)
        len = len << 8 | conn->in_header[i];
    return len;
}

/* A data frame must be the next one that we sent, and sent it must have been. */
static const char *check_data_header(const struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    if (conn->shape_id == SHAPE_PUSH) {
        bool fits = conn->in_header[0] == (FIN | WS_BINARY) && conn->in_left == load->options->size;
        return fits ? NULL : "a pushed frame of another kind or size";
    }
    if (conn->rx_frames == conn->tx_frames)
        return "an echo of what was not sent";
    struct ws_load_step step = ws_load_shape_step(&conn->rx_plan, shape, load->options->size);
    conn->rx_frames++;
    if (conn->in_header[0] != step.first)
        return "another frame's first byte";
    return conn->in_left == step.size ? NULL : "another frame's length";
}

static const char *begin_payload(const struct ws_load *load, struct ws_load_conn *conn)
{
    conn->in_left = length_of(conn);
    conn->in_len = 0;
    conn->in_payload = true;
    if (conn->in_header[1] & MASKED)
        return "a masked frame from the server";
    if (!is_control(conn))
        return check_data_header(load, conn);
    bool fits = conn->in_header[0] & FIN && conn->in_left <= sizeof conn->in_control;
    return fits ? NULL : "a control frame with fragments or too much payload";
}

static const char *take_data(struct ws_load *load, struct ws_load_conn *conn, const uint8_t *bytes,
                             size_t n)
{
    size_t at = 0;
    while (at < n) {
        bool push = conn->shape_id == SHAPE_PUSH;
        size_t run = n - at < WS_LOAD_RUN ? n - at : WS_LOAD_RUN;
        const uint8_t *want = push ? ws_load_frame_pushed(conn->rx_position)
                                   : ws_load_frame_pattern(conn->id, conn->rx_position);
        if (memcmp(bytes + at, want, run) != 0)
            return "payload differs";
        at += run;
        conn->rx_position += run;
    }
    load->counts.payload += n;
    conn->progress_ms = load->now_ms;
    return NULL;
}

static void message_echoed(struct ws_load *load, struct ws_load_conn *conn)
{
    load->counts.messages++;
    if (conn->timing && conn->timed == conn->echoed) {
        conn->timing = false;
        if (load->measuring)
            ws_load_stat_add(&load->latency[conn->shape_id], load->now_ns - conn->timed_ns);
    }
    conn->echoed++;
    ws_load_drive_echoed(load, conn);
}

static const char *end_close(struct ws_load *load, struct ws_load_conn *conn,
                             enum ws_load_fault *fault)
{
    static char text[64];
    if (ws_load_proxy_goodbye(load, conn))
        return NULL;
    if (!conn->close_sent) {
        unsigned code =
            conn->in_len >= 2 ? (unsigned)conn->in_control[0] << 8 | conn->in_control[1] : 0;
        snprintf(text, sizeof text, "Close %u that we did not ask for", code);
        *fault = FAULT_LOST;
        return text;
    }
    if (conn->close_seen)
        return "a second Close";
    conn->close_seen = true;
    bool same = conn->in_len == conn->close_len &&
                memcmp(conn->in_control, conn->close_payload, conn->in_len) == 0;
    if (!same)
        return "another Close than ours";
    bool complete = conn->echoed == conn->begun && conn->pongs == conn->pings;
    return complete ? NULL : "Close before the last echo";
}

static const char *end_control(struct ws_load *load, struct ws_load_conn *conn,
                               enum ws_load_fault *fault)
{
    uint8_t want[WS_LOAD_CONTROL_MAX];

    switch (conn->in_header[0] & OPCODE) {
    case WS_CLOSE: return end_close(load, conn, fault);
    case WS_PING: return ws_load_proxy_ping(load, conn);
    case WS_PONG:
        if (conn->pongs == conn->pings)
            return "a pong without ping";
        if (ws_load_check_ping(conn, conn->pongs++, want) != conn->in_len ||
            memcmp(want, conn->in_control, conn->in_len) != 0)
            return "another ping's pong";
        return NULL;
    default: return "an unknown control frame";
    }
}

static bool is_ping(const struct ws_load_conn *conn)
{
    return (conn->in_header[0] & OPCODE) == WS_PING;
}

static const char *end_frame(struct ws_load *load, struct ws_load_conn *conn,
                             enum ws_load_fault *fault)
{
    conn->in_payload = false;
    conn->in_have = 0;
    load->counts.frames_rx++;
    if (!is_ping(conn))
        conn->progress_ms = load->now_ms;
    if (is_control(conn))
        return end_control(load, conn, fault);
    if (conn->shape_id == SHAPE_PUSH)
        load->counts.messages++;
    else if (conn->in_header[0] & FIN)
        message_echoed(load, conn);
    return NULL;
}

static const char *take_payload(struct ws_load *load, struct ws_load_conn *conn,
                                const uint8_t *bytes, size_t n)
{
    conn->in_left -= n;
    if (!is_control(conn))
        return take_data(load, conn, bytes, n);
    memcpy(conn->in_control + conn->in_len, bytes, n);
    conn->in_len = (uint8_t)(conn->in_len + n);
    return NULL;
}

const char *ws_load_check_feed(struct ws_load *load, struct ws_load_conn *conn,
                               const uint8_t *bytes, size_t n, enum ws_load_fault *fault)
{
    const char *wrong = NULL;
    size_t at = 0;

    *fault = FAULT_CORRUPT;
    conn->wire_rx += n;
    load->counts.wire_rx += n;
    while (!wrong && at < n) {
        if (conn->close_seen)
            return "bytes behind Close";
        if (!conn->in_payload) {
            conn->in_header[conn->in_have++] = bytes[at++];
            if (conn->in_have == header_size(conn))
                wrong = begin_payload(load, conn);
        } else {
            size_t run = n - at < conn->in_left ? n - at : (size_t)conn->in_left;
            wrong = take_payload(load, conn, bytes + at, run);
            at += run;
        }
        if (!wrong && conn->in_payload && conn->in_left == 0)
            wrong = end_frame(load, conn, fault);
    }
    return wrong;
}
