/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a configuration names: read by the master alone, for it is the one that may. */
#define _GNU_SOURCE 1
#include "common/clock.h"
#include "master/conf.h"
#include "master/conf_error.h"
#include "shm/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 20 };

struct reader {
    struct conf *conf;
    struct conf_errors *errors;
    int directory; /* of the configuration */
    int64_t now;   /* seconds since the epoch */
};

static void report(const struct reader *reader, const void *field, const char *path,
                   const char *why)
{
    conf_error_field(reader->errors, reader->conf, field, "\"%s\": %s", path, why);
}

static void warn(const struct reader *reader, const void *field, const char *path, const char *why)
{
    conf_error_warn(reader->errors, reader->conf, field, "\"%s\": %s", path, why);
}

static int read_whole(int fd, size_t size, struct cert_bytes *out)
{
    out->p = malloc(size + 1);
    if (!out->p)
        return -ENOMEM;
    while (out->n < size) {
        ssize_t n = read(fd, out->p + out->n, size - out->n);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        out->n += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/*
 * The file at `path`, relative to the configuration's directory. `field` is where the path is written; a
 * `secret` should be nobody else's to read. Returns 0; -EINVAL: it was reported; -ENOMEM.
 */
static int read_file(const struct reader *reader, const void *field, const char *path, bool secret,
                     struct cert_bytes *out)
{
    struct stat st;
    *out = (struct cert_bytes){NULL, 0};
    /* Not blocking, for it may be a pipe. */
    int fd = openat(reader->directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int rc = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -ENODEV;
    if (rc == 0 && st.st_size > FILE_MAX)
        rc = -EFBIG;
    if (rc == 0)
        rc = read_whole(fd, (size_t)st.st_size, out);
    if (rc == 0 && secret && st.st_mode & S_IROTH)
        warn(reader, field, path, "everybody on this host may read it; chmod 600 keeps it secret");
    if (fd >= 0)
        close(fd);
    if (rc == 0 || rc == -ENOMEM)
        return rc;
    cert_bytes_wipe(out);
    conf_error_field(reader->errors, reader->conf, field, "\"%s\": cannot be read: %s", path,
                     strerror(-rc));
    return -EINVAL;
}

static struct slice slice_from(const struct cert_bytes *bytes)
{
    return (struct slice){(const char *)bytes->p, bytes->n};
}

/* ---- a chain and its key ---- */

/* What is worth a word, but no reason to refuse: the clock may be wrong, or the rest be in order. */
static void warn_of_chain(const struct reader *reader, const void *field, const char *path,
                          const struct cert *cert)
{
    char why[CERT_WHY_MAX];
    if (cert->not_after <= reader->now)
        warn(reader, field, path, "the certificate has expired: clients refuse it");
    if (cert->not_before > reader->now)
        warn(reader, field, path, "the certificate is not valid yet: clients refuse it");
    if (cert->stray == 0)
        return;
    snprintf(why, sizeof(why),
             "certificate %u of the file did not issue the one before it: clients may find no way "
             "to an authority that they know",
             cert->stray);
    warn(reader, field, path, why);
}

static int read_chain(const struct reader *reader, const void *field, const char *path,
                      struct cert *cert)
{
    char why[CERT_WHY_MAX];
    struct cert_bytes pem;
    int rc = read_file(reader, field, path, false, &pem);
    if (rc == 0)
        rc = cert_read(cert, slice_from(&pem), why);
    else
        why[0] = '\0'; /* it was reported */
    cert_bytes_wipe(&pem);
    if (rc == 0)
        warn_of_chain(reader, field, path, cert);
    else if (rc == -EINVAL && why[0])
        report(reader, field, path, why);
    return rc;
}

static int read_key(const struct reader *reader, const void *field, const char *path,
                    struct cert_bytes *key)
{
    char why[CERT_WHY_MAX];
    struct cert_bytes pem;
    int rc = read_file(reader, field, path, true, &pem);
    if (rc == 0)
        rc = cert_read_key(key, slice_from(&pem), why);
    else
        why[0] = '\0';
    cert_bytes_wipe(&pem);
    if (rc == -EINVAL && why[0])
        report(reader, field, path, why);
    return rc;
}

/* A chain and its key, as `certificates` and upstreams have them. */
struct pair {
    char *const *certificate; /* the fields that hold the paths */
    char *const *key;
    struct cert *cert;
    struct cert_bytes *secret;
};

static int read_pair(const struct reader *reader, const struct pair *pair)
{
    int chain = -EINVAL, key = -EINVAL;
    if (*pair->certificate)
        chain = read_chain(reader, pair->certificate, *pair->certificate, pair->cert);
    if (*pair->key)
        key = read_key(reader, pair->key, *pair->key, pair->secret);
    if (chain == -ENOMEM || key == -ENOMEM)
        return -ENOMEM;
    if (chain == 0 && key == 0 && !cert_fits_key(pair->cert, pair->secret))
        report(reader, pair->key, *pair->key,
               "is not the key of the first certificate in the chain: no client could be "
               "answered; the site's own certificate must come first");
    return 0;
}

/* ---- what else there is ---- */

static int read_staple(const struct reader *reader, struct conf_certificate *certificate)
{
    char why[CERT_WHY_MAX];
    const char *path = certificate->ocsp;
    int rc = read_file(reader, &certificate->ocsp, path, false, &certificate->staple);
    if (rc < 0 ||
        certificate->cert.count == 0) /* the certificate was refused: no word about this */
        return rc == -ENOMEM ? rc : 0;
    rc = cert_check_staple(&certificate->cert, slice_from(&certificate->staple),
                           &certificate->staple_until, why);
    if (rc == -EINVAL)
        report(reader, &certificate->ocsp, path, why);
    else if (rc == 0 && certificate->staple_until <= reader->now)
        warn(reader, &certificate->ocsp, path,
             "the answer has expired, so it is not given to clients; fetch a new one");
    return rc == -ENOMEM ? rc : 0;
}

static int read_authorities(const struct reader *reader, char *const *path, struct cert_bytes *out)
{
    char why[CERT_WHY_MAX];
    struct cert_bytes pem;
    int rc = read_file(reader, path, *path, false, &pem);
    if (rc == 0) {
        rc = cert_read_authorities(out, slice_from(&pem), why);
        if (rc == -EINVAL)
            report(reader, path, *path, why);
    }
    cert_bytes_wipe(&pem);
    return rc == -ENOMEM ? rc : 0;
}

static int read_ticket_key(const struct reader *reader, char *const *path, uint8_t *to)
{
    char why[CERT_WHY_MAX];
    struct cert_bytes bytes;
    int rc = read_file(reader, path, *path, true, &bytes);
    if (rc == 0 && bytes.n != sizeof(struct ticket_key)) {
        snprintf(why, sizeof(why),
                 "has %zu bytes, but a ticket key has %zu; openssl rand makes one", bytes.n,
                 sizeof(struct ticket_key));
        report(reader, path, *path, why);
    } else if (rc == 0) {
        memcpy(to, bytes.p, bytes.n);
    }
    cert_bytes_wipe(&bytes);
    return rc == -ENOMEM ? rc : 0;
}

static int read_ticket_keys(const struct reader *reader, struct conf_tls *tls)
{
    size_t size = sizeof(struct ticket_key);
    int rc = 0;
    if (tls->ticket_key_count == 0)
        return 0;
    tls->ticket_secrets.p = calloc(tls->ticket_key_count, size);
    if (!tls->ticket_secrets.p)
        return -ENOMEM;
    tls->ticket_secrets.n = tls->ticket_key_count * size;
    for (uint32_t i = 0; rc == 0 && i < tls->ticket_key_count; i++) {
        if (tls->ticket_keys[i])
            rc = read_ticket_key(reader, &tls->ticket_keys[i], tls->ticket_secrets.p + i * size);
    }
    return rc;
}

static int read_certificate(const struct reader *reader, struct conf_certificate *certificate)
{
    const struct pair pair = {&certificate->certificate, &certificate->key, &certificate->cert,
                              &certificate->secret};
    int rc = read_pair(reader, &pair);
    return rc == 0 && certificate->ocsp ? read_staple(reader, certificate) : rc;
}

static int read_upstream(const struct reader *reader, struct conf_backend_tls *tls)
{
    const struct pair pair = {&tls->certificate, &tls->key, &tls->cert, &tls->secret};
    if (!tls->on)
        return 0;
    int rc = read_pair(reader, &pair);
    return rc == 0 && tls->verify && tls->ca ? read_authorities(reader, &tls->ca, &tls->authorities)
                                             : rc;
}

static int read_all(const struct reader *reader)
{
    struct conf *conf = reader->conf;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < conf->certificate_count; i++)
        rc = read_certificate(reader, &conf->certificates[i]);
    for (uint32_t i = 0; rc == 0 && i < conf->upstream_count; i++)
        rc = read_upstream(reader, &conf->upstreams[i].tls);
    if (rc == 0 && conf->tls.client_ca)
        rc = read_authorities(reader, &conf->tls.client_ca, &conf->tls.authorities);
    return rc == 0 ? read_ticket_keys(reader, &conf->tls) : rc;
}

/* The directory that relative paths mean, as they do for @include. */
static int open_directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!directory)
        return -ENOMEM;
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : fd;
    free(directory);
    return rc;
}

int conf_tls_read(struct conf *conf, struct conf_errors *errors)
{
    struct reader reader = {
        .conf = conf, .errors = errors, .now = (int64_t)(clock_real_ms() / 1000)};
    reader.directory = open_directory(conf->path);
    if (reader.directory < 0)
        return reader.directory;
    int rc = read_all(&reader);
    close(reader.directory);
    return rc;
}

void conf_tls_forget(struct conf *conf)
{
    for (uint32_t i = 0; i < conf->certificate_count; i++)
        cert_bytes_wipe(&conf->certificates[i].secret);
    for (uint32_t i = 0; i < conf->upstream_count; i++)
        cert_bytes_wipe(&conf->upstreams[i].tls.secret);
    cert_bytes_wipe(&conf->tls.ticket_secrets);
}

void conf_tls_fini(struct conf *conf)
{
    conf_tls_forget(conf);
    for (uint32_t i = 0; i < conf->certificate_count; i++) {
        cert_fini(&conf->certificates[i].cert);
        cert_bytes_wipe(&conf->certificates[i].staple);
    }
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        cert_fini(&conf->upstreams[i].tls.cert);
        cert_bytes_wipe(&conf->upstreams[i].tls.authorities);
    }
    cert_bytes_wipe(&conf->tls.authorities);
}
