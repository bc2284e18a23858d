/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf.h"

#include "master/conf_check.h"
#include "master/conf_error.h"
#include "master/conf_file.h"
#include "master/conf_value.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* What `to` does not set itself is what `from` has. */
static int inherit_options(struct conf_options *to, const struct conf_options *from)
{
    int rc = 0;
    for (const struct conf_key *key = NULL;
         rc == 0 && (key = conf_schema_next(CONF_OPTIONS, key)) != NULL;) {
        if (!(to->set & conf_schema_bit(key)))
            rc = conf_value_copy(to, from, key);
    }
    return rc;
}

static int inherit(struct conf *conf)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < conf->site_count; i++) {
        struct conf_site *site = &conf->sites[i];
        rc = inherit_options(&site->options, &conf->options);
        for (uint32_t j = 0; rc == 0 && j < site->route_count; j++)
            rc = inherit_options(&site->routes[j].options, &site->options);
    }
    return rc;
}

/* Beside the PID file, where nobody else's is. */
static void settle_control(struct conf *conf)
{
    if (conf->control || !conf->pid_file)
        return;
    size_t length = strlen(conf->pid_file);
    bool plain = length > 4 && strcmp(conf->pid_file + length - 4, ".pid") == 0;
    conf->control = malloc(length + sizeof ".sock");
    if (conf->control) /* without memory there is none */
        snprintf(conf->control, length + sizeof ".sock", "%.*s.sock",
                 (int)(plain ? length - 4 : length), conf->pid_file);
}

/* What stands in the struct but in no key. */
static void settle(struct conf *conf)
{
    if (!conf->access_log.path)
        conf->access_log.format = ACCESS_LOG_OFF;
    settle_control(conf);
    for (uint32_t i = 0; i < conf->listener_count; i++)
        conf->listeners[i].line = conf_error_line(conf, &conf->listeners[i].text);
}

static int load(struct conf *conf, struct conf_errors *errors, bool files)
{
    int rc = conf_file_read(conf, errors);
    if (rc < 0)
        return rc;
    rc = inherit(conf);
    settle(conf);
    if (rc == 0 && files)
        rc = conf_tls_read(conf, errors);
    if (rc == 0)
        rc = conf_front_read(conf, errors, files);
    if (rc == 0)
        rc = conf_route_read(conf, errors, files);
    if (rc < 0) {
        fprintf(errors->out, "%s: %s\n", conf->path, strerror(-rc));
        return rc;
    }
    conf_check_all(conf, errors);
    conf_tls_check(conf, errors);
    conf_front_check(conf, errors);
    conf_route_check(conf, errors);
    conf_tunnel_check(conf, errors);
    return errors->count > 0 ? -EINVAL : 0;
}

static int load_new(struct conf **out, const char *path, FILE *errors, bool files)
{
    struct conf_errors count = {.out = errors, .path = path};
    struct conf *conf = calloc(1, sizeof(*conf));
    *out = NULL;
    if (!conf || !(conf->path = strdup(path))) {
        fprintf(errors, "%s: %s\n", path, strerror(ENOMEM));
        conf_free(&conf);
        return -ENOMEM;
    }
    int rc = load(conf, &count, files);
    if (rc < 0)
        conf_free(&conf);
    *out = conf;
    return rc;
}

int conf_load(struct conf **out, const char *path, FILE *errors)
{
    return load_new(out, path, errors, true);
}

int conf_load_alone(struct conf **out, const char *path, FILE *errors)
{
    return load_new(out, path, errors, false);
}

int conf_is_file(const char *path, FILE *errors)
{
    struct stat st;
    int rc = stat(path, &st) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -ENODEV;
    if (rc < 0)
        fprintf(errors, "%s: cannot be read: %s\n", path,
                rc == -ENODEV ? "it is no file" : strerror(-rc));
    return rc;
}

void conf_free(struct conf **conf)
{
    if (!*conf)
        return;
    conf_tls_fini(*conf);
    conf_front_fini(*conf);
    conf_route_fini(*conf);
    conf_value_free_all(CONF_TOP, *conf);
    conf_error_fini(*conf);
    free((*conf)->path);
    free(*conf);
    *conf = NULL;
}
