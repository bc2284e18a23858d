/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of session tickets (shm/tickets.h): made, taken from files, and changed in time. Master only. */
#ifndef MASTER_ROTATE_H
#define MASTER_ROTATE_H

#include "master/master.h"

/* Make the segment, or map the one that a program before us has made. Returns 0 or -errno. */
int rotate_begin(struct master *master) MUST_CHECK;

/*
 * A configuration has become the one in use: publish the keys of its files, or one of our own if those
 * in use are of files. Does nothing while there are no certificates. Never blocks.
 */
void rotate_use(struct master *master);

/* A key of our own is changed when it is due. Every turn. */
void rotate_step(struct master *master, uint64_t now_ms);

/* Unmap and close. */
void rotate_end(struct master *master);

#endif
