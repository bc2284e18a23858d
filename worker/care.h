/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown of a tunnel whose peers are pinged or limited (struct board_care). */
#ifndef WORKER_CARE_H
#define WORKER_CARE_H

#include "worker/context.h"

/*
 * The public record of what was done for an open tunnel; zeroed, and given memory, when it is asked for
 * first. NULL if there is no memory for it: then nothing is shown, and that is all.
 */
struct board_care *care_of(struct worker *w, uint32_t tunnel);

#endif
