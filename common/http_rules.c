/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fields of a head mean to a gateway: framing (RFC 9112 6.3), Connection (RFC 9110 7.6.1),
 * Host, Expect. All refusals that need more than one byte's look are here.
 */
#include "common/http_char.h"
#include "common/http_parts.h"

/* Each option is compared with every field line; nobody honest sends more than a handful. */
enum { CONNECTION_OPTIONS_MAX = 64 };

static bool is_hop_by_hop(enum http_field_id id)
{
    switch (id) {
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_TE:
    case HTTP_FIELD_TRANSFER_ENCODING:
    case HTTP_FIELD_UPGRADE: return true;
    default: return false;
    }
}

/* Numbers over 2^63-1 are refused: somewhere behind us they would be negative. */
static bool parse_length(struct slice text, uint64_t *out)
{
    uint64_t number = 0;

    if (text.n == 0 || text.n > 19 || (text.n > 1 && text.p[0] == '0'))
        return false; /* with a leading zero some read an octal number */
    for (size_t i = 0; i < text.n; i++) {
        if (!http_char_is(text.p[i], HTTP_CHAR_DIGIT))
            return false;
        number = number * 10 + (uint64_t)(text.p[i] - '0');
    }
    *out = number;
    return number <= INT64_MAX;
}

static int content_length(struct http_head *head, struct slice value, struct http_field *field)
{
    uint64_t number;

    if (!parse_length(value, &number))
        return http_refuse(head, 400, "Content-Length is not a decimal number");
    if ((head->flags & HTTP_HAS_LENGTH) == 0) {
        head->flags |= HTTP_HAS_LENGTH;
        head->content_length = number;
        return 0;
    }
    if (number != head->content_length)
        return http_refuse(head, 400, "Content-Length fields that differ");
    /* RFC 9112 6.3: replace by one. So the copies end here. */
    field->hop_by_hop = 1;
    return 0;
}

static int transfer_encoding(struct http_head *head, struct slice value)
{
    if (head->seen[HTTP_FIELD_TRANSFER_ENCODING] > 0)
        return http_refuse(head, 400, "several Transfer-Encoding fields");
    if (head->minor == 0)
        return http_refuse(head, 400, "Transfer-Encoding with HTTP/1.0");
    if (!slice_ieq(value, SLICE("chunked")))
        return http_refuse(head, 400, "Transfer-Encoding is not chunked");
    return 0;
}

static int connection(struct http_head *head, struct slice value)
{
    struct slice option;

    while (slice_next_in_list(&value, &option)) {
        for (size_t i = 0; i < option.n; i++) {
            if (!http_char_is(option.p[i], HTTP_CHAR_TOKEN))
                return http_refuse(head, 400, "Connection option is not a token");
        }
        if (slice_ieq(option, SLICE("close")))
            head->flags |= HTTP_CLOSE;
        else if (slice_ieq(option, SLICE("keep-alive")))
            head->flags |= HTTP_KEEP_ALIVE;
        else if (slice_ieq(option, SLICE("upgrade")))
            head->flags |= HTTP_CONN_UPGRADE;
    }
    return 0;
}

static int host(struct http_head *head, struct slice value)
{
    if (head->is_response)
        return 0;
    if (head->seen[HTTP_FIELD_HOST] > 0)
        return http_refuse(head, 400, "several Host fields");
    const char *why = http_target_bad_authority(value);
    return why ? http_refuse(head, 400, why) : 0;
}

/* RFC 9110 10.1.1: of an HTTP/1.0 client the expectation is ignored. */
static int expect(struct http_head *head, struct slice value)
{
    struct slice element;

    if (head->is_response || head->minor == 0)
        return 0;
    while (slice_next_in_list(&value, &element)) {
        if (!slice_ieq(element, SLICE("100-continue")))
            return http_refuse(head, 417, "unknown Expect");
        head->flags |= HTTP_EXPECT_100;
    }
    return 0;
}

int http_rules_field(struct http_head *head, const char *buf)
{
    struct http_field *field = &head->fields[head->field_count];
    struct slice value = http_field_value(buf, field);
    bool look_alike;
    int rc = 0;

    enum http_field_id id = http_field_lookup(http_field_name(buf, field), &look_alike);
    if (look_alike)
        return http_refuse(head, 400, "look-alike of a known field name");
    field->id = (uint8_t)id;
    field->hop_by_hop = is_hop_by_hop(id);

    switch (id) {
    case HTTP_FIELD_OTHER: return 0;
    case HTTP_FIELD_CONTENT_LENGTH: rc = content_length(head, value, field); break;
    case HTTP_FIELD_TRANSFER_ENCODING: rc = transfer_encoding(head, value); break;
    case HTTP_FIELD_CONNECTION: rc = connection(head, value); break;
    case HTTP_FIELD_HOST: rc = host(head, value); break;
    case HTTP_FIELD_EXPECT: rc = expect(head, value); break;
    default: break;
    }
    if (head->seen[id] == 0)
        head->seen[id] = head->field_count + 1;
    return rc;
}

/*
 * Fields that Connection may name. Of the others that we know, taking one away changes who is
 * asked, how a body ends or who is asking: RFC 9110 7.6.1 forbids to name them, and naming them has
 * been an attack on proxies that obey.
 */
static bool may_be_nominated(enum http_field_id id)
{
    return id == HTTP_FIELD_OTHER || id == HTTP_FIELD_TRAILER ||
           (is_hop_by_hop(id) && id != HTTP_FIELD_TRANSFER_ENCODING);
}

static int nominate(struct http_head *head, const char *buf, struct slice option)
{
    bool look_alike;
    enum http_field_id id = http_field_lookup(option, &look_alike);

    if (look_alike || !may_be_nominated(id))
        return http_refuse(head, 400, "Connection names a field that is not its own");
    if (is_hop_by_hop(id))
        return 0; /* marked already */
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http_field *field = &head->fields[i];
        if (field->id == id && slice_ieq(http_field_name(buf, field), option))
            field->hop_by_hop = 1;
    }
    return 0;
}

static int nominate_all(struct http_head *head, const char *buf)
{
    uint32_t options = 0;
    uint32_t first = head->seen[HTTP_FIELD_CONNECTION];

    for (uint32_t i = first - 1; first > 0 && i < head->field_count; i++) {
        if (head->fields[i].id != HTTP_FIELD_CONNECTION)
            continue;
        struct slice rest = http_field_value(buf, &head->fields[i]);
        struct slice option;
        while (slice_next_in_list(&rest, &option)) {
            if (++options > CONNECTION_OPTIONS_MAX)
                return http_refuse(head, 400, "too many Connection options");
            int rc = nominate(head, buf, option);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int request_authority(struct http_head *head, const char *buf)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_HOST);

    if (!field)
        return head->minor == 0 ? 0 : http_refuse(head, 400, "no Host");
    if ((head->flags & HTTP_TARGET_ABSOLUTE) == 0) {
        head->authority = field->value;
        head->authority_len = field->value_len;
        return 0;
    }
    struct slice authority = {buf + head->authority, head->authority_len};
    if (!slice_ieq(authority, http_field_value(buf, field)))
        return http_refuse(head, 400, "Host differs from the target");
    return 0;
}

/* RFC 9112 6.3, items 1 and 2: answers whose body is none whatever they say of its length. */
static int answer_without_body(struct http_head *head)
{
    bool chunked = head->seen[HTTP_FIELD_TRANSFER_ENCODING] > 0;

    head->body = HTTP_BODY_NONE;
    /* These must not announce a body (RFC 9110 8.6): who believes them waits, or reads too much. */
    if (head->status < 200 || head->status == 204) {
        if (chunked || head->content_length > 0)
            return http_refuse(head, 502, "body announced where none may be");
    }
    return 0;
}

static int framing(struct http_head *head)
{
    bool chunked = head->seen[HTTP_FIELD_TRANSFER_ENCODING] > 0;
    bool has_length = (head->flags & HTTP_HAS_LENGTH) != 0;

    if (chunked && has_length)
        return http_refuse(head, 400, "Content-Length beside Transfer-Encoding");
    if (head->is_response && (head->status < 200 || head->status == 204 || head->status == 304 ||
                              head->method == HTTP_HEAD))
        return answer_without_body(head);
    if (chunked)
        head->body = HTTP_BODY_CHUNKED;
    else if (has_length)
        head->body = HTTP_BODY_LENGTH;
    else
        head->body = head->is_response ? HTTP_BODY_UNTIL_CLOSE : HTTP_BODY_NONE;
    return 0;
}

int http_rules_end(struct http_head *head, const char *buf)
{
    int rc = framing(head);

    if (rc == 0 && !head->is_response)
        rc = request_authority(head, buf);
    if (rc == 0)
        rc = nominate_all(head, buf);
    return rc;
}
