/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of the access log from fixed pieces and strings of peers. The strings may hold any bytes
 * and be of any length: the line stays valid and within its size. No I/O, no heap.
 */
#ifndef WORKER_ACCESS_LINE_H
#define WORKER_ACCESS_LINE_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

enum access_escape {
    /*
     * Inside a JSON string (RFC 8259 7): UTF-8 stays; quote and backslash get a backslash; control
     * characters, C1 and DEL included, and each byte that is not UTF-8 (read as Latin-1) are \u00xx.
     */
    ACCESS_ESCAPE_JSON,
    /* As nginx: what is not printable ASCII, quote and backslash are \xHH; an empty string is "-". */
    ACCESS_ESCAPE_NGINX,
};

enum { ACCESS_PIECES_MAX = 16 };

/* `before` goes out as it is: it is ours. Then `text`, escaped. Both borrowed. */
struct access_piece {
    const char *before;
    struct slice text;
};

/* Where a line goes. */
struct access_room {
    char *p;
    size_t size;
};

/*
 * Write the pieces, then `tail`, which is ours, too, and ends the line. What does not fit into `size`
 * is cut from the longest texts, all to one length, never inside an escape or a character; "..."
 * shows where. The room must have 64 bytes for each text beside our own pieces (ASSERT).
 * Returns the line's length; no NUL is added.
 */
size_t access_line_write(enum access_escape escape, const struct access_piece *pieces,
                         uint32_t count, const char *tail, struct access_room room) MUST_CHECK;

#endif
