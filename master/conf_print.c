/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf.h"

#include "master/conf_value.h"

enum { INDENT = 4 };

static void print_level(enum conf_level level, const void *object, int depth, FILE *out);

static void print_list(const struct conf_key *key, const char *array, uint32_t count, int depth,
                       FILE *out)
{
    fputs(count > 0 ? "(" : "( ", out);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "%s\n%*s{\n", i > 0 ? "," : "", depth + INDENT, "");
        print_level(key->child, array + i * conf_value_element_size(key), depth + 2 * INDENT, out);
        fprintf(out, "%*s}", depth + INDENT, "");
    }
    if (count > 0)
        fprintf(out, "\n%*s", depth, "");
    fputc(')', out);
}

/* A group that may be off is off without what is required of it. */
static bool is_off(const struct conf_key *key, const void *field)
{
    const struct conf_key *required = conf_schema_next(key->child, NULL);
    while (required && !(required->flags & CONF_REQUIRED))
        required = conf_schema_next(key->child, required);
    return (key->flags & CONF_MAY_BE_OFF) && required &&
           !conf_value_is_set(key->child, field, required);
}

static void print_key(enum conf_level level, const void *object, const struct conf_key *key,
                      int depth, FILE *out)
{
    const void *field = conf_schema_field(level, object, key);
    fprintf(out, "%*s%s = ", depth, "", key->name);
    if (key->type == CONF_LIST) {
        print_list(key, *(char *const *)field,
                   *(const uint32_t *)conf_schema_extra(level, object, key), depth, out);
    } else if (key->type == CONF_GROUP && is_off(key, field)) {
        fputs("\"off\"", out);
    } else if (key->type == CONF_GROUP) {
        fputs("{\n", out);
        print_level(key->child, field, depth + INDENT, out);
        fprintf(out, "%*s}", depth, "");
    } else {
        conf_value_print(level, object, key, out);
    }
    fputs(";\n", out);
}

static void print_level(enum conf_level level, const void *object, int depth, FILE *out)
{
    for (const struct conf_key *key = NULL; (key = conf_schema_next(level, key)) != NULL;) {
        if (conf_value_is_set(level, object, key))
            print_key(level, object, key, depth, out);
        else
            fprintf(out, "%*s# %s is not set\n", depth, "", key->name);
    }
}

void conf_print(const struct conf *conf, FILE *out)
{
    print_level(CONF_TOP, conf, 0, out);
}
