/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping a process small that only waits. */
#ifndef MASTER_SLIM_H
#define MASTER_SLIM_H

/*
 * Give back the pages of program text and constants, of this program and its libraries: they come
 * back from the page cache when they are touched. Any process; changes nothing but its size.
 */
void slim_drop_text(void);

/*
 * Move the relocated constants (RELRO) of this program and its libraries from private memory into one
 * sealed file in memory, mapped read-only in their place. As private memory every child has all of
 * them, 0.5 MB, used or not; of a file it has what it touches, and a keeper touches little. They
 * stay as read-only as the loader has made them. Before children are forked. If that
 * fails it is logged, and what was not moved is as it was.
 */
void slim_share_relocations(void);

#endif
