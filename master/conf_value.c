/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_value.h"

#include "common/units.h"
#include "master/conf_name.h"
#include "master/conf_template.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

enum {
    SHOWN_MAX = 80, /* bytes of a wrong value that a message repeats */
    TEMPLATE_MAX = 1024,
};

static int bad(char why[CONF_VALUE_WHY_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);
static int bad(char why[CONF_VALUE_WHY_MAX], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, CONF_VALUE_WHY_MAX, fmt, args);
    va_end(args);
    return -EINVAL;
}

static int set_text(char **field, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static size_t print_number(enum conf_type type, uint64_t value, char out[UNITS_TEXT_MAX])
{
    if (type == CONF_DURATION)
        return units_print_duration(value, out);
    if (type == CONF_SIZE)
        return units_print_size(value, out);
    if (type == CONF_PER_SECOND)
        return units_print_per_second(value, out);
    return (size_t)snprintf(out, UNITS_TEXT_MAX, "%" PRIu64, value);
}

static int parse_number(const struct conf_key *key, const char *text, uint64_t *value,
                        char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    struct slice slice = slice_of(text);
    int rc = 0;
    log_escape(slice, shown, sizeof(shown));
    if (key->type == CONF_DURATION) {
        rc = units_parse_duration(slice, value);
        if (rc == -EINVAL)
            return bad(why,
                       "\"%s\" is not a duration: write a number and one of ms, s, m, h, d, such "
                       "as \"4s\"",
                       shown);
    } else {
        rc = units_parse_size(slice, value);
        if (rc == -EINVAL && key->type == CONF_SIZE)
            return bad(why,
                       "\"%s\" is not a size: write a number of bytes, or one with k, m or g, such "
                       "as \"16k\"",
                       shown);
    }
    if (rc < 0 || *value < key->min || *value > key->max) {
        print_number(key->type, key->min, min);
        print_number(key->type, key->max, max);
        return bad(why, "%s is out of range: %s to %s are possible", shown, min, max);
    }
    return 0;
}

/* "1.25" as 125: at most two decimals. */
static int parse_factor(const struct conf_key *key, const char *text, uint32_t *hundredths,
                        char why[CONF_VALUE_WHY_MAX])
{
    char *end;
    double number = strtod(text, &end) * 100;
    uint32_t value = number >= 0 && number <= (double)key->max ? (uint32_t)(number + 0.5) : 0;
    double rest = number - value;
    if (*end != '\0' || rest > 0.001 || rest < -0.001 || (value != 0 && value < key->min))
        return bad(why, "%s is out of range: 0, or %g to %g with at most two decimals are possible",
                   text, (double)key->min / 100, (double)key->max / 100);
    *hundredths = value;
    return 0;
}

static int set_word(uint32_t *field, const struct conf_key *key, const char *text,
                    char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX], list[256] = "";
    struct conf_nearest nearest = {.word = text};
    for (uint32_t i = 0; i < CONF_WORDS_MAX && key->words[i]; i++) {
        const char *word = key->words[i];
        if (word[0] == '\0')
            continue;
        if (strcmp(word, text) == 0) {
            *field = i;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s\"%s\"", used ? ", " : "", word);
        conf_schema_nearest(&nearest, word);
    }
    log_escape(slice_of(text), shown, sizeof(shown));
    if (nearest.best)
        return bad(why, "\"%s\" is not one of %s; did you mean \"%s\"?", shown, list, nearest.best);
    return bad(why, "\"%s\" is not one of %s", shown, list);
}

/* What may stand in a Host field: nothing that a client could use to add a line or a space. */
static bool fits_host_header(const struct conf_template_part *part)
{
    switch (part->var) {
    case VAR_HOST:
    case VAR_HTTP_HOST:
    case VAR_SERVER_PORT:
    case VAR_BACKEND: return true;
    case VAR_TEXT: break;
    default: return false;
    }
    for (size_t i = 0; i < part->text.n; i++) {
        char c = part->text.p[i];
        if (c <= ' ' || c > '~' || strchr("/?#@\\\"<>", c))
            return false;
    }
    return true;
}

static int set_template(char **field, const struct conf_key *key, const char *text,
                        char why[CONF_VALUE_WHY_MAX])
{
    struct conf_template template;
    if (conf_template_parse(&template, slice_of(text)) < 0)
        return bad(why, "%s", template.why);
    /* The board shows a hash key as written: one byte less than its place, for the NUL. */
    size_t max = key->type == CONF_TEMPLATE ? TEMPLATE_MAX : BOARD_SERVER_MAX;
    if (strlen(text) >= max)
        return bad(why, "the template is longer than %zu bytes", max - 1);
    for (uint32_t i = 0; i < template.count; i++) {
        const struct conf_template_part *part = &template.parts[i];
        if (key->type == CONF_HASH_KEY && part->var == VAR_BACKEND)
            return bad(why, "$proxy_host cannot choose a server: it is known only afterwards");
        if (key->type == CONF_HOST_HEADER && !fits_host_header(part))
            return bad(why, "only $http_host, $host, $server_port, $proxy_host and the characters "
                            "of a host name may stand here: all else could forge a request");
    }
    return set_text(field, text);
}

static int set_rate(char **field, const char *text, char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX];
    uint64_t interval_us;
    log_escape(slice_of(text), shown, sizeof(shown));
    if (units_parse_rate(slice_of(text), &interval_us) < 0)
        return bad(why,
                   "\"%s\" is not a rate: write a number and one of /s, /m, /h, such as \"10/s\"; "
                   "at most a million a second",
                   shown);
    return set_text(field, text);
}

/* "" stands beside the range where nothing is a value. */
static int set_per_second(uint32_t *field, const struct conf_key *key, const char *text,
                          char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX], min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
    uint64_t value = 0, least = key->min > 0 ? key->min : 1;
    int rc = units_parse_per_second(slice_of(text), &value);
    log_escape(slice_of(text), shown, sizeof(shown));
    if (rc == -EINVAL)
        return bad(why,
                   "\"%s\" is not a rate a second: write a number, or one with k, m or g, and /s, "
                   "such as %s",
                   shown, conf_schema_example(key));
    if (rc < 0 || value > key->max || (value < least && (text[0] != '\0' || key->min > 0))) {
        units_print_per_second(least, min);
        units_print_per_second(key->max, max);
        return bad(why, "\"%s\" is out of range: %s\"%s\" to \"%s\" are possible", shown,
                   key->min == 0 ? "\"\", or " : "", min, max);
    }
    *field = (uint32_t)value;
    return 0;
}

static int set_address(char **field, struct addr *addr, const struct conf_key *key,
                       const char *text, char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX];
    const char *reason;
    bool listen = key->type == CONF_LISTEN;
    struct conf_name name;
    int rc = addr_parse(addr, slice_of(text), listen ? 0 : 80, listen, &reason);
    log_escape(slice_of(text), shown, sizeof(shown));
    if (rc < 0 && !listen && conf_name_parse(&name, slice_of(text)) == 0)
        rc = 0; /* the address stays empty: it will be resolved */
    if (rc < 0)
        return bad(why, "\"%s\": %s", shown, reason);
    if (listen && addr->u.sa.sa_family == AF_UNIX)
        return bad(why,
                   "\"%s\": every worker binds a socket of its own to a listener's address, "
                   "and a UNIX path can be bound only once",
                   shown);
    return set_text(field, text);
}

int conf_value_set(enum conf_level level, void *object, const struct conf_key *key,
                   const char *text, char why[CONF_VALUE_WHY_MAX])
{
    void *field = conf_schema_field(level, object, key);
    uint64_t number;
    int rc;
    switch (key->type) {
    case CONF_INT:
    case CONF_DURATION:
        rc = parse_number(key, text, &number, why);
        if (rc == 0)
            *(uint32_t *)field = (uint32_t)number;
        return rc;
    case CONF_SIZE:
        rc = parse_number(key, text, &number, why);
        if (rc == 0)
            *(uint64_t *)field = number;
        return rc;
    case CONF_BOOL: *(bool *)field = strcmp(text, "true") == 0; return 0;
    case CONF_FACTOR: return parse_factor(key, text, field, why);
    case CONF_TEXT:
        return text[0] || key->flags & CONF_MAY_BE_EMPTY ? set_text(field, text)
                                                         : bad(why, "the text is empty");
    case CONF_WORD: return set_word(field, key, text, why);
    case CONF_HASH_KEY:
    case CONF_HOST_HEADER:
    case CONF_TEMPLATE: return set_template(field, key, text, why);
    case CONF_RATE: return set_rate(field, text, why);
    case CONF_PER_SECOND: return set_per_second(field, key, text, why);
    case CONF_LISTEN:
    case CONF_ADDRESS:
        return set_address(field, conf_schema_extra(level, object, key), key, text, why);
    /* Arrays, groups and lists are the reader's. */
    default: ASSERT(key->type < CONF_HOSTS); return -EINVAL;
    }
}

int conf_value_set_texts(enum conf_level level, void *object, const struct conf_key *key)
{
    char **array = calloc(CONF_WORDS_MAX, sizeof(*array));
    const char *rest = key->preset;
    uint32_t count = 0;
    *(void **)conf_schema_field(level, object, key) = array;
    while (array && *rest && count < CONF_WORDS_MAX) {
        size_t n = strcspn(rest, " ");
        array[count] = strndup(rest, n);
        if (!array[count])
            break;
        count++;
        rest += n + strspn(rest + n, " ");
    }
    *(uint32_t *)conf_schema_extra(level, object, key) = count;
    return array && *rest == '\0' ? 0 : -ENOMEM;
}

/* An address to connect from: no port, which the kernel chooses for each connection. */
static int set_source(struct conf_source *source, const char *text, char why[CONF_VALUE_WHY_MAX])
{
    char shown[SHOWN_MAX], bracketed[INET6_ADDRSTRLEN + 2];
    const char *reason;
    struct addr with_port;
    struct slice slice = slice_of(text);
    log_escape(slice, shown, sizeof(shown));
    if (addr_parse(&with_port, slice, 0, false, &reason) == 0)
        return bad(why,
                   "\"%s\": write an IP address without port: the kernel chooses a port for "
                   "each connection",
                   shown);
    if (text[0] != '[' && strchr(text, ':') && slice.n < INET6_ADDRSTRLEN) {
        int n = snprintf(bracketed, sizeof(bracketed), "[%s]", text);
        slice = (struct slice){bracketed, (size_t)n};
    }
    if (addr_parse(&source->address, slice, 1, false, &reason) < 0)
        return bad(why, "\"%s\": not an IP address", shown);
    if (source->address.u.sa.sa_family == AF_INET)
        source->address.u.in.sin_port = 0;
    else
        source->address.u.in6.sin6_port = 0;
    return set_text(&source->text, text);
}

/* An element of CONF_TEXTS: one of the words, where there are words. */
static int set_one_text(char **field, const struct conf_key *key, const char *text,
                        char why[CONF_VALUE_WHY_MAX])
{
    uint32_t number;
    int rc = key->words[0] ? set_word(&number, key, text, why) : 0;
    return rc < 0 ? rc : set_text(field, text);
}

int conf_value_set_element(void *array, uint32_t i, const struct conf_key *key, const char *text,
                           char why[CONF_VALUE_WHY_MAX])
{
    if (text[0] == '\0')
        return bad(why, "the text is empty");
    if (key->type == CONF_SOURCES)
        return set_source((struct conf_source *)array + i, text, why);
    if (key->type == CONF_TEXTS)
        return set_one_text((char **)array + i, key, text, why);
    ASSERT(key->type == CONF_HOSTS);
    char **host = (char **)array + i;
    int rc = set_text(host, text);
    /* Names are compared in lower case: the case of ASCII letters means nothing (RFC 4343). */
    for (char *c = rc == 0 ? *host : NULL; c && *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    }
    return rc;
}

int conf_value_copy(struct conf_options *to, const struct conf_options *from,
                    const struct conf_key *key)
{
    void *target = conf_schema_field(CONF_OPTIONS, to, key);
    const void *origin = conf_schema_field(CONF_OPTIONS, from, key);
    switch (key->type) {
    case CONF_INT:
    case CONF_DURATION:
    case CONF_PER_SECOND:
    case CONF_WORD: memcpy(target, origin, sizeof(uint32_t)); return 0;
    case CONF_SIZE: memcpy(target, origin, sizeof(uint64_t)); return 0;
    case CONF_BOOL: memcpy(target, origin, sizeof(bool)); return 0;
    case CONF_TEXT:
    case CONF_HOST_HEADER:
    case CONF_TEMPLATE:
    case CONF_RATE: return *(char *const *)origin ? set_text(target, *(char *const *)origin) : 0;
    case CONF_TEXTS:
    case CONF_LIST:
        /* Borrowed: long lists stand once, and are known by their address (free_value). */
        *(void **)target = *(void *const *)origin;
        *(uint32_t *)conf_schema_extra(CONF_OPTIONS, to, key) =
            *(const uint32_t *)conf_schema_extra(CONF_OPTIONS, from, key);
        return 0;
    default: ASSERT(key->level != CONF_OPTIONS); return -EINVAL;
    }
}

static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_array(const struct conf_key *key, const void *array, uint32_t count, FILE *out)
{
    fputc('[', out);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : " ", out);
        print_text(out, key->type == CONF_SOURCES ? ((const struct conf_source *)array)[i].text
                                                  : ((char *const *)array)[i]);
    }
    fputs(" ]", out);
}

bool conf_value_is_set(enum conf_level level, const void *object, const struct conf_key *key)
{
    switch (key->type) {
    case CONF_TEXT:
    case CONF_HASH_KEY:
    case CONF_HOST_HEADER:
    case CONF_TEMPLATE:
    case CONF_LISTEN:
    case CONF_ADDRESS: return *(char *const *)conf_schema_field(level, object, key) != NULL;
    case CONF_WORD: /* 0 is a word, or, where that is empty, means that none was given */
        return key->words[*(const uint32_t *)conf_schema_field(level, object, key)][0] != '\0';
    default: return true;
    }
}

void conf_value_print(enum conf_level level, const void *object, const struct conf_key *key,
                      FILE *out)
{
    const void *field = conf_schema_field(level, object, key);
    char number[UNITS_TEXT_MAX];
    switch (key->type) {
    case CONF_INT: fprintf(out, "%u", *(const uint32_t *)field); break;
    case CONF_BOOL: fputs(*(const bool *)field ? "true" : "false", out); break;
    case CONF_FACTOR:
        fprintf(out, "%u.%02u", *(const uint32_t *)field / 100, *(const uint32_t *)field % 100);
        break;
    case CONF_WORD: fprintf(out, "\"%s\"", key->words[*(const uint32_t *)field]); break;
    case CONF_DURATION:
    case CONF_PER_SECOND:
        print_number(key->type, *(const uint32_t *)field, number);
        fprintf(out, "\"%s\"", number);
        break;
    case CONF_SIZE:
        print_number(key->type, *(const uint64_t *)field, number);
        fprintf(out, "\"%s\"", number);
        break;
    case CONF_HOSTS:
    case CONF_SOURCES:
    case CONF_TEXTS:
        print_array(key, *(void *const *)field,
                    *(const uint32_t *)conf_schema_extra(level, object, key), out);
        break;
    default: print_text(out, *(char *const *)field); break;
    }
}

size_t conf_value_element_size(const struct conf_key *key)
{
    switch (key->type) {
    case CONF_HOSTS:
    case CONF_TEXTS: return sizeof(char *);
    case CONF_SOURCES: return sizeof(struct conf_source);
    default: ASSERT(key->type == CONF_LIST); return conf_schema_level(key->child)->size;
    }
}

static void free_elements(const struct conf_key *key, void *array, uint32_t count)
{
    for (uint32_t i = 0; i < count && array; i++) {
        char *element = (char *)array + i * conf_value_element_size(key);
        if (key->type == CONF_HOSTS || key->type == CONF_TEXTS)
            free(*(char **)(void *)element);
        else if (key->type == CONF_SOURCES)
            free(((struct conf_source *)(void *)element)->text);
        else
            conf_value_free_all(key->child, element);
    }
    free(array);
}

/* A list that a site or a route has from above. */
static bool is_borrowed(enum conf_level level, const void *object, const struct conf_key *key)
{
    if (key->level != CONF_OPTIONS || (level != CONF_SITE && level != CONF_ROUTE))
        return false;
    const char *options = (const char *)conf_schema_field(level, object, key) - key->offset;
    return !(((const struct conf_options *)(const void *)options)->set & conf_schema_bit(key));
}

/* What the value of the key owns; for groups and lists all that they hold. */
static void free_value(enum conf_level level, void *object, const struct conf_key *key)
{
    void *field = conf_schema_field(level, object, key);
    switch (key->type) {
    case CONF_INT:
    case CONF_BOOL:
    case CONF_FACTOR:
    case CONF_WORD:
    case CONF_DURATION:
    case CONF_PER_SECOND:
    case CONF_SIZE: return;
    case CONF_GROUP: conf_value_free_all(key->child, field); return;
    case CONF_HOSTS:
    case CONF_SOURCES:
    case CONF_TEXTS:
    case CONF_LIST:
        if (is_borrowed(level, object, key))
            break;
        free_elements(key, *(void **)field, *(uint32_t *)conf_schema_extra(level, object, key));
        break;
    default: free(*(char **)field); break;
    }
    *(void **)field = NULL;
}

void conf_value_free_all(enum conf_level level, void *object)
{
    for (const struct conf_key *key = NULL; (key = conf_schema_next(level, key)) != NULL;)
        free_value(level, object, key);
}
