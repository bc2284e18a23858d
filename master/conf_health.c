/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_health.h"

#include "common/http_char.h"

#include <errno.h>
#include <stdlib.h>

enum { TEXT_MAX = 512 }; /* bytes of a path or host: a check's request must fit its buffer */

/* Three digits and what follows them; 0 if that is no status. */
static uint16_t read_status(const char **text)
{
    char *end;
    unsigned long value = strspn(*text, "0123456789") == 3 ? strtoul(*text, &end, 10) : 0;
    if (value < 100 || value > 599)
        return 0;
    *text = end;
    return (uint16_t)value;
}

int conf_health_status(const char *text, struct image_health *out)
{
    uint32_t count = 0;
    out->status_count = 0;
    for (;; text++) {
        uint16_t from = read_status(&text);
        uint16_t to = from;
        if (from != 0 && *text == '-') {
            text++;
            to = read_status(&text);
        }
        if (from == 0 || to < from || count == HEALTH_STATUS_MAX || (*text && *text != ','))
            return -EINVAL;
        out->status[count].from = from;
        out->status[count++].to = to;
        if (*text == '\0')
            break;
    }
    out->status_count = count;
    return 0;
}

/* Is every byte of the text of these classes, and does it fit? */
static bool is_made_of(const char *text, unsigned classes)
{
    uint32_t n = (uint32_t)strlen(text);
    return n <= TEXT_MAX && http_char_span(text, 0, n, classes) == n;
}

/* A name or an address, in brackets if it is IPv6, perhaps with a port. */
static bool is_host(const char *text)
{
    if (text[0] == '\0' || strlen(text) > TEXT_MAX)
        return false;
    for (; *text; text++) {
        if (!http_char_is(*text, HTTP_CHAR_HOST) && !strchr(":[]", *text))
            return false;
    }
    return true;
}

const char *conf_health_error(const struct conf_health *health, const void **field)
{
    struct image_health ranges;
    if (health->type == HEALTH_OFF)
        return NULL;
    *field = &health->path;
    if (health->path[0] != '/' || !is_made_of(health->path, HTTP_CHAR_TARGET))
        return "a path begins with '/' and has neither spaces nor '#'";
    *field = &health->method;
    if (!is_made_of(health->method, HTTP_CHAR_TOKEN))
        return "is no method of HTTP";
    if (health->type == HEALTH_WEBSOCKET && strcmp(health->method, "GET") != 0)
        return "a WebSocket handshake is a GET (RFC 6455 4.1)";
    *field = &health->host;
    if (health->host && !is_host(health->host))
        return "is no host, or host:port";
    *field = &health->status;
    if (conf_health_status(health->status, &ranges) < 0)
        return "write statuses and ranges of 100 to 599, such as \"200-299,401\", 8 at most";
    return NULL;
}
