/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between a connection's socket and its buffers, from the first record to the tunnel or the close:
 * `in` and `out` of struct conn hold content, what is here holds records. conn.rx and conn.tx count
 * what the kernel counts: bytes of records. Heap; what becomes a tunnel moves into the vault.
 */
#ifndef WORKER_CONN_TLS_H
#define WORKER_CONN_TLS_H

#include "worker/conn.h"
#include "worker/tls_handshake.h"
#include "worker/tls_resume.h"

struct conn_tls {
    /* NULL before its first record and once it is over, tickets from a backend included. */
    struct tls_handshake *handshake;
    struct tls_contexts *contexts; /* a reference, as long as there is a handshake */
    struct tls_session session;    /* version TLS_PLAIN until then */
    struct tls_facts facts;
    struct tls_resume_claim claim; /* a backend's: which session this may resume and leaves */
    struct buf wire_in;            /* read and not opened */
    struct buf plain;    /* rest of an opened record's content for which `in` had no room */
    struct buf wire_out; /* sealed and not sent */
    uint8_t *late;       /* tickets, sealed by OpenSSL, that go out before what is sealed next */
    uint32_t late_n;
    uint32_t sealed; /* bytes at the front of conn.out that wire_out holds sealed */
    uint32_t burst;  /* worker/tls_burst.h */
    uint32_t burst_ms;
    bool drained; /* the kernel has no more bytes until the next event */
};

/* The connection speaks TLS from its next byte on. Returns 0 or -ENOMEM. */
int conn_tls_new(struct conn *conn) MUST_CHECK;

/* Wipe and free; accepts a plain connection. conn_close does it. */
void conn_tls_free(struct conn *conn);

/* Read what has come, as far as the buffer goes. True if there are bytes to begin a handshake with. */
bool conn_tls_knock(struct conn *conn);

enum conn_tls_result { CONN_TLS_MORE, CONN_TLS_DONE, CONN_TLS_FAILED };

/*
 * Go on with the handshake, which the caller has put into conn->tls. MORE: an event will tell. DONE:
 * content can be read and written; a backend's session of TLS 1.2 is kept, tickets of TLS 1.3 are heard
 * until content comes. FAILED: an alert is on its way if one can be sent; close. *why says in words what
 * went wrong.
 */
enum conn_tls_result conn_tls_shake(struct conn *conn, const char **why);

/* What conn_fill and conn_flush do for a TLS connection; conn.h tells what they promise. */
bool conn_tls_fill(struct conn *conn, uint32_t limit);
bool conn_tls_flush(struct conn *conn);

/* Send close_notify if it can be sent at once (RFC 8446 6.1): nothing is written after it. */
void conn_tls_say_end(struct conn *conn);

#endif
