/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand at the top level, in a site and in a route. */
#include "master/conf_schema_rows.h"

/* An hour: arenas of version 2 keep it as tenths of a second in 16 bits. */
#define SEND_TIMEOUT_MAX UINT64_C(3600000)
#define FORWARD_WORDS                                                                              \
    {                                                                                              \
        "replace", "", "keep", "pass", "remove"                                                    \
    }

/* clang-format off */
const struct conf_key conf_schema_options[] = {
    {CONF_OPTIONS, "connect_timeout", CONF_DURATION, AT(conf_options, connect_timeout_ms),
     .min = 1, .max = DURATION_MAX, .preset = "4s", .doc = "for a server to accept a connection"},
    {CONF_OPTIONS, "send_timeout", CONF_DURATION, AT(conf_options, send_timeout_ms), .min = 1,
     .max = SEND_TIMEOUT_MAX, .preset = "60s",
     .doc = "for a receiver, client or server, to take at least one byte"},
    {CONF_OPTIONS, "response_timeout", CONF_DURATION, AT(conf_options, response_timeout_ms),
     .min = 1, .max = DURATION_MAX, .preset = "60s",
     .doc = "for a server to answer, and between two pieces of its answer"},
    {CONF_OPTIONS, "body_timeout", CONF_DURATION, AT(conf_options, body_timeout_ms), .min = 1,
     .max = DURATION_MAX, .preset = "60s", .doc = "between two pieces of a request's body"},
    {CONF_OPTIONS, "idle_timeout", CONF_DURATION, AT(conf_options, idle_timeout_ms),
     .max = DURATION_MAX, .preset = "1h",
     .doc = "a tunnel without a byte either way is closed; pings of its ends are bytes, ours (ping_interval) are not; 0s: never"},
    {CONF_OPTIONS, "ping_interval", CONF_DURATION, AT(conf_options, tunnel.ping_interval_ms),
     .max = DURATION_MAX, .preset = "0s", .example = "\"30s\"",
     .doc = "a tunnel's client that was not heard of for so long is sent a ping, and its pong is taken "
            "out; keeps what stands between from cutting it; 0s: none"},
    {CONF_OPTIONS, "ping_timeout", CONF_DURATION, AT(conf_options, tunnel.ping_timeout_ms), .min = 1,
     .max = 3600000, .preset = "10s",
     .doc = "who does not answer a ping for so long is gone, and the tunnel is closed"},
    {CONF_OPTIONS, "ping_backend", CONF_BOOL, AT(conf_options, tunnel.ping_backend),
     .preset = "false", .doc = "servers are sent pings, too"},
    {CONF_OPTIONS, "ping_resets_idle", CONF_BOOL, AT(conf_options, tunnel.ping_resets_idle),
     .preset = "false",
     .doc = "a pong counts for idle_timeout: then nobody who lives is idle"},
    {CONF_OPTIONS, "close_timeout", CONF_DURATION, AT(conf_options, tunnel.close_timeout_ms),
     .max = 3600000, .preset = "5s",
     .doc = "for each step by which we end a tunnel, to come to the end of a frame and to be answered; "
            "0s: without Close frames, by FIN"},
    {CONF_OPTIONS, "close_code", CONF_INT, AT(conf_options, tunnel.close_code), .min = 1000,
     .max = 4999, .preset = "1001",
     .doc = "what clients are told when we end a tunnel: 1001 (going away), 1012 (service restart), "
            "1013 (try again later), or 3000 to 4999"},
    {CONF_OPTIONS, "close_reason", CONF_TEXT, CONF_MAY_BE_EMPTY,
     AT(conf_options, tunnel.close_reason), .preset = "", .example = "\"maintenance\"",
     .doc = "and in words: UTF-8, 123 bytes at most"},
    {CONF_OPTIONS, "max_age", CONF_DURATION, AT(conf_options, tunnel.max_age_ms),
     .max = DURATION_MAX, .preset = "0s", .example = "\"12h\"",
     .doc = "a tunnel this old is ended, so that its client comes again and is balanced anew; 0s: "
            "never"},
    {CONF_OPTIONS, "max_age_jitter", CONF_INT, AT(conf_options, tunnel.max_age_jitter),
     .max = 100, .preset = "10",
     .doc = "percent that max_age of a tunnel may be shorter, each by another part of it: who came "
            "together does not come again together"},
    {CONF_OPTIONS, "max_frame", CONF_SIZE, AT(conf_options, tunnel.max_frame), .max = SIZE_NO_MAX,
     .preset = "0",
     .doc = "biggest payload of a WebSocket frame, either way; for more the tunnel is closed with 1009; "
            "0: no limit"},
    {CONF_OPTIONS, "max_message", CONF_SIZE, AT(conf_options, tunnel.max_message),
     .max = SIZE_NO_MAX, .preset = "0",
     .doc = "the same for all frames of a message together, as they are sent (compressed or not)"},
    {CONF_OPTIONS, "check_frames", CONF_BOOL, AT(conf_options, tunnel.check_frames),
     .preset = "false",
     .doc = "frames must be as RFC 6455 has them (masks, opcodes, reserved bits, fragments, lengths); "
            "else the tunnel is closed with 1002"},
    {CONF_OPTIONS, "client_message_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[0][RATE_MESSAGES]), .max = 1000000, .preset = "",
     .doc = "messages of a tunnel's client; \"\": no limit"},
    {CONF_OPTIONS, "client_byte_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[0][RATE_BYTES]), .max = 1 << 30, .preset = "",
     .example = "\"64k/s\"", .doc = "bytes of a tunnel's client; \"\": no limit"},
    {CONF_OPTIONS, "client_control_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[0][RATE_CONTROL]), .max = 1000000, .preset = "",
     .example = "\"10/s\"",
     .doc = "pings, pongs and Close frames of a tunnel's client; for more it is closed with 1008; \"\": "
            "no limit"},
    {CONF_OPTIONS, "server_message_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[1][RATE_MESSAGES]), .max = 1000000, .preset = "",
     .doc = "messages of a tunnel's server; \"\": no limit"},
    {CONF_OPTIONS, "server_byte_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[1][RATE_BYTES]), .max = 1 << 30, .preset = "",
     .example = "\"1m/s\"", .doc = "bytes of a tunnel's server; \"\": no limit"},
    {CONF_OPTIONS, "server_control_rate", CONF_PER_SECOND,
     AT(conf_options, tunnel.per_s[1][RATE_CONTROL]), .max = 1000000, .preset = "",
     .example = "\"10/s\"",
     .doc = "pings, pongs and Close frames of a tunnel's server; for more it is closed with 1008; \"\": "
            "no limit"},
    {CONF_OPTIONS, "rate_burst", CONF_DURATION, AT(conf_options, tunnel.rate_burst_ms),
     .max = 3600000, .preset = "1s",
     .doc = "what these rates allow in so long may come at once; one message, one control frame, 16 KB "
            "always may"},
    {CONF_OPTIONS, "over_rate", CONF_WORD, AT(conf_options, tunnel.over_rate), .preset = "delay",
     .words = {[OVER_RATE_DELAY] = "delay", [OVER_RATE_CLOSE] = "close"},
     .example = "\"close\"",
     .doc = "who is over a rate of messages or bytes waits (delay), or the tunnel is closed with 1008 "
            "(close)"},
    {CONF_OPTIONS, "max_body", CONF_SIZE, AT(conf_options, max_body), .max = SIZE_NO_MAX,
     .preset = "1m", .doc = "biggest request body; more is answered 413; 0: no limit"},
    {CONF_OPTIONS, "upgrade", CONF_BOOL, AT(conf_options, upgrade), .preset = "true",
     .doc = "WebSocket upgrades are allowed; false refuses them"},
    {CONF_OPTIONS, "host_header", CONF_HOST_HEADER, AT(conf_options, host_header),
     .preset = "$http_host",
     .doc = "Host sent to the server: text, $http_host (as sent), $host, $server_port, "
            "$proxy_host (the server as written)"},
    {CONF_OPTIONS, "x_forwarded_for", CONF_WORD, AT(conf_options, x_forwarded_for),
     .preset = "append", .words = {"replace", "append", "keep", "pass", "remove"}, .example = "\"append\"",
     .doc = "X-Forwarded-For: the client's address behind what the client sent (append), instead "
            "of it (replace), only if it sent none (keep); as the client sent it (pass); none "
            "(remove)"},
    {CONF_OPTIONS, "x_forwarded_proto", CONF_WORD, AT(conf_options, x_forwarded_proto),
     .preset = "replace", .words = FORWARD_WORDS, .example = "\"replace\"",
     .doc = "X-Forwarded-Proto: http or https"},
    {CONF_OPTIONS, "x_forwarded_host", CONF_WORD, AT(conf_options, x_forwarded_host),
     .preset = "replace", .words = FORWARD_WORDS, .example = "\"replace\"",
     .doc = "X-Forwarded-Host: the Host that the client sent"},
    {CONF_OPTIONS, "x_real_ip", CONF_WORD, AT(conf_options, x_real_ip), .preset = "replace",
     .words = FORWARD_WORDS, .example = "\"replace\"", .doc = "X-Real-IP: the client's address"},
    {CONF_OPTIONS, "x_client_cert", CONF_WORD, AT(conf_options, x_client_cert), .preset = "remove",
     .words = {"replace", "", "", "pass", "remove"}, .example = "\"replace\"",
     .doc = "X-Client-Cert-Verified (SUCCESS or NONE), -Subject, -Issuer, -Serial, -Fingerprint: of "
            "the client's certificate (replace; a name of more than 1023 characters is left out); as "
            "the client sent them, which proves nothing (pass); none (remove)"},
    {CONF_OPTIONS, "hsts", CONF_TEXT, CONF_MAY_BE_EMPTY, AT(conf_options, hsts), .preset = "",
     .example = "\"max-age=63072000; includeSubDomains\"",
     .doc = "Strict-Transport-Security of answers to https, in place of the server's; \"\": none of "
            "ours"},
    {CONF_OPTIONS, "redirect_https", CONF_BOOL, AT(conf_options, redirect_https), .preset = "false",
     .doc = "requests that come without TLS are answered with the https address: 301, or 308 if the "
            "method is not GET or HEAD"},
    {CONF_OPTIONS, "forwarded", CONF_WORD, AT(conf_options, forwarded), .preset = "remove",
     .words = {"replace", "append", "keep", "pass", "remove"}, .example = "\"append\"",
     .doc = "Forwarded (RFC 7239): for, host and proto of the client; words as of x_forwarded_for"},
    {CONF_OPTIONS, "request_headers", CONF_TEXTS, AT(conf_options, request_headers),
     ALSO(conf_options, request_header_count),
     .example = "[ \"X-Room: $arg_room\", \"-Cookie\" ]",
     .doc = "fields sent to the server: \"Name: template\" instead of the client's, \"+Name: "
            "template\" beside it, \"-Name\" none"},
    {CONF_OPTIONS, "response_headers", CONF_TEXTS, AT(conf_options, response_headers),
     ALSO(conf_options, response_header_count), .example = "[ \"X-Served-By: $proxy_host\" ]",
     .doc = "likewise fields sent to the client, of answers that a server gave"},
    {CONF_OPTIONS, "error_pages", CONF_TEXTS, AT(conf_options, error_pages),
     ALSO(conf_options, error_page_count), .example = "[ \"503 /etc/holdfast/503.html\" ]",
     .doc = "\"STATUS FILE\": an HTML file of 8 KB at most that our own answer of this status has"},
    {CONF_OPTIONS, "trusted_proxies", CONF_TEXTS, AT(conf_options, trusted_proxies),
     ALSO(conf_options, trusted_proxy_count), .example = "[ \"10.0.0.0/8\" ]",
     .doc = "prefixes, or \"file:PATH\" with one a line: whose X-Forwarded-For is believed; at the "
            "top level also whose PROXY protocol is"},
    {CONF_OPTIONS, "allow", CONF_TEXTS, AT(conf_options, allow), ALSO(conf_options, allow_count),
     .example = "[ \"192.0.2.0/24\" ]",
     .doc = "prefixes, or \"file:PATH\": only these clients may come in, the others are answered "
            "403; the longest prefix of both lists decides"},
    {CONF_OPTIONS, "deny", CONF_TEXTS, AT(conf_options, deny), ALSO(conf_options, deny_count),
     .example = "[ \"file:deny.list\" ]",
     .doc = "prefixes, or \"file:PATH\": these clients are answered 403"},
    {CONF_OPTIONS, "origins", CONF_TEXTS, AT(conf_options, origins),
     ALSO(conf_options, origin_count),
     .example = "[ \"https://example.com\", \"https://*.example.com\" ]",
     .doc = "pages that may open a WebSocket, by the browser's Origin: [scheme://]host[:port], "
            "\"*.\" for all names below, \":*\" for any port, \"same\" for the host that is asked, "
            "\"null\"; others are answered 403; none: all may"},
    {CONF_OPTIONS, "origin_required", CONF_BOOL, AT(conf_options, origin_required),
     .preset = "false",
     .doc = "with origins, a handshake without Origin, which no browser sends, is answered 403"},
    {CONF_OPTIONS, "client_key", CONF_TEMPLATE, AT(conf_options, client_key),
     .preset = "$remote_net_32_64", .example = "\"$remote_addr\"",
     .doc = "what the limits of a client go by: a template; $remote_net_24_56 is the address cut to "
            "24 bits of IPv4, 56 of IPv6"},
    {CONF_OPTIONS, "client_max_tunnels", CONF_INT, AT(conf_options, client_max_tunnels),
     .max = INT32_MAX, .preset = "0",
     .doc = "tunnels of one client, over all workers; more are answered 429; counted together "
            "where the nearest of the client_ keys is written; 0: no limit"},
    {CONF_OPTIONS, "client_rate", CONF_RATE, AT(conf_options, client_rate), .preset = "",
     .doc = "WebSocket handshakes of one client, such as \"10/m\"; more are answered 429; \"\": no "
            "limit"},
    {CONF_OPTIONS, "client_burst", CONF_INT, AT(conf_options, client_burst), .min = 1, .max = 1000,
     .preset = "5", .doc = "so many of them may come at once"},
};
/* clang-format on */

const size_t conf_schema_option_count = ARRAY_LEN(conf_schema_options);

_Static_assert(ARRAY_LEN(conf_schema_options) <= 64, "a bit each in struct conf_options.set");

/* Words are stored as the number of their place. */
_Static_assert(FORWARD_REPLACE == 0 && FORWARD_APPEND == 1 && FORWARD_KEEP == 2 &&
                   FORWARD_PASS == 3 && FORWARD_REMOVE == 4,
               "FORWARD_WORDS");
_Static_assert(sizeof(enum image_forward) == sizeof(uint32_t) &&
                   sizeof(enum conf_over_rate) == sizeof(uint32_t),
               "enums are stored as uint32_t");
