/* SPDX-License-Identifier: Apache-2.0 */
/* What observers and people are told of certificates. Master only. */
#ifndef MASTER_CERTIFICATES_H
#define MASTER_CERTIFICATES_H

#include "master/master.h"

/* A configuration has become the one in use: put its certificates on the board, and judge them soon. */
void certificates_show(struct master *master);

/*
 * Say which ones expire within CERTIFICATES_WARN_DAYS: after each certificates_show and then once a day.
 * Every turn.
 */
enum { CERTIFICATES_WARN_DAYS = 30 };
void certificates_step(struct master *master, uint64_t now_ms);

#endif
