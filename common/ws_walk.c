/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ws_walk.h"

#include "common/compiler.h"

#include <string.h>

enum { FIN = 0x80, RSV1 = 0x40, RSV = 0x70, OPCODE = 0x0f, CONTROL = 0x08 };
enum { MASK = 0x80, LENGTH = 0x7f, LENGTH_16 = 126, LENGTH_64 = 127 };
enum { MASK_BYTES = 4, CODE_BYTES = 2 };
enum { LOOK_MAX = WS_HELD_MAX + 1 }; /* the longest header, or a masked pong to our ping, whole */

/* The beginning of a frame as far as it is there: held bytes and those behind them. */
struct look {
    uint8_t bytes[LOOK_MAX];
    size_t n;
};

struct header {
    uint8_t first;
    uint8_t opcode;
    uint8_t size; /* of the header itself */
    bool masked;
    bool minimal;    /* the length is in its shortest form (5.2) */
    uint64_t length; /* of the payload; with the top bit: no length */
};

/* Where a walk stands. Bytes from `kept` to `p` pass on and are copied at the next change. */
struct cursor {
    struct ws_walk *walk;
    const uint8_t *p, *end, *kept;
    uint8_t *out;
};

static size_t left_in(const struct cursor *c)
{
    return (size_t)(c->end - c->p);
}

static void put(struct cursor *c, const uint8_t *bytes, size_t n)
{
    memcpy(c->out, bytes, n);
    c->out += n;
}

static void flush(struct cursor *c)
{
    put(c, c->kept, (size_t)(c->p - c->kept));
    c->kept = c->p;
}

/* The next n bytes of input pass on. */
static void pass(struct cursor *c, size_t n)
{
    ws_track_feed(c->walk->track, c->p, n);
    c->p += n;
}

/* The source's own Close has gone to the destination. */
static bool passed_close(const struct ws_track *track)
{
    return (track->flags & (WS_SAW_CLOSE | WS_TAKEN)) == WS_SAW_CLOSE;
}

/* What is held, then the next n bytes of input, are seen and do not pass on. */
static void skip(struct cursor *c, size_t n)
{
    bool passed = passed_close(c->walk->track);

    flush(c);
    ws_track_feed(c->walk->track, c->walk->held, *c->walk->held_len);
    *c->walk->held_len = 0;
    pass(c, n);
    if (!passed && c->walk->track->flags & WS_SAW_CLOSE)
        c->walk->track->flags |= WS_TAKEN;
    c->kept = c->p;
}

/* The frame that begins here cannot be judged yet. */
static void hold_rest(struct cursor *c)
{
    size_t n = left_in(c), held = *c->walk->held_len;

    ASSERT(held + n <= WS_HELD_MAX);
    flush(c);
    memcpy(c->walk->held + held, c->p, n);
    *c->walk->held_len = (uint8_t)(held + n);
    c->p = c->kept = c->end;
}

/*
 * True if no later byte of the source passes on. It must follow from what is kept between walks alone,
 * as a frame may go on in the next one.
 */
static bool drops(const struct ws_walk *walk)
{
    const struct ws_track *track = walk->track;

    if (walk->flags & WS_DROP || (walk->said && walk->flags & WS_WORDS_LAST))
        return true;
    if (track->flags & WS_TAKEN)
        return true;
    return track->flags & WS_SAW_CLOSE && walk->flags & (WS_CHECK | WS_ENDS_AT_CLOSE);
}

/*
 * Nothing may follow a Close (5.5.1): words that came too late are not said.
 *
 * The source's boundaries are the destination's while frames pass. When they no longer do, the
 * destination stands at a boundary for good, wherever the source does.
 */
static void put_words(struct cursor *c)
{
    struct ws_walk *walk = c->walk;

    if (walk->words_len == 0 || walk->said || passed_close(walk->track))
        return;
    if (!drops(walk) && !ws_track_at_boundary(walk->track))
        return;
    flush(c);
    put(c, walk->words, walk->words_len);
    walk->said = true;
}

static void look_at(const struct cursor *c, struct look *look)
{
    size_t held = *c->walk->held_len, n = left_in(c);

    if (n > LOOK_MAX - held)
        n = LOOK_MAX - held;
    memcpy(look->bytes, c->walk->held, held);
    memcpy(look->bytes + held, c->p, n);
    look->n = held + n;
}

/* Returns false while the header is not whole. */
static bool read_header(const struct look *look, struct header *header)
{
    if (look->n < 2)
        return false;
    unsigned form = look->bytes[1] & LENGTH;
    unsigned extended = form == LENGTH_16 ? 2 : form == LENGTH_64 ? 8 : 0;

    header->first = look->bytes[0];
    header->opcode = header->first & OPCODE;
    header->masked = (look->bytes[1] & MASK) != 0;
    header->size = (uint8_t)(2 + extended + (header->masked ? MASK_BYTES : 0));
    if (look->n < header->size)
        return false;
    header->length = extended > 0 ? 0 : form;
    for (unsigned i = 0; i < extended; i++)
        header->length = header->length << 8 | look->bytes[2 + i];
    header->minimal =
        extended == 0 || header->length > (extended == 2 ? LENGTH_16 - 1 : UINT16_MAX);
    return true;
}

static bool is_control(const struct header *header)
{
    return (header->opcode & CONTROL) != 0;
}

static bool begins_message(const struct header *header)
{
    return header->opcode == WS_TEXT || header->opcode == WS_BINARY;
}

/* permessage-deflate's bit is on a message's first frame only (RFC 7692 6). */
static unsigned reserved_bits_allowed(uint32_t flags, const struct header *header)
{
    if (flags & WS_ALLOW_RSV)
        return RSV;
    return flags & WS_ALLOW_RSV1 && begins_message(header) ? RSV1 : 0;
}

/* RFC 6455 5.2, 5.4, 5.5. */
static bool may_stand_here(const struct ws_walk *walk, const struct header *header)
{
    bool in_message = (walk->track->flags & WS_IN_MESSAGE) != 0;

    if (header->masked != ((walk->flags & WS_FROM_CLIENT) != 0))
        return false;
    if (header->first & RSV & ~reserved_bits_allowed(walk->flags, header))
        return false;
    if (!header->minimal || header->length > INT64_MAX)
        return false;
    if (!is_control(header))
        return in_message ? header->opcode == WS_CONT : begins_message(header);
    if (header->opcode > WS_PONG || header->length > WS_CONTROL_MAX || !(header->first & FIN))
        return false;
    return header->opcode != WS_CLOSE || header->length != 1;
}

/* Takes the frame into the sum of its message. Returns false if that becomes too big. */
static bool fits_message(struct ws_walk *walk, const struct header *header)
{
    if (walk->max_message == 0 || is_control(header))
        return true;
    if (header->opcode != WS_CONT)
        *walk->message = 0;
    if (*walk->message > walk->max_message || header->length > walk->max_message - *walk->message)
        return false;
    *walk->message = header->first & FIN ? 0 : *walk->message + header->length;
    return true;
}

static enum ws_verdict judge(struct ws_walk *walk, const struct header *header)
{
    if (walk->flags & WS_CHECK && !may_stand_here(walk, header))
        return WS_BAD_FRAME;
    if (walk->max_frame > 0 && header->length > walk->max_frame)
        return WS_BIG_FRAME;
    return fits_message(walk, header) ? WS_FINE : WS_BIG_MESSAGE;
}

/* As far as the header tells, the frame may be the pong to our ping. */
static bool may_be_our_pong(const struct ws_walk *walk, const struct header *header)
{
    return walk->pong && !walk->pong_came && header->first == (FIN | WS_PONG) &&
           header->length == WS_PONG_PAYLOAD && header->minimal;
}

static bool is_our_pong(const struct ws_walk *walk, const struct header *header,
                        const struct look *look)
{
    const uint8_t *payload = look->bytes + header->size;
    uint8_t difference = 0;

    for (unsigned i = 0; i < WS_PONG_PAYLOAD; i++) {
        uint8_t mask = header->masked ? payload[(int)(i % MASK_BYTES) - MASK_BYTES] : 0;
        difference |= payload[i] ^ mask ^ walk->pong[i];
    }
    return difference == 0;
}

/* What is held of the frame, then the rest of its header; the payload goes on as any other's. */
static void pass_header(struct cursor *c, const struct header *header)
{
    size_t held = *c->walk->held_len;

    if (held > 0) {
        flush(c);
        put(c, c->walk->held, held);
        ws_track_feed(c->walk->track, c->walk->held, held);
        *c->walk->held_len = 0;
    }
    if (held < header->size)
        pass(c, header->size - held);
}

/* A good frame: passed on or taken out. */
static void take_frame(struct cursor *c, const struct header *header, const struct look *look)
{
    struct ws_walk *walk = c->walk;

    if (may_be_our_pong(walk, header) && is_our_pong(walk, header, look)) {
        walk->pong_came = true;
        skip(c, (size_t)header->size + WS_PONG_PAYLOAD - *walk->held_len);
        return;
    }
    walk->messages += begins_message(header);
    walk->controls += is_control(header);
    bool close = header->opcode == WS_CLOSE && !passed_close(walk->track);
    if (close && walk->flags & WS_TAKE_CLOSE) {
        walk->track->flags |= WS_TAKEN;
        skip(c, left_in(c));
    } else {
        pass_header(c, header);
    }
}

static void begin_frame(struct cursor *c)
{
    struct ws_walk *walk = c->walk;
    struct look look;
    struct header header;

    look_at(c, &look);
    if (!read_header(&look, &header)) {
        hold_rest(c);
        return;
    }
    walk->verdict = judge(walk, &header);
    if (walk->verdict != WS_FINE) {
        skip(c, left_in(c));
        return;
    }
    if (may_be_our_pong(walk, &header) && look.n - header.size < WS_PONG_PAYLOAD)
        hold_rest(c);
    else
        take_frame(c, &header, &look);
}

static void continue_frame(struct cursor *c)
{
    const struct ws_track *track = c->walk->track;
    uint64_t rest = track->need > 0 ? track->need : track->left;

    pass(c, rest < left_in(c) ? (size_t)rest : left_in(c));
}

void ws_walk(struct ws_walk *walk, const uint8_t *in, uint32_t n, uint8_t *out)
{
    const uint8_t *p = n > 0 ? in : walk->held; /* not NULL, so that it can be counted from */
    struct cursor c = {.walk = walk, .p = p, .end = p + n, .kept = p, .out = out};

    ASSERT(*walk->held_len <= WS_HELD_MAX && walk->words_len <= WS_WORDS_MAX);
    ASSERT(*walk->held_len == 0 || ws_track_at_boundary(walk->track));
    walk->messages = walk->controls = 0;
    walk->said = walk->pong_came = false;
    walk->verdict = WS_FINE;
    do {
        put_words(&c);
        if (drops(walk))
            skip(&c, left_in(&c));
        else if (walk->track->flags & WS_BROKEN)
            pass(&c, left_in(&c));
        else if (ws_track_at_boundary(walk->track))
            begin_frame(&c);
        else
            continue_frame(&c);
    } while (c.p < c.end);
    put_words(&c);
    flush(&c);
    walk->out = (uint32_t)(c.out - out);
}

uint32_t ws_control_frame(uint8_t opcode, const void *payload, uint32_t n, const uint8_t *mask,
                          uint8_t *out)
{
    const uint8_t *bytes = payload;
    uint8_t *p = out;

    ASSERT(n <= WS_CONTROL_MAX);
    *p++ = FIN | opcode;
    *p++ = (uint8_t)(n | (mask ? MASK : 0));
    if (mask) {
        memcpy(p, mask, MASK_BYTES);
        p += MASK_BYTES;
    }
    for (uint32_t i = 0; i < n; i++)
        *p++ = mask ? bytes[i] ^ mask[i % MASK_BYTES] : bytes[i];
    return (uint32_t)(p - out);
}

uint32_t ws_close_payload(uint16_t code, struct slice reason, uint8_t out[WS_CONTROL_MAX])
{
    size_t n = reason.n;

    if (n > WS_CONTROL_MAX - CODE_BYTES) {
        n = WS_CONTROL_MAX - CODE_BYTES;
        /* Not amid a character: a peer may fail what is no UTF-8 (5.5.1). */
        while (n > 0 && ((uint8_t)reason.p[n] & 0xc0) == 0x80)
            n--;
    }
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    if (n > 0)
        memcpy(out + CODE_BYTES, reason.p, n);
    return (uint32_t)(CODE_BYTES + n);
}
