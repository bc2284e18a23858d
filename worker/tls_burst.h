/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much content one TLS record gets. A receiver can use a record only when all of it has come: what
 * begins after a pause goes in records of three segments, what has been flowing for a while in full ones,
 * which cost less. Pure functions: a successor cuts the same bytes the same way.
 */
#ifndef WORKER_TLS_BURST_H
#define WORKER_TLS_BURST_H

#include "worker/tls_record.h"

enum {
    TLS_BURST_PAUSE_MS = 1000,     /* a side that was quiet for so long begins anew */
    TLS_BURST_SMALL = 64 * 1024,   /* bytes of a burst that go in small records */
    TLS_BURST_RECORD = 4096 + 128, /* with what sealing adds three segments of 1460 bytes */
};

/* The burst that goes on at `now_ms`: bytes sealed in it so far. */
static inline uint32_t tls_burst_at(uint32_t burst, uint32_t burst_ms, uint32_t now_ms)
{
    return now_ms - burst_ms > TLS_BURST_PAUSE_MS ? 0 : burst;
}

/* Content of the next record, `burst` bytes after the last pause. */
static inline size_t tls_burst_content(const struct tls_session *session, uint32_t burst)
{
    size_t max = tls_record_content_max(session);
    return burst < TLS_BURST_SMALL && max > TLS_BURST_RECORD ? TLS_BURST_RECORD : max;
}

/* The burst after n more bytes; it does not wrap. */
static inline uint32_t tls_burst_add(uint32_t burst, size_t n)
{
    return burst < TLS_BURST_SMALL ? burst + (uint32_t)n : burst;
}

#endif
