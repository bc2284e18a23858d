/* SPDX-License-Identifier: Apache-2.0 */
/* Sticky cookies: what stands in the image for them, made once, so that workers only compare. Master only. */
#ifndef MASTER_CONF_STICKY_H
#define MASTER_CONF_STICKY_H

#include "master/conf.h"

enum { CONF_STICKY_VALUE_MAX = 33, CONF_STICKY_ATTRIBUTES_MAX = 512 };

/* Is there a cookie? */
bool conf_sticky_is_on(const struct conf_sticky *sticky);

/*
 * The value that names a server of an upstream, with its NUL: 32 hex digits that tell a client nothing
 * about the server and, with a secret, cannot be made by whoever knows its address.
 */
void conf_sticky_value(const struct conf_sticky *sticky, const char *upstream, const char *server,
                       char out[CONF_STICKY_VALUE_MAX]);

/* What follows the value in Set-Cookie: "; Path=/; HttpOnly" and so on. */
void conf_sticky_attributes(const struct conf_sticky *sticky, char out[CONF_STICKY_ATTRIBUTES_MAX]);

/* NULL, or what is wrong with it: *field is where. */
const char *conf_sticky_error(const struct conf_sticky *sticky, const void **field);

#endif
