/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of text and variables, such as "$remote_addr:$arg_room" or "${scheme}x". Pure. */
#ifndef MASTER_CONF_TEMPLATE_H
#define MASTER_CONF_TEMPLATE_H

#include "common/compiler.h"
#include "common/slice.h"
#include "shm/image.h"

#include <stdint.h>

enum { CONF_TEMPLATE_PARTS_MAX = 32, CONF_TEMPLATE_WHY_MAX = 256 };

struct conf_template_part {
    enum image_var var;
    struct slice text; /* VAR_TEXT: itself; VAR_ARG, VAR_HTTP, VAR_COOKIE: NAME; else empty */
};

struct conf_template {
    struct conf_template_part parts[CONF_TEMPLATE_PARTS_MAX];
    uint32_t count;
    char why[CONF_TEMPLATE_WHY_MAX]; /* what is wrong, after an error */
};

/*
 * Cut `text` into parts, which point into it. Names are those of nginx.
 * Returns 0 or -EINVAL with template->why set: it names the nearest variable for an unknown one.
 */
int conf_template_parse(struct conf_template *template, struct slice text) MUST_CHECK;

/* "$remote_addr", "$arg_NAME": the i-th variable of the reference and its meaning; NULL: no more. */
const char *conf_template_variable(uint32_t i, const char **doc);

#endif
