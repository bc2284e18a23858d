/* SPDX-License-Identifier: Apache-2.0 */
/* What the allocator keeps. */
#ifndef WORKER_MEMORY_H
#define WORKER_MEMORY_H

/*
 * Give freed memory back to the kernel now: after a storm of handshakes an idle worker frees nothing
 * more, and its allocator would look no more. Some milliseconds after a storm, else microseconds.
 */
void memory_give_back(void);

#endif
