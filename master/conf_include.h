/* SPDX-License-Identifier: Apache-2.0 */
/* A look at the files that a configuration includes, before libconfig reads them. */
#ifndef MASTER_CONF_INCLUDE_H
#define MASTER_CONF_INCLUDE_H

#include "master/conf_error.h"

/*
 * Print an error for each @include that names a directory, for libconfig's scanner ends the whole process
 * when it meets one, and a reload must not end a master; or a pipe, for whose other end it would wait.
 * `stream` is the file `path`; it is read and rewound, or left alone if it is a pipe. Includes are opened
 * relative to the working directory.
 */
void conf_include_check(FILE *stream, const char *path, struct conf_errors *errors);

#endif
