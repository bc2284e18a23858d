/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold between the keys of TLS, and between the certificates. Pure but for the messages. */
#include "master/conf.h"
#include "master/conf_error.h"
#include "master/conf_schema.h"
#include "shm/tickets.h"

#include <stdlib.h>

struct check {
    const struct conf *conf;
    struct conf_errors *errors;
};

/* Report a key that was written where nothing looks at it. */
static void useless(const struct check *check, const void *field, const char *condition)
{
    conf_error_field(check->errors, check->conf, field,
                     "is used with %s only, and would do nothing here", condition);
}

/* The same for keys that have a default. Walks over all places: not for what stands in long lists. */
static void useless_if_written(const struct check *check, const void *field, const char *condition)
{
    if (conf_error_written(check->conf, field))
        useless(check, field, condition);
}

/* ---- certificates ---- */

/* A name of a certificate, so that all can be sorted. */
struct name {
    const char *text;
    uint32_t type;
    uint32_t certificate;
};

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    if (order == 0)
        order = (x->type > y->type) - (x->type < y->type);
    return order != 0 ? order
                      : (x->certificate > y->certificate) - (x->certificate < y->certificate);
}

static struct name *sorted_names(const struct conf *conf, size_t *count)
{
    size_t total = 0;
    for (uint32_t i = 0; i < conf->certificate_count; i++)
        total += conf->certificates[i].cert.name_count;
    struct name *names = calloc(total + 1, sizeof(*names));
    *count = names ? total : 0;
    for (uint32_t i = 0, n = 0; names && i < conf->certificate_count; i++) {
        const struct cert *cert = &conf->certificates[i].cert;
        for (uint32_t j = 0; j < cert->name_count; j++)
            names[n++] = (struct name){cert->names[j], cert->type, i};
    }
    if (names)
        qsort(names, total, sizeof(*names), compare_names);
    return names;
}

/* Some names of a certificate belong to one before it. */
static void report_shadowed(const struct check *check, const struct name *hidden,
                            const struct name *by, uint32_t count)
{
    char where[CONF_ERROR_WHERE_MAX];
    const struct conf_certificate *certificates = check->conf->certificates;
    const char *const *field = (const char *const *)&certificates[hidden->certificate].certificate;
    conf_error_where(check->conf, &certificates[by->certificate].certificate, where);
    if (count == certificates[hidden->certificate].cert.name_count)
        conf_error_field(check->errors, check->conf, field,
                         "\"%s\": would never be shown: the certificate at %s has its name \"%s\", "
                         "too, and an %s key as well%s",
                         *field, where, hidden->text, cert_type_word(hidden->type),
                         count > 1 ? "; likewise for all its other names" : "");
    else
        conf_error_warn(
            check->errors, check->conf, field,
            "\"%s\": is not shown for the name \"%s\", which the certificate at %s has, "
            "too, with an %s key as well",
            *field, hidden->text, where, cert_type_word(hidden->type));
}

/* Of two with the same name and kind of key the first is shown: how many names does that hide? */
static void check_shadows(const struct check *check)
{
    size_t count;
    struct name *names = sorted_names(check->conf, &count);
    uint32_t certificates = check->conf->certificate_count;
    uint32_t *hidden = calloc(certificates + 1, sizeof(*hidden));
    const struct name **example = calloc(certificates + 1, sizeof(struct name *));
    const struct name **by = calloc(certificates + 1, sizeof(struct name *));
    if (!names || !hidden || !example || !by) {
        conf_error_field(check->errors, check->conf, NULL, "out of memory");
        count = certificates = 0;
    }
    for (size_t i = 1, first = 0; i < count; i++) {
        uint32_t number = names[i].certificate;
        if (strcmp(names[i].text, names[first].text) != 0 || names[i].type != names[first].type) {
            first = i;
            continue;
        }
        if (hidden[number]++ == 0) {
            example[number] = &names[i];
            by[number] = &names[first];
        }
    }
    for (uint32_t i = 0; i < certificates; i++) {
        if (hidden[i] > 0)
            report_shadowed(check, example[i], by[i], hidden[i]);
    }
    free(names);
    free(hidden);
    free(example);
    free(by);
}

static void check_certificates(const struct check *check)
{
    const struct conf *conf = check->conf;
    if (conf->certificate_count > BOARD_CERTIFICATES_MAX)
        conf_error_field(check->errors, conf, &conf->certificates,
                         "%u certificates, but %d are the most that the board has room for",
                         conf->certificate_count, BOARD_CERTIFICATES_MAX);
    for (uint32_t i = 0; i < conf->certificate_count; i++) {
        const struct conf_certificate *one = &conf->certificates[i];
        if (one->cert.count == 0 || one->cert.name_count > 0)
            continue;
        if (i > 0)
            conf_error_field(check->errors, conf, &one->certificate,
                             "\"%s\": has no DNS name that a client could ask for, so it would "
                             "never be shown; only the first certificate is for all other names",
                             one->certificate);
        else
            conf_error_warn(check->errors, conf, &one->certificate,
                            "\"%s\": has no DNS name: clients that came for a name refuse it",
                            one->certificate);
    }
    check_shadows(check);
}

static void check_listeners(const struct check *check)
{
    const struct conf *conf = check->conf;
    /* A list that was refused has its message. */
    if (conf->certificate_count > 0 ||
        (!conf->certificates && conf_error_written(conf, &conf->certificates)))
        return;
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        if (conf->listeners[i].tls)
            conf_error_field(check->errors, conf, &conf->listeners[i].tls,
                             "there is no certificate to show, so no client could be answered; "
                             "write certificates = ( { certificate = \"site.pem\"; key = "
                             "\"site.key\"; } )");
    }
}

/* ---- the group tls ---- */

static void check_tickets(const struct check *check)
{
    const struct conf_tls *tls = &check->conf->tls;
    if (!tls->session_tickets) {
        useless_if_written(check, &tls->ticket_keys, "session_tickets = true");
        useless_if_written(check, &tls->ticket_rotation_ms, "session_tickets = true");
        useless_if_written(check, &tls->ticket_lifetime_ms, "session_tickets = true");
        return;
    }
    if (tls->ticket_key_count > TICKETS_KEYS_MAX)
        conf_error_field(check->errors, check->conf, &tls->ticket_keys,
                         "%u files, but %d are the most that are looked at", tls->ticket_key_count,
                         TICKETS_KEYS_MAX);
    if (tls->ticket_key_count > 0)
        useless_if_written(check, &tls->ticket_rotation_ms,
                           "keys of our own, without ticket_keys,");
    else if (tls->ticket_lifetime_ms > tls->ticket_rotation_ms)
        conf_error_field(check->errors, check->conf, &tls->ticket_lifetime_ms,
                         "is more than ticket_rotation (%us): a ticket would outlive its key",
                         tls->ticket_rotation_ms / 1000);
}

static void check_not_empty(const struct check *check, char **const *array, uint32_t count)
{
    if (*array && count == 0)
        conf_error_field(check->errors, check->conf, array, "is empty: no client could connect");
}

static void check_group(const struct check *check)
{
    const struct conf_tls *tls = &check->conf->tls;
    check_not_empty(check, &tls->ciphers, tls->cipher_count);
    check_not_empty(check, &tls->suites, tls->suite_count);
    check_not_empty(check, &tls->groups, tls->group_count);
    if (tls->min_version == CONF_TLS_1_3)
        useless_if_written(check, &tls->ciphers, "min_version = \"1.2\"");
    if (tls->client_certificate == CLIENT_CERTIFICATE_OFF)
        useless_if_written(check, &tls->client_ca,
                           "client_certificate = \"optional\" or \"required\"");
    else if (!tls->client_ca && !conf_error_written(check->conf, &tls->client_ca))
        conf_error_field(check->errors, check->conf, &tls->client_certificate,
                         "needs client_ca: without it nobody's certificate could be verified");
    check_tickets(check);
}

/* ---- upstreams ---- */

/* NULL if this can be the name of a server; else what is wrong. */
static const char *name_error(const char *name)
{
    size_t n = strlen(name);
    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:") != n)
        return "a server's name has letters, digits, '-', '_' and '.' only, an IP address also ':'";
    return n > 253 ? "a server's name has 253 characters at most" : NULL;
}

static void check_server_name(const struct check *check, const struct conf_upstream *upstream)
{
    const struct conf_backend_tls *tls = &upstream->tls;
    if (tls->server_name) {
        const char *why = name_error(tls->server_name);
        if (why)
            conf_error_field(check->errors, check->conf, &tls->server_name, "\"%s\": %s",
                             tls->server_name, why);
        return;
    }
    for (uint32_t i = 0; i < upstream->server_count && tls->verify; i++) {
        const struct conf_server *server = &upstream->servers[i];
        if (server->text && server->address.u.sa.sa_family == AF_UNIX &&
            !conf_error_written(check->conf, &tls->server_name)) {
            conf_error_field(check->errors, check->conf, &server->text,
                             "\"%s\" has no name that its certificate could have; write "
                             "tls_server_name in the upstream",
                             server->text);
            return;
        }
    }
}

static void check_upstream(const struct check *check, const struct conf_upstream *upstream)
{
    const struct conf_backend_tls *tls = &upstream->tls;
    bool other_ca = tls->ca && strcmp(tls->ca, CONF_SYSTEM_CA) != 0;
    if (!tls->on) {
        if (!tls->verify)
            useless(check, &tls->verify, "tls = true");
        if (other_ca)
            useless(check, &tls->ca, "tls = true");
        if (tls->server_name)
            useless(check, &tls->server_name, "tls = true");
        if (tls->certificate)
            useless(check, &tls->certificate, "tls = true");
        if (tls->key)
            useless(check, &tls->key, "tls = true");
        return;
    }
    if (!tls->verify && other_ca)
        useless(check, &tls->ca, "tls_verify = true");
    if (tls->certificate && !tls->key && !conf_error_written(check->conf, &tls->key))
        conf_error_field(check->errors, check->conf, &tls->certificate,
                         "needs its tls_key: who cannot sign cannot show a certificate");
    if (tls->key && !tls->certificate && !conf_error_written(check->conf, &tls->certificate))
        conf_error_field(check->errors, check->conf, &tls->key,
                         "needs its tls_certificate: there is nothing to show");
    check_server_name(check, upstream);
}

/* ---- options ---- */

/* What is inherited was judged where it is written. */
static void check_hsts(const struct check *check, const struct conf_options *options, uint64_t bit)
{
    const char *hsts = options->hsts;
    if (!hsts || hsts[0] == '\0' || !(options->set & bit))
        return;
    for (const char *c = hsts; *c; c++) {
        if (*c >= ' ' && *c <= '~')
            continue;
        conf_error_field(check->errors, check->conf, &options->hsts,
                         "holds a character that no header may have");
        return;
    }
    if (!strstr(hsts, "max-age="))
        conf_error_field(check->errors, check->conf, &options->hsts,
                         "\"%s\" has no max-age, so clients ignore it; write \"max-age=63072000\"",
                         hsts);
}

void conf_tls_check(const struct conf *conf, struct conf_errors *errors)
{
    struct check check = {.conf = conf, .errors = errors};
    uint64_t hsts = conf_schema_bit(conf_schema_find(CONF_OPTIONS, "hsts"));
    check_listeners(&check);
    check_certificates(&check);
    check_group(&check);
    for (uint32_t i = 0; i < conf->upstream_count; i++)
        check_upstream(&check, &conf->upstreams[i]);
    check_hsts(&check, &conf->options, hsts);
    for (uint32_t i = 0; i < conf->site_count; i++) {
        const struct conf_site *site = &conf->sites[i];
        check_hsts(&check, &site->options, hsts);
        for (uint32_t j = 0; j < site->route_count; j++)
            check_hsts(&check, &site->routes[j].options, hsts);
    }
}
