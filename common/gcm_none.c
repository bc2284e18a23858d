/* SPDX-License-Identifier: Apache-2.0 */
/* In place of gcm.c where the library is not: never usable, so nobody has a key to come with. */
#include "common/gcm.h"

bool gcm_init(void)
{
    return false;
}

struct gcm_key *gcm_key_new(void)
{
    return NULL;
}

void gcm_key_free(struct gcm_key **key)
{
    ASSERT(!*key);
}

void gcm_key_set(struct gcm_key *key, const uint8_t *bytes, size_t n)
{
    (void)key, (void)bytes, (void)n;
    ASSERT(false);
}

void gcm_key_wipe(struct gcm_key *key)
{
    (void)key;
    ASSERT(false);
}

void gcm_seal(struct gcm_key *key, const struct gcm_about *about, struct slice text,
              const uint8_t *last, uint8_t *out)
{
    (void)key, (void)about, (void)text, (void)last, (void)out;
    ASSERT(false);
}

bool gcm_open(struct gcm_key *key, const struct gcm_about *about, const uint8_t *text, size_t n,
              uint8_t *out)
{
    (void)key, (void)about, (void)text, (void)n, (void)out;
    ASSERT(false);
    return false;
}
