/* SPDX-License-Identifier: Apache-2.0 */
#include "common/forwarded.h"

#include "common/http_head.h"

#include <errno.h>
#include <stdio.h>

bool forwarded_last(struct slice *list, struct slice *element)
{
    while (list->n > 0) {
        size_t from = list->n;
        while (from > 0 && list->p[from - 1] != ',')
            from--;
        *element = slice_trim((struct slice){list->p + from, list->n - from});
        list->n = from > 0 ? from - 1 : 0;
        if (element->n > 0)
            return true;
    }
    return false;
}

int forwarded_address(struct slice element, struct addr *out)
{
    char bracketed[INET6_ADDRSTRLEN + 2];
    const char *why;
    bool names = slice_starts(element, SLICE("unix:")) || slice_starts(element, SLICE("*"));
    size_t colons = 0;
    for (size_t i = 0; i < element.n; i++)
        colons += element.p[i] == ':';
    /* Without brackets two colons or more are IPv6, and no port can follow. */
    if (colons > 1 && element.n < INET6_ADDRSTRLEN && element.p[0] != '[') {
        int n = snprintf(bracketed, sizeof bracketed, "[%.*s]", (int)element.n, element.p);
        element = (struct slice){bracketed, (size_t)n};
    }
    if (names || addr_parse(out, element, 1, false, &why) < 0 || out->u.sa.sa_family == AF_UNIX)
        return -EINVAL;
    addr_unmap(out);
    return 0;
}

static bool is_token(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!http_is_tchar((unsigned char)text.p[i]))
            return false;
    }
    return text.n > 0;
}

int forwarded_print(const struct addr *client, struct slice host, struct slice proto, char *out,
                    size_t size)
{
    char address[ADDR_TEXT_MAX];
    const char *quote = is_token(host) ? "" : "\"";
    addr_print_host(client, address);
    bool ipv6 = strchr(address, ':') && client->u.sa.sa_family == AF_INET6;
    const char *node = client->u.sa.sa_family == AF_UNIX ? "unknown" : address;
    int n = snprintf(out, size, ipv6 ? "for=\"[%s]\"" : "for=%s", node);
    if (host.n > 0 && n >= 0 && (size_t)n < size)
        n += snprintf(out + n, size - (size_t)n, ";host=%s%.*s%s", quote, (int)host.n, host.p,
                      quote);
    if (n >= 0 && (size_t)n < size)
        n += snprintf(out + n, size - (size_t)n, ";proto=%.*s", (int)proto.n, proto.p);
    return n >= 0 && (size_t)n < size ? n : -ENOSPC;
}
