/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that knows libconfig. */
#define _GNU_SOURCE 1
#include "master/conf_file.h"

#include "master/conf_include.h"
#include "master/conf_value.h"

#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct reader {
    struct conf *conf;
    struct conf_errors *errors;
};

/* The group being read: its struct, and where it stands in the file. */
struct group {
    enum conf_level level;
    void *object;
    const struct conf_place *place; /* NULL: top level */
};

static int read_group(struct reader *reader, const config_setting_t *setting,
                      const struct group *group);

static const char *setting_kind(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64: return "an integer";
    case CONFIG_TYPE_FLOAT: return "a fraction";
    case CONFIG_TYPE_STRING: return "a text";
    case CONFIG_TYPE_BOOL: return "true or false";
    case CONFIG_TYPE_ARRAY: return "an array [ ]";
    case CONFIG_TYPE_LIST: return "a list ( )";
    default: return "a group { }";
    }
}

static struct conf_place *add_place(struct reader *reader, const config_setting_t *setting,
                                    const struct conf_place *parent, const char *name,
                                    const void *field)
{
    const char *file = config_setting_source_file(setting);
    return conf_error_place(reader->conf, (struct conf_place){
                                              .field = field,
                                              .file = file ? file : reader->errors->path,
                                              .line = (int)config_setting_source_line(setting),
                                              .parent = parent,
                                              .name = name,
                                              .index = config_setting_index(setting),
                                          });
}

static void wrong_type(struct reader *reader, const config_setting_t *setting,
                       const struct conf_key *key, const struct conf_place *place)
{
    conf_error_at(reader->errors, place, "is %s, but %s is expected, such as %s = %s",
                  setting_kind(setting), conf_schema_type_name(key->type), key->name,
                  conf_schema_example(key));
}

/* The value of a scalar as text; NULL if it has not the type that the key wants. */
static const char *scalar_text(const config_setting_t *setting, enum conf_type type,
                               char number[32])
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        snprintf(number, 32, "%d", config_setting_get_int(setting));
        return type == CONF_INT || type == CONF_FACTOR ? number : NULL;
    case CONFIG_TYPE_INT64:
        snprintf(number, 32, "%lld", config_setting_get_int64(setting));
        return type == CONF_INT ? number : NULL;
    case CONFIG_TYPE_FLOAT:
        snprintf(number, 32, "%.10g", config_setting_get_float(setting));
        return type == CONF_FACTOR ? number : NULL;
    case CONFIG_TYPE_BOOL:
        if (type != CONF_BOOL)
            return NULL;
        return config_setting_get_bool(setting) ? "true" : "false";
    case CONFIG_TYPE_STRING:
        return type == CONF_INT || type == CONF_FACTOR || type == CONF_BOOL
                   ? NULL
                   : config_setting_get_string(setting);
    default: return NULL;
    }
}

static int read_scalar(struct reader *reader, const config_setting_t *setting,
                       const struct group *group, const struct conf_key *key,
                       const struct conf_place *place)
{
    char number[32], why[CONF_VALUE_WHY_MAX];
    const char *text = scalar_text(setting, key->type, number);
    if (!text) {
        wrong_type(reader, setting, key, place);
        return 0;
    }
    int rc = conf_value_set(group->level, group->object, key, text, why);
    if (rc == -EINVAL)
        conf_error_at(reader->errors, place, "%s", why);
    return rc == -ENOMEM ? rc : 0;
}

static int read_element(struct reader *reader, const config_setting_t *setting,
                        const struct conf_key *key, void *array, const struct conf_place *parent)
{
    char why[CONF_VALUE_WHY_MAX];
    uint32_t i = (uint32_t)config_setting_index(setting);
    char *element = (char *)array + i * conf_value_element_size(key);
    struct conf_place *place = add_place(reader, setting, parent, NULL, element);
    if (!place)
        return -ENOMEM;
    if (key->type == CONF_LIST) {
        struct group group = {.level = key->child, .object = element, .place = place};
        if (config_setting_is_group(setting))
            return read_group(reader, setting, &group);
        conf_error_at(reader->errors, place, "is %s, but a group is expected, such as %s = %s",
                      setting_kind(setting), key->name, conf_schema_example(key));
        return 0;
    }
    if (config_setting_type(setting) != CONFIG_TYPE_STRING) {
        wrong_type(reader, setting, key, place);
        return 0;
    }
    int rc = conf_value_set_element(array, i, key, config_setting_get_string(setting), why);
    if (rc == -EINVAL)
        conf_error_at(reader->errors, place, "%s", why);
    return rc == -ENOMEM ? rc : 0;
}

/* Arrays and lists are allocated once: places point into them. */
static int read_array(struct reader *reader, const config_setting_t *setting,
                      const struct group *group, const struct conf_key *key,
                      const struct conf_place *place)
{
    bool list = config_setting_is_list(setting);
    if (!list && (key->type == CONF_LIST || !config_setting_is_array(setting))) {
        wrong_type(reader, setting, key, place);
        return 0;
    }
    int count = config_setting_length(setting);
    void *array = calloc((size_t)count + 1, conf_value_element_size(key));
    if (!array)
        return -ENOMEM;
    *(void **)conf_schema_field(group->level, group->object, key) = array;
    *(uint32_t *)conf_schema_extra(group->level, group->object, key) = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        int rc = read_element(reader, config_setting_get_elem(setting, (unsigned int)i), key, array,
                              place);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool is_off(const config_setting_t *setting, const struct conf_key *key)
{
    return (key->flags & CONF_MAY_BE_OFF) && config_setting_type(setting) == CONFIG_TYPE_STRING &&
           strcmp(config_setting_get_string(setting), "off") == 0;
}

static int read_value(struct reader *reader, const config_setting_t *setting,
                      const struct group *group, const struct conf_key *key,
                      const struct conf_place *place)
{
    switch (key->type) {
    case CONF_GROUP: {
        struct group child = {.level = key->child,
                              .object = conf_schema_field(group->level, group->object, key),
                              .place = place};
        if (config_setting_is_group(setting))
            return read_group(reader, setting, &child);
        if (!is_off(setting, key))
            wrong_type(reader, setting, key, place);
        return 0;
    }
    case CONF_LIST:
    case CONF_HOSTS:
    case CONF_SOURCES:
    case CONF_TEXTS: return read_array(reader, setting, group, key, place);
    default: return read_scalar(reader, setting, group, key, place);
    }
}

/* Where else a key of this name may stand: "upstreams, upstreams.servers"; "" for nowhere. */
static void other_levels(const char *name, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (enum conf_level level = CONF_TOP; level < CONF_OPTIONS; level++) {
        if (!conf_schema_find(level, name) || used >= size)
            continue;
        const char *path = conf_schema_level(level)->path;
        int n = snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                         path[0] ? path : "the top level");
        used += (size_t)n;
    }
}

static void unknown_key(struct reader *reader, const config_setting_t *setting,
                        const struct group *group)
{
    char levels[128];
    const char *file = config_setting_source_file(setting);
    const char *name = config_setting_name(setting);
    struct conf_nearest nearest = {.word = name};
    struct conf_place place = {.file = file ? file : reader->errors->path,
                               .line = (int)config_setting_source_line(setting),
                               .parent = group->place,
                               .name = name};
    other_levels(name, levels, sizeof(levels));
    if (levels[0]) {
        conf_error_at(reader->errors, &place,
                      "not known here, so it would do nothing; it may "
                      "stand in %s",
                      levels);
        return;
    }
    for (const struct conf_key *key = NULL; (key = conf_schema_next(group->level, key)) != NULL;)
        conf_schema_nearest(&nearest, key->name);
    if (nearest.best)
        conf_error_at(reader->errors, &place,
                      "unknown key, so it would do nothing; did you mean \"%s\"?", nearest.best);
    else
        conf_error_at(reader->errors, &place,
                      "unknown key, so it would do nothing; holdfast --keys lists all");
}

/* What the file does not say: the default, or an error. Options come to sites and routes later. */
static int set_missing(struct reader *reader, const struct group *group, const struct conf_key *key)
{
    char why[CONF_VALUE_WHY_MAX];
    void *object = group->object;
    if (key->flags & CONF_REQUIRED) {
        conf_error_at(reader->errors, group->place, "the key \"%s\" is missing: %s; write %s = %s",
                      key->name, key->doc, key->name, conf_schema_example(key));
        return 0;
    }
    if (key->level == CONF_OPTIONS && group->level != CONF_TOP)
        return 0;
    if (key->type == CONF_GROUP) {
        struct group child = {.level = key->child,
                              .object = conf_schema_field(group->level, object, key)};
        return key->flags & CONF_MAY_BE_OFF ? 0 : read_group(reader, NULL, &child);
    }
    if (!key->preset)
        return 0;
    if (key->type == CONF_TEXTS)
        return conf_value_set_texts(group->level, object, key);
    int rc = conf_value_set(group->level, object, key, key->preset, why);
    ASSERT(rc != -EINVAL);
    return rc;
}

static int read_member(struct reader *reader, const config_setting_t *setting,
                       const struct group *group)
{
    const struct conf_key *key = conf_schema_find(group->level, config_setting_name(setting));
    if (!key) {
        unknown_key(reader, setting, group);
        return 0;
    }
    char *field = conf_schema_field(group->level, group->object, key);
    struct conf_place *place = add_place(reader, setting, group->place, key->name, field);
    if (!place)
        return -ENOMEM;
    if (key->level == CONF_OPTIONS) {
        struct conf_options *options = (void *)(field - key->offset);
        options->set |= conf_schema_bit(key);
    }
    return read_value(reader, setting, group, key, place);
}

/* `setting` is NULL for a group that is not in the file: all defaults. */
static int read_group(struct reader *reader, const config_setting_t *setting,
                      const struct group *group)
{
    int count = setting ? config_setting_length(setting) : 0;
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++)
        rc = read_member(reader, config_setting_get_elem(setting, (unsigned int)i), group);
    for (const struct conf_key *key = NULL;
         rc == 0 && (key = conf_schema_next(group->level, key)) != NULL;) {
        if (!setting || !config_setting_get_member(setting, key->name))
            rc = set_missing(reader, group, key);
    }
    return rc;
}

static int cannot_read(struct conf_errors *errors, int error)
{
    fprintf(errors->out, "%s: cannot be read: %s\n", errors->path, strerror(error));
    return -error;
}

/* A relative @include means the directory of the file. libconfig knows no base for absolute ones. */
static int enter_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return 0;
    char *directory = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    if (!directory)
        return -ENOMEM;
    int rc = chdir(directory) < 0 ? -errno : 0;
    free(directory);
    return rc;
}

static int parse(config_t *config, FILE *stream, struct conf_errors *errors)
{
    uint32_t before = errors->count;
    conf_include_check(stream, errors->path, errors);
    if (errors->count > before)
        return -EINVAL;
    if (config_read(config, stream) == CONFIG_TRUE)
        return 0;
    const char *file = config_error_file(config);
    fprintf(errors->out, "%s:%d: %s: libconfig cannot read on from here\n",
            file ? file : errors->path, config_error_line(config), config_error_text(config));
    errors->count++;
    return -EINVAL;
}

/* Parse within the file's directory, and come back. */
static int parse_there(config_t *config, FILE *stream, struct conf_errors *errors)
{
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0)
        return cannot_read(errors, errno);
    int rc = enter_directory_of(errors->path);
    if (rc < 0)
        cannot_read(errors, -rc);
    else
        rc = parse(config, stream, errors);
    if (fchdir(here) < 0 && rc == 0)
        rc = cannot_read(errors, errno);
    close(here);
    return rc;
}

int conf_file_read(struct conf *conf, struct conf_errors *errors)
{
    struct reader reader = {.conf = conf, .errors = errors};
    struct group top = {.level = CONF_TOP, .object = conf};
    struct stat st;
    config_t config;
    FILE *stream = fopen(errors->path, "re");
    if (!stream)
        return cannot_read(errors, errno);
    /* libconfig's scanner would end the process. */
    int rc =
        fstat(fileno(stream), &st) == 0 && S_ISDIR(st.st_mode) ? cannot_read(errors, EISDIR) : 0;
    config_init(&config);
    if (rc == 0)
        rc = parse_there(&config, stream, errors);
    if (rc == 0) {
        rc = read_group(&reader, config_root_setting(&config), &top);
        if (rc < 0)
            cannot_read(errors, -rc);
    }
    config_destroy(&config);
    fclose(stream);
    return rc;
}
