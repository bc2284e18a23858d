/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crypto_memory.h"

#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING_EXTRA (OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ADD_ALL_CIPHERS)

static void *take(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(n);
}

/* All that the block may hold: OpenSSL does not tell its size, and may have used more than it asked. */
static void give_back(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    if (!block)
        return;
    explicit_bzero(block, malloc_usable_size(block));
    free(block);
}

/* Never realloc: it moves bytes and leaves the old ones where they were. */
static void *resize(void *block, size_t n, const char *file, int line)
{
    if (!block)
        return take(n, file, line);
    if (n == 0) {
        give_back(block, file, line);
        return NULL;
    }
    size_t room = malloc_usable_size(block);
    if (n <= room) {
        explicit_bzero((char *)block + n, room - n);
        return block;
    }
    void *larger = malloc(n);
    if (!larger)
        return NULL;
    memcpy(larger, block, room);
    give_back(block, file, line);
    return larger;
}

int crypto_memory_init(void)
{
    static bool done;

    if (done)
        return 0;
    if (CRYPTO_set_mem_functions(take, resize, give_back) != 1)
        return -EBUSY;
    if (OPENSSL_init_crypto(NOTHING_EXTRA, NULL) != 1)
        return -ENOMEM;
    done = true;
    return 0;
}
