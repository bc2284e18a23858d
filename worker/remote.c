/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/remote.h"

#include "common/forwarded.h"
#include "worker/request.h"

/* One field, from its end. Returns false when the search is over. */
static bool walk_back(struct request *r, struct slice list)
{
    struct slice element;
    struct addr address;
    while (forwarded_last(&list, &element)) {
        if (image_verdict(r->image, r->route->trusted, r->remote) == 0)
            return false;
        if (forwarded_address(element, &address) < 0)
            return false;
        r->forwarded = address;
        r->remote = &r->forwarded;
    }
    return true;
}

void remote_find(struct request *r)
{
    r->remote = &r->client->address;
    if (r->route->trusted.count == 0)
        return;
    for (uint32_t i = r->head.field_count; i > 0; i--) {
        const struct http_field *field = &r->head.fields[i - 1];
        if (field->id == HTTP_FIELD_X_FORWARDED_FOR &&
            !walk_back(r, http_field_value(r->head_buf.data, field)))
            return;
    }
}
