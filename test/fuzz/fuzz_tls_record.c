/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a program for a hostile peer who has the keys. Its first byte chooses version, suite and
 * role; then come steps, each with a byte that says which, and what it takes:
 *
 *   seal      TYPE LENGTH PAD CONTENT   a record
 *   alter     AT MASK                   a byte of the last record, from its end
 *   raw       LENGTH BYTES              bytes as they are
 *   roll                                keys, as after a KeyUpdate
 *
 * Only what was sealed may open, as what it was, and a copy of the session must come to the same in
 * another engine, which is OpenSSL's alone.
 */
#include "test/fuzz/fuzz.h"
#include "test/unit/tls_forge.h"
#include "worker/tls_record.h"

#include <string.h>

enum { STREAM_MAX = 1 << 18, RECORDS_MAX = 4096, STEPS = 4 };
enum step { STEP_SEAL, STEP_ALTER, STEP_RAW, STEP_ROLL };

struct truth {
    size_t at, n; /* in the stream */
    size_t size;
    const uint8_t *content;
    uint8_t type;
    bool altered;
    uint32_t updates; /* of the keys under which it is */
    uint64_t seq;
};

static struct {
    uint8_t bytes[STREAM_MAX];
    size_t n;
    struct truth records[RECORDS_MAX];
    size_t count;
} stream;

static struct tls_engine *engine, *other_engine;

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *input)
{
    if (input->n == 0)
        return 0;
    input->n--;
    return *input->p++;
}

static const uint8_t *take_bytes(struct input *input, size_t *n)
{
    const uint8_t *bytes = input->p;
    *n = *n < input->n ? *n : input->n;
    input->p += *n;
    input->n -= *n;
    return bytes;
}

static void seal(struct input *input, struct tls_session *peer)
{
    struct truth *truth = &stream.records[stream.count++];
    truth->at = stream.n;
    truth->type = take(input);
    truth->size = take(input);
    size_t pad = take(input);
    truth->updates = peer->tx.updates;
    truth->seq = peer->tx.seq;
    truth->content = take_bytes(input, &truth->size);
    truth->n = tls_forge_record(peer, truth->type, truth->content, truth->size, pad,
                                stream.bytes + stream.n);
    stream.n += truth->n;
}

static void step(struct input *input, struct tls_session *peer)
{
    struct truth *last = stream.count > 0 ? &stream.records[stream.count - 1] : NULL;
    const uint8_t *bytes;
    size_t n, at;

    switch ((enum step)(take(input) % STEPS)) {
    case STEP_SEAL: seal(input, peer); break;
    case STEP_ALTER:
        at = take(input);
        n = take(input);
        if (last && at < last->n) {
            stream.bytes[last->at + last->n - 1 - at] ^= (uint8_t)n;
            last->altered = true;
        }
        break;
    case STEP_RAW:
        n = take(input);
        bytes = take_bytes(input, &n);
        if (n > 0)
            memcpy(stream.bytes + stream.n, bytes, n);
        stream.n += n;
        break;
    case STEP_ROLL:
        if (peer->version == TLS_1_3)
            tls_forge_roll(peer);
        break;
    }
}

static const struct truth *truth_at(size_t at)
{
    for (size_t i = 0; i < stream.count; i++) {
        if (stream.records[i].at == at)
            return &stream.records[i];
    }
    return NULL;
}

/* Messages of TLS 1.3 that are fine in one record are fine in two. */
static void check_cut(struct tls_session cut, const struct tls_session *whole, const uint8_t *p,
                      size_t n)
{
    size_t middle = fuzz_cut(p, n, 1);

    ASSERT(tls_record_control(&cut, TLS_HANDSHAKE, p, middle) == 0);
    ASSERT(tls_record_control(&cut, TLS_HANDSHAKE, p + middle, n - middle) == 0);
    ASSERT(memcmp(&cut, whole, sizeof cut) == 0);
}

/* Returns whether the stream may go on. */
static bool take_control(struct tls_session *session, enum tls_record_type type, const uint8_t *p,
                         size_t n)
{
    struct tls_session before = *session;
    int rc = tls_record_control(session, type, p, n);

    ASSERT(session->hs_len < sizeof session->hs);
    ASSERT(memcmp(&before.tx, &session->tx, sizeof before.tx) == 0);
    ASSERT((rc == 1) == !!(session->flags & TLS_RECV_CLOSE));
    ASSERT((rc <= -TLS_PEER_ALERT) == !!(session->flags & TLS_FATAL));
    if (rc == 0 && type == TLS_HANDSHAKE && session->version == TLS_1_3)
        check_cut(before, session, p, n);
    return rc == 0;
}

/* An honest record, in its turn. */
static bool must_open(const struct tls_session *session, const struct truth *truth)
{
    bool fits = !truth->altered && truth->size > 0 && truth->seq == session->rx.seq &&
                truth->updates == session->rx.updates;

    if (session->hs_len > 0 || session->hs_skip > 0)
        return fits && truth->type == TLS_HANDSHAKE;
    return fits && truth->type >= TLS_ALERT && truth->type <= TLS_APPLICATION;
}

/* Opens the record at `at`, of `n` bytes. Returns whether the stream may go on. */
static bool open_at(struct tls_session *session, size_t at, size_t n)
{
    static uint8_t dst[TLS_RECORD_MAX], other_dst[TLS_RECORD_MAX], zeros[TLS_RECORD_MAX];
    const struct truth *truth = truth_at(at);
    struct tls_session copy = *session;
    bool must = truth && must_open(session, truth);
    enum tls_record_type type = TLS_ALERT, other_type = TLS_ALERT;

    memset(dst, 0, n);
    int size = tls_record_open(engine, session, stream.bytes + at, n, dst, &type);
    int other = tls_record_open(other_engine, &copy, stream.bytes + at, n, other_dst, &other_type);
    ASSERT(size == other && memcmp(session, &copy, sizeof copy) == 0);
    if (size < 0) {
        ASSERT(!must && memcmp(dst, zeros, n) == 0);
        return false;
    }
    ASSERT(truth && truth->n == n && type == other_type);
    ASSERT(truth->type == (uint8_t)type || truth->type == 0);
    /* Trailing zeros and type 0 are padding to whoever takes it off. */
    if (truth->type != 0) {
        ASSERT((size_t)size == truth->size);
        ASSERT(size == 0 || memcmp(dst, truth->content, truth->size) == 0);
    }
    return type == TLS_APPLICATION || take_control(session, type, dst, (size_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t kind = take(&input);
    struct tls_session peer = tls_forge_session(
        kind & 1 ? TLS_1_2 : TLS_1_3, (enum tls_suite)(TLS_AES_128_GCM + kind / 2 % 3), 1);

    if (!engine) {
        engine = tls_engine_new();
        other_engine = tls_engine_new_evp();
    }
    if (kind / 8 % 2)
        peer.flags ^= TLS_CLIENT_ROLE;
    struct tls_session session = tls_forge_mirror(&peer);
    memset(&stream, 0, sizeof stream);
    while (input.n > 0 && stream.count < RECORDS_MAX && stream.n < STREAM_MAX - 1024)
        step(&input, &peer);
    for (size_t at = 0; at < stream.n;) {
        size_t left = stream.n - at;
        int whole = tls_record_need(&session, stream.bytes + at, left);
        int early =
            tls_record_need(&session, stream.bytes + at, fuzz_cut(data, size, at) % (left + 1));
        ASSERT(early == 0 || early == whole);
        if (whole <= 0 || (size_t)whole > left || !open_at(&session, at, (size_t)whole))
            break;
        at += (size_t)whole;
    }
    return 0;
}
