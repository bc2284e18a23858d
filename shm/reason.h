/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a request or a tunnel ended: one table for log words, counters and documentation.
 * A row: enum, word in logs and statistics, meaning. Rows are appended, never moved: their order is
 * part of the layouts of board and arena.
 */
#ifndef SHM_REASON_H
#define SHM_REASON_H

#include <stdint.h>

#define REASON_TABLE(X)                                                                            \
    X(REASON_DONE, "done", "request answered, or tunnel closed in order by both sides")            \
    X(REASON_CLIENT_CLOSED, "client_closed", "the client closed before the end")                   \
    X(REASON_CLIENT_RESET, "client_reset", "the client's connection was reset or broke")           \
    X(REASON_BACKEND_CLOSED, "backend_closed", "the backend closed before the end")                \
    X(REASON_BACKEND_RESET, "backend_reset", "the backend's connection was reset or broke")        \
    X(REASON_IDLE_TIMEOUT, "idle_timeout", "no byte either way for idle_timeout")                  \
    X(REASON_SEND_TIMEOUT, "send_timeout", "a receiver took no byte for send_timeout")             \
    X(REASON_HEADER_TIMEOUT, "header_timeout", "the request head took longer than header_timeout") \
    X(REASON_BODY_TIMEOUT, "body_timeout", "no byte of the request body for body_timeout")         \
    X(REASON_KEEPALIVE_TIMEOUT, "keepalive_timeout", "no further request for keepalive_timeout")   \
    X(REASON_CONNECT_TIMEOUT, "connect_timeout", "no backend accepted within connect_timeout")     \
    X(REASON_CONNECT_FAILED, "connect_failed", "no backend could be connected to")                 \
    X(REASON_RESPONSE_TIMEOUT, "response_timeout", "no answer's head within response_timeout")     \
    X(REASON_BAD_REQUEST, "bad_request", "the request head or body was refused")                   \
    X(REASON_BAD_HANDSHAKE, "bad_handshake", "an invalid WebSocket handshake was refused")         \
    X(REASON_BAD_RESPONSE, "bad_response", "the backend's answer was refused")                     \
    X(REASON_BAD_UPGRADE, "bad_upgrade", "the backend's 101 did not fit the client's handshake")   \
    X(REASON_TOO_LARGE, "too_large", "the body was larger than max_body")                          \
    X(REASON_NO_ROUTE, "no_route", "no site or route for this host and path")                      \
    X(REASON_NO_BACKEND, "no_backend", "no server of the upstream could be used")                  \
    X(REASON_BACKENDS_FULL, "backends_full", "all servers were full, and so was the queue")        \
    X(REASON_QUEUE_TIMEOUT, "queue_timeout", "all servers were full for queue_timeout")            \
    X(REASON_DRAINED, "drained", "its server drains or was removed, and drain_timeout ends")       \
    X(REASON_UPGRADE_FORBIDDEN, "upgrade_forbidden", "the route does not allow upgrades")          \
    X(REASON_NO_PORTS, "no_ports", "no local port was left to connect to the backend")             \
    X(REASON_NO_DESCRIPTORS, "no_descriptors", "the worker had no descriptor left")                \
    X(REASON_NO_MEMORY, "no_memory", "the worker had no memory or tunnel record left")             \
    X(REASON_TLS_FAILED, "tls_failed", "the TLS handshake failed or took too long")                \
    X(REASON_BACKEND_TLS, "backend_tls", "the TLS handshake with the backend failed")              \
    X(REASON_TLS_ERROR, "tls_error", "a TLS record was refused")                                   \
    X(REASON_TLS_LIMIT, "tls_limit", "the keys of a TLS 1.2 connection were used up")              \
    X(REASON_SHUTDOWN, "shutdown", "Holdfast was told to end")                                     \
    X(REASON_WORKER_DIED, "worker_died", "the worker that served it died")                         \
    X(REASON_QUARANTINED, "quarantined", "handling it crashed two workers")                        \
    X(REASON_ACCESS_DENIED, "access_denied", "the client's address is not allowed")                \
    X(REASON_ORIGIN_DENIED, "origin_denied", "the page's Origin is not allowed")                   \
    X(REASON_CLIENT_RATE, "client_rate", "more handshakes of one client than client_rate")         \
    X(REASON_CLIENT_TUNNELS, "client_tunnels", "the client has client_max_tunnels")                \
    X(REASON_MAX_TUNNELS, "max_tunnels", "there are max_tunnels: in all, of the site or upstream") \
    X(REASON_HANDSHAKE_RATE, "handshake_rate", "more handshakes than handshake_rate")              \
    X(REASON_PROXY_REFUSED, "proxy_refused",                                                       \
      "no PROXY header, a broken one, or not from a trusted proxy")                                \
    X(REASON_PEER_DEAD, "peer_dead", "a ping was not answered within ping_timeout")                \
    X(REASON_BAD_FRAME, "bad_frame", "what came is no frame of RFC 6455 (check_frames)")           \
    X(REASON_BIG_FRAME, "big_frame", "a frame was larger than max_frame")                          \
    X(REASON_BIG_MESSAGE, "big_message", "a message was larger than max_message")                  \
    X(REASON_RATE_LIMIT, "rate_limit", "more messages, bytes or control frames than allowed")      \
    X(REASON_MAX_AGE, "max_age", "the tunnel was open for max_age")                                \
    X(REASON_SHED, "shed", "its server had more than its share after others were added (shed)")    \
    X(REASON_CLOSED_BY_OPERATOR, "closed_by_operator", "an operator has asked for it")             \
    X(REASON_HELD_MEMORY, "held_memory",                                                           \
      "it held bytes in transit for longest, while others waited for memory for theirs")

enum reason {
#define X(name, word, doc) name,
    REASON_TABLE(X)
#undef X
        REASON_COUNT
};

/* The word for logs; "unknown" for numbers outside the table (a board may be corrupt). */
const char *reason_word(uint32_t reason);

#endif
