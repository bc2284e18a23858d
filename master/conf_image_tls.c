/* SPDX-License-Identifier: Apache-2.0 */
/* From struct conf to the image and to the keys: what is about TLS. */
#define _GNU_SOURCE 1
#include "master/conf_build.h"
#include "shm/keys.h"

#include <errno.h>
#include <stdlib.h>

enum { HTTPS_PORT = 443 };

/* ---- the group tls ---- */

static struct image_str add_joined(struct conf_build *build, char *const *texts, uint32_t count)
{
    struct image_str all = conf_build_string(build, NULL, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct image_str one = conf_build_text(build, texts[i]);
        all.len += one.len;
        if (i + 1 < count)
            all.len += conf_build_string(build, ":", 1).len;
    }
    return all;
}

static struct image_str add_bytes(struct conf_build *build, const struct cert_bytes *bytes)
{
    return conf_build_string(build, bytes->p, bytes->n);
}

/* Where a client is sent that should have come by TLS: the usual port if there is a choice. */
static uint32_t https_port(const struct conf *conf)
{
    uint32_t port = 0;
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        if (listener->tls && (port == 0 || addr_port(&listener->address) == HTTPS_PORT))
            port = addr_port(&listener->address);
    }
    return port;
}

static void fill_group(struct conf_build *build)
{
    const struct conf_tls *from = &build->conf->tls;
    struct image_tls *tls = &build->header->tls;
    tls->flags = (from->min_version == CONF_TLS_1_3 ? IMAGE_TLS_1_3_ONLY : 0u) |
                 (from->prefer_server_ciphers ? IMAGE_TLS_OUR_ORDER : 0u) |
                 (from->session_tickets ? IMAGE_TLS_TICKETS : 0u);
    tls->client_certificate = from->client_certificate;
    tls->ticket_lifetime_s = from->ticket_lifetime_ms / 1000;
    tls->handshake_timeout_ms = from->handshake_timeout_ms;
    tls->max_handshakes = from->max_handshakes;
    tls->https_port = https_port(build->conf);
    tls->ciphers = add_joined(build, from->ciphers, from->cipher_count);
    tls->suites = add_joined(build, from->suites, from->suite_count);
    tls->groups = add_joined(build, from->groups, from->group_count);
    tls->client_ca = add_bytes(build, &from->authorities);
}

/* ---- certificates ---- */

/* A name of one certificate. */
struct claim {
    const char *name;
    uint32_t type;
    uint32_t certificate;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order
                      : (x->certificate > y->certificate) - (x->certificate < y->certificate);
}

static uint32_t count_claims(const struct conf *conf)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < conf->certificate_count; i++)
        count += conf->certificates[i].cert.name_count;
    return count;
}

void conf_image_tls_reserve(const struct conf *conf, struct image_header *header, uint64_t *size)
{
    uint32_t claims = count_claims(conf);
    header->certificates =
        conf_build_reserve(size, conf->certificate_count, sizeof(struct image_certificate));
    /* Names that several certificates have stand once, so some of this may stay unused. */
    header->cert_names = conf_build_reserve(size, claims, sizeof(struct image_cert_name));
    /* One more each: the default may be a certificate without names. */
    header->choices = conf_build_reserve(size, claims + 1ull, sizeof(uint32_t));
}

static void add_choice(struct conf_build *build, uint32_t certificate)
{
    *(uint32_t *)conf_build_entry(build, build->header->choices, build->choices++,
                                  sizeof(uint32_t)) = certificate;
}

/* Claims [0, count) are of one name, in the order of the file: of each kind of key the first counts. */
static struct image_array add_choices(struct conf_build *build, const struct claim *claims,
                                      size_t count)
{
    uint32_t first = build->choices, seen = 0;
    for (size_t i = 0; i < count; i++) {
        if (seen & 1u << claims[i].type)
            continue;
        seen |= 1u << claims[i].type;
        add_choice(build, claims[i].certificate);
    }
    return conf_build_run(build->header->choices, first, build->choices - first, sizeof(uint32_t));
}

static void add_name(struct conf_build *build, const struct claim *claims, size_t count)
{
    struct image_tls *tls = &build->header->tls;
    const struct cert *first = &build->conf->certificates[0].cert;
    bool wildcard = claims[0].name[0] == '*';
    struct image_array choices = add_choices(build, claims, count);
    *CONF_BUILD_ENTRY(build, cert_names, image_cert_name, build->cert_names++) =
        (struct image_cert_name){
            .name = conf_build_text(build, claims[0].name + wildcard),
            .wildcard = wildcard,
            .choices = choices,
        };
    /* The default is what stands first, and what else has its first name: RSA beside ECDSA. */
    if (first->name_count > 0 && strcmp(claims[0].name, first->names[0]) == 0)
        tls->choices = choices;
}

static void fill_names(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    size_t count = count_claims(conf);
    struct claim *claims = calloc(count + 1, sizeof(*claims));
    if (!claims) {
        build->error = -ENOMEM;
        return;
    }
    for (uint32_t i = 0, n = 0; i < conf->certificate_count; i++) {
        const struct cert *cert = &conf->certificates[i].cert;
        for (uint32_t j = 0; j < cert->name_count; j++)
            claims[n++] = (struct claim){cert->names[j], cert->type, i};
    }
    qsort(claims, count, sizeof(*claims), compare_claims);
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && strcmp(claims[i].name, claims[end].name) == 0;)
            end++;
        add_name(build, &claims[i], end - i);
    }
    free(claims);
    struct image_header *header = build->header;
    if (conf->certificate_count > 0 && header->tls.choices.count == 0) {
        uint32_t at = build->choices;
        add_choice(build, 0);
        header->tls.choices = conf_build_run(header->choices, at, 1, sizeof(uint32_t));
    }
    header->cert_names.count = build->cert_names;
    header->choices.count = build->choices;
}

void conf_image_tls_fill(struct conf_build *build)
{
    const struct conf *conf = build->conf;
    struct image_header *header = build->header;
    fill_group(build);
    for (uint32_t i = 0; i < conf->certificate_count; i++) {
        const struct conf_certificate *from = &conf->certificates[i];
        *CONF_BUILD_ENTRY(build, certificates, image_certificate, i) = (struct image_certificate){
            .chain = add_bytes(build, &from->cert.chain),
            .staple = add_bytes(build, &from->staple),
            .staple_until_s = (uint64_t)from->staple_until,
        };
    }
    /* An array without entries has no run inside it but the one at its beginning. */
    header->tls.choices = conf_build_run(header->choices, 0, 0, sizeof(uint32_t));
    fill_names(build);
    qsort_r(build->bytes + header->cert_names.off, build->cert_names,
            sizeof(struct image_cert_name), conf_build_compare, build);
}

/* ---- upstreams ---- */

/* Keys of upstreams stand behind those of certificates, in the order of the file. */
static uint32_t key_number(const struct conf *conf, uint32_t upstream)
{
    uint32_t number = conf->certificate_count;
    if (!conf->upstreams[upstream].tls.on || !conf->upstreams[upstream].tls.certificate)
        return UINT32_MAX;
    for (uint32_t i = 0; i < upstream; i++)
        number += conf->upstreams[i].tls.on && conf->upstreams[i].tls.certificate;
    return number;
}

/* The same file is in the image once: the system's authorities have 200 KB. */
static struct image_str add_authorities(struct conf_build *build, uint32_t number)
{
    const struct conf_upstream *upstreams = build->conf->upstreams;
    const struct conf_backend_tls *tls = &upstreams[number].tls;
    for (uint32_t i = 0; i < number; i++) {
        const struct conf_backend_tls *other = &upstreams[i].tls;
        if (other->authorities.n > 0 && strcmp(other->ca, tls->ca) == 0)
            return CONF_BUILD_ENTRY(build, upstreams, image_upstream, i)->tls_ca;
    }
    return add_bytes(build, &tls->authorities);
}

/* "srv:_ws._tcp.example.com" is example.com; a port is none of the name. */
static struct slice host_as_written(const char *text)
{
    struct slice host = slice_of(text);
    bool srv = strncmp(text, "srv:", 4) == 0;
    if (srv)
        host = (struct slice){text + 4, host.n - 4};
    while (srv && host.n > 0 && host.p[0] == '_') {
        const char *dot = memchr(host.p, '.', host.n);
        size_t label = dot ? (size_t)(dot - host.p) + 1 : host.n;
        host = (struct slice){host.p + label, host.n - label};
    }
    const char *colon = host.n > 0 ? memchr(host.p, ':', host.n) : NULL;
    if (colon)
        host.n = (size_t)(colon - host.p);
    if (host.n > 0 && host.p[host.n - 1] == '.')
        host.n--; /* no part of a name in TLS (RFC 6066 3) */
    return host;
}

struct image_str conf_image_tls_name(struct conf_build *build, const struct conf_upstream *upstream,
                                     const struct conf_server *server)
{
    char host[ADDR_TEXT_MAX];
    if (!upstream->tls.on)
        return conf_build_string(build, NULL, 0);
    if (upstream->tls.server_name)
        return conf_build_text(build, upstream->tls.server_name);
    if (server->address.len != 0 && server->address.u.sa.sa_family == AF_UNIX)
        return conf_build_string(build, NULL, 0); /* it has none, and is not verified */
    if (server->address.len != 0)
        return conf_build_string(build, host, addr_print_host(&server->address, host));
    struct slice name = host_as_written(server->text);
    return conf_build_string(build, name.p, name.n);
}

void conf_image_tls_upstream(struct conf_build *build, uint32_t number)
{
    const struct conf_upstream *from = &build->conf->upstreams[number];
    struct image_upstream *upstream = CONF_BUILD_ENTRY(build, upstreams, image_upstream, number);
    upstream->tls_chain = upstream->tls_ca = conf_build_string(build, NULL, 0);
    upstream->tls_key = key_number(build->conf, number);
    if (!from->tls.on)
        return;
    upstream->tls_flags = UPSTREAM_TLS | (from->tls.verify ? UPSTREAM_TLS_VERIFY : 0u);
    upstream->tls_chain = add_bytes(build, &from->tls.cert.chain);
    upstream->tls_ca = add_authorities(build, number);
}

/* ---- keys ---- */

int conf_keys_build(const struct conf *conf, uint32_t generation, int *fd, FILE *errors)
{
    uint32_t count = conf->certificate_count;
    struct slice *secrets = calloc((size_t)count + conf->upstream_count + 1, sizeof(*secrets));
    int rc = secrets ? 0 : -ENOMEM;
    *fd = -1;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct cert_bytes *secret = &conf->certificates[i].secret;
        secrets[i] = (struct slice){(const char *)secret->p, secret->n};
    }
    for (uint32_t i = 0; rc == 0 && i < conf->upstream_count; i++) {
        const struct conf_backend_tls *tls = &conf->upstreams[i].tls;
        if (tls->on && tls->certificate)
            secrets[count++] = (struct slice){(const char *)tls->secret.p, tls->secret.n};
    }
    if (rc == 0 && count > 0)
        rc = keys_create(secrets, count, generation, fd);
    free(secrets); /* they point to keys, and hold none */
    if (rc < 0)
        fprintf(errors, "%s: cannot hand out the private keys: %s\n", conf->path, strerror(-rc));
    return rc;
}
