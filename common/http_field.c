/* SPDX-License-Identifier: Apache-2.0 */
/* Field names: which ones we know, and how fields are found in a parsed head. */
#include "common/http_char.h"
#include "common/http_parts.h"

struct known_name {
    const char *name; /* lower case */
    enum http_field_id id;
};

enum { SAME_LENGTH_MAX = 3 };

/* By length, so that a name is compared with three others at most, and most with none. */
static const struct known_name known[HTTP_FIELD_NAME_MAX + 1][SAME_LENGTH_MAX] = {
    [2] = {{"te", HTTP_FIELD_TE}},
    [4] = {{"host", HTTP_FIELD_HOST}, {"date", HTTP_FIELD_DATE}},
    [6] = {{"cookie", HTTP_FIELD_COOKIE}, {"expect", HTTP_FIELD_EXPECT}},
    [7] = {{"upgrade", HTTP_FIELD_UPGRADE},
           {"referer", HTTP_FIELD_REFERER},
           {"trailer", HTTP_FIELD_TRAILER}},
    [9] = {{"x-real-ip", HTTP_FIELD_X_REAL_IP}, {"forwarded", HTTP_FIELD_FORWARDED}},
    [10] = {{"connection", HTTP_FIELD_CONNECTION},
            {"user-agent", HTTP_FIELD_USER_AGENT},
            {"keep-alive", HTTP_FIELD_KEEP_ALIVE}},
    [14] = {{"content-length", HTTP_FIELD_CONTENT_LENGTH}},
    [15] = {{"x-forwarded-for", HTTP_FIELD_X_FORWARDED_FOR}},
    [16] = {{"x-forwarded-host", HTTP_FIELD_X_FORWARDED_HOST},
            {"proxy-connection", HTTP_FIELD_PROXY_CONNECTION}},
    [17] = {{"transfer-encoding", HTTP_FIELD_TRANSFER_ENCODING},
            {"sec-websocket-key", HTTP_FIELD_SEC_WEBSOCKET_KEY},
            {"x-forwarded-proto", HTTP_FIELD_X_FORWARDED_PROTO}},
    [20] = {{"sec-websocket-accept", HTTP_FIELD_SEC_WEBSOCKET_ACCEPT}},
    [21] = {{"sec-websocket-version", HTTP_FIELD_SEC_WEBSOCKET_VERSION}},
    [22] = {{"sec-websocket-protocol", HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL}},
    [24] = {{"sec-websocket-extensions", HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS}},
};

/*
 * `name` is made of tchars, `lower` of small letters and '-'. Setting bit 5 then makes capitals
 * small and turns no other tchar into a letter or '-'.
 */
static bool is_name(struct slice name, const char *lower, bool *look_alike)
{
    bool odd = false;

    for (size_t i = 0; i < name.n; i++) {
        char c = (char)(name.p[i] | 0x20);
        if (c == lower[i])
            continue;
        if (lower[i] != '-' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            return false;
        odd = true;
    }
    *look_alike = odd;
    return true;
}

enum http_field_id http_field_lookup(struct slice name, bool *look_alike)
{
    *look_alike = false;
    if (name.n > HTTP_FIELD_NAME_MAX)
        return HTTP_FIELD_OTHER;
    const struct known_name *row = known[name.n];
    for (size_t i = 0; i < SAME_LENGTH_MAX && row[i].name; i++) {
        if (is_name(name, row[i].name, look_alike))
            return row[i].id;
    }
    return HTTP_FIELD_OTHER;
}

struct slice http_field_name(const char *buf, const struct http_field *field)
{
    return (struct slice){buf + field->name, field->name_len};
}

struct slice http_field_value(const char *buf, const struct http_field *field)
{
    return (struct slice){buf + field->value, field->value_len};
}

const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id)
{
    ASSERT(id > HTTP_FIELD_OTHER && id < HTTP_FIELD_ID_COUNT);
    return head->seen[id] > 0 ? &head->fields[head->seen[id] - 1] : NULL;
}

/* Compared as $http_NAME is: no case, and an underscore that was asked for is any of the two. */
static bool matches(struct slice name, struct slice asked)
{
    if (name.n != asked.n)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        struct slice a = {name.p + i, 1}, b = {asked.p + i, 1};
        if (!slice_ieq(a, b) && !(*a.p == '-' && *b.p == '_'))
            return false;
    }
    return true;
}

const struct http_field *http_head_find_name(const struct http_head *head, const char *buf,
                                             struct slice name)
{
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (matches(http_field_name(buf, &head->fields[i]), name))
            return &head->fields[i];
    }
    return NULL;
}

uint32_t http_head_count(const struct http_head *head, enum http_field_id id)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < head->field_count; i++)
        count += head->fields[i].id == id;
    return count;
}
