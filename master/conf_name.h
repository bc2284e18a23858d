/* SPDX-License-Identifier: Apache-2.0 */
/* Server names that have to be resolved, as they stand in `address`. Master and checker; no I/O. */
#ifndef MASTER_CONF_NAME_H
#define MASTER_CONF_NAME_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { CONF_NAME_MAX = 254 }; /* bytes of a DNS name, with its NUL */

struct conf_name {
    char host[CONF_NAME_MAX];
    uint16_t port; /* SRV: 0, records tell it */
    bool srv;
};

/*
 * "app.example.com:9000", "app.example.com" (port 80), "srv:_ws._tcp.example.com".
 * Returns 0, or -EINVAL: it is no name, perhaps an address.
 */
int conf_name_parse(struct conf_name *name, struct slice text) MUST_CHECK;

#endif
