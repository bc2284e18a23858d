/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker counts in its slot of the board. A row: enum, name (Prometheus style, without the
 * holdfast_ prefix), meaning. Counters only grow, belong to the slot and survive the worker.
 * Rows are appended, never moved: their order is part of the board's layout.
 */
#ifndef SHM_COUNTERS_H
#define SHM_COUNTERS_H

#define COUNTER_TABLE(X)                                                                           \
    X(COUNTER_ACCEPTED, "connections_accepted", "client connections accepted")                     \
    X(COUNTER_ACCEPT_NO_FD, "accept_no_descriptors", "accepts put off: no descriptor left")        \
    X(COUNTER_ACCEPT_SHED, "accept_shed", "connections closed at once: no memory or descriptor")   \
    X(COUNTER_CLIENTS_CLOSED, "connections_closed", "client connections closed, tunnels included") \
    X(COUNTER_REQUESTS, "requests", "request heads received whole, upgrades included")             \
    X(COUNTER_REQUESTS_REFUSED, "requests_refused", "requests answered 4xx by Holdfast itself")    \
    X(COUNTER_REQUESTS_FAILED, "requests_failed", "requests answered 5xx by Holdfast itself")      \
    X(COUNTER_RETRIES, "retries", "requests tried on a further server")                            \
    X(COUNTER_PANIC, "panic", "choices that ignored ejections: too many servers were ejected")     \
    X(COUNTER_UPGRADES_ASKED, "upgrades_asked", "valid WebSocket handshakes received")             \
    X(COUNTER_UPGRADES_DECLINED, "upgrades_declined", "handshakes a backend answered without 101") \
    X(COUNTER_TUNNELS_OPENED, "tunnels_opened", "tunnels opened")                                  \
    X(COUNTER_TUNNELS_CLOSED, "tunnels_closed", "tunnels closed")                                  \
    X(COUNTER_TUNNELS_LOST, "tunnels_lost", "tunnels that ended because their worker died")        \
    X(COUNTER_TUNNELS_ADOPTED, "tunnels_adopted", "tunnels taken over from a dead worker")         \
    X(COUNTER_BACKEND_CONNECTS, "backend_connects", "connections opened to backends")              \
    X(COUNTER_BACKEND_CONNECT_FAILED, "backend_connects_failed", "connects refused or timed out")  \
    X(COUNTER_BACKEND_REUSED, "backend_reused", "requests sent on a kept backend connection")      \
    X(COUNTER_NO_PORTS, "no_ports", "connects that failed because no local port was left")         \
    X(COUNTER_BLOCKED, "blocked", "times a tunnel direction waited for its receiver")              \
    X(COUNTER_CHUNKS_SHORT, "chunks_short", "reads done by peeking: no chunk was free")            \
    X(COUNTER_TLS_DONE, "tls_handshakes", "TLS handshakes with clients done")                      \
    X(COUNTER_TLS_RESUMED, "tls_resumed", "of these, how many resumed a session")                  \
    X(COUNTER_TLS_FAILED, "tls_failed", "TLS handshakes with clients failed")                      \
    X(COUNTER_LOG_LOST, "log_lines_lost", "log lines that could not be written")                   \
    X(COUNTER_CLOSED_RX_BYTES, "closed_rx_bytes", "bytes from clients in tunnels closed since")    \
    X(COUNTER_CLOSED_TX_BYTES, "closed_tx_bytes", "bytes to clients in tunnels closed since")      \
    X(COUNTER_CLOSED_RX_FRAMES, "closed_rx_frames", "frames from clients in tunnels closed since") \
    X(COUNTER_CLOSED_TX_FRAMES, "closed_tx_frames", "frames to clients in tunnels closed since")   \
    X(COUNTER_HTTP_RX_BYTES, "http_rx_bytes", "bytes read from clients outside tunnels")           \
    X(COUNTER_HTTP_TX_BYTES, "http_tx_bytes", "bytes written to clients outside tunnels")          \
    X(COUNTER_CLIENTS_UNCOUNTED, "clients_uncounted",                                              \
      "handshakes let in though no place was left to count their client")                          \
    X(COUNTER_BACKEND_TLS_DONE, "backend_tls_handshakes", "TLS handshakes with backends done")     \
    X(COUNTER_BACKEND_TLS_RESUMED, "backend_tls_resumed", "of these, how many resumed a session")

enum counter {
#define X(name, word, doc) name,
    COUNTER_TABLE(X)
#undef X
        COUNTER_COUNT
};

#endif
