/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the configuration: files in a directory of their own, loaded, messages kept. */
#ifndef TEST_UNIT_CONF_FIXTURE_H
#define TEST_UNIT_CONF_FIXTURE_H

#include "master/conf.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

struct conf_fixture {
    char home[512];      /* where the test was started: the top of the sources */
    char directory[64];  /* the working directory of the test */
    char messages[8192]; /* what the last load or build printed */
};

static inline void conf_fixture_init(struct conf_fixture *fixture)
{
    ck_assert_ptr_nonnull(getcwd(fixture->home, sizeof(fixture->home)));
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/holdfast-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->directory));
    ck_assert_int_eq(chdir(fixture->directory), 0);
}

/* The directory must hold nothing but the files named here. */
static inline void conf_fixture_fini(struct conf_fixture *fixture)
{
    unlink("t.conf");
    unlink("part.conf");
    ck_assert_int_eq(chdir(fixture->home), 0);
    ck_assert_int_eq(rmdir(fixture->directory), 0);
}

static inline void conf_fixture_write(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static inline int conf_fixture_load(struct conf_fixture *fixture, const char *path,
                                    struct conf **conf)
{
    memset(fixture->messages, 0, sizeof(fixture->messages));
    FILE *errors = fmemopen(fixture->messages, sizeof(fixture->messages) - 1, "w");
    ck_assert_ptr_nonnull(errors);
    int rc = conf_load(conf, path, errors);
    fclose(errors);
    return rc;
}

/* Load the text as t.conf. */
static inline int conf_fixture_load_text(struct conf_fixture *fixture, const char *text,
                                         struct conf **conf)
{
    conf_fixture_write("t.conf", text);
    return conf_fixture_load(fixture, "t.conf", conf);
}

/* A whole file: keys at the top (line 2), in the upstream (4), the site (7) and its only route (9). */
static inline int conf_fixture_load_keys(struct conf_fixture *fixture, const char *const keys[4],
                                         struct conf **conf)
{
    char text[4096];
    snprintf(text, sizeof text,
             "listeners = ( { address = \"*:80\"; } );\n%s\n"
             "upstreams = ( { name = \"u\"; servers = ( { address = \"10.0.0.1\"; } );\n%s\n} );\n"
             "sites = ( { hosts = [ \"a.example\" ];\n%s\n"
             "routes = ( { path = \"/\"; upstream = \"u\";\n%s\n} ); } );\n",
             keys[0], keys[1], keys[2], keys[3]);
    return conf_fixture_load_text(fixture, text, conf);
}

/* With these keys of a route it is refused, and that is said. */
static inline void conf_fixture_refused(struct conf_fixture *fixture, const char *route,
                                        const char *why)
{
    const char *const keys[] = {"", "", "", route};
    struct conf *conf;
    ck_assert_int_lt(conf_fixture_load_keys(fixture, keys, &conf), 0);
    ck_assert_ptr_null(conf);
    ck_assert_msg(strstr(fixture->messages, why), "%s: %s", route, fixture->messages);
}

/* The same for a text without errors. */
static inline struct conf *conf_fixture_good(struct conf_fixture *fixture, const char *text)
{
    struct conf *conf;
    int rc = conf_fixture_load_text(fixture, text, &conf);
    ck_assert_msg(rc == 0, "%d: %s", rc, fixture->messages);
    ck_assert_str_eq(fixture->messages, "");
    return conf;
}

#endif
