/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_error.h"

#include "master/conf.h"

#include <stdarg.h>
#include <stdlib.h>

struct conf_place *conf_error_place(struct conf *conf, struct conf_place place)
{
    struct conf_place *last = conf->last_place;
    struct conf_place *new = malloc(sizeof(*new));
    if (!new)
        return NULL;
    *new = place;
    new->next = NULL;
    new->file_owned = NULL;
    if (last && strcmp(last->file, place.file) == 0) {
        new->file = last->file;
    } else if (!(new->file = new->file_owned = strdup(place.file))) {
        free(new);
        return NULL;
    }
    if (last)
        last->next = new;
    else
        conf->places = new;
    conf->last_place = new;
    return new;
}

void conf_error_fini(struct conf *conf)
{
    for (struct conf_place *place = conf->places, *next; place; place = next) {
        next = place->next;
        free(place->file_owned);
        free(place);
    }
    conf->places = conf->last_place = NULL;
}

/* upstreams[0].servers[2].weight */
static void print_key(FILE *out, const struct conf_place *place)
{
    if (place->parent)
        print_key(out, place->parent);
    if (place->name)
        fprintf(out, "%s%s", place->parent ? "." : "", place->name);
    else
        fprintf(out, "[%d]", place->index);
}

static void print(struct conf_errors *errors, const struct conf_place *place, const char *kind,
                  const char *fmt, va_list args)
{
    if (place) {
        fprintf(errors->out, "%s:%d: ", place->file, place->line);
        print_key(errors->out, place);
        fputs(": ", errors->out);
    } else {
        fprintf(errors->out, "%s:1: ", errors->path);
    }
    fputs(kind, errors->out);
    vfprintf(errors->out, fmt, args);
    fputc('\n', errors->out);
}

static void report(struct conf_errors *errors, const struct conf_place *place, const char *fmt,
                   va_list args)
{
    print(errors, place, "", fmt, args);
    errors->count++;
}

void conf_error_at(struct conf_errors *errors, const struct conf_place *place, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(errors, place, fmt, args);
    va_end(args);
}

/*
 * The last one wins: a group and its first member share an address, and the member comes later.
 * A walk over all is fast enough for a message.
 */
static const struct conf_place *find(const struct conf *conf, const void *field)
{
    const struct conf_place *found = NULL;
    for (const struct conf_place *place = conf->places; place; place = place->next) {
        if (place->field == field)
            found = place;
    }
    return found;
}

void conf_error_field(struct conf_errors *errors, const struct conf *conf, const void *field,
                      const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    report(errors, find(conf, field), fmt, args);
    va_end(args);
}

void conf_error_warn(struct conf_errors *errors, const struct conf *conf, const void *field,
                     const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print(errors, find(conf, field), "warning: ", fmt, args);
    va_end(args);
}

int conf_error_line(const struct conf *conf, const void *field)
{
    const struct conf_place *place = find(conf, field);
    return place ? place->line : 1;
}

bool conf_error_written(const struct conf *conf, const void *field)
{
    return find(conf, field) != NULL;
}

const char *conf_error_where(const struct conf *conf, const void *field,
                             char out[CONF_ERROR_WHERE_MAX])
{
    const struct conf_place *place = find(conf, field);
    snprintf(out, CONF_ERROR_WHERE_MAX, "%.280s:%d", place ? place->file : conf->path,
             place ? place->line : 1);
    return out;
}
