/* SPDX-License-Identifier: Apache-2.0 */
/* USR1: open the log files anew, for logrotate. Master only. */
#ifndef MASTER_REOPEN_H
#define MASTER_REOPEN_H

#include "master/master.h"

/* When a file cannot be opened, the old ones stay in use and the old error log says why. */
void reopen_logs(struct master *master);

#endif
