/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_schema_rows.h"

static const struct conf_level_info LEVELS[CONF_LEVEL_COUNT] = {
    [CONF_TOP] = {"", sizeof(struct conf), offsetof(struct conf, options), true,
                  "Keys of the file itself."},
    [CONF_ERROR_LOG] = {"error_log", sizeof(struct conf_error_log), 0, false,
                        "What happened to the proxy itself."},
    [CONF_ACCESS_LOG] = {"access_log", sizeof(struct conf_access_log), 0, false,
                         "One line for each request and for each tunnel at its end. "
                         "`access_log = \"off\"` turns it off."},
    [CONF_LISTENER] = {"listeners", sizeof(struct conf_listener), 0, false,
                       "Where clients connect: a list, one group for each address."},
    [CONF_CERTIFICATE] =
        {"certificates", sizeof(struct conf_certificate), 0, false,
         "What TLS listeners show: a list. A client gets the one for the name that "
         "it asks for (SNI): exact names before wildcards, of several key types "
         "the one that it can use. The first of the list is for all other names. "
         "Files are relative to the directory of the configuration."},
    [CONF_TLS] = {"tls", sizeof(struct conf_tls), 0, false,
                  "How clients of TLS listeners are met."},
    [CONF_UPSTREAM] = {"upstreams", sizeof(struct conf_upstream), 0, false,
                       "Groups of servers that can answer the same requests: a list."},
    [CONF_STICKY] =
        {"upstreams.sticky", sizeof(struct conf_sticky), 0, false,
         "A cookie that brings a client back to the server it had, also while that "
         "drains, until its tunnels are being closed. `sticky = \"off\"` turns it off."},
    [CONF_HEALTH] = {"upstreams.health", sizeof(struct conf_health), 0, false,
                     "Checks of the servers, by a process of their own. A server that fails them "
                     "gets no new work. `health = \"off\"` turns them off."},
    [CONF_SERVER] = {"upstreams.servers", sizeof(struct conf_server), 0, false,
                     "The servers of an upstream: a list."},
    [CONF_SITE] = {"sites", sizeof(struct conf_site), offsetof(struct conf_site, options), true,
                   "Which host names are served: a list. The longest matching name wins."},
    [CONF_ROUTE] = {"sites.routes", sizeof(struct conf_route), offsetof(struct conf_route, options),
                    true,
                    "Which paths of a site go to which upstream: a list. The longest prefix wins."},
    [CONF_OPTIONS] = {"options", sizeof(struct conf_options), 0, false,
                      "These may stand at the top level, in a site or in a route; what is nearest "
                      "to the route holds."},
};

/* clang-format off */
static const struct conf_key KEYS[] = {
    {CONF_TOP, "workers", CONF_INT, AT(conf, workers), .max = BOARD_SLOTS_MAX, .preset = "0",
     .doc = "worker processes; 0: one for each core"},
    {CONF_TOP, "user", CONF_TEXT, AT(conf, user), .example = "\"holdfast\"",
     .doc = "user that workers run as; needed when started as root"},
    {CONF_TOP, "pid_file", CONF_TEXT, AT(conf, pid_file), .preset = "/run/holdfast.pid",
     .doc = "file that holds the master's process ID"},
    {CONF_TOP, "control", CONF_TEXT, CONF_MAY_BE_EMPTY, AT(conf, control),
     .example = "\"/run/holdfast.sock\"",
     .doc = "socket by which `-s drain:` and the like reach the master; none: pid_file with .sock in "
            "place of .pid; \"\": no such socket"},
    {CONF_TOP, "board", CONF_TEXT, AT(conf, board), .preset = "/holdfast",
     .doc = "name of the shared memory that holdfast-stat reads; one for each master of a host"},
    {CONF_TOP, "error_log", CONF_GROUP, AT(conf, error_log), .child = CONF_ERROR_LOG,
     .example = "{ path = \"stderr\"; level = \"info\"; }", .doc = "the error log"},
    {CONF_TOP, "access_log", CONF_GROUP, CONF_MAY_BE_OFF, AT(conf, access_log),
     .child = CONF_ACCESS_LOG,
     .example = "{ path = \"/var/log/holdfast/access.log\"; format = \"json\"; }",
     .doc = "the access log"},
    {CONF_TOP, "header_timeout", CONF_DURATION, AT(conf, header_timeout_ms), .min = 1,
     .max = DURATION_MAX, .preset = "10s",
     .doc = "for a whole request head to arrive, counted from its first byte or the accept"},
    {CONF_TOP, "keepalive_timeout", CONF_DURATION, AT(conf, keepalive_timeout_ms),
     .max = DURATION_MAX, .preset = "75s",
     .doc = "how long a client connection waits for its next request; 0s: it is closed after each"},
    {CONF_TOP, "hang_timeout", CONF_DURATION, AT(conf, hang_timeout_ms), .max = DURATION_MAX,
     .preset = "10s",
     .doc = "a worker that hangs for so long is killed and its tunnels are adopted, a checker is "
            "replaced; 2s at least, or 0s: never"},
    {CONF_TOP, "upgrade_timeout", CONF_DURATION, AT(conf, upgrade_timeout_ms), .min = 1,
     .max = 600000, .preset = "5s",
     .doc = "requests in flight may finish for so long before a worker makes room for a new program"},
    {CONF_TOP, "resolver", CONF_TEXT, AT(conf, resolver), .example = "\"10.0.0.2, 10.0.0.3:53\"",
     .doc = "DNS servers for names of servers; none: the system's"},
    {CONF_TOP, "max_line", CONF_SIZE, AT(conf, max_line), .min = 256, .max = 1 << 20,
     .preset = "8k", .doc = "longest request line; more is answered 414"},
    {CONF_TOP, "max_head", CONF_SIZE, AT(conf, max_head), .min = 512, .max = 1 << 20,
     .preset = "16k", .doc = "biggest request head; more is answered 431"},
    {CONF_TOP, "max_headers", CONF_INT, AT(conf, max_headers), .min = 8, .max = 1000,
     .preset = "100", .doc = "most header fields of a request; more is answered 431"},
    {CONF_TOP, "max_tunnels", CONF_INT, AT(conf, max_tunnels), .max = INT32_MAX, .preset = "0",
     .doc = "tunnels of all workers together; more are answered 503; 0: no limit"},
    {CONF_TOP, "handshake_rate", CONF_RATE, AT(conf, handshake_rate), .preset = "",
     .doc = "WebSocket handshakes of all workers together, such as \"500/s\"; \"\": no limit"},
    {CONF_TOP, "handshake_burst", CONF_INT, AT(conf, handshake_burst), .min = 1, .max = 1000000,
     .preset = "50", .doc = "so many of them may come at once"},
    {CONF_TOP, "handshake_queue", CONF_DURATION, AT(conf, handshake_queue_ms), .max = 60000,
     .preset = "1s",
     .doc = "those that come faster wait for their turn for so long at most; more are answered 503"},
    {CONF_TOP, "drain_window", CONF_DURATION, AT(conf, drain_window_ms), .max = 3600000,
     .preset = "10s",
     .doc = "tunnels that QUIT, a drained or a removed server, or close-server: ends are closed one by "
            "one over so long; 0s: all at once"},
    {CONF_TOP, "listeners", CONF_LIST, CONF_REQUIRED, AT(conf, listeners), ALSO(conf, listener_count),
     .child = CONF_LISTENER, .example = "( { address = \"*:80\"; } )",
     .doc = "addresses to accept connections on, at least one"},
    {CONF_TOP, "certificates", CONF_LIST, AT(conf, certificates), ALSO(conf, certificate_count),
     .child = CONF_CERTIFICATE,
     .example = "( { certificate = \"site.pem\"; key = \"site.key\"; } )",
     .doc = "certificates with their keys; needed as soon as a listener has tls"},
    {CONF_TOP, "tls", CONF_GROUP, AT(conf, tls), .child = CONF_TLS,
     .example = "{ min_version = \"1.3\"; }", .doc = "what all TLS listeners have in common"},
    {CONF_TOP, "upstreams", CONF_LIST, AT(conf, upstreams), ALSO(conf, upstream_count),
     .child = CONF_UPSTREAM,
     .example = "( { name = \"app\"; servers = ( { address = \"10.0.0.1:8080\"; } ); } )",
     .doc = "groups of servers"},
    {CONF_TOP, "sites", CONF_LIST, AT(conf, sites), ALSO(conf, site_count), .child = CONF_SITE,
     .example = "( { routes = ( { path = \"/\"; upstream = \"app\"; } ); } )",
     .doc = "host names and their routes"},

    {CONF_ERROR_LOG, "path", CONF_TEXT, AT(conf_error_log, path), .preset = "stderr",
     .doc = "a file, or \"stderr\""},
    {CONF_ERROR_LOG, "level", CONF_WORD, AT(conf_error_log, level), .preset = "info",
     .words = {"error", "warn", "info", "debug"}, .example = "\"info\"",
     .doc = "least important lines that are written"},

    {CONF_ACCESS_LOG, "path", CONF_TEXT, CONF_REQUIRED, AT(conf_access_log, path),
     .example = "\"/var/log/holdfast/access.log\"", .doc = "a file, \"stderr\" or \"stdout\""},
    {CONF_ACCESS_LOG, "format", CONF_WORD, AT(conf_access_log, format), .preset = "json",
     .words = {"", "json", "combined"}, .example = "\"json\"",
     .doc = "what a line looks like"},

    {CONF_LISTENER, "address", CONF_LISTEN, CONF_REQUIRED, AT(conf_listener, text),
     ALSO(conf_listener, address),
     .doc = "address and port; \"*:80\" is every address of the host, IPv6 and IPv4; \"[::]:80\" "
            "every IPv6 address"},
    {CONF_LISTENER, "backlog", CONF_INT, AT(conf_listener, backlog), .min = 1, .max = 65535,
     .preset = "4096", .doc = "connections that may wait for each worker to accept them"},
    {CONF_LISTENER, "proxy_protocol", CONF_BOOL, AT(conf_listener, proxy_protocol),
     .preset = "false",
     .doc = "connections begin with a PROXY protocol header, version 1 or 2, that names the client; "
            "others than the top level's trusted_proxies are closed"},
    {CONF_LISTENER, "tls", CONF_BOOL, AT(conf_listener, tls), .preset = "false",
     .doc = "clients speak TLS here (https, wss); whatever the port"},

    {CONF_CERTIFICATE, "certificate", CONF_TEXT, CONF_REQUIRED, AT(conf_certificate, certificate),
     .example = "\"site.pem\"",
     .doc = "PEM file: the site's own certificate, then those that issued it"},
    {CONF_CERTIFICATE, "key", CONF_TEXT, CONF_REQUIRED, AT(conf_certificate, key),
     .example = "\"site.key\"",
     .doc = "PEM file with its private key, not encrypted; read by the master only, so root's"},
    {CONF_CERTIFICATE, "ocsp", CONF_TEXT, AT(conf_certificate, ocsp), .example = "\"site.ocsp\"",
     .doc = "DER file with the issuer's OCSP answer, given to clients that ask (stapling) until it "
            "expires; a reload reads it anew"},

    {CONF_TLS, "min_version", CONF_WORD, AT(conf_tls, min_version), .preset = "1.2",
     .words = {[CONF_TLS_1_2] = "1.2", [CONF_TLS_1_3] = "1.3"}, .example = "\"1.3\"",
     .doc = "oldest version of TLS that is spoken"},
    {CONF_TLS, "ciphers_1_2", CONF_TEXTS, AT(conf_tls, ciphers), ALSO(conf_tls, cipher_count),
     .preset = "ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA-AES128-GCM-SHA256 "
               "ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-RSA-AES256-GCM-SHA384 "
               "ECDHE-ECDSA-CHACHA20-POLY1305 ECDHE-RSA-CHACHA20-POLY1305",
     .words = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
               "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
               "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
     .example = "[ \"ECDHE-ECDSA-AES128-GCM-SHA256\" ]",
     .doc = "cipher suites of TLS 1.2, best first: those with forward secrecy and AEAD"},
    {CONF_TLS, "suites_1_3", CONF_TEXTS, AT(conf_tls, suites), ALSO(conf_tls, suite_count),
     .preset = "TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256",
     .words = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
     .example = "[ \"TLS_AES_128_GCM_SHA256\" ]", .doc = "cipher suites of TLS 1.3, best first"},
    {CONF_TLS, "groups", CONF_TEXTS, AT(conf_tls, groups), ALSO(conf_tls, group_count),
     .preset = "X25519 P-256 P-384", .words = {"X25519", "P-256", "P-384", "P-521"},
     .example = "[ \"X25519\", \"P-256\" ]",
     .doc = "key exchange groups, best first; X25519 costs a third of the others"},
    {CONF_TLS, "prefer_server_ciphers", CONF_BOOL, AT(conf_tls, prefer_server_ciphers),
     .preset = "false",
     .doc = "our order of suites counts; false: the client's, which knows what its hardware can do"},
    {CONF_TLS, "client_certificate", CONF_WORD, AT(conf_tls, client_certificate), .preset = "off",
     .words = {"off", "optional", "required"}, .example = "\"required\"",
     .doc = "are clients asked for a certificate; one that is shown must be issued by client_ca"},
    {CONF_TLS, "client_ca", CONF_TEXT, AT(conf_tls, client_ca), .example = "\"clients.pem\"",
     .doc = "PEM file: who issues clients' certificates; needed for client_certificate"},
    {CONF_TLS, "session_tickets", CONF_BOOL, AT(conf_tls, session_tickets), .preset = "true",
     .doc = "clients that come again are spared half of the handshake, at every worker, also after "
            "a reload, a crash or an upgrade"},
    {CONF_TLS, "ticket_keys", CONF_TEXTS, AT(conf_tls, ticket_keys),
     ALSO(conf_tls, ticket_key_count), .example = "[ \"new.key\", \"old.key\" ]",
     .doc = "files of 80 random bytes, the same on all hosts of a fleet (openssl rand 80 >new.key); "
            "the first one encrypts; none: keys of our own, changed every ticket_rotation"},
    {CONF_TLS, "ticket_rotation", CONF_DURATION, AT(conf_tls, ticket_rotation_ms), .min = 1000,
     .max = 7 * 86400000, .preset = "12h",
     .doc = "how often a new key is made; the one before stays good for as long again"},
    {CONF_TLS, "ticket_lifetime", CONF_DURATION, AT(conf_tls, ticket_lifetime_ms), .min = 1000,
     .max = 7 * 86400000, .preset = "12h", .doc = "how long a client may come again by a ticket; not beyond its own certificate's end"},
    {CONF_TLS, "handshake_timeout", CONF_DURATION, AT(conf_tls, handshake_timeout_ms), .min = 1,
     .max = DURATION_MAX, .preset = "10s", .doc = "for a whole handshake, counted from the accept"},
    {CONF_TLS, "max_handshakes", CONF_INT, AT(conf_tls, max_handshakes), .min = 1, .max = 65536,
     .preset = "128",
     .doc = "handshakes that each worker does at a time, at some 50 KB each; others wait, and while they "
            "do, the oldest that takes more than a second is ended"},

    {CONF_UPSTREAM, "name", CONF_TEXT, CONF_REQUIRED, AT(conf_upstream, name),
     .example = "\"app\"", .doc = "what routes call it; letters, digits and _ . -"},
    {CONF_UPSTREAM, "balance", CONF_WORD, AT(conf_upstream, balance), .preset = "round_robin",
     .words = {[BALANCE_ROUND_ROBIN] = "round_robin", [BALANCE_HASH] = "hash",
               [BALANCE_LEAST_CONN] = "least_conn", [BALANCE_RANDOM_TWO] = "random_two"},
     .example = "\"hash\"",
     .doc = "how a server is chosen; \"hash\" is nginx's `hash KEY consistent`"},
    {CONF_UPSTREAM, "hash_key", CONF_HASH_KEY, AT(conf_upstream, hash_key),
     .doc = "what is hashed: text and variables; needed with, and only with, balance = \"hash\""},
    {CONF_UPSTREAM, "keepalive", CONF_INT, AT(conf_upstream, keepalive), .max = 10000,
     .preset = "16", .doc = "idle connections to its servers that each worker keeps"},
    {CONF_UPSTREAM, "source", CONF_SOURCES, AT(conf_upstream, sources),
     ALSO(conf_upstream, source_count),
     .doc = "local addresses to connect from, taken in turn: each adds some 28,000 ports to a "
            "server; none: the kernel chooses"},
    {CONF_UPSTREAM, "sticky", CONF_GROUP, CONF_MAY_BE_OFF, AT(conf_upstream, sticky),
     .child = CONF_STICKY, .example = "{ cookie = \"route\"; }",
     .doc = "a cookie that brings a client back to its server"},
    {CONF_UPSTREAM, "health", CONF_GROUP, CONF_MAY_BE_OFF, AT(conf_upstream, health),
     .child = CONF_HEALTH, .example = "{ type = \"websocket\"; path = \"/\"; interval = \"2s\"; }",
     .doc = "checks of its servers"},
    {CONF_UPSTREAM, "max_load", CONF_FACTOR, AT(conf_upstream, max_load), .min = 100, .max = 10000,
     .preset = "0", .example = "1.25",
     .doc = "with balance = \"hash\": no server has more than this many times its fair share of live "
            "connections; the overflow goes to the next on the ring; 0: no bound"},
    {CONF_UPSTREAM, "max_ejected", CONF_INT, AT(conf_upstream, max_ejected), .max = 100,
     .preset = "50",
     .doc = "percent of the servers that failures (max_fails) may eject; while more are, nobody "
            "counts as ejected"},
    {CONF_UPSTREAM, "queue", CONF_INT, AT(conf_upstream, queue), .max = 1000000, .preset = "0",
     .doc = "requests that may wait, oldest first, while all servers are full (max_conns); more are "
            "answered 503"},
    {CONF_UPSTREAM, "queue_timeout", CONF_DURATION, AT(conf_upstream, queue_timeout_ms), .min = 1,
     .max = DURATION_MAX, .preset = "10s", .doc = "a request that has waited so long is answered 503"},
    {CONF_UPSTREAM, "tries", CONF_INT, AT(conf_upstream, tries), .max = 1000, .preset = "0",
     .doc = "servers tried for one request at most; 0: all"},
    {CONF_UPSTREAM, "retry_timeout", CONF_DURATION, AT(conf_upstream, retry_timeout_ms),
     .max = DURATION_MAX, .preset = "0s",
     .doc = "after so long a request gets no further server; 0s: no limit"},
    {CONF_UPSTREAM, "drain_timeout", CONF_DURATION, AT(conf_upstream, drain_timeout_ms),
     .max = DURATION_MAX, .preset = "0s",
     .doc = "tunnels on a server that drains, or was removed, are closed after so long; 0s: they live "
            "to their end"},
    {CONF_UPSTREAM, "shed", CONF_INT, AT(conf_upstream, shed), .max = 100, .preset = "0",
     .doc = "when servers are added: percent of its tunnels that a server above its fair share loses, "
            "never below that share, so that they come again to the new ones; 0: none"},
    {CONF_UPSTREAM, "shed_rate", CONF_PER_SECOND, AT(conf_upstream, shed_rate), .min = 1,
     .max = 1000000, .preset = "100/s", .doc = "how many of them are closed in a second"},
    {CONF_UPSTREAM, "tls", CONF_BOOL, AT(conf_upstream, tls.on), .preset = "false",
     .doc = "connections to its servers are TLS"},
    {CONF_UPSTREAM, "tls_verify", CONF_BOOL, AT(conf_upstream, tls.verify), .preset = "true",
     .doc = "a server must show a certificate that tls_ca trusts and that has its name; false: "
            "anybody may answer"},
    {CONF_UPSTREAM, "tls_ca", CONF_TEXT, AT(conf_upstream, tls.ca), .preset = CONF_SYSTEM_CA,
     .doc = "PEM file: who is trusted to issue servers' certificates"},
    {CONF_UPSTREAM, "tls_server_name", CONF_TEXT, AT(conf_upstream, tls.server_name),
     .example = "\"app.internal\"",
     .doc = "name that is asked for (SNI) and that a server's certificate must have; none: its address "
            "as written, without the port (of a UNIX socket: no name)"},
    {CONF_UPSTREAM, "tls_certificate", CONF_TEXT, AT(conf_upstream, tls.certificate),
     .example = "\"proxy.pem\"", .doc = "PEM file: our own certificate, for servers that ask"},
    {CONF_UPSTREAM, "tls_key", CONF_TEXT, AT(conf_upstream, tls.key), .example = "\"proxy.key\"",
     .doc = "PEM file with its private key"},
    {CONF_UPSTREAM, "proxy_protocol", CONF_WORD, AT(conf_upstream, proxy_protocol),
     .preset = "off", .words = {"off", "v1", "v2"}, .example = "\"v2\"",
     .doc = "connections to its servers begin with a PROXY protocol header that names the client; "
            "then each is for one client, and none is kept"},
    {CONF_UPSTREAM, "max_tunnels", CONF_INT, AT(conf_upstream, max_tunnels), .max = INT32_MAX,
     .preset = "0", .doc = "tunnels to all its servers together; more are answered 503; 0: no limit"},
    {CONF_UPSTREAM, "handshake_rate", CONF_RATE, AT(conf_upstream, handshake_rate), .preset = "",
     .doc = "WebSocket handshakes to each server, such as \"50/s\"; \"\": no limit"},
    {CONF_UPSTREAM, "handshake_burst", CONF_INT, AT(conf_upstream, handshake_burst), .min = 1,
     .max = 1000000, .preset = "10", .doc = "so many of them may come at once"},
    {CONF_UPSTREAM, "handshake_queue", CONF_DURATION, AT(conf_upstream, handshake_queue_ms),
     .max = 60000, .preset = "1s",
     .doc = "those that come faster wait for their turn for so long at most; more are answered 503"},
    {CONF_UPSTREAM, "servers", CONF_LIST, CONF_REQUIRED, AT(conf_upstream, servers),
     ALSO(conf_upstream, server_count), .child = CONF_SERVER,
     .example = "( { address = \"10.0.0.1:8080\"; } )", .doc = "at least one"},

    {CONF_STICKY, "cookie", CONF_TEXT, CONF_REQUIRED, AT(conf_sticky, cookie),
     .example = "\"route\"", .doc = "its name"},
    {CONF_STICKY, "secret", CONF_TEXT, AT(conf_sticky, secret), .example = "\"text\"",
     .doc = "makes values that nobody can compute; the same on all hosts that share clients"},
    {CONF_STICKY, "path", CONF_TEXT, AT(conf_sticky, path), .preset = "/", .example = "\"/\"",
     .doc = "attribute Path"},
    {CONF_STICKY, "domain", CONF_TEXT, AT(conf_sticky, domain), .example = "\"example.com\"",
     .doc = "attribute Domain"},
    {CONF_STICKY, "max_age", CONF_DURATION, AT(conf_sticky, max_age_ms), .max = DURATION_MAX,
     .preset = "0s", .doc = "attribute Max-Age; 0s: to the end of the browser's session"},
    {CONF_STICKY, "secure", CONF_BOOL, AT(conf_sticky, secure), .preset = "false",
     .doc = "attribute Secure"},
    {CONF_STICKY, "http_only", CONF_BOOL, AT(conf_sticky, http_only), .preset = "true",
     .doc = "attribute HttpOnly"},
    {CONF_STICKY, "same_site", CONF_WORD, AT(conf_sticky, same_site), .preset = "lax",
     .words = {"unsaid", "lax", "strict", "none"}, .example = "\"lax\"",
     .doc = "attribute SameSite; unsaid: without it"},

    {CONF_HEALTH, "type", CONF_WORD, CONF_REQUIRED, AT(conf_health, type),
     .words = {[HEALTH_OFF] = "", [HEALTH_TCP] = "tcp", [HEALTH_HTTP] = "http",
               [HEALTH_WEBSOCKET] = "websocket"}, .example = "\"websocket\"",
     .doc = "\"tcp\": it accepts; \"http\": it answers with an expected status; \"websocket\": a "
            "handshake with the right Accept, and a ping that is answered; these two by TLS where "
            "traffic is"},
    {CONF_HEALTH, "interval", CONF_DURATION, AT(conf_health, interval_ms), .min = 100,
     .max = DURATION_MAX, .preset = "5s", .doc = "between two checks; a tenth more or less, so "
     "that checks never align"},
    {CONF_HEALTH, "fast_interval", CONF_DURATION, AT(conf_health, fast_interval_ms), .min = 10,
     .max = DURATION_MAX, .preset = "1s",
     .doc = "the same while its state is about to change; never more than interval"},
    {CONF_HEALTH, "timeout", CONF_DURATION, AT(conf_health, timeout_ms), .min = 10, .max = 600000,
     .preset = "2s", .doc = "for a whole check"},
    {CONF_HEALTH, "rise", CONF_INT, AT(conf_health, rise), .min = 1, .max = 1000, .preset = "2",
     .doc = "good checks in a row that bring a failing server back"},
    {CONF_HEALTH, "fall", CONF_INT, AT(conf_health, fall), .min = 1, .max = 1000, .preset = "3",
     .doc = "bad checks in a row that make a server fail"},
    {CONF_HEALTH, "method", CONF_TEXT, AT(conf_health, method), .preset = "GET",
     .example = "\"HEAD\"", .doc = "\"http\" only: what is asked"},
    {CONF_HEALTH, "path", CONF_TEXT, AT(conf_health, path), .preset = "/", .example = "\"/\"",
     .doc = "path, and query, that is asked for"},
    {CONF_HEALTH, "host", CONF_TEXT, AT(conf_health, host), .example = "\"www.example.com\"",
     .doc = "Host that is sent; without it the server as written"},
    {CONF_HEALTH, "status", CONF_TEXT, AT(conf_health, status), .preset = "200-399",
     .example = "\"200-399\"", .doc = "\"http\" only: expected answers, such as \"200-299,401\""},

    {CONF_SERVER, "address", CONF_ADDRESS, CONF_REQUIRED, AT(conf_server, text),
     ALSO(conf_server, address),
     .doc = "IP address or name, and port (80 if left out), or unix:/path, or "
            "srv:_service._tcp.name; hashed exactly as written. Names are resolved again by their "
            "TTL, each address is a server; of a name with several each is hashed by itself"},
    {CONF_SERVER, "weight", CONF_INT, AT(conf_server, weight), .min = 1, .max = CONF_WEIGHT_MAX,
     .preset = "1", .doc = "its share, relative to the other servers"},
    {CONF_SERVER, "down", CONF_BOOL, AT(conf_server, down), .preset = "false",
     .doc = "gets no new work; keys of the other servers stay where they are"},
    {CONF_SERVER, "backup", CONF_BOOL, AT(conf_server, backup), .preset = "false",
     .doc = "gets work only when no other server can; stands on no ring"},
    {CONF_SERVER, "drain", CONF_BOOL, AT(conf_server, drain), .preset = "false",
     .doc = "keeps its tunnels and gets no new work but from clients whose sticky cookie names it, until its "
            "tunnels are being closed"},
    {CONF_SERVER, "max_conns", CONF_INT, AT(conf_server, max_conns), .max = 100000000,
     .preset = "0", .doc = "tunnels and requests at a time, of all workers together; 0: no limit"},
    {CONF_SERVER, "max_fails", CONF_INT, AT(conf_server, max_fails), .max = 1000, .preset = "1",
     .doc = "failures in a row within fail_timeout that eject it for fail_timeout; 0: never"},
    {CONF_SERVER, "fail_timeout", CONF_DURATION, AT(conf_server, fail_timeout_ms), .min = 1,
     .max = DURATION_MAX, .preset = "10s",
     .doc = "see max_fails; after it one request at a time tries an ejected server again"},
    {CONF_SERVER, "slow_start", CONF_DURATION, AT(conf_server, slow_start_ms), .max = 3600000,
     .preset = "0s",
     .doc = "time in which a server that came back grows to its share of the new requests"},

    {CONF_SITE, "hosts", CONF_HOSTS, AT(conf_site, hosts), ALSO(conf_site, host_count),
     .doc = "names without port, \"*.example.com\" for all below; none, or \"*\": all that no "
            "other site names"},
    {CONF_SITE, "max_tunnels", CONF_INT, AT(conf_site, max_tunnels), .max = INT32_MAX,
     .preset = "0", .doc = "tunnels of this site; more are answered 503; 0: no limit"},
    {CONF_SITE, "routes", CONF_LIST, AT(conf_site, routes), ALSO(conf_site, route_count),
     .child = CONF_ROUTE, .example = "( { path = \"/\"; upstream = \"app\"; } )",
     .doc = "paths; what no route matches is answered 404"},

    {CONF_ROUTE, "path", CONF_TEXT, CONF_REQUIRED, AT(conf_route, path), .example = "\"/\"",
     .doc = "what the decoded path begins with, or is, or matches"},
    {CONF_ROUTE, "match", CONF_WORD, AT(conf_route, match), .preset = "prefix",
     .words = {[MATCH_PREFIX] = "prefix", [MATCH_EXACT] = "exact", [MATCH_REGEX] = "regex"},
     .example = "\"exact\"",
     .doc = "how path is meant: exact ones win, then regular expressions (PCRE2) in the order of the "
            "file, then the longest prefix"},
    {CONF_ROUTE, "methods", CONF_TEXTS, AT(conf_route, methods), ALSO(conf_route, method_count),
     .example = "[ \"GET\", \"POST\" ]", .doc = "only requests with one of these methods"},
    {CONF_ROUTE, "headers", CONF_TEXTS, AT(conf_route, headers), ALSO(conf_route, header_count),
     .example = "[ \"X-Version: 2\" ]",
     .doc = "only requests with all of these fields: \"Name\", or \"Name: value\""},
    {CONF_ROUTE, "subprotocols", CONF_TEXTS, AT(conf_route, subprotocols),
     ALSO(conf_route, subprotocol_count), .example = "[ \"mqtt\" ]",
     .doc = "only requests that offer one of these in Sec-WebSocket-Protocol"},
    {CONF_ROUTE, "upstream", CONF_TEXT, AT(conf_route, upstream), .example = "\"app\"",
     .doc = "name of the upstream that answers"},
    {CONF_ROUTE, "rewrite", CONF_TEMPLATE, AT(conf_route, rewrite), .example = "\"/v2/$rest\"",
     .doc = "the path that the server is asked for, decoded; the query stays; $rest is what follows "
            "path, $1 to $9 are groups of a regular expression"},
    {CONF_ROUTE, "return", CONF_INT, AT(conf_route, status), .max = 599, .preset = "0",
     .doc = "answer with this status instead of asking an upstream, 200 to 599; 0: ask"},
    {CONF_ROUTE, "location", CONF_TEMPLATE, AT(conf_route, location),
     .example = "\"https://$host$request_uri\"", .doc = "Location of that answer"},
    {CONF_ROUTE, "body", CONF_TEXT, CONF_MAY_BE_EMPTY, AT(conf_route, body), .preset = "",
     .doc = "its body; \"\": the status in words"},
    {CONF_ROUTE, "content_type", CONF_TEXT, AT(conf_route, content_type), .preset = "text/plain",
     .example = "\"text/html\"", .doc = "its Content-Type"},
};
/* clang-format on */

/* Words are stored as the number of their place. */
_Static_assert(CLIENT_CERTIFICATE_OFF == 0 && CLIENT_CERTIFICATE_OPTIONAL == 1 &&
                   CLIENT_CERTIFICATE_REQUIRED == 2,
               "words of tls.client_certificate");
_Static_assert(ACCESS_LOG_JSON == 1 && ACCESS_LOG_COMBINED == 2, "words of access_log.format");
_Static_assert(LOG_LEVEL_ERROR == 0 && LOG_LEVEL_WARN == 1 && LOG_LEVEL_INFO == 2 &&
                   LOG_LEVEL_DEBUG == 3,
               "words of error_log.level");

const struct conf_level_info *conf_schema_level(enum conf_level level)
{
    ASSERT(level < CONF_LEVEL_COUNT);
    return &LEVELS[level];
}

/* Lists of groups come last, so that what -T prints reads from the general to the particular. */
static int rank(enum conf_level level, const struct conf_key *key)
{
    if (key->level == level)
        return key->type == CONF_LIST ? 2 : 0;
    return key->level == CONF_OPTIONS && LEVELS[level].has_options ? 1 : -1;
}

/* All rows: those of KEYS, then the options. NULL behind the last. */
static const struct conf_key *row(size_t i)
{
    if (i < ARRAY_LEN(KEYS))
        return &KEYS[i];
    i -= ARRAY_LEN(KEYS);
    return i < conf_schema_option_count ? &conf_schema_options[i] : NULL;
}

static size_t number_of(const struct conf_key *key)
{
    return key->level == CONF_OPTIONS ? ARRAY_LEN(KEYS) + (size_t)(key - conf_schema_options)
                                      : (size_t)(key - KEYS);
}

const struct conf_key *conf_schema_next(enum conf_level level, const struct conf_key *previous)
{
    int from = previous ? rank(level, previous) : 0;
    size_t i = previous ? number_of(previous) + 1 : 0;
    for (; from <= 2; from++, i = 0) {
        for (const struct conf_key *key; (key = row(i)) != NULL; i++) {
            if (rank(level, key) == from)
                return key;
        }
    }
    return NULL;
}

const struct conf_key *conf_schema_find(enum conf_level level, const char *name)
{
    for (const struct conf_key *key = NULL; (key = conf_schema_next(level, key)) != NULL;) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

uint64_t conf_schema_bit(const struct conf_key *key)
{
    ASSERT(key->level == CONF_OPTIONS);
    return UINT64_C(1) << (key - conf_schema_options);
}

static char *base(enum conf_level level, const void *object, const struct conf_key *key)
{
    size_t shift = key->level == level ? 0 : LEVELS[level].options;
    return (char *)(uintptr_t)object + shift;
}

void *conf_schema_field(enum conf_level level, const void *object, const struct conf_key *key)
{
    return base(level, object, key) + key->offset;
}

void *conf_schema_extra(enum conf_level level, const void *object, const struct conf_key *key)
{
    return base(level, object, key) + key->extra;
}

const char *conf_schema_example(const struct conf_key *key)
{
    static const char *const EXAMPLES[] = {
        [CONF_INT] = "4",
        [CONF_BOOL] = "true",
        [CONF_FACTOR] = "1.5",
        [CONF_TEXT] = "\"text\"",
        [CONF_DURATION] = "\"4s\"",
        [CONF_SIZE] = "\"16k\"",
        [CONF_HASH_KEY] = "\"$remote_addr\"",
        [CONF_HOST_HEADER] = "\"$http_host\"",
        [CONF_TEMPLATE] = "\"$remote_addr\"",
        [CONF_RATE] = "\"10/s\"",
        [CONF_PER_SECOND] = "\"100/s\"",
        [CONF_LISTEN] = "\"*:80\"",
        [CONF_ADDRESS] = "\"10.0.0.1:8080\"",
        [CONF_HOSTS] = "[ \"www.example.com\" ]",
        [CONF_SOURCES] = "[ \"10.0.0.5\", \"10.0.0.6\" ]",
        [CONF_TEXTS] = "[ \"text\" ]",
    };
    return key->example ? key->example : EXAMPLES[key->type];
}

const char *conf_schema_type_name(enum conf_type type)
{
    static const char *const NAMES[] = {
        [CONF_INT] = "an integer",
        [CONF_BOOL] = "true or false",
        [CONF_FACTOR] = "a number with at most two decimals",
        [CONF_TEXT] = "a text in quotes",
        [CONF_WORD] = "a word in quotes",
        [CONF_DURATION] = "a duration in quotes",
        [CONF_SIZE] = "a size in quotes",
        [CONF_HASH_KEY] = "a template in quotes",
        [CONF_HOST_HEADER] = "a template in quotes",
        [CONF_TEMPLATE] = "a template in quotes",
        [CONF_RATE] = "a rate in quotes",
        [CONF_PER_SECOND] = "a rate in quotes",
        [CONF_LISTEN] = "an address in quotes",
        [CONF_ADDRESS] = "an address in quotes",
        [CONF_HOSTS] = "an array of names",
        [CONF_SOURCES] = "an array of addresses",
        [CONF_TEXTS] = "an array of texts",
        [CONF_GROUP] = "a group",
        [CONF_LIST] = "a list of groups",
    };
    return NAMES[type];
}

/* Edits (insert, remove, change a letter) from a to b; both at most WORD_MAX long. */
enum { WORD_MAX = 48 };
static size_t edits(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_len];
}

void conf_schema_nearest(struct conf_nearest *nearest, const char *candidate)
{
    size_t word_len = strlen(nearest->word), len = strlen(candidate);
    if (word_len > WORD_MAX || len > WORD_MAX)
        return;
    size_t distance = edits(nearest->word, candidate);
    size_t longer = word_len > len ? word_len : len;
    if (distance * 2 > longer || (nearest->best && distance >= nearest->distance))
        return;
    nearest->best = candidate;
    nearest->distance = distance;
}
