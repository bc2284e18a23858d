/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/reason.h"

static const char *const words[] = {
#define X(name, word, doc) word,
    REASON_TABLE(X)
#undef X
};

const char *reason_word(uint32_t reason)
{
    return reason < REASON_COUNT ? words[reason] : "unknown";
}
