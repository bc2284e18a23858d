/* SPDX-License-Identifier: Apache-2.0 */
/* Health checks in the configuration: what is wrong with them, and their sets of statuses. Master only. */
#ifndef MASTER_CONF_HEALTH_H
#define MASTER_CONF_HEALTH_H

#include "master/conf.h"

/*
 * "200-299,401" into `out`: at most HEALTH_STATUS_MAX ranges of 100 to 599.
 * Returns 0, or -EINVAL: out->status_count is 0 then.
 */
int conf_health_status(const char *text, struct image_health *out) MUST_CHECK;

/* NULL, or what is wrong with it: *field is where. */
const char *conf_health_error(const struct conf_health *health, const void **field);

#endif
