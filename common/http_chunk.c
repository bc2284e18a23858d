/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http_chunk.h"

#include "common/http_char.h"
#include "common/http_parts.h"

#include <errno.h>
#include <string.h>

/*
 * Bytes of a size line with its extensions. Nobody uses extensions; without a bound a peer could
 * make us read for ever without a byte of body.
 */
enum { OVERHEAD_MAX = 1024 };

enum { DIGITS_MAX = 16 };

_Static_assert(sizeof((struct http_chunk){0}.name) >= HTTP_FIELD_NAME_MAX, "holds all known names");

/* Names say what comes next. */
enum {
    SIZE_START,     /* the first digit */
    SIZE,           /* more digits, ";" or CR */
    EXT_NAME_START, /* behind ";" */
    EXT_NAME,
    EXT_NAME_SPACE,  /* white space behind a name: "=" or ";" must follow */
    EXT_VALUE_START, /* behind "=" */
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPED,     /* behind a backslash in a quoted string */
    EXT_QUOTED_END,  /* behind the closing quote */
    EXT_VALUE_SPACE, /* white space behind a value: ";" must follow */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START, /* a name, or the empty line that ends the body */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    COMPLETE,
    DEAD,
};

static int refuse(struct http_chunk *chunk, int error, const char *why)
{
    chunk->error = why;
    chunk->state = DEAD;
    return error;
}

void http_chunk_init(struct http_chunk *chunk, uint32_t trailer_max)
{
    memset(chunk, 0, sizeof *chunk);
    chunk->trailer_max = trailer_max;
    chunk->state = SIZE_START;
}

/* The next digit of a size. Sizes over 2^63-1 are refused: somewhere they would be negative. */
static int add_digit(struct http_chunk *chunk, char c)
{
    unsigned digit =
        http_char_is(c, HTTP_CHAR_DIGIT) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);

    if (++chunk->digits > DIGITS_MAX || chunk->left > INT64_MAX >> 4)
        return refuse(chunk, -EBADMSG, "chunk size too large");
    chunk->left = chunk->left << 4 | digit;
    chunk->state = SIZE;
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/*
 * The state behind one byte of chunk extensions (RFC 9112 7.1.1), DEAD if it may not stand there.
 * White space is taken where the RFC says it must be, never right behind the size.
 */
static uint8_t next_in_extension(uint8_t state, char c)
{
    bool token = http_char_is(c, HTTP_CHAR_TOKEN);

    switch (state) {
    case EXT_NAME_START: return token ? EXT_NAME : is_space(c) ? EXT_NAME_START : DEAD;
    case EXT_NAME:
        if (token)
            return EXT_NAME;
        if (c == '\r')
            return SIZE_LF;
        /* fall through */
    case EXT_NAME_SPACE:
        if (c == '=')
            return EXT_VALUE_START;
        return c == ';' ? EXT_NAME_START : is_space(c) ? EXT_NAME_SPACE : DEAD;
    case EXT_VALUE_START:
        if (c == '"')
            return EXT_QUOTED;
        return token ? EXT_TOKEN : is_space(c) ? EXT_VALUE_START : DEAD;
    case EXT_QUOTED:
        if (c == '"')
            return EXT_QUOTED_END;
        if (c == '\\')
            return EXT_ESCAPED;
        return http_char_is(c, HTTP_CHAR_VALUE) ? EXT_QUOTED : DEAD;
    case EXT_ESCAPED: return http_char_is(c, HTTP_CHAR_VALUE) ? EXT_QUOTED : DEAD;
    case EXT_TOKEN:
        if (token)
            return EXT_TOKEN;
        /* fall through */
    case EXT_QUOTED_END:
        if (c == '\r')
            return SIZE_LF;
        /* fall through */
    default: /* EXT_VALUE_SPACE */
        return c == ';' ? EXT_NAME_START : is_space(c) ? EXT_VALUE_SPACE : DEAD;
    }
}

/* One byte of a size line. */
static int size_line(struct http_chunk *chunk, char c)
{
    if (++chunk->overhead > OVERHEAD_MAX)
        return refuse(chunk, -EMSGSIZE, "chunk size line too long");
    switch (chunk->state) {
    case SIZE_START:
    case SIZE:
        if (http_char_is(c, HTTP_CHAR_HEX))
            return add_digit(chunk, c);
        if (chunk->state == SIZE_START || (c != ';' && c != '\r'))
            return refuse(chunk, -EBADMSG, "bad chunk size");
        chunk->state = c == ';' ? EXT_NAME_START : SIZE_LF;
        return 0;
    case SIZE_LF:
        if (c != '\n')
            return refuse(chunk, -EBADMSG, "CR without LF behind a chunk size");
        chunk->state = chunk->left > 0 ? DATA : TRAILER_START;
        chunk->digits = 0;
        return 0;
    default:
        chunk->state = next_in_extension(chunk->state, c);
        if (chunk->state == DEAD)
            return refuse(chunk, -EBADMSG, "bad chunk extension");
        return 0;
    }
}

static int data_end(struct http_chunk *chunk, char c)
{
    if (c != (chunk->state == DATA_CR ? '\r' : '\n'))
        return refuse(chunk, -EBADMSG, "chunk data does not end in CR LF");
    chunk->state = chunk->state == DATA_CR ? DATA_LF : SIZE_START;
    return 0;
}

/*
 * The name of a trailer field is complete. What frames, routes or identifies a message must not
 * come behind it (RFC 9110 6.5.1): a server that merges trailers would believe it.
 */
static int trailer_name_end(struct http_chunk *chunk)
{
    bool ignored;

    if (chunk->digits > sizeof chunk->name)
        return 0; /* longer than any name we know */
    if (http_field_lookup((struct slice){chunk->name, chunk->digits}, &ignored) != HTTP_FIELD_OTHER)
        return refuse(chunk, -EBADMSG, "field that may not be in a trailer");
    return 0;
}

static int trailer_name(struct http_chunk *chunk, char c)
{
    if (c == ':' && chunk->digits > 0) {
        chunk->state = TRAILER_VALUE;
        return trailer_name_end(chunk);
    }
    if (!http_char_is(c, HTTP_CHAR_TOKEN))
        return refuse(chunk, -EBADMSG, "bad trailer field name");
    if (chunk->digits < sizeof chunk->name)
        chunk->name[chunk->digits] = c;
    if (chunk->digits <= sizeof chunk->name)
        chunk->digits++;
    chunk->state = TRAILER_NAME;
    return 0;
}

/* One byte of a trailer section's field lines. */
static int trailer_line(struct http_chunk *chunk, char c)
{
    if (++chunk->trailer_bytes > chunk->trailer_max)
        return refuse(chunk, -EMSGSIZE, "trailer section too long");
    switch (chunk->state) {
    case TRAILER_START: chunk->digits = 0; return trailer_name(chunk, c);
    case TRAILER_NAME: return trailer_name(chunk, c);
    case TRAILER_VALUE:
        if (c == '\r')
            chunk->state = TRAILER_LF;
        else if (!http_char_is(c, HTTP_CHAR_VALUE))
            return refuse(chunk, -EBADMSG, "control byte in a trailer field");
        return 0;
    default: /* TRAILER_LF */
        if (c != '\n')
            return refuse(chunk, -EBADMSG, "CR without LF in a trailer field");
        chunk->state = TRAILER_START;
        return 0;
    }
}

static int take_data(struct http_chunk *chunk, const char *in, size_t len, size_t *consumed,
                     struct slice *out)
{
    size_t n = chunk->left < len - *consumed ? (size_t)chunk->left : len - *consumed;

    *out = (struct slice){in + *consumed, n};
    *consumed += n;
    chunk->left -= n;
    chunk->overhead = 0;
    if (chunk->left == 0)
        chunk->state = DATA_CR;
    return HTTP_CHUNK_DATA;
}

static int take_trailer(struct http_chunk *chunk, const char *in, size_t len, size_t *consumed,
                        struct slice *out)
{
    size_t from = *consumed;

    while (*consumed < len && !(chunk->state == TRAILER_START && in[*consumed] == '\r')) {
        int rc = trailer_line(chunk, in[*consumed]);
        if (rc)
            return rc;
        ++*consumed;
    }
    *out = (struct slice){in + from, *consumed - from};
    return HTTP_CHUNK_TRAILER;
}

static int take_last_line(struct http_chunk *chunk, char c)
{
    if (chunk->state == TRAILER_START) { /* and c is the CR */
        chunk->state = END_LF;
        return 0;
    }
    if (c != '\n')
        return refuse(chunk, -EBADMSG, "CR without LF behind the last chunk");
    chunk->state = COMPLETE;
    return 0;
}

int http_chunk_step(struct http_chunk *chunk, const char *in, size_t len, size_t *consumed,
                    struct slice *out)
{
    int rc = chunk->state == DEAD ? -EBADMSG : 0;

    *consumed = 0;
    *out = (struct slice){in, 0};
    while (rc == 0 && chunk->state != COMPLETE && *consumed < len) {
        char c = in[*consumed];
        if (chunk->state == DATA)
            return take_data(chunk, in, len, consumed, out);
        if (chunk->state >= TRAILER_START && chunk->state <= TRAILER_LF &&
            !(chunk->state == TRAILER_START && c == '\r'))
            return take_trailer(chunk, in, len, consumed, out);
        if (chunk->state <= SIZE_LF)
            rc = size_line(chunk, c);
        else if (chunk->state <= DATA_LF)
            rc = data_end(chunk, c);
        else
            rc = take_last_line(chunk, c);
        if (rc == 0)
            ++*consumed;
    }
    if (rc)
        return rc;
    return chunk->state == COMPLETE ? HTTP_CHUNK_END : HTTP_CHUNK_MORE;
}
