/* SPDX-License-Identifier: Apache-2.0 */
/* The demo page, echo_page.html, as it was when the program was built. */
#ifndef TEST_TOOLS_ECHO_PAGE_H
#define TEST_TOOLS_ECHO_PAGE_H

#include "common/slice.h"

/* The page: bytes that live as long as the program. */
struct slice echo_page(void);

#endif
