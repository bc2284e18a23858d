/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a chunked body. No cut may change what comes out, where it ends and how. */
#include "common/http_chunk.h"

#include "test/fuzz/fuzz.h"

enum { TRAILER_MAX = 300 };

/* Everything that came out of a body, as sums: the bytes themselves need no place. */
struct result {
    uint64_t data_hash, trailer_hash;
    size_t data_bytes, used;
    int rc;
};

static void feed(struct http_chunk *chunk, struct result *result, const char *in, size_t len)
{
    size_t at = 0;

    do {
        size_t consumed;
        struct slice out;
        result->rc = http_chunk_step(chunk, in + at, len - at, &consumed, &out);
        if (result->rc < 0)
            return;
        ASSERT(consumed <= len - at && out.n <= consumed);
        ASSERT(out.n == 0 || out.p + out.n == in + at + consumed);
        uint64_t *hash = result->rc == HTTP_CHUNK_DATA ? &result->data_hash : &result->trailer_hash;
        for (size_t i = 0; i < out.n; i++)
            *hash = (*hash ^ (uint8_t)out.p[i]) * 0x100000001b3u;
        if (result->rc == HTTP_CHUNK_DATA)
            result->data_bytes += out.n;
        at += consumed;
    } while (result->rc == HTTP_CHUNK_DATA || result->rc == HTTP_CHUNK_TRAILER);
    ASSERT(result->rc == HTTP_CHUNK_END || at == len);
    result->used += at;
}

static struct result decode(const char *in, size_t size, size_t piece)
{
    struct http_chunk chunk;
    struct result result = {0};

    http_chunk_init(&chunk, TRAILER_MAX);
    for (size_t at = 0; at < size && result.rc == HTTP_CHUNK_MORE; at += piece)
        feed(&chunk, &result, in + at, size - at < piece ? size - at : piece);
    ASSERT((result.rc < 0) == (chunk.error != NULL));
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *in = (const char *)data;
    struct result whole = decode(in, size, size + 1);
    size_t pieces[] = {1, 1 + fuzz_cut(data, size, 1), 2 + fuzz_cut(data, size, 2) / 8};

    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct result cut = decode(in, size, pieces[i]);
        ASSERT(cut.rc == whole.rc);
        if (whole.rc < 0)
            continue;
        ASSERT(cut.used == whole.used && cut.data_bytes == whole.data_bytes);
        ASSERT(cut.data_hash == whole.data_hash && cut.trailer_hash == whole.trailer_hash);
    }
    ASSERT(whole.rc != HTTP_CHUNK_END || (whole.used >= 5 && in[whole.used - 1] == '\n'));
    return 0;
}
