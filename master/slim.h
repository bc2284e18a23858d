/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping a process small that only waits. */
#ifndef MASTER_SLIM_H
#define MASTER_SLIM_H

/*
 * Give back the pages of program text and constants, of this program and its libraries: they come
 * back from the page cache when they are touched. Any process; changes nothing but its size.
 */
void slim_drop_text(void);

#endif
