/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of configuration keys: it feeds the reader, the defaults, -T and the reference.
 * To add a key, add its field to conf.h and its row to conf_schema.c or conf_schema_options.c.
 */
#ifndef MASTER_CONF_SCHEMA_H
#define MASTER_CONF_SCHEMA_H

#include "master/conf.h"

/* Groups in which keys stand. CONF_OPTIONS are those of the top level, of sites and of routes. */
enum conf_level {
    CONF_TOP,
    CONF_ERROR_LOG,
    CONF_ACCESS_LOG,
    CONF_LISTENER,
    CONF_CERTIFICATE,
    CONF_TLS,
    CONF_UPSTREAM,
    CONF_STICKY,
    CONF_HEALTH,
    CONF_SERVER,
    CONF_SITE,
    CONF_ROUTE,
    CONF_OPTIONS,
    CONF_LEVEL_COUNT
};

enum conf_type {
    CONF_INT,         /* uint32_t */
    CONF_BOOL,        /* bool */
    CONF_FACTOR,      /* uint32_t, hundredths; 0 stands beside the range */
    CONF_TEXT,        /* char * */
    CONF_WORD,        /* an enum: index into words */
    CONF_DURATION,    /* uint32_t, milliseconds */
    CONF_SIZE,        /* uint64_t, bytes */
    CONF_HASH_KEY,    /* char *, template */
    CONF_HOST_HEADER, /* char *, template of what may stand in a Host field */
    CONF_TEMPLATE,    /* char *, any template */
    CONF_RATE,        /* char *, such as "10/s"; "": none */
    CONF_PER_SECOND,  /* uint32_t, such as "100/s" or "64k/s"; with min 0 also "": 0, none */
    CONF_LISTEN,      /* char *, and its struct addr at `extra` */
    CONF_ADDRESS,     /* the same, for a server */
    CONF_HOSTS,       /* char **, count at `extra` */
    CONF_SOURCES,     /* struct conf_source *, count at `extra` */
    CONF_TEXTS,       /* char **, count at `extra`; of `words`, if there are any */
    CONF_GROUP,       /* the struct of level `child` */
    CONF_LIST,        /* pointer to structs of level `child`, count at `extra` */
};

enum {
    CONF_REQUIRED = 1 << 0,     /* no default: must be written */
    CONF_MAY_BE_OFF = 1 << 1,   /* a group in whose place "off" may stand, and does by default: its
                                 first required key is then not set */
    CONF_MAY_BE_EMPTY = 1 << 2, /* CONF_TEXT: "" is a value */
    CONF_WORDS_MAX = 6,
};

struct conf_key {
    enum conf_level level;
    const char *name;
    enum conf_type type;
    uint32_t flags;
    size_t offset; /* of the value in the level's struct */
    size_t extra;  /* see enum conf_type */
    enum conf_level child;
    uint64_t min,
        max; /* CONF_INT, CONF_FACTOR, CONF_DURATION (ms), CONF_SIZE (bytes), CONF_PER_SECOND */
    const char *preset;                /* default, as in the file without quotes; NULL: nothing;
                                          of CONF_TEXTS with a space between two */
    const char *words[CONF_WORDS_MAX]; /* CONF_WORD, CONF_TEXTS; "" and NULL are no words */
    const char *example;               /* NULL: the type's */
    const char *doc;                   /* one line for the reference */
};

struct conf_level_info {
    const char *path; /* "upstreams.servers"; "" for the top level */
    size_t size;      /* of its struct */
    size_t options;   /* offset of its struct conf_options */
    bool has_options;
    const char *doc;
};

const struct conf_level_info *conf_schema_level(enum conf_level level);

/*
 * The keys that may stand in a level, its options included, in the order of the reference: pass
 * NULL for the first; NULL after the last.
 */
const struct conf_key *conf_schema_next(enum conf_level level, const struct conf_key *previous);

/* The key of this name in a level; NULL if there is none. */
const struct conf_key *conf_schema_find(enum conf_level level, const char *name);

/* Bit of an option in struct conf_options.set. */
uint64_t conf_schema_bit(const struct conf_key *key);

/* Where a key's value stands in the struct of `level`, and its second part (see enum conf_type). */
void *conf_schema_field(enum conf_level level, const void *object, const struct conf_key *key);
void *conf_schema_extra(enum conf_level level, const void *object, const struct conf_key *key);

/* What a value looks like, with its quotes, for messages and the reference. */
const char *conf_schema_example(const struct conf_key *key);

/* "a duration", "an integer": what a key expects, for messages and the reference. */
const char *conf_schema_type_name(enum conf_type type);

/*
 * The known word that needs the fewest edits: feed all candidates. `best` stays NULL while none
 * shares more than half of its letters with `word`.
 */
struct conf_nearest {
    const char *word;
    const char *best;
    size_t distance;
};
void conf_schema_nearest(struct conf_nearest *nearest, const char *candidate);

#endif
