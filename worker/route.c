/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/route.h"

#include "worker/request.h"

static bool method_fits(const struct request *r, const struct image_route *route)
{
    struct slice method = http_head_method(&r->head, r->head_buf.data);
    for (uint32_t i = 0; i < route->methods.count; i++) {
        if (slice_eq(method, image_text(r->image, route->methods, i)))
            return true;
    }
    return route->methods.count == 0;
}

/* "Name": there is such a field; "Name: value": one that says just that. */
static bool has_field(const struct request *r, struct slice wanted)
{
    const char *buf = r->head_buf.data;
    const char *colon = memchr(wanted.p, ':', wanted.n);
    struct slice name = {wanted.p, colon ? (size_t)(colon - wanted.p) : wanted.n};
    struct slice value = {wanted.p + name.n, wanted.n - name.n};
    if (colon)
        value = slice_trim((struct slice){colon + 1, wanted.n - name.n - 1});
    for (uint32_t i = 0; i < r->head.field_count; i++) {
        const struct http_field *field = &r->head.fields[i];
        if (slice_ieq(http_field_name(buf, field), name) &&
            (!colon || slice_eq(http_field_value(buf, field), value)))
            return true;
    }
    return false;
}

static bool fields_fit(const struct request *r, const struct image_route *route)
{
    for (uint32_t i = 0; i < route->headers.count; i++) {
        if (!has_field(r, image_text(r->image, route->headers, i)))
            return false;
    }
    return true;
}

/* Subprotocols are compared as they are (RFC 6455 11.3.4), and may stand in several fields. */
static bool offers(const struct request *r, struct slice wanted)
{
    const char *buf = r->head_buf.data;
    for (uint32_t i = 0; i < r->head.field_count; i++) {
        struct slice list, element;
        if (r->head.fields[i].id != HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL)
            continue;
        list = http_field_value(buf, &r->head.fields[i]);
        while (slice_next_in_list(&list, &element)) {
            if (slice_eq(element, wanted))
                return true;
        }
    }
    return false;
}

static bool subprotocols_fit(const struct request *r, const struct image_route *route)
{
    for (uint32_t i = 0; i < route->subprotocols.count; i++) {
        if (offers(r, image_text(r->image, route->subprotocols, i)))
            return true;
    }
    return route->subprotocols.count == 0;
}

void route_find(struct request *r)
{
    const struct image_route *route = NULL;
    while ((route = image_find_route(r->image, r->site, r->uri, route, r->groups)) != NULL) {
        if (method_fits(r, route) && fields_fit(r, route) && subprotocols_fit(r, route))
            break;
    }
    r->route = route;
}
