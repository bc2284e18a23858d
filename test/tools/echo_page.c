/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/echo_page.h"

/* Built from the top of the source tree, so the path is relative to that. */
__asm__(".section .rodata\n"
        "page_begin: .incbin \"test/tools/echo_page.html\"\n"
        "page_end:\n"
        ".previous\n");

extern const char page_begin[], page_end[];

struct slice echo_page(void)
{
    return (struct slice){page_begin, (size_t)(page_end - page_begin)};
}
