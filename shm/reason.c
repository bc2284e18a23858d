/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/reason.h"

static const struct {
    const char *word;
    const char *doc;
} reasons[] = {
#define X(name, word, doc) {word, doc},
    REASON_TABLE(X)
#undef X
};

const char *reason_word(uint32_t reason)
{
    return reason < REASON_COUNT ? reasons[reason].word : "unknown";
}

const char *reason_doc(uint32_t reason)
{
    return reason < REASON_COUNT ? reasons[reason].doc : "";
}
