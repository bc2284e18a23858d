/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a request head and an answer's head behind it. What opens a tunnel must deserve it. */
#include "common/ws_handshake.h"

#include "test/fuzz/fuzz.h"

#include <errno.h>

enum { FIELDS = 32 };

static const struct http_limits limits = {.line_max = 500, .head_max = 2000, .fields_max = FIELDS};

static int check_request(const struct http_head *head, const char *buf)
{
    int rc = ws_request_check(head, buf);

    ASSERT(rc == 0 || rc == -ENOMSG || rc == -EPROTONOSUPPORT || rc == -EPROTO || rc == -EBADMSG);
    if (rc == 0) {
        ASSERT(head->method == HTTP_GET && head->minor == 1 && head->content_length == 0);
        ASSERT(head->body != HTTP_BODY_CHUNKED && head->flags & HTTP_CONN_UPGRADE);
        ASSERT(http_head_count(head, HTTP_FIELD_SEC_WEBSOCKET_KEY) == 1);
        ASSERT(http_head_count(head, HTTP_FIELD_SEC_WEBSOCKET_VERSION) == 1);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field request_fields[FIELDS], response_fields[FIELDS];
    struct http_head request, response;
    const char *buf = (const char *)data, *why;
    char accept[WS_ACCEPT_LEN];

    http_request_init(&request, request_fields, limits);
    int rc = http_head_parse(&request, buf, size);
    if (rc <= 0 || check_request(&request, buf) != 0)
        return 0;
    const char *answer = buf + rc;
    http_response_init(&response, response_fields, limits, HTTP_GET);
    if (http_head_parse(&response, answer, size - (size_t)rc) <= 0)
        return 0;
    enum ws_extensions extensions = ws_extensions_of(&response, answer);
    bool none = http_head_count(&response, HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS) == 0;
    ASSERT(extensions <= WS_EXTENSIONS_OTHER && (!none || extensions == WS_EXTENSIONS_NONE));
    rc = ws_response_check(&request, buf, &response, answer, &why);
    ASSERT(rc == 0 ? why == NULL : rc == -EPROTO && why);
    if (rc == 0) {
        ASSERT(response.status == 101 && response.body == HTTP_BODY_NONE);
        ws_accept_for(http_field_value(buf, http_head_find(&request, HTTP_FIELD_SEC_WEBSOCKET_KEY)),
                      accept);
        const struct http_field *sent = http_head_find(&response, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT);
        ASSERT(slice_eq(http_field_value(answer, sent), (struct slice){accept, sizeof accept}));
    }
    return 0;
}
