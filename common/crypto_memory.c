/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crypto_memory.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * A handshake takes and gives back some thousand small blocks, and each is to be wiped. So we keep our
 * own lists of free blocks, by size class, and know each block's size: with malloc and
 * malloc_usable_size all this took 8 % of a handshake. No process of ours has threads.
 */
enum {
    SMALLEST = 32, /* bytes; every doubling from here on has 4 classes */
    DOUBLINGS = 10,
    CLASSES = 4 * DOUBLINGS,
    KEPT_MAX = 1 << 20, /* bytes in the lists: what 20 handshakes at a time need */
};

#if defined(__SANITIZE_ADDRESS__)
enum { KEEPS = 0 }; /* who uses a freed block is to be found */
#elif defined(__has_feature)
enum { KEEPS = !__has_feature(address_sanitizer) };
#else
enum { KEEPS = 1 };
#endif

/* In front of every block. */
struct block {
    size_t room;        /* bytes behind this head */
    struct block *next; /* in a list */
};
_Static_assert(sizeof(struct block) % 16 == 0, "what stands behind it is aligned as malloc's");

static struct {
    struct block *lists[CLASSES];
    size_t kept; /* bytes in them */
} memory;

/* The class whose blocks have at least n bytes, and how many they have; CLASSES: n is beyond all. */
static unsigned class_of(size_t n, size_t *size)
{
    unsigned doubling = 0;
    while (doubling < DOUBLINGS && n > (size_t)SMALLEST << (doubling + 1))
        doubling++;
    if (doubling == DOUBLINGS) {
        *size = n;
        return CLASSES;
    }
    size_t from = (size_t)SMALLEST << doubling;
    size_t step = n <= from ? 0 : (n - from - 1) / (from / 4);
    *size = from + (step + 1) * (from / 4);
    return 4 * doubling + (unsigned)step;
}

static void *take(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    size_t room;
    unsigned class = class_of(n, &room);
    struct block *block = class < CLASSES ? memory.lists[class] : NULL;
    if (block) {
        memory.lists[class] = block->next;
        memory.kept -= room;
        return block + 1;
    }
    if (room > SIZE_MAX - sizeof *block || !(block = malloc(sizeof *block + room)))
        return NULL;
    block->room = room;
    return block + 1;
}

/* All that the block may hold is wiped: OpenSSL does not tell how much it has used. */
static void give_back(void *bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    if (!bytes)
        return;
    struct block *block = (struct block *)bytes - 1;
    size_t room = block->room;
    explicit_bzero(bytes, room);
    unsigned class = class_of(room, &room);
    if (!KEEPS || class == CLASSES || memory.kept + room > KEPT_MAX) {
        free(block);
        return;
    }
    block->next = memory.lists[class];
    memory.lists[class] = block;
    memory.kept += room;
}

/* Never realloc: it moves bytes and leaves the old ones where they were. */
static void *resize(void *bytes, size_t n, const char *file, int line)
{
    if (!bytes)
        return take(n, file, line);
    if (n == 0) {
        give_back(bytes, file, line);
        return NULL;
    }
    size_t room = ((struct block *)bytes - 1)->room;
    if (n <= room) {
        explicit_bzero((char *)bytes + n, room - n);
        return bytes;
    }
    void *larger = take(n, file, line);
    if (!larger)
        return NULL;
    memcpy(larger, bytes, room);
    give_back(bytes, file, line);
    return larger;
}

int crypto_memory_init(void)
{
    static bool done;

    if (done)
        return 0;
    if (CRYPTO_set_mem_functions(take, resize, give_back) != 1)
        return -EBUSY;
    if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return -ENOMEM;
    done = true;
    return 0;
}
