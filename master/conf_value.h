/* SPDX-License-Identifier: Apache-2.0 */
/* One value of the configuration, from text to struct and back, by its row of the schema. */
#ifndef MASTER_CONF_VALUE_H
#define MASTER_CONF_VALUE_H

#include "master/conf_schema.h"

enum { CONF_VALUE_WHY_MAX = 512 };

/*
 * Store `text` (as in the file, without quotes) in the key's field of `object`, a struct of
 * `level`; what stood there is freed. Not for arrays, groups and lists.
 * Returns 0, -EINVAL with `why` filled, or -ENOMEM.
 */
int conf_value_set(enum conf_level level, void *object, const struct conf_key *key,
                   const char *text, char why[CONF_VALUE_WHY_MAX]) MUST_CHECK;

/* The same for element `i` of an array whose elements were allocated. */
int conf_value_set_element(void *array, uint32_t i, const struct conf_key *key, const char *text,
                           char why[CONF_VALUE_WHY_MAX]) MUST_CHECK;

/* Store the default of a CONF_TEXTS, which has one. Returns 0 or -ENOMEM. */
int conf_value_set_texts(enum conf_level level, void *object,
                         const struct conf_key *key) MUST_CHECK;

/* Copy the value of an option from one struct conf_options to another. Returns 0 or -ENOMEM. */
int conf_value_copy(struct conf_options *to, const struct conf_options *from,
                    const struct conf_key *key) MUST_CHECK;

/* False for a text without a value, such as a hash_key where nothing is hashed. */
bool conf_value_is_set(enum conf_level level, const void *object, const struct conf_key *key);

/* Print a value that is set as it may stand in the file. Not for groups and lists. */
void conf_value_print(enum conf_level level, const void *object, const struct conf_key *key,
                      FILE *out);

/* Free what a struct of this level owns. */
void conf_value_free_all(enum conf_level level, void *object);

/* Size of one element of an array or list. */
size_t conf_value_element_size(const struct conf_key *key);

#endif
