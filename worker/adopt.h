/* SPDX-License-Identifier: Apache-2.0 */
/* Adoption: a fresh worker goes on where its predecessor died. */
#ifndef WORKER_ADOPT_H
#define WORKER_ADOPT_H

#include "worker/context.h"

/*
 * Take over the slot: resolve the step in flight from the kernel's counts, finish what was closing,
 * rebuild lists and timers by one scan, close descriptors that no record owns, correct the board and
 * handle the events that were taken and not handled. The first worker of a slot finds nothing to do.
 * May be killed at any point and run again by the next one. Returns 0 or -errno.
 */
int adopt_predecessor(struct worker *w) MUST_CHECK;

#endif
