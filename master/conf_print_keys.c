/* SPDX-License-Identifier: Apache-2.0 */
#include "common/units.h"
#include "master/conf_schema.h"
#include "master/conf_template.h"

#include <inttypes.h>

/* A cell of a table: '|' would end it. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

static void print_number(FILE *out, enum conf_type type, uint64_t value)
{
    char text[UNITS_TEXT_MAX];
    if (type == CONF_DURATION)
        units_print_duration(value, text);
    else if (type == CONF_SIZE)
        units_print_size(value, text);
    else if (type == CONF_PER_SECOND)
        units_print_per_second(value, text);
    else
        snprintf(text, sizeof(text), "%" PRIu64, value);
    fputs(text, out);
}

static void print_words(FILE *out, const struct conf_key *key)
{
    const char *comma = "";
    for (int i = 0; i < CONF_WORDS_MAX && key->words[i]; i++) {
        if (!key->words[i][0])
            continue;
        fprintf(out, "%s`\"%s\"`", comma, key->words[i]);
        comma = ", ";
    }
}

static void print_values(FILE *out, const struct conf_key *key)
{
    switch (key->type) {
    case CONF_WORD: print_words(out, key); break;
    case CONF_TEXTS:
        fputs(key->words[0] ? "an array of " : conf_schema_type_name(key->type), out);
        print_words(out, key);
        break;
    case CONF_INT:
    case CONF_DURATION:
    case CONF_SIZE:
        print_number(out, key->type, key->min);
        fputs(" to ", out);
        print_number(out, key->type, key->max);
        break;
    case CONF_PER_SECOND:
        fputs(key->min > 0 ? "" : "`\"\"`, or ", out);
        print_number(out, key->type, key->min > 0 ? key->min : 1);
        fputs(" to ", out);
        print_number(out, key->type, key->max);
        break;
    case CONF_FACTOR:
        fprintf(out, "%s%g to %g", strcmp(key->preset, "0") == 0 ? "0, " : "",
                (double)key->min / 100, (double)key->max / 100);
        break;
    default:
        fputs(conf_schema_type_name(key->type), out);
        if (key->flags & CONF_MAY_BE_OFF)
            fputs(", or `\"off\"`", out);
        break;
    }
}

/* The default of an array: its words, or in short that it is all of them. */
static void print_texts(FILE *out, const struct conf_key *key)
{
    const char *rest = key->preset;
    int same = 0;
    while (*rest && same < CONF_WORDS_MAX && key->words[same] &&
           strncmp(rest, key->words[same], strcspn(rest, " ")) == 0) {
        rest += strcspn(rest, " ");
        rest += strspn(rest, " ");
        same++;
    }
    if (same == CONF_WORDS_MAX || !key->words[same]) {
        fputs("all, in this order", out);
        return;
    }
    fputs("`[", out);
    for (rest = key->preset; *rest; rest += strspn(rest, " ")) {
        int n = (int)strcspn(rest, " ");
        fprintf(out, "%s \"%.*s\"", rest > key->preset ? "," : "", n, rest);
        rest += n;
    }
    fputs(" ]`", out);
}

static void print_default(FILE *out, const struct conf_key *key)
{
    bool quoted = key->type != CONF_INT && key->type != CONF_BOOL && key->type != CONF_FACTOR;
    if (key->flags & CONF_REQUIRED)
        fputs("required", out);
    else if (key->flags & CONF_MAY_BE_OFF)
        fputs("`\"off\"`", out);
    else if (key->preset && key->type == CONF_TEXTS)
        print_texts(out, key);
    else if (key->preset)
        fprintf(out, quoted ? "`\"%s\"`" : "`%s`", key->preset);
    else
        fputs(key->type == CONF_GROUP ? "its keys' defaults" : "none", out);
}

static void print_level(FILE *out, enum conf_level level)
{
    const struct conf_level_info *info = conf_schema_level(level);
    fprintf(out, "\n## %s\n%s\n\n", info->path[0] ? info->path : "Top level", info->doc);
    fputs("| key | values | default | meaning |\n|---|---|---|---|\n", out);
    for (const struct conf_key *key = NULL; (key = conf_schema_next(level, key)) != NULL;) {
        if (key->level != level)
            continue;
        fprintf(out, "| `%s` | ", key->name);
        print_values(out, key);
        fputs(" | ", out);
        print_default(out, key);
        fputs(" | ", out);
        print_cell(out, key->doc);
        fputs(" |\n", out);
    }
}

static void print_variables(FILE *out)
{
    const char *doc = NULL;
    fputs("\n## Variables of templates\n"
          "They may stand in `hash_key`, as `$name` or `${name}`; names and values are nginx's.\n"
          "\n| variable | value |\n|---|---|\n",
          out);
    for (uint32_t i = 0;; i++) {
        const char *name = conf_template_variable(i, &doc);
        if (!name)
            break;
        fprintf(out, "| `%s` | %s |\n", name, doc);
    }
}

void conf_print_keys(FILE *out)
{
    fputs(
        "# Keys of the configuration\n"
        "\n"
        "Written by `holdfast --keys`. The file is in libconfig syntax; `@include \"FILE\"` takes "
        "in another one, relative to the directory of the file that was named to holdfast.\n"
        "A duration is a number and `ms`, `s`, `m`, `h` or `d`; a size is a number of bytes, or "
        "one with `k`, `m` or `g` (1024 each); a rate is a number, of bytes a size, and `/s`, of "
        "handshakes also `/m` or `/h`. They stand in quotes.\n"
        "`holdfast -t` checks a file and names every error; `holdfast -T` also prints it with "
        "every default.\n",
        out);
    for (enum conf_level level = CONF_TOP; level < CONF_LEVEL_COUNT; level++)
        print_level(out, level);
    print_variables(out);
}
