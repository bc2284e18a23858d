/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a head, read as a request and as an answer. No cut may change what comes out. */
#include "common/http_char.h"
#include "common/http_head.h"

#include "test/fuzz/fuzz.h"

enum { FIELDS = 32 };

static const struct http_limits limits = {.line_max = 500, .head_max = 2000, .fields_max = FIELDS};

static void init(struct http_head *head, struct http_field *fields, bool answer)
{
    if (answer)
        http_response_init(head, fields, limits, HTTP_GET);
    else
        http_request_init(head, fields, limits);
}

/* What was accepted is what it looks like: tokens, a colon, values without control bytes. */
static void check_fields(const struct http_head *head, const char *buf, uint32_t end)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        uint32_t name_end = field->name + field->name_len;
        uint32_t value_end = field->value + field->value_len;
        ASSERT(field->name_len > 0 && name_end < field->value && value_end < end);
        ASSERT(http_char_span(buf, field->name, name_end, HTTP_CHAR_TOKEN) == name_end);
        ASSERT(http_char_span(buf, field->value, value_end, HTTP_CHAR_VALUE) == value_end);
        ASSERT(buf[name_end] == ':' && buf[field->name - 1] == '\n');
        ASSERT(field->id < HTTP_FIELD_ID_COUNT);
    }
    ASSERT(memcmp(buf + end - 4, "\r\n\r\n", 4) == 0);
    ASSERT(head->target + head->target_len <= end && head->path + head->path_len <= end);
    ASSERT(head->authority + head->authority_len <= end && head->query + head->query_len <= end);
    ASSERT(head->reason + head->reason_len <= end);
    bool chunked = http_head_find(head, HTTP_FIELD_TRANSFER_ENCODING) != NULL;
    ASSERT(!chunked || !(head->flags & HTTP_HAS_LENGTH));
}

static void check(const uint8_t *data, size_t size, bool answer)
{
    struct http_field fields[FIELDS], cut_fields[FIELDS];
    struct http_head head, cut;
    const char *buf = (const char *)data;
    size_t first = fuzz_cut(data, size, 1), second = fuzz_cut(data, size, 2);
    size_t cuts[] = {first < second ? first : second, first < second ? second : first, size};

    init(&head, fields, answer);
    int whole = http_head_parse(&head, buf, size);
    init(&cut, cut_fields, answer);
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(cuts) && rc == 0; i++)
        rc = http_head_parse(&cut, buf, cuts[i]);
    ASSERT(rc == whole && head.error == cut.error && (whole < 0) == (head.error != NULL));
    init(&cut, cut_fields, answer);
    rc = 0;
    for (size_t n = 0; n <= size && rc == 0; n++)
        rc = http_head_parse(&cut, buf, n);
    ASSERT(rc == whole && head.error == cut.error);
    if (whole <= 0)
        return;
    ASSERT((size_t)whole <= size && (uint32_t)whole <= limits.head_max);
    check_fields(&head, buf, (uint32_t)whole);
    ASSERT(memcmp(fields, cut_fields, sizeof *fields * head.field_count) == 0);
    head.fields = cut.fields = NULL;
    ASSERT(memcmp(&head, &cut, sizeof head) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, false);
    check(data, size, true);
    return 0;
}
