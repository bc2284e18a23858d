/* SPDX-License-Identifier: Apache-2.0 */
#include "common/compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *last_words;
static size_t last_words_size;

void assert_set_last_words(char *at, size_t size)
{
    last_words = at;
    last_words_size = size;
}

void assert_failed(const char *cond, const char *file, int line, const char *func)
{
    char text[256];
    int n = snprintf(text, sizeof text, "assertion failed: %s (%s:%d, %s)", cond, file, line, func);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;

    if (last_words && last_words_size > 0) {
        size_t copy = len < last_words_size - 1 ? len : last_words_size - 1;
        memcpy(last_words, text, copy);
        last_words[copy] = '\0';
    }
    text[len < sizeof text - 1 ? len : sizeof text - 2] = '\n';
    ssize_t ignored = write(STDERR_FILENO, text, len + 1);
    (void)ignored;
    abort();
}
