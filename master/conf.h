/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as a plain struct: read from a libconfig file, checked as a whole, printed,
 * compiled into an image. Master only. All strings are owned by the struct, and everything stands
 * resolved: what a route or a site does not set holds what its parent or the default says.
 */
#ifndef MASTER_CONF_H
#define MASTER_CONF_H

#include "common/addr.h"
#include "common/compiler.h"
#include "common/log.h"
#include "master/conf_front.h"
#include "master/conf_route.h"
#include "master/conf_tls.h"
#include "master/conf_tunnel.h"
#include "shm/board.h"
#include "shm/image.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct conf_place;
struct names;

/* What may stand at the top level, in a site and in a route, and is inherited downwards. */
struct conf_options {
    uint64_t set; /* bit i: option i of the schema is written at this level */
    uint32_t connect_timeout_ms;
    uint32_t send_timeout_ms;
    uint32_t response_timeout_ms;
    uint32_t body_timeout_ms;
    uint32_t idle_timeout_ms; /* 0: none */
    uint64_t max_body;        /* bytes; 0: no limit */
    bool upgrade;
    char *host_header; /* template */
    enum image_forward x_forwarded_for;
    enum image_forward x_forwarded_proto;
    enum image_forward x_forwarded_host;
    enum image_forward x_real_ip;
    enum image_forward x_client_cert;
    char *hsts; /* "": none */
    bool redirect_https;
    enum image_forward forwarded;
    char **trusted_proxies; /* prefixes, as are the next two */
    uint32_t trusted_proxy_count;
    char **allow;
    uint32_t allow_count;
    char **deny;
    uint32_t deny_count;
    char **origins;
    uint32_t origin_count;
    bool origin_required;
    char *client_key;            /* template */
    uint32_t client_max_tunnels; /* 0: no limit */
    char **request_headers;      /* "Name: template", "+Name: template", "-Name" */
    uint32_t request_header_count;
    char **response_headers;
    uint32_t response_header_count;
    char **error_pages; /* "503 PATH" */
    uint32_t error_page_count;
    char *client_rate; /* "": no limit */
    uint32_t client_burst;
    struct conf_tunnel tunnel;
};

struct conf_error_log {
    char *path; /* "stderr" or a file */
    enum log_level level;
};

struct conf_access_log {
    char *path; /* NULL: off; "stderr", "stdout" or a file */
    enum image_log_format format;
};

struct conf_listener {
    struct addr address;
    char *text; /* the address as written */
    uint32_t backlog;
    bool tls;
    bool proxy_protocol;
    int line; /* where it stands, for messages about bind */
};

enum { CONF_WEIGHT_MAX = 1000 };

struct conf_server {
    struct addr address; /* len 0: `text` is a name, to be resolved */
    char *text;          /* as written: what the ring hashes */
    uint32_t weight;
    uint32_t max_conns; /* 0: no limit */
    uint32_t max_fails; /* 0: never ejected */
    uint32_t fail_timeout_ms;
    uint32_t slow_start_ms; /* 0: none */
    bool down;
    bool backup;
    bool drain;
};

enum conf_same_site {
    CONF_SAME_SITE_UNSAID,
    CONF_SAME_SITE_LAX,
    CONF_SAME_SITE_STRICT,
    CONF_SAME_SITE_NONE
};

struct conf_sticky {
    char *cookie; /* its name; NULL: no sticky sessions */
    char *secret; /* NULL: values can be made by whoever knows a server's address */
    char *path;
    char *domain;        /* NULL: the host alone */
    uint32_t max_age_ms; /* 0: to the end of the client's session */
    enum conf_same_site same_site;
    bool secure;
    bool http_only;
};

struct conf_health {
    enum image_health_type type; /* HEALTH_OFF: none */
    uint32_t interval_ms;
    uint32_t fast_interval_ms;
    uint32_t timeout_ms;
    uint32_t rise;
    uint32_t fall;
    char *method;
    char *path;
    char *host;   /* NULL: the server as written */
    char *status; /* "200-399" or a list of such */
};

struct conf_source {
    struct addr address; /* port 0 */
    char *text;
};

struct conf_upstream {
    char *name;
    enum balance_policy balance;
    char *hash_key; /* template; NULL unless balance is hash */
    struct conf_server *servers;
    uint32_t server_count;
    struct conf_source *sources;
    uint32_t source_count;
    uint32_t keepalive;
    struct conf_backend_tls tls;
    struct conf_sticky sticky;
    struct conf_health health;
    uint32_t max_load;    /* hundredths; 0: no bound */
    uint32_t max_ejected; /* percent */
    uint32_t queue;       /* 0: nobody waits */
    uint32_t queue_timeout_ms;
    uint32_t tries;            /* 0: all servers */
    uint32_t retry_timeout_ms; /* 0: no limit */
    uint32_t drain_timeout_ms; /* 0: none */
    uint32_t max_tunnels;      /* 0: no limit */
    char *handshake_rate;      /* "": no limit */
    uint32_t handshake_burst;
    uint32_t handshake_queue_ms;
    enum image_proxy_protocol proxy_protocol;
    uint32_t shed;      /* percent; 0: none */
    uint32_t shed_rate; /* tunnels a second */
};

struct conf_route {
    char *path;
    enum image_match match;
    char **methods;
    uint32_t method_count;
    char **headers; /* "Name" or "Name: value" */
    uint32_t header_count;
    char **subprotocols;
    uint32_t subprotocol_count;
    char *upstream;  /* NULL: `status` answers */
    char *rewrite;   /* template; NULL: the path as it came */
    uint32_t status; /* of a fixed answer; 0: none */
    char *location;  /* template; NULL: none */
    char *body;      /* "" */
    char *content_type;
    struct conf_options options;
};

struct conf_site {
    char **hosts; /* lower case; "*": default site */
    uint32_t host_count;
    struct conf_route *routes; /* in the order of the file */
    uint32_t route_count;
    uint32_t max_tunnels; /* 0: no limit */
    struct conf_options options;
};

struct conf {
    char *path;       /* as given to conf_load */
    uint32_t workers; /* as written; 0: one per core */
    char *user;       /* NULL: none given */
    char *pid_file;
    char *control; /* path of the control socket; "": none */
    char *board;
    struct conf_error_log error_log;
    struct conf_access_log access_log;
    struct conf_listener *listeners; /* at least one */
    uint32_t listener_count;
    struct conf_certificate *certificates;
    uint32_t certificate_count;
    struct conf_tls tls;
    struct conf_upstream *upstreams;
    uint32_t upstream_count;
    struct conf_site *sites;
    uint32_t site_count;
    uint32_t header_timeout_ms;
    uint32_t keepalive_timeout_ms;
    uint32_t upgrade_timeout_ms;
    uint32_t hang_timeout_ms; /* 0: none */
    uint64_t max_line;        /* bytes */
    uint64_t max_head;        /* bytes */
    uint32_t max_headers;
    char *resolver; /* NULL: the system's */
    const struct names
        *names;           /* borrowed: what names of servers stand for; NULL: nothing is known */
    uint32_t max_tunnels; /* 0: no limit */
    char *handshake_rate; /* "": no limit */
    uint32_t handshake_burst;
    uint32_t handshake_queue_ms;
    uint32_t drain_window_ms; /* 0: all at once */
    struct conf_options options;
    struct conf_page *pages;        /* files of error_pages */
    struct conf_prefixes *prefixes; /* what the lists of prefixes came to */
    struct conf_place *places;      /* where each value was written, see conf_error.h */
    struct conf_place *last_place;
};

/*
 * Read and check the file. Blocks on the file only; changes nothing but *out.
 * On 0 the caller owns *out. Returns -EINVAL after every error of the file was printed to `errors`
 * as `file:line: key: what is wrong, and why it matters`; -errno (printed, too) when the file cannot
 * be read or memory is out. *out is NULL then.
 * A relative @include is taken from the directory of `path`: the working directory of the process
 * changes for the time of the call.
 */
int conf_load(struct conf **out, const char *path, FILE *errors) MUST_CHECK;

/*
 * The same but for the files that the configuration names (certificates, keys): they are neither read
 * nor judged. For who may not read them, or only wants to know where the master is.
 */
int conf_load_alone(struct conf **out, const char *path, FILE *errors) MUST_CHECK;

/*
 * For a master, which must never wait for the other end of a pipe: is `path` a file? Returns 0, or -errno
 * after a message like those of conf_load.
 */
int conf_is_file(const char *path, FILE *errors) MUST_CHECK;

/* Free and null; accepts NULL. */
void conf_free(struct conf **conf);

/*
 * -T: the whole configuration with every default, in libconfig syntax. Loading what was printed
 * gives a configuration that prints the same.
 */
void conf_print(const struct conf *conf, FILE *out);

/* --keys: the reference of all keys, Markdown, from the schema table; etc/KEYS.md holds it. */
void conf_print_keys(FILE *out);

/*
 * Compile into a sealed memfd (shm/image.h) of this generation. Registers sites, upstreams and
 * servers on the board and publishes the rings; the board's generation is the caller's to raise.
 * On 0 the caller owns *fd (close-on-exec). On -errno, printed to `errors`, nothing that the running
 * generation uses has changed, *fd is -1, and the same generation number may be tried again.
 */
int conf_image_build(const struct conf *conf, const struct board *board, uint32_t generation,
                     int *fd, FILE *errors) MUST_CHECK;

/*
 * The same for a configuration that runs already, because names of servers stand for other addresses now:
 * the board's events tell that cause.
 */
int conf_image_follow(const struct conf *conf, const struct board *board, uint32_t generation,
                      int *fd, FILE *errors) MUST_CHECK;

/*
 * Put the private keys into a sealed memfd (shm/keys.h) of this generation; -1 if there are none. On 0
 * the caller owns *fd. On -errno, printed to `errors`, *fd is -1. conf_tls_forget may follow.
 */
int conf_keys_build(const struct conf *conf, uint32_t generation, int *fd, FILE *errors) MUST_CHECK;

#endif
