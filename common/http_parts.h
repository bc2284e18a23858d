/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the HTTP parsers share among themselves: http_head.c scans lines, http_target.c reads the
 * request target and Host, http_rules.c knows what fields mean, http_field.c knows their names.
 * Nobody else includes this. Functions returning int: 0 or minus the HTTP status (http_refuse).
 */
#ifndef COMMON_HTTP_PARTS_H
#define COMMON_HTTP_PARTS_H

#include "common/compiler.h"
#include "common/http_head.h"
#include "common/slice.h"

/* The longest name in the table of known fields. */
enum { HTTP_FIELD_NAME_MAX = sizeof("sec-websocket-extensions") - 1 };

/*
 * The id of a field name, which must be a token. *look_alike is set if the name is a known one with
 * another mark where '-' belongs ("Content_Length"): CGI, WSGI and their kin turn every mark into
 * '_' and cannot tell the two apart, so whoever asks must refuse it.
 */
enum http_field_id http_field_lookup(struct slice name, bool *look_alike);

/* The first line of a request is complete: check the target's form, set authority, path, query. */
int http_target_split(struct http_head *head, const char *buf) MUST_CHECK;

/* Host, as RFC 3986 3.2.2 has it: NULL or what is wrong with it. */
const char *http_target_bad_authority(struct slice authority);

/* A field line is complete: fields[field_count], not counted yet. Sets its id; keeps the books. */
int http_rules_field(struct http_head *head, const char *buf) MUST_CHECK;

/* The head is complete: rules over several fields; sets body and authority, marks hop by hop. */
int http_rules_end(struct http_head *head, const char *buf) MUST_CHECK;

/* Keep why; an answer is refused with 502 whatever a request would get. Returns minus the status. */
static inline int http_refuse(struct http_head *head, int status, const char *why)
{
    head->error = why;
    head->over_limit = status == 414 || status == 431;
    return head->is_response ? -502 : -status;
}

#endif
