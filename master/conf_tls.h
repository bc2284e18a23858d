/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS part of struct conf: what is written in the file, and what the files that it names hold. */
#ifndef MASTER_CONF_TLS_H
#define MASTER_CONF_TLS_H

#include "common/cert.h"
#include "shm/image.h"

#include <stdbool.h>
#include <stdint.h>

/* A list `certificates` entry: paths as written. */
struct conf_certificate {
    char *certificate;
    char *key;
    char *ocsp; /* NULL: none */
    struct cert cert;
    struct cert_bytes secret; /* DER; wiped once it stands in the keys */
    struct cert_bytes staple; /* DER */
    int64_t staple_until;
};

/* The group `tls`: how clients are met. */
struct conf_tls {
    uint32_t min_version; /* index into words: enum conf_tls_version */
    char **ciphers;
    uint32_t cipher_count;
    char **suites;
    uint32_t suite_count;
    char **groups;
    uint32_t group_count;
    bool prefer_server_ciphers;
    enum image_client_certificate client_certificate;
    char *client_ca; /* NULL: none */
    bool session_tickets;
    char **ticket_keys; /* paths; none: the master makes keys itself */
    uint32_t ticket_key_count;
    uint32_t ticket_rotation_ms;
    uint32_t ticket_lifetime_ms;
    uint32_t handshake_timeout_ms;
    uint32_t max_handshakes;
    struct cert_bytes authorities;    /* of client_ca, DER */
    struct cert_bytes ticket_secrets; /* of ticket_keys, one behind the other; wiped as `secret` */
};
enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };

/* Debian's package ca-certificates. */
#define CONF_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* How an upstream's servers are met. */
struct conf_backend_tls {
    bool on;
    bool verify;
    char *ca;
    char *server_name; /* NULL: the server's address */
    char *certificate; /* NULL: none is shown */
    char *key;
    struct cert cert;
    struct cert_bytes secret;
    struct cert_bytes authorities;
};

struct conf;
struct conf_errors;

/*
 * Read every file that the configuration names, relative to its own directory, and judge what is in
 * them. Errors and warnings are printed and counted; afterwards all fields above are filled.
 * Returns 0 or -ENOMEM.
 */
int conf_tls_read(struct conf *conf, struct conf_errors *errors) MUST_CHECK;

/* Rules between keys; touches no file. */
void conf_tls_check(const struct conf *conf, struct conf_errors *errors);

/* Overwrite and free every secret. Certificates and names stay. */
void conf_tls_forget(struct conf *conf);

/* Free what conf_tls_read has made. */
void conf_tls_fini(struct conf *conf);

#endif
