/* SPDX-License-Identifier: Apache-2.0 */
/* From the libconfig file to struct conf, by the schema. */
#ifndef MASTER_CONF_FILE_H
#define MASTER_CONF_FILE_H

#include "master/conf.h"
#include "master/conf_error.h"

/*
 * Read errors->path into an empty *conf and set every default; inheritance and checks across keys
 * are the caller's. Goes on after an error, so that all are printed and counted; what was wrong is
 * left NULL or 0. Returns 0 (with or without counted errors), or -errno, printed, when there is
 * nothing to check: the file cannot be read or memory is out.
 */
int conf_file_read(struct conf *conf, struct conf_errors *errors) MUST_CHECK;

#endif
