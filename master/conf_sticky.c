/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_sticky.h"

#include "common/http_char.h"
#include "common/sha1.h"

#include <stdio.h>

enum { TEXT_MAX = 128 }; /* bytes of each text: all attributes must fit */

bool conf_sticky_is_on(const struct conf_sticky *sticky)
{
    return sticky->cookie != NULL;
}

void conf_sticky_value(const struct conf_sticky *sticky, const char *upstream, const char *server,
                       char out[CONF_STICKY_VALUE_MAX])
{
    uint8_t digest[SHA1_LEN];
    char name[BOARD_NAME_MAX + BOARD_SERVER_MAX + 2];
    struct slice secret = sticky->secret ? slice_of(sticky->secret) : SLICE("");
    int n = snprintf(name, sizeof(name), "%s/%s", upstream, server);
    /* Twice, or the digest of a longer name could be computed from that of a shorter one. */
    sha1_of(secret, (struct slice){name, (size_t)n}, digest);
    sha1_of(secret, (struct slice){(const char *)digest, sizeof(digest)}, digest);
    for (int i = 0; i < CONF_STICKY_VALUE_MAX / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void conf_sticky_attributes(const struct conf_sticky *sticky, char out[CONF_STICKY_ATTRIBUTES_MAX])
{
    static const char *const same_site[] = {"", "; SameSite=Lax", "; SameSite=Strict",
                                            "; SameSite=None"};
    char max_age[40] = "";
    if (sticky->max_age_ms != 0)
        snprintf(max_age, sizeof(max_age), "; Max-Age=%u", sticky->max_age_ms / 1000);
    int n = snprintf(out, CONF_STICKY_ATTRIBUTES_MAX, "; Path=%s%s%s%s%s%s%s", sticky->path,
                     sticky->domain ? "; Domain=" : "", sticky->domain ? sticky->domain : "",
                     max_age, sticky->secure ? "; Secure" : "",
                     sticky->http_only ? "; HttpOnly" : "", same_site[sticky->same_site]);
    ASSERT(n < CONF_STICKY_ATTRIBUTES_MAX); /* conf_sticky_error has seen to that */
}

/* May stand in an attribute's value (RFC 6265 4.1.1)? */
static bool is_value(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~' || *text == ';' || *text == ',')
            return false;
    }
    return true;
}

static bool is_token(const char *text)
{
    for (; *text; text++) {
        if (!http_char_is(*text, HTTP_CHAR_TOKEN))
            return false;
    }
    return true;
}

const char *conf_sticky_error(const struct conf_sticky *sticky, const void **field)
{
    char *const *const texts[] = {&sticky->cookie, &sticky->path, &sticky->domain};
    if (!conf_sticky_is_on(sticky))
        return NULL;
    *field = &sticky->cookie;
    if (!is_token(sticky->cookie))
        return "a cookie's name has no spaces, quotes or any of ()<>@,;:\\/[]?={}";
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *field = texts[i];
        if (*texts[i] && strlen(*texts[i]) > TEXT_MAX)
            return "is longer than 128 bytes";
        if (*texts[i] && !is_value(*texts[i]))
            return "may hold visible ASCII characters but ; and , only: it stands in a header";
    }
    *field = &sticky->path;
    if (sticky->path && sticky->path[0] != '/')
        return "a path begins with '/'";
    *field = &sticky->same_site;
    if (sticky->same_site == CONF_SAME_SITE_NONE && !sticky->secure)
        return "browsers drop a cookie that is SameSite=None and not secure: set secure = true";
    return NULL;
}
