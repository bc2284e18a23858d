/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input: flags, what else is asked for, two limits, then a stream of frames. It is walked over in
 * three pieces and byte by byte; a model that takes one byte at a time must agree with each walk.
 */
#include "common/ws_walk.h"

#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { GIVEN = 4, PIECES = 3, NO_PLACE = -1 };
enum { ALL_FLAGS = 127, TAKE_LATER = 128 };
enum { WITH_PONG = 1 << 0, WITH_MAX_FRAME = 1 << 1, WITH_MAX_MESSAGE = 1 << 2, WORDS_SHIFT = 3 };
enum { ENDS_TOO = 1 << 5 }; /* whoever takes later lets nothing follow a Close, either */

static const uint8_t pong[] = "holdfast";
static const uint8_t words[] = {0x8a, 8, 'h', 'o', 'l', 'd', 'f', 'a', 's', 't'};

struct model {
    uint32_t flags;
    bool pong, words; /* waited for */
    uint64_t max_frame, max_message;
    uint8_t begun[32]; /* of a frame that is not judged yet */
    unsigned n;
    uint64_t left;                                      /* payload to come of a frame that passes */
    bool closing, closed, in_message, broken, dropping; /* closed: by a Close that passed */
    uint64_t message;
    /* What must come out of this call. */
    uint8_t *out;
    unsigned len;
    bool said, pong_came;
    enum ws_verdict verdict;
};

static void give(struct model *m, const uint8_t *bytes, unsigned n)
{
    memcpy(m->out + m->len, bytes, n);
    m->len += n;
}

static void model_words(struct model *m)
{
    if (!m->words || m->closed || (!m->dropping && (m->left > 0 || m->broken)))
        return;
    give(m, words, sizeof words);
    m->said = true;
    m->words = false;
    m->dropping |= (m->flags & WS_WORDS_LAST) != 0;
}

static bool is_bad(const struct model *m, uint64_t length, bool shortest)
{
    unsigned opcode = m->begun[0] & 15, rsv = m->begun[0] >> 4 & 7;
    bool masked = m->begun[1] >> 7, from_client = m->flags & WS_FROM_CLIENT;

    switch (opcode) {
    case WS_CONT:
        if (!m->in_message)
            return true;
        break;
    case WS_TEXT:
    case WS_BINARY:
        if (m->in_message)
            return true;
        if (m->flags & WS_ALLOW_RSV1)
            rsv &= 3;
        break;
    case WS_CLOSE:
        if (length == 1)
            return true;
        __attribute__((fallthrough));
    case WS_PING:
    case WS_PONG:
        if (m->begun[0] < 128 || length > 125)
            return true;
        break;
    default: return true;
    }
    return masked != from_client || !shortest || length >> 63 != 0 ||
           (rsv != 0 && !(m->flags & WS_ALLOW_RSV));
}

static enum ws_verdict model_judges(struct model *m, uint64_t length, bool shortest)
{
    bool data = (m->begun[0] & 8) == 0;

    if (m->flags & WS_CHECK && is_bad(m, length, shortest))
        return WS_BAD_FRAME;
    if (m->max_frame > 0 && length > m->max_frame)
        return WS_BIG_FRAME;
    if (m->max_message > 0 && data) {
        __uint128_t sum = (m->begun[0] & 15) != WS_CONT ? 0 : m->message;
        sum += length;
        if (sum > m->max_message)
            return WS_BIG_MESSAGE;
        m->message = m->begun[0] & 128 ? 0 : (uint64_t)sum;
    }
    return WS_FINE;
}

static void model_ends_frame(struct model *m)
{
    m->dropping |= m->closing && m->flags & (WS_CHECK | WS_ENDS_AT_CLOSE);
    m->closed |= m->closing;
    m->closing = false;
}

/* True if the frame is, or may become, the pong that is taken out. */
static bool model_takes(struct model *m, unsigned header)
{
    if (!m->pong || m->begun[0] != 0x8a || (m->begun[1] & 127) != 8)
        return false;
    if (m->n < header + 8)
        return true;
    for (unsigned i = 0; i < 8; i++) {
        uint8_t key = header == 6 ? m->begun[2 + i % 4] : 0;
        if ((m->begun[header + i] ^ key) != pong[i])
            return false;
    }
    m->pong_came = true;
    m->pong = false; /* it is asked for once */
    m->n = 0;
    return true;
}

static void model_begins_frame(struct model *m)
{
    unsigned form = m->begun[1] & 127, extra = form == 126 ? 2 : form == 127 ? 8 : 0;
    unsigned header = 2 + extra + (m->begun[1] >= 128 ? 4 : 0);
    uint64_t length = form;

    if (m->n < 2 || m->n < header)
        return;
    if (extra > 0)
        length = 0;
    for (unsigned i = 0; i < extra; i++)
        length = length * 256 + m->begun[2 + i];
    bool shortest = (extra == 0) == (length < 126) && (extra == 8) == (length > 65535);
    if (m->n == header)
        m->verdict = model_judges(m, length, shortest);
    if (m->verdict != WS_FINE) {
        m->dropping = true;
        return;
    }
    if (model_takes(m, header))
        return;
    m->closing = (m->begun[0] & 15) == WS_CLOSE;
    if (m->closing && m->flags & WS_TAKE_CLOSE && !m->closed) {
        m->dropping = true;
        return;
    }
    give(m, m->begun, m->n);
    m->broken = length >> 63;
    m->left = m->broken ? 0 : length - (m->n - header);
    if ((m->begun[0] & 8) == 0)
        m->in_message = m->begun[0] < 128;
    m->n = 0;
    if (m->left == 0 && !m->broken)
        model_ends_frame(m);
}

static void model_byte(struct model *m, uint8_t byte)
{
    if (m->dropping)
        return;
    if (m->broken) {
        give(m, &byte, 1);
    } else if (m->left > 0) {
        give(m, &byte, 1);
        if (--m->left == 0)
            model_ends_frame(m);
    } else {
        m->begun[m->n++] = byte;
        model_begins_frame(m);
    }
}

/* Both, after the same bytes. */
struct pair {
    struct ws_walk walk;
    struct ws_track track;
    uint8_t held[WS_HELD_MAX], held_len;
    uint64_t message;
    struct model model;
    struct ws_track sent, received; /* by the source; by the destination */
};

static void begin(struct pair *pair, const uint8_t *given)
{
    memset(pair, 0, sizeof *pair);
    pair->walk = (struct ws_walk){
        .flags = given[0] & ALL_FLAGS,
        .words = words,
        .pong = given[1] & WITH_PONG ? pong : NULL,
        .max_frame = given[1] & WITH_MAX_FRAME ? given[2] : 0,
        .max_message = given[1] & WITH_MAX_MESSAGE ? given[3] : 0,
        .track = &pair->track,
        .held = pair->held,
        .held_len = &pair->held_len,
        .message = &pair->message,
    };
    pair->model = (struct model){
        .flags = pair->walk.flags,
        .pong = pair->walk.pong,
        .max_frame = pair->walk.max_frame,
        .max_message = pair->walk.max_message,
        .dropping = pair->walk.flags & WS_DROP,
    };
}

/* Words only where the destination, which knows nothing of all this, sees a frame's end. */
static void destination_reads(struct pair *pair, const uint8_t *out, unsigned n, int place)
{
    unsigned at = 0;

    if (place != NO_PLACE) {
        ws_track_feed(&pair->received, out, (unsigned)place);
        ASSERT(ws_track_at_boundary(&pair->received));
        at = (unsigned)place;
    }
    ws_track_feed(&pair->received, out + at, n - at);
}

static void check_kept(struct pair *pair, const uint8_t *before, size_t n)
{
    ASSERT(pair->held_len <= WS_HELD_MAX);
    ASSERT(pair->held_len == (pair->model.dropping ? 0 : pair->model.n));
    ASSERT(memcmp(pair->held, pair->model.begun, pair->held_len) == 0);
    /* `sent` lags by what was held before; it never sees what is held now. */
    ws_track_feed(&pair->sent, before, n);
    struct ws_track held = pair->track;
    held.flags &= (uint8_t)~WS_TAKEN;
    ws_track_feed(&held, pair->held, pair->held_len);
    ASSERT(memcmp(&held, &pair->sent, sizeof held) == 0);
}

static void step(struct pair *pair, const uint8_t *in, size_t n, bool with_words)
{
    size_t room = n + WS_WALK_EXTRA;
    uint8_t *out = malloc(room), *expected = malloc(room);
    struct model *m = &pair->model;
    int place = NO_PLACE;

    ASSERT(out && expected);
    m->out = expected;
    m->len = 0;
    m->said = m->pong_came = false;
    m->verdict = WS_FINE;
    m->words |= with_words;
    pair->walk.words_len = m->words ? sizeof words : 0;
    ws_walk(&pair->walk, in, (uint32_t)n, out);
    for (size_t i = 0; i <= n; i++) {
        unsigned before = m->len;
        model_words(m);
        if (m->len > before)
            place = (int)before;
        if (i < n)
            model_byte(m, in[i]);
    }
    ASSERT(pair->walk.out == m->len && memcmp(out, expected, m->len) == 0);
    ASSERT(pair->walk.said == m->said && pair->walk.pong_came == m->pong_came);
    ASSERT(pair->walk.verdict == m->verdict);
    check_kept(pair, in, n);
    destination_reads(pair, out, m->len, place);
    if (pair->walk.pong_came)
        pair->walk.pong = NULL;
    if (pair->walk.verdict != WS_FINE || (pair->walk.said && pair->walk.flags & WS_WORDS_LAST))
        pair->walk.flags |= WS_DROP;
    free(out);
    free(expected);
}

static void take_from_now_on(struct pair *pair, uint32_t flags)
{
    pair->walk.flags |= flags;
    pair->model.flags |= flags;
    pair->model.dropping |= pair->model.closed && flags & WS_ENDS_AT_CLOSE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pair pair;

    if (size < GIVEN)
        return 0;
    const uint8_t *stream = data + GIVEN;
    size_t n = size - GIVEN, a = fuzz_cut(stream, n, 1), b = fuzz_cut(stream, n, 2);
    size_t cuts[PIECES + 1] = {0, a < b ? a : b, a < b ? b : a, n};
    unsigned words_at = data[1] >> WORDS_SHIFT & 3; /* PIECES: never */

    uint32_t later = WS_TAKE_CLOSE | (data[1] & ENDS_TOO ? (uint32_t)WS_ENDS_AT_CLOSE : 0);
    begin(&pair, data);
    for (unsigned i = 0; i < PIECES; i++) {
        if (i == 1 && data[0] & TAKE_LATER)
            take_from_now_on(&pair, later);
        step(&pair, stream + cuts[i], cuts[i + 1] - cuts[i], i == words_at);
    }
    begin(&pair, data);
    for (size_t i = 0; i < n; i++) {
        if (i == cuts[1] && data[0] & TAKE_LATER)
            take_from_now_on(&pair, later);
        step(&pair, stream + i, 1, words_at < PIECES && i == cuts[words_at]);
    }
    return 0;
}
