/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_MAX = 63 };

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Labels of letters, digits, '-' and '_', the last one with a letter: "10.0.0.300" is a wrong address. */
static bool is_name(const char *host)
{
    size_t label = 0;
    bool letter = false;
    for (const char *c = host;; c++) {
        if (*c == '.' || *c == '\0') {
            bool root = *c == '\0' && label == 0 && c > host; /* a name may end in a dot */
            if ((label == 0 && !root) || label > LABEL_MAX)
                return false;
            if (*c == '\0')
                return letter;
            label = 0;
            letter = letter && c[1] == '\0';
            continue;
        }
        if (!is_letter(*c) && !is_digit(*c) && *c != '-' && *c != '_')
            return false;
        letter = letter || is_letter(*c);
        label++;
    }
}

/* Cut a port off; false if what stands there is none. */
static bool take_port(char *host, uint16_t *port)
{
    char *colon = strchr(host, ':');
    *port = 80;
    if (!colon)
        return true;
    size_t digits = strspn(colon + 1, "0123456789");
    unsigned long number = digits > 0 && digits <= 5 ? strtoul(colon + 1, NULL, 10) : 0;
    if (colon[1 + digits] != '\0' || number == 0 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    *colon = '\0';
    return true;
}

int conf_name_parse(struct conf_name *name, struct slice text)
{
    char host[CONF_NAME_MAX + 8];
    *name = (struct conf_name){.srv = slice_starts(text, SLICE("srv:"))};
    size_t skip = name->srv ? 4 : 0;
    size_t n = text.n - skip;
    if (n == 0 || n >= sizeof(host) || memchr(text.p, '\0', text.n))
        return -EINVAL;
    memcpy(host, text.p + skip, n);
    host[n] = '\0';
    if (!name->srv && !take_port(host, &name->port))
        return -EINVAL;
    if (strlen(host) >= CONF_NAME_MAX || !is_name(host))
        return -EINVAL;
    memcpy(name->host, host, strlen(host) + 1);
    return 0;
}
