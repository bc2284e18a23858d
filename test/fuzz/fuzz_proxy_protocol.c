/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A header is read alike however it arrives: no prefix of it is a header or an error. What was read
 * and is written again says the same.
 */
#include "common/proxy_protocol.h"

#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_same(const struct proxy_header *header, const char *out, size_t n)
{
    struct proxy_header again;
    ASSERT(proxy_protocol_parse(&again, out, n) == (int)n);
    if (header->source.len == 0)
        return;
    ASSERT(addr_eq(&header->source, &again.source));
    ASSERT(addr_eq(&header->destination, &again.destination));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header header, cut;
    char out[PROXY_WRITE_MAX];
    const struct proxy_tls tls = {SLICE("TLSv1.3"), true};
    int rc = proxy_protocol_parse(&header, (const char *)data, size);
    ASSERT(rc <= (int)(size < PROXY_HEADER_MAX ? size : PROXY_HEADER_MAX));
    if (rc <= 0)
        return 0;
    size_t middle = fuzz_cut(data, (size_t)rc - 1, 1);
    char *copy = malloc(middle + 1);
    memcpy(copy, data, middle);
    ASSERT(proxy_protocol_parse(&cut, copy, middle) == 0);
    free(copy);
    check_same(&header, out, proxy_protocol_write_v1(&header.source, &header.destination, out));
    check_same(&header, out,
               proxy_protocol_write_v2(&header.source, &header.destination, &tls, out));
    return 0;
}
