/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image: one generation of the configuration, compiled by the master into a sealed memfd that
 * workers map read-only. Offsets from the start of the image, no pointers; strings are not
 * NUL-terminated. All M, before publishing; immutable after. Everything is resolved: what a route
 * does not set stands here with the value of its site, the top level or the default.
 *
 * While an upgrade is under way, workers of the new program go by the image of the old master, and
 * after one that is taken back workers of the old program by that of the new one. So every kind of row
 * and the front grow at their end only, and a new field's zero means what was before it; the image says
 * how big its rows are, and shm/image_fit.c makes ours of them. A change that does more than that needs
 * a new version, and then an upgrade is refused.
 */
#ifndef SHM_IMAGE_H
#define SHM_IMAGE_H

#include "common/addr.h"
#include "common/compiler.h"
#include "common/http_head.h"
#include "common/pattern.h"
#include "common/prefix_tree.h"
#include "common/slice.h"
#include "shm/arena_rules.h"
#include "shm/board.h"
#include "shm/board_pace.h"

#include <stdint.h>

#define IMAGE_MAGIC 0x6567616d69464855ull
enum {
    IMAGE_VERSION = 3,
    IMAGE_HEADER_SIZE = 1024, /* the arrays begin behind it; what it does not use is zero */
};

struct image_str {
    uint32_t off;
    uint32_t len;
};

/* `count` entries of the array at `off`. */
struct image_array {
    uint32_t off;
    uint32_t count;
};

/* Pieces of a template such as "$remote_addr:$arg_room" (hash_key, host_header). */
enum image_var {
    VAR_TEXT,               /* `text` as it is */
    VAR_REMOTE_ADDR,        /* client address without port, as nginx prints it */
    VAR_BINARY_REMOTE_ADDR, /* 4 or 16 raw bytes */
    VAR_REMOTE_PORT,
    VAR_HOST,        /* host without port, lower case */
    VAR_HTTP_HOST,   /* Host field as sent, port included */
    VAR_SERVER_PORT, /* port of the listener */
    VAR_URI,         /* path, decoded and normalised, without query */
    VAR_REQUEST_URI, /* target as sent, with query */
    VAR_ARGS,        /* query as sent */
    VAR_SCHEME,      /* http or https */
    VAR_METHOD,      /* $request_method */
    VAR_ARG,         /* $arg_NAME: `text` is NAME */
    VAR_HTTP,        /* $http_NAME */
    VAR_COOKIE,      /* $cookie_NAME */
    VAR_BACKEND,     /* $proxy_host: the chosen server as written */
    VAR_REMOTE_NET,  /* $remote_net_V4_V6: `text` is "V4_V6", bits of the address that count */
    VAR_REST,        /* $rest: what of $uri follows the route's path */
    VAR_CAPTURE,     /* $1 to $9: group of the route's regular expression; `text` is the digit */
};

struct image_part {
    uint32_t var; /* enum image_var */
    struct image_str text;
};

/* Are clients asked for a certificate? */
enum image_client_certificate {
    CLIENT_CERTIFICATE_OFF,
    CLIENT_CERTIFICATE_OPTIONAL, /* asked; one that is shown must verify */
    CLIENT_CERTIFICATE_REQUIRED,
};

/* How clients of TLS listeners are met. Certificates are DER, one behind the other. */
struct image_tls {
    uint32_t flags;              /* IMAGE_TLS_* */
    uint32_t client_certificate; /* enum image_client_certificate */
    uint32_t ticket_lifetime_s;
    uint32_t handshake_timeout_ms;
    uint32_t max_handshakes;    /* at a time, of each worker */
    uint32_t https_port;        /* where redirect_https leads; 0: no listener has TLS */
    struct image_str ciphers;   /* TLS 1.2, joined by ':' */
    struct image_str suites;    /* TLS 1.3, likewise */
    struct image_str groups;    /* likewise */
    struct image_str client_ca; /* empty: none */
    struct image_array choices; /* for clients without SNI, or with one that no certificate has */
};
enum {
    IMAGE_TLS_1_3_ONLY = 1 << 0,
    IMAGE_TLS_OUR_ORDER = 1 << 1, /* prefer_server_ciphers */
    IMAGE_TLS_TICKETS = 1 << 2,
};

/* Its private key is the one of the same index in the keys (shm/keys.h). */
struct image_certificate {
    struct image_str chain;  /* the site's own certificate first */
    struct image_str staple; /* OCSP answer in DER; empty: none */
    uint64_t staple_until_s; /* since the epoch: not to be given to clients afterwards */
};

/* A name that certificates have. */
struct image_cert_name {
    struct image_str name; /* as in image_host; a wildcard stands for one label only */
    uint32_t wildcard;     /* 0 or 1 */
    uint32_t pad;
    struct image_array choices; /* uint32_t, indices of certificates: of each key type one */
};

/* What is known before a request's route is. */
struct image_front {
    struct http_limits head; /* max_line, max_head, max_headers */
    uint32_t header_timeout_ms;
    uint32_t keepalive_timeout_ms; /* 0: no keep-alive with clients */
    uint32_t access_log_format;    /* enum image_log_format */
    uint32_t log_level;            /* enum log_level */
    struct image_str resolver;     /* DNS servers, with commas between; empty: the system's */
    uint32_t max_tunnels;          /* of all workers; 0: no limit */
    uint32_t pad;
    struct pace pace; /* of handshakes */
};

enum image_log_format { ACCESS_LOG_OFF, ACCESS_LOG_JSON, ACCESS_LOG_COMBINED };

struct image_listener {
    struct addr address;
    struct image_str text; /* as written */
    uint32_t backlog;
    uint32_t flags;             /* LISTENER_* */
    struct image_array trusted; /* tree of prefixes: whose PROXY protocol is believed */
};
enum {
    LISTENER_TLS = 1 << 0,
    LISTENER_PROXY = 1 << 1, /* connections begin with a header of the PROXY protocol */
};

struct image_host {
    struct image_str
        name;          /* lower case; "*.example.com" stands as ".example.com" with wildcard set */
    uint32_t wildcard; /* 1: any name that ends so and is longer */
    uint32_t site;     /* index into sites */
};

struct image_site {
    struct image_str name;     /* its first host, "*" without hosts */
    uint32_t board_site;       /* index on the board */
    struct image_array routes; /* longest path first: the first that is a prefix wins */
    uint32_t max_tunnels;      /* 0: no limit */
    uint32_t pad;
};

/* What to do with a header that tells the backend about the client. */
enum image_forward {
    FORWARD_REPLACE, /* ours instead of what the client sent */
    FORWARD_APPEND,  /* behind what the client sent (X-Forwarded-For only) */
    FORWARD_KEEP,    /* what the client sent, else ours */
    FORWARD_PASS,    /* what the client sent, nothing of ours */
    FORWARD_REMOVE,  /* nothing */
};

struct image_route {
    struct image_str path; /* prefix of the normalised path; begins with '/' */
    uint32_t upstream;     /* index into upstreams */
    uint32_t flags;        /* ROUTE_* */
    uint32_t connect_timeout_ms;
    uint32_t send_timeout_ms;
    uint32_t response_timeout_ms;
    uint32_t body_timeout_ms;
    uint32_t idle_timeout_ms; /* tunnels; 0: none */
    uint32_t pad;
    uint64_t max_body;              /* bytes; 0: no limit */
    struct image_array host_header; /* parts of the Host sent to the backend */
    uint8_t x_forwarded_for;        /* enum image_forward */
    uint8_t x_forwarded_proto;
    uint8_t x_forwarded_host;
    uint8_t x_real_ip;
    uint8_t x_client_cert; /* of the X-Client-Cert-* family; REPLACE, PASS or REMOVE */
    uint8_t pad2[3];
    struct image_str hsts;         /* Strict-Transport-Security of answers over TLS; empty: none */
    struct image_array trusted;    /* tree of prefixes: whose X-Forwarded-For is believed */
    struct image_array access;     /* tree of prefixes with enum image_verdict */
    struct image_array origins;    /* texts: patterns (common/origin.h); empty: all may come in */
    struct image_array client_key; /* parts: what the limits of a client go by */
    struct image_str client_scope; /* what they are counted for */
    uint32_t client_max_tunnels;   /* 0: no limit */
    uint32_t pad3;
    struct pace client_pace;           /* handshakes of one client */
    uint32_t forwarded;                /* enum image_forward */
    uint32_t match;                    /* enum image_match: what `path` is */
    struct image_array methods;        /* texts: one of them; empty: any */
    struct image_array headers;        /* texts "Name" or "Name: value": all of them */
    struct image_array subprotocols;   /* texts: one of them; empty: any */
    struct image_array rewrite;        /* parts of the path that is asked for; empty: as it came */
    struct image_array request_edits;  /* of fields to the server */
    struct image_array response_edits; /* of fields to the client */
    struct image_array pages;          /* our own answers' bodies */
    struct image_array location;       /* parts; of a fixed answer */
    struct image_str body;             /* of a fixed answer; empty: the status in words */
    struct image_str content_type;     /* of that body */
    uint32_t status;                   /* of a fixed answer; 0: the upstream answers */
    uint32_t tunnel_flags;             /* RULES_*; for this and what follows see arena_rules */
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint32_t close_timeout_ms;
    uint32_t max_age_ms;
    uint32_t max_age_spread_ms;
    uint32_t close_code;
    struct image_str close_reason;
    struct arena_limits limits;
};

/* What a route's path is. */
enum image_match { MATCH_PREFIX, MATCH_EXACT, MATCH_REGEX };

/* A change of a head's fields. */
struct image_edit {
    struct image_str name;
    struct image_array value; /* parts */
    uint32_t kind;            /* enum image_edit_kind */
    uint32_t pad;
};
enum image_edit_kind { EDIT_SET, EDIT_ADD, EDIT_REMOVE };

/* The body of our own answer with this status, HTML. */
struct image_page {
    struct image_str body;
    uint32_t status;
    uint32_t pad;
};
enum {
    ROUTE_UPGRADE = 1 << 0,         /* upgrades are allowed */
    ROUTE_REDIRECT_HTTPS = 1 << 1,  /* what comes without TLS is sent to https */
    ROUTE_ORIGIN_REQUIRED = 1 << 2, /* with origins: none is no reason to come in */
    ROUTE_ALLOW_LISTED = 1 << 3,    /* whom no prefix of `access` holds stays outside */
};

/* Values in trees of prefixes. */
enum image_verdict { VERDICT_ALLOW = 1, VERDICT_DENY = 2 };

struct image_server {
    struct addr address;
    struct image_str text; /* as written: name on the board and what the ring hashes */
    uint32_t backend;      /* index on the board */
    uint32_t weight;       /* 1.. */
    uint32_t flags;        /* BACKEND_* of board.h */
    uint32_t max_conns;    /* tunnels and requests of all workers; 0: no limit */
    uint32_t max_fails;    /* 0: passive checks never eject it */
    uint32_t fail_timeout_ms;
    uint32_t slow_start_ms;  /* 0: none */
    struct image_str sticky; /* value of the cookie that names it */
    struct image_str
        tls_name; /* name or IP address that its certificate must have; empty: no TLS */
    uint32_t pad;
};

enum image_health_type { HEALTH_OFF, HEALTH_TCP, HEALTH_HTTP, HEALTH_WEBSOCKET };
enum { HEALTH_STATUS_MAX = 8 };

/* How the checker looks at the servers of an upstream. */
struct image_health {
    uint32_t type; /* enum image_health_type */
    uint32_t interval_ms;
    uint32_t fast_interval_ms;
    uint32_t timeout_ms;
    uint32_t rise;
    uint32_t fall;
    struct image_str method;
    struct image_str path;
    struct image_str host; /* empty: the server as written */
    uint32_t status_count;
    struct {
        uint16_t from;
        uint16_t to;
    } status[HEALTH_STATUS_MAX]; /* that are good */
};

/* A server whose name the checker resolves (master/conf_name.h). */
struct image_name {
    struct image_str text; /* as written */
};

struct image_upstream {
    struct image_str name;
    struct image_array servers;  /* struct image_server, in the order of the file */
    struct image_array hash_key; /* parts */
    struct image_array sources;  /* struct addr to connect from; empty: the kernel's choice */
    uint32_t policy;             /* enum balance_policy */
    uint32_t board_upstream;     /* index on the board */
    uint32_t keepalive;          /* idle connections kept by each worker */
    uint32_t tries;              /* servers tried for one request, at most; 0: all */
    struct image_health health;
    struct image_str sticky_cookie;     /* name of the cookie; empty: none */
    struct image_str sticky_attributes; /* what follows its value in Set-Cookie */
    uint32_t queue;                     /* requests of all workers that may wait; 0: none */
    uint32_t queue_timeout_ms;
    uint32_t retry_timeout_ms;  /* no further server is tried after that; 0: no limit */
    uint32_t max_ejected;       /* percent of the servers that may be ejected */
    uint32_t max_load;          /* hundredths of the fair share, hash only; 0: no bound */
    uint32_t slow_start;        /* 1: a server has one */
    uint32_t primaries;         /* servers that are no backups */
    uint32_t tls_flags;         /* UPSTREAM_TLS_* */
    uint32_t tls_key;           /* index in the keys, of tls_chain; UINT32_MAX: none */
    struct image_str tls_chain; /* our own certificate, DER; empty: none */
    struct image_str tls_ca;    /* who is trusted, DER; empty: nobody is asked */
    uint32_t max_tunnels;       /* 0: no limit */
    uint32_t proxy_protocol;    /* enum image_proxy_protocol */
    struct pace pace;           /* of handshakes, for each server */
};

/* What a connection to a server begins with. */
enum image_proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_V1, PROXY_PROTOCOL_V2 };

/* A text in an array of texts. */
struct image_text {
    struct image_str text;
};
enum { UPSTREAM_TLS = 1 << 0, UPSTREAM_TLS_VERIFY = 1 << 1 };

/* The arrays of rows, in the order of the header. */
enum image_kind {
    IMAGE_LISTENERS,
    IMAGE_HOSTS,
    IMAGE_SITES,
    IMAGE_ROUTES,
    IMAGE_UPSTREAMS,
    IMAGE_SERVERS,
    IMAGE_PARTS,
    IMAGE_SOURCES,
    IMAGE_CERTIFICATES,
    IMAGE_CERT_NAMES,
    IMAGE_NAMES,
    IMAGE_PREFIXES,
    IMAGE_TEXTS,
    IMAGE_EDITS,
    IMAGE_PAGES,
    IMAGE_KINDS,
    IMAGE_KINDS_MAX = 24, /* room for kinds that programs after this one may have */
};

struct image_header {
    uint64_t magic;
    uint32_t version;
    uint32_t generation;
    uint64_t size;
    uint16_t row_size[IMAGE_KINDS_MAX]; /* bytes of a row, by enum image_kind */
    struct image_array listeners;       /* struct image_listener */
    struct image_array hosts;  /* struct image_host, sorted: by wildcard, then name (bytes) */
    struct image_array sites;  /* struct image_site */
    struct image_array routes; /* all; a site's are a run of them */
    struct image_array upstreams;
    struct image_array servers; /* all; an upstream's are a run of them */
    struct image_array parts;   /* all template parts */
    struct image_array sources; /* all source addresses */
    struct image_array certificates;
    struct image_array cert_names; /* sorted as hosts */
    struct image_array names;      /* to be resolved */
    struct image_array prefixes;   /* all nodes of all trees of prefixes */
    struct image_array texts;      /* all; struct image_text */
    struct image_array edits;      /* all; struct image_edit */
    struct image_array pages;      /* all; struct image_page */
    struct image_array spare[IMAGE_KINDS_MAX - IMAGE_KINDS];
    struct image_array choices; /* all: uint32_t */
    struct image_array strings; /* bytes */
    uint32_t default_site;      /* for hosts nobody names; UINT32_MAX: 404 */
    uint32_t pad;
    union {
        struct image_tls tls;
        uint8_t tls_room[256]; /* it grows */
    };
    struct image_front front; /* last: it grows */
};
_Static_assert(sizeof(struct image_header) <= IMAGE_HEADER_SIZE, "the arrays begin behind it");

/* A mapped image. Counted: requests in flight keep the generation that they began with. */
struct image {
    const struct image_header *header;
    uint64_t size;
    uint32_t references;
    struct pattern **patterns; /* by route, compiled on opening; NULL: no route has one */
};

/*
 * Map the image in `fd` and check it whole once: magic, version, every offset and index. One whose
 * rows have other sizes than ours is copied into private memory with ours. The caller owns *out with one
 * reference; the descriptor stays the caller's.
 * Returns 0, -EPROTO (not an image, or not sealed), -EPROTONOSUPPORT (version), -EBADMSG (an offset
 * points outside) or -errno.
 */
int image_open(struct image **out, int fd) MUST_CHECK;

/* One more reference; returns its argument. */
struct image *image_acquire(struct image *image);

/* One reference less, unmapped with the last; nulls the pointer, accepts NULL. */
void image_release(struct image **image);

/* Entries by index; `index` < count (ASSERT). Borrowed from the image. */
const struct image_listener *image_listener(const struct image *image, uint32_t index);
const struct image_site *image_site(const struct image *image, uint32_t index);
const struct image_route *image_route(const struct image *image, uint32_t index);
const struct image_upstream *image_upstream(const struct image *image, uint32_t index);
const struct image_server *image_server(const struct image *image, uint32_t index);
const struct image_name *image_name(const struct image *image, uint32_t index);

/* Entry `i` of a run inside a bigger array. */
const struct image_server *image_upstream_server(const struct image *image,
                                                 const struct image_upstream *upstream, uint32_t i);
const struct addr *image_upstream_source(const struct image *image,
                                         const struct image_upstream *upstream, uint32_t i);
const struct image_part *image_part(const struct image *image, struct image_array parts,
                                    uint32_t i);

/* Entry `i` of an array of texts. */
struct slice image_text(const struct image *image, struct image_array texts, uint32_t i);

/* Entry `i` of a route's edits or pages. */
const struct image_edit *image_edit(const struct image *image, struct image_array edits,
                                    uint32_t i);
const struct image_page *image_page(const struct image *image, struct image_array pages,
                                    uint32_t i);

/* The value of the longest prefix of a tree that holds the address; 0: none. */
uint8_t image_verdict(const struct image *image, struct image_array tree,
                      const struct addr *address);

const struct image_certificate *image_certificate(const struct image *image, uint32_t index);

/* Entry `i` of a run of choices: the index of a certificate. */
uint32_t image_choice(const struct image *image, struct image_array choices, uint32_t i);

struct slice image_slice(const struct image *image, struct image_str str);

/*
 * The site for a host name (lower case, without port): exact, then the longest wildcard, then the
 * default. Returns NULL when there is none.
 */
const struct image_site *image_find_site(const struct image *image, struct slice host);

/*
 * The certificates for the name that a client asks for (SNI, lower case; may be empty): exact, then the
 * wildcard of its last labels but one, then the default. At least one if the image has any.
 */
struct image_array image_find_certificates(const struct image *image, struct slice name);

/*
 * The next route of the site, behind `after` (NULL: the first), whose path fits a normalised path: exact
 * ones come first, then regular expressions, then prefixes, the longest first. `groups` (NULL: not
 * wanted) are those of a regular expression and point into `path`. NULL: no more.
 */
const struct image_route *image_find_route(const struct image *image, const struct image_site *site,
                                           struct slice path, const struct image_route *after,
                                           struct slice groups[PATTERN_GROUPS]);

#endif
