/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_drive.h"

#include "common/ws_frame.h"
#include "test/tools/ws_load_check.h"
#include "test/tools/ws_load_proxy.h"
#include "test/tools/ws_load_timer.h"

#include <string.h>

enum {
    FIN = 0x80,
    CLOSE_NORMAL = 1000,
    METER_WAIT_MS = 8,
    METER_BURST_MS = 20, /* what a quiet time may save up */
};

static bool chance(struct ws_load *load, uint32_t percent)
{
    return percent > 0 && ws_load_random(&load->rng, 0, 99) < percent;
}

static void arm(struct ws_load *load, struct ws_load_conn *conn)
{
    uint64_t at = conn->send_at_ms;
    if (at == 0 || (conn->read_at_ms != 0 && conn->read_at_ms < at))
        at = conn->read_at_ms;
    if (at != 0)
        ws_load_timer_set(load, conn, at);
}

void ws_load_drive_pause(struct ws_load *load, struct ws_load_conn *conn, uint64_t ms)
{
    conn->send_at_ms = load->now_ms + ms;
    arm(load, conn);
}

void ws_load_drive_pause_reading(struct ws_load *load, struct ws_load_conn *conn, uint64_t ms)
{
    conn->read_at_ms = load->now_ms + ms;
    arm(load, conn);
}

void ws_load_drive_fill_meter(struct ws_load *load)
{
    const struct ws_load_options *options = load->options;
    struct ws_load_meter *meter = &load->meter;
    uint64_t us = (load->now_ns - meter->filled_ns) / 1000;
    if (us < 1000)
        return;
    if (us > METER_BURST_MS * 1000)
        us = METER_BURST_MS * 1000;
    meter->filled_ns = load->now_ns;
    meter->bytes += (int64_t)(options->bytes_per_s * us / 1000000);
    meter->messages += (int64_t)(options->messages_per_s * us / 1000000);
    int64_t most_bytes = (int64_t)(options->bytes_per_s * METER_BURST_MS / 1000);
    int64_t most_messages = (int64_t)(options->messages_per_s * METER_BURST_MS / 1000);
    if (meter->bytes > most_bytes)
        meter->bytes = most_bytes;
    if (meter->messages > most_messages)
        meter->messages = most_messages;
}

/* Must a shape wait for its share? */
static bool must_wait(const struct ws_load *load, const struct ws_load_shape *shape)
{
    const struct ws_load_options *options = load->options;
    if (shape->limit == LIMIT_BYTES)
        return options->bytes_per_s != 0 && load->meter.bytes <= 0;
    return shape->limit == LIMIT_MESSAGES && options->messages_per_s != 0 &&
           load->meter.messages <= 0;
}

static uint32_t draw_burst(struct ws_load *load, const struct ws_load_shape *shape)
{
    uint32_t window = load->options->window;
    return window != 0 ? window : (uint32_t)ws_load_random(&load->rng, 1, shape->window);
}

void ws_load_drive_init(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    conn->count = (uint32_t)ws_load_random(&load->rng, shape->count_min, shape->count_max);
    if (conn->slot % 100 < shape->forever) /* by slot: see shape_of_slot */
        conn->count = UINT32_MAX;
    if (load->options->count != 0)
        conn->count = load->options->count;
    if (conn->shape_id != SHAPE_PUSH)
        conn->burst = draw_burst(load, shape);
    conn->tx_plan.rng = conn->rx_plan.rng = load->options->seed * 0x9e3779b97f4a7c15u + conn->id;
    if (shape->think_max > 0 && load->options->shape < 0)
        ws_load_drive_pause(load, conn, ws_load_random(&load->rng, 0, shape->think_max));
    if (load->stopping)
        ws_load_drive_stop(conn);
}

void ws_load_drive_stop(struct ws_load_conn *conn)
{
    if (conn->shape_id == SHAPE_IDLE)
        conn->count = 1;
    else if (conn->count > conn->begun)
        conn->count = conn->begun;
}

void ws_load_drive_echoed(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    if (shape->think_max == 0 || conn->echoed != conn->begun || load->options->shape >= 0)
        return;
    conn->burst = draw_burst(load, shape);
    ws_load_drive_pause(load, conn, ws_load_random(&load->rng, shape->think_min, shape->think_max));
}

static uint32_t draw_mask(struct ws_load *load)
{
    return (uint32_t)ws_load_random(&load->rng, 0, UINT32_MAX);
}

enum ws_load_next ws_load_drive_control(struct ws_load *load, struct ws_load_conn *conn,
                                        unsigned opcode, const uint8_t *payload, uint8_t len)
{
    ws_load_frame_begin(&conn->out, (uint8_t)(FIN | opcode), len, draw_mask(load));
    conn->out.control = payload;
    return NEXT_FRAME;
}

static enum ws_load_next begin_data(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    if (!conn->tx_plan.in_message)
        conn->begun++;
    struct ws_load_step step = ws_load_shape_step(&conn->tx_plan, shape, load->options->size);
    ws_load_frame_begin(&conn->out, step.first, step.size, draw_mask(load));
    conn->out.position = conn->tx_position;
    conn->out.last = step.first & FIN;
    conn->tx_position += step.size;
    conn->tx_frames++;
    if (shape->limit == LIMIT_BYTES)
        load->meter.bytes -= (int64_t)step.size;
    else if (shape->limit == LIMIT_MESSAGES)
        load->meter.messages -= conn->out.last;
    return NEXT_FRAME;
}

static enum ws_load_next begin_ping(struct ws_load *load, struct ws_load_conn *conn)
{
    conn->pinged = true;
    uint8_t len = ws_load_check_ping(conn, conn->pings++, conn->ping_payload);
    return ws_load_drive_control(load, conn, WS_PING, conn->ping_payload, len);
}

static enum ws_load_next begin_close(struct ws_load *load, struct ws_load_conn *conn)
{
    uint8_t *payload = conn->close_payload;
    conn->close_len = (uint8_t)ws_load_random(&load->rng, 2, sizeof conn->close_payload);
    memset(payload, 'b', conn->close_len);
    payload[0] = CLOSE_NORMAL >> 8;
    payload[1] = CLOSE_NORMAL & 0xff;
    conn->close_sent = true;
    return ws_load_drive_control(load, conn, WS_CLOSE, payload, conn->close_len);
}

/* All messages are sent. */
static enum ws_load_next end(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    /* Measured alone, a short tunnel is one whose echo is waited for. */
    bool eager = shape->eager && (load->options->shape < 0 || shape->ending == ENDING_RST);
    if (!eager && !(ws_load_check_complete(conn) && ws_load_proxy_lets_end(load, conn)))
        return NEXT_NOTHING;
    switch ((enum ws_load_ending)shape->ending) {
    case ENDING_FIN: return NEXT_SHUTDOWN;
    case ENDING_RST: return NEXT_RESET;
    default: return begin_close(load, conn);
    }
}

/* A further message: not before the window, the meter and the shape allow it. */
static enum ws_load_next begin_message(struct ws_load *load, struct ws_load_conn *conn)
{
    const struct ws_load_shape *shape = ws_load_shape(conn->shape_id);
    if (conn->shape_id == SHAPE_PUSH || (conn->shape_id == SHAPE_IDLE && !load->stopping))
        return NEXT_NOTHING;
    if (conn->begun - conn->echoed >= conn->burst)
        return NEXT_NOTHING;
    if (must_wait(load, shape)) {
        ws_load_drive_pause(load, conn, ws_load_random(&load->rng, 1, METER_WAIT_MS));
        return NEXT_NOTHING;
    }
    if (!conn->pinged && load->options->shape < 0 && chance(load, shape->ping))
        return begin_ping(load, conn);
    conn->pinged = false;
    return begin_data(load, conn);
}

enum ws_load_next ws_load_drive_next(struct ws_load *load, struct ws_load_conn *conn)
{
    if (ws_load_proxy_must_answer(conn))
        return ws_load_proxy_answer(load, conn);
    if (conn->state != LOAD_OPEN || conn->close_sent || conn->send_at_ms > load->now_ms)
        return NEXT_NOTHING;
    if (conn->tx_plan.in_message)
        return begin_data(load, conn);
    if (conn->begun < conn->count)
        return begin_message(load, conn);
    return end(load, conn);
}
