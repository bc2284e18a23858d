/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold between the values of a configuration, whatever file it came from. */
#ifndef MASTER_CONF_CHECK_H
#define MASTER_CONF_CHECK_H

#include "master/conf.h"
#include "master/conf_error.h"

/*
 * Print and count every error: names, references, what stands twice, limits of the board. Pure but
 * for the messages. Values that the reader has refused (NULL) are passed over, so that one mistake
 * gives one message.
 */
void conf_check_all(const struct conf *conf, struct conf_errors *errors);

#endif
