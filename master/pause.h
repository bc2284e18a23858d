/* SPDX-License-Identifier: Apache-2.0 */
/* WINCH: serve what is open, accept nothing, listen no more; HUP takes it back. Master only. */
#ifndef MASTER_PAUSE_H
#define MASTER_PAUSE_H

#include "master/master.h"

void pause_accepting(struct master *master);

#endif
