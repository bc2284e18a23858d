/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_report.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t ws_load_report_faults(const struct ws_load *load)
{
    const uint64_t *faults = load->counts.faults;
    return faults[FAULT_LOST] + faults[FAULT_CORRUPT] + faults[FAULT_STALLED];
}

/* The longest a message of a fast shape took to come back: what an interruption shows in. */
static double longest_gap_ms(const struct ws_load *load)
{
    uint64_t max = 0;
    for (unsigned i = 0; i < WS_LOAD_SHAPES; i++) {
        if (ws_load_shape(i)->fast && load->latency[i].max_ns > max)
            max = load->latency[i].max_ns;
    }
    return (double)max / 1e6;
}

static double rate(const struct ws_load_result *result, uint64_t begin, uint64_t end)
{
    return result->seconds > 0 ? (double)(end - begin) / result->seconds : 0;
}

static double messages_per_s(const struct ws_load_result *result)
{
    return rate(result, result->at_begin.messages, result->at_end.messages);
}

static double tunnels_per_s(const struct ws_load_result *result)
{
    return rate(result, result->at_begin.completed, result->at_end.completed);
}

static double mean_us(const struct ws_load_stat *stat)
{
    return stat->count ? (double)stat->sum_ns / (double)stat->count / 1000 : 0;
}

static void json_stat(const char *name, const struct ws_load_stat *stat)
{
    printf("\"%s\":{\"count\":%" PRIu64 ",\"mean_us\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"max_us\":%.1f}",
           name, stat->count, mean_us(stat), ws_load_stat_us(stat, 500), ws_load_stat_us(stat, 990),
           ws_load_stat_us(stat, 999), (double)stat->max_ns / 1000);
}

static void report_json(const struct ws_load *load, const struct ws_load_result *result)
{
    const struct ws_load_counts *c = &load->counts;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"lost", c->faults[FAULT_LOST]},
        {"corrupt", c->faults[FAULT_CORRUPT]},
        {"stalled", c->faults[FAULT_STALLED]},
        {"attempts", c->attempts},
        {"opened", c->opened},
        {"completed", c->completed},
        {"aborted", c->aborted},
        {"retried", c->retried},
        {"refused", c->refused},
        {"declined", c->declined},
        {"messages", c->messages},
        {"payload_bytes", c->payload},
        {"wire_tx_bytes", c->wire_tx},
        {"wire_rx_bytes", c->wire_rx},
        {"frames_tx", c->frames_tx},
        {"frames_rx", c->frames_rx},
        {"key_updates", c->key_updates},
        {"proxy_pings", c->proxy_pings},
        {"proxy_pongs", c->proxy_pongs},
        {"told", c->told},
        {"told_mute", c->told_mute},
        {"mute_bytes", c->mute_bytes},
        {"mute_frames", c->mute_frames},
        {"told_bytes", c->told_bytes},
        {"crossed_bytes", c->crossed_bytes},
        {"measured_messages", result->at_end.messages - result->at_begin.messages},
        {"measured_tunnels", result->at_end.completed - result->at_begin.completed},
        {"measured_wire_rx_bytes", result->at_end.wire_rx - result->at_begin.wire_rx},
    };
    printf("{");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        printf("\"%s\":%" PRIu64 ",", rows[i].name, rows[i].value);
    printf("\"seconds\":%.3f,\"ramp_s\":%.3f,\"cpu_s\":%.3f,\"messages_per_s\":%.1f,"
           "\"tunnels_per_s\":%.1f,\"longest_gap_ms\":%.3f,\"latency\":{",
           result->seconds, result->ramp_s, result->cpu_s, messages_per_s(result),
           tunnels_per_s(result), longest_gap_ms(load));
    for (unsigned i = 0; i < WS_LOAD_SHAPES; i++) {
        if (load->latency[i].count == 0)
            continue;
        json_stat(ws_load_shape(i)->name, &load->latency[i]);
        printf(",");
    }
    json_stat("handshake", &load->handshake);
    printf("}}\n");
}

static void table_row(const char *name, const struct ws_load_stat *stat)
{
    if (stat->count > 0)
        printf("%-10s %10" PRIu64 " %10.1f %10.1f %10.1f %10.1f %12.1f\n", name, stat->count,
               mean_us(stat), ws_load_stat_us(stat, 500), ws_load_stat_us(stat, 990),
               ws_load_stat_us(stat, 999), (double)stat->max_ns / 1000);
}

static void report_table(const struct ws_load *load, const struct ws_load_result *result)
{
    const struct ws_load_counts *c = &load->counts;
    printf("lost %" PRIu64 ", corrupt %" PRIu64 ", stalled %" PRIu64 "\n", c->faults[FAULT_LOST],
           c->faults[FAULT_CORRUPT], c->faults[FAULT_STALLED]);
    printf("tunnels: %" PRIu64 " opened, %" PRIu64 " completed, %" PRIu64
           " aborted by us; handshakes: %" PRIu64 " retried, %" PRIu64 " refused, %" PRIu64
           " declined\n",
           c->opened, c->completed, c->aborted, c->retried, c->refused, c->declined);
    printf("checked: %" PRIu64 " messages, %.3f GB; on the wire %.3f GB sent, %.3f GB received\n",
           c->messages, (double)c->payload / 1e9, (double)c->wire_tx / 1e9,
           (double)c->wire_rx / 1e9);
    printf("in %.3f s (after %.3f s): %.0f messages/s, %.1f MB/s, %.1f tunnels/s, "
           "%.3f s of our CPU, longest gap %.3f ms\n",
           result->seconds, result->ramp_s, messages_per_s(result),
           rate(result, result->at_begin.wire_rx, result->at_end.wire_rx) / 1e6,
           tunnels_per_s(result), result->cpu_s, longest_gap_ms(load));
    printf("%-10s %10s %10s %10s %10s %10s %12s\n", "us", "timed", "mean", "p50", "p99", "p99.9",
           "max");
    for (unsigned i = 0; i < WS_LOAD_SHAPES; i++)
        table_row(ws_load_shape(i)->name, &load->latency[i]);
    table_row("handshake", &load->handshake);
}

void ws_load_report(const struct ws_load *load, const struct ws_load_result *result)
{
    if (load->options->json)
        report_json(load, result);
    else
        report_table(load, result);
}
