/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner of HTTP/1.1 heads. It goes over each byte once: a state is a place in a line, spans
 * within a line are loops over the character table, and a line that ends is given to http_target.c
 * or http_rules.c. Every verdict depends on the bytes up to the one that caused it and on nothing
 * else, so it is the same however the bytes were cut into reads.
 */
#include "common/http_head.h"

#include "common/http_char.h"
#include "common/http_parts.h"

#include <limits.h>
#include <string.h>

/* In the order of the bytes. Names say what comes next. */
enum {
    REQUEST_START, /* the method, or an empty line */
    REQUEST_EMPTY_LF,
    REQUEST_METHOD,
    REQUEST_TARGET,
    REQUEST_VERSION,
    ANSWER_VERSION,
    ANSWER_STATUS,
    ANSWER_AFTER_STATUS,
    ANSWER_REASON,
    FIRST_LINE_CR,
    FIRST_LINE_LF,
    FIELD_START, /* a name, or the empty line that ends the head */
    FIELD_NAME,
    FIELD_SPACE,
    FIELD_VALUE,
    FIELD_LF,
    HEAD_LF,
    COMPLETE,
    DEAD,
};

enum { VERSION_LEN = sizeof("HTTP/1.1") - 1, STATUS_LEN = 3 };

static void init(struct http_head *head, struct http_field *fields, struct http_limits limits)
{
    memset(head, 0, sizeof *head);
    head->fields = fields;
    head->limits = limits;
    /* The length of a head is returned as an int. */
    if (head->limits.head_max > INT_MAX)
        head->limits.head_max = INT_MAX;
}

void http_request_init(struct http_head *head, struct http_field *fields, struct http_limits limits)
{
    init(head, fields, limits);
    head->state = REQUEST_START;
}

void http_response_init(struct http_head *head, struct http_field *fields,
                        struct http_limits limits, enum http_method request_method)
{
    init(head, fields, limits);
    head->is_response = 1;
    head->method = (uint8_t)request_method;
    head->state = ANSWER_VERSION;
}

static enum http_method method_id(struct slice name)
{
    static const struct {
        struct slice name;
        enum http_method id;
    } methods[] = {
        {{"GET", 3}, HTTP_GET},     {{"POST", 4}, HTTP_POST},     {{"HEAD", 4}, HTTP_HEAD},
        {{"PUT", 3}, HTTP_PUT},     {{"DELETE", 6}, HTTP_DELETE}, {{"OPTIONS", 7}, HTTP_OPTIONS},
        {{"PATCH", 5}, HTTP_PATCH}, {{"TRACE", 5}, HTTP_TRACE},   {{"CONNECT", 7}, HTTP_CONNECT},
    };

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (slice_eq(name, methods[i].name))
            return methods[i].id;
    }
    return HTTP_METHOD_OTHER;
}

/* More first line than allowed, when its bytes up to `end` are not the CR yet. */
static bool line_too_long(const struct http_head *head, uint32_t end)
{
    return end - head->first_line > head->limits.line_max;
}

static int refuse_long_line(struct http_head *head)
{
    return http_refuse(head, 414, "first line too long");
}

/*
 * buf[head->at..stop) goes on with "HTTP/1.x", which begins at `start`. Returns 0 (all input used,
 * or the version is complete: head->at == start + VERSION_LEN) or an error.
 */
static int scan_version(struct http_head *head, const char *buf, uint32_t start, uint32_t stop)
{
    static const char form[] = "HTTP/d.d";

    for (; head->at < stop && head->at < start + VERSION_LEN; head->at++) {
        char c = buf[head->at];
        char wanted = form[head->at - start];
        if (wanted == 'd' ? !http_char_is(c, HTTP_CHAR_DIGIT) : c != wanted)
            return http_refuse(head, 400, "bad HTTP version");
    }
    if (head->at < start + VERSION_LEN)
        return 0;
    if (buf[start + 5] != '1' || buf[start + 7] > '1')
        return http_refuse(head, 505, "HTTP version is neither 1.0 nor 1.1");
    head->minor = (uint8_t)(buf[start + 7] - '0');
    return 0;
}

/* Empty lines before a request are skipped (RFC 9112 2.2); the bound of the head bounds them. */
static int skip_empty_lines(struct http_head *head, const char *buf, uint32_t stop)
{
    while (head->at < stop) {
        char c = buf[head->at];
        if (head->state == REQUEST_EMPTY_LF) {
            if (c != '\n')
                return http_refuse(head, 400, "CR without LF");
            head->state = REQUEST_START;
            head->at++;
        } else if (c == '\r') {
            head->state = REQUEST_EMPTY_LF;
            head->at++;
        } else {
            head->first_line = head->at;
            head->state = REQUEST_METHOD;
            return 0;
        }
    }
    return 0;
}

/* METHOD SP TARGET SP VERSION, one space each (RFC 9112 3). */
static int scan_request_line(struct http_head *head, const char *buf, uint32_t stop)
{
    uint32_t p = head->at;

    if (head->state == REQUEST_METHOD) {
        head->at = p = http_char_span(buf, p, stop, HTTP_CHAR_TOKEN);
        if (line_too_long(head, p))
            return refuse_long_line(head);
        if (p == stop)
            return 0;
        if (buf[p] != ' ' || p == head->first_line)
            return http_refuse(head, 400, "bad method");
        head->method_len = p - head->first_line;
        head->method = (uint8_t)method_id(http_head_method(head, buf));
        if (head->method == HTTP_CONNECT)
            return http_refuse(head, 501, "CONNECT");
        head->at = head->target = ++p;
        head->state = REQUEST_TARGET;
    }
    if (head->state == REQUEST_TARGET) {
        head->at = p = http_char_span(buf, p, stop, HTTP_CHAR_TARGET);
        if (line_too_long(head, p))
            return refuse_long_line(head);
        if (p == stop)
            return 0;
        if (buf[p] != ' ' || p == head->target)
            return http_refuse(head, 400, "bad request target");
        head->target_len = p - head->target;
        head->at = ++p;
        head->state = REQUEST_VERSION;
    }
    uint32_t version = head->target + head->target_len + 1;
    int rc = scan_version(head, buf, version, stop);
    if (rc == 0 && head->at == version + VERSION_LEN)
        head->state = FIRST_LINE_CR;
    return rc;
}

/* VERSION SP STATUS [SP REASON] (RFC 9112 4); many leave out the space before no reason. */
static int scan_status_line(struct http_head *head, const char *buf, uint32_t stop)
{
    if (head->state == ANSWER_VERSION) {
        int rc = scan_version(head, buf, 0, stop);
        if (rc || head->at < VERSION_LEN)
            return rc;
        head->state = ANSWER_STATUS;
    }
    for (; head->state == ANSWER_STATUS && head->at < stop; head->at++) {
        char c = buf[head->at];
        if (head->at == VERSION_LEN) {
            if (c != ' ')
                return http_refuse(head, 502, "bad HTTP version");
            continue;
        }
        if (!http_char_is(c, HTTP_CHAR_DIGIT))
            return http_refuse(head, 502, "bad status");
        head->status = (uint16_t)(head->status * 10 + (c - '0'));
        if (head->at == VERSION_LEN + STATUS_LEN) {
            if (head->status < 100)
                return http_refuse(head, 502, "bad status");
            head->state = ANSWER_AFTER_STATUS;
        }
    }
    if (head->state == ANSWER_AFTER_STATUS && head->at < stop) {
        bool space = buf[head->at] == ' ';
        head->at += space;
        head->reason = head->at;
        head->state = space ? ANSWER_REASON : FIRST_LINE_CR;
    }
    if (head->state == ANSWER_REASON) {
        head->at = http_char_span_value(buf, head->at, stop);
        if (line_too_long(head, head->at))
            return refuse_long_line(head);
        if (head->at == stop)
            return 0;
        head->reason_len = head->at - head->reason;
        head->state = FIRST_LINE_CR;
    }
    return 0;
}

static int scan_first_line_end(struct http_head *head, const char *buf, uint32_t stop)
{
    if (head->state == FIRST_LINE_CR && head->at < stop) {
        if (line_too_long(head, head->at))
            return refuse_long_line(head);
        if (buf[head->at] != '\r')
            return http_refuse(head, 400, "first line does not end in CR LF");
        head->at++;
        head->state = FIRST_LINE_LF;
    }
    if (head->state == FIRST_LINE_CR || head->at == stop)
        return 0;
    if (buf[head->at] != '\n')
        return http_refuse(head, 400, "CR without LF");
    head->at++;
    head->state = FIELD_START;
    return head->is_response ? 0 : http_target_split(head, buf);
}

static int scan_first_line(struct http_head *head, const char *buf, uint32_t stop)
{
    if (head->state <= REQUEST_EMPTY_LF)
        return skip_empty_lines(head, buf, stop);
    if (head->state <= REQUEST_VERSION)
        return scan_request_line(head, buf, stop);
    if (head->state <= ANSWER_REASON)
        return scan_status_line(head, buf, stop);
    return scan_first_line_end(head, buf, stop);
}

static int start_field(struct http_head *head, char c)
{
    if (c == ' ' || c == '\t')
        return http_refuse(head, 400, "folded field line");
    if (!http_char_is(c, HTTP_CHAR_TOKEN))
        return http_refuse(head, 400, "bad field name");
    if (head->field_count >= head->limits.fields_max)
        return http_refuse(head, 431, "too many fields");
    return 0;
}

static int end_of_name(struct http_head *head, struct http_field *field, const char *buf)
{
    uint32_t length = head->at - field->name;

    if (length > UINT16_MAX)
        return http_refuse(head, 431, "field name too long");
    if (buf[head->at] != ':')
        return http_refuse(head, 400, "bad field name");
    field->name_len = (uint16_t)length;
    return 0;
}

static void end_of_value(const struct http_head *head, struct http_field *field, const char *buf)
{
    uint32_t end = head->at;

    while (end > field->value && (buf[end - 1] == ' ' || buf[end - 1] == '\t'))
        end--;
    field->value_len = end - field->value;
}

/* NAME ":" OWS VALUE OWS CR LF (RFC 9112 5). One line, as far as the input goes. */
static int scan_field_line(struct http_head *head, const char *buf, uint32_t stop)
{
    struct http_field *field = &head->fields[head->field_count];
    int rc;

    switch (head->state) {
    case FIELD_START:
        if (buf[head->at] == '\r') {
            head->at++;
            head->state = HEAD_LF;
            return 0;
        }
        rc = start_field(head, buf[head->at]);
        if (rc)
            return rc;
        field->name = head->at;
        head->state = FIELD_NAME;
        /* fall through */
    case FIELD_NAME:
        head->at = http_char_span(buf, head->at, stop, HTTP_CHAR_TOKEN);
        if (head->at == stop)
            return 0;
        rc = end_of_name(head, field, buf);
        if (rc)
            return rc;
        head->at++;
        head->state = FIELD_SPACE;
        /* fall through */
    case FIELD_SPACE:
        while (head->at < stop && (buf[head->at] == ' ' || buf[head->at] == '\t'))
            head->at++;
        if (head->at == stop)
            return 0;
        field->value = head->at;
        head->state = FIELD_VALUE;
        /* fall through */
    case FIELD_VALUE:
        head->at = http_char_span_value(buf, head->at, stop);
        if (head->at == stop)
            return 0;
        if (buf[head->at] != '\r')
            return http_refuse(head, 400, "control byte in a field value");
        end_of_value(head, field, buf);
        head->at++;
        head->state = FIELD_LF;
        /* fall through */
    default: /* FIELD_LF */
        if (head->at == stop)
            return 0;
        if (buf[head->at] != '\n')
            return http_refuse(head, 400, "CR without LF");
        head->at++;
        head->state = FIELD_START;
        rc = http_rules_field(head, buf);
        head->field_count++;
        return rc;
    }
}

static int scan_head_end(struct http_head *head, const char *buf)
{
    if (buf[head->at] != '\n')
        return http_refuse(head, 400, "CR without LF");
    head->at++;
    head->state = COMPLETE;
    return http_rules_end(head, buf);
}

int http_head_parse(struct http_head *head, const char *buf, size_t len)
{
    uint32_t stop = len < head->limits.head_max ? (uint32_t)len : head->limits.head_max;
    int rc = 0;

    if (head->state == DEAD)
        return head->is_response ? -502 : -400;
    while (rc == 0 && head->state != COMPLETE && head->at < stop) {
        if (head->state < FIELD_START)
            rc = scan_first_line(head, buf, stop);
        else if (head->state < HEAD_LF)
            rc = scan_field_line(head, buf, stop);
        else
            rc = scan_head_end(head, buf);
    }
    if (rc == 0 && head->state == COMPLETE)
        return (int)head->at;
    if (rc == 0 && head->at >= head->limits.head_max)
        rc = head->state > REQUEST_EMPTY_LF && head->state < FIELD_START
                 ? refuse_long_line(head)
                 : http_refuse(head, 431, "head too long");
    if (rc)
        head->state = DEAD;
    return rc;
}

struct slice http_head_method(const struct http_head *head, const char *buf)
{
    return (struct slice){buf + head->first_line, head->method_len};
}

bool http_method_idempotent(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
    case HTTP_HEAD:
    case HTTP_PUT:
    case HTTP_DELETE:
    case HTTP_OPTIONS:
    case HTTP_TRACE: return true;
    default: return false;
    }
}
