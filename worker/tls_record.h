/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS record layer of a connection whose handshake is over (TLS 1.3: RFC 8446 5; TLS 1.2 with
 * AEAD: RFC 5246 6, RFC 5288, RFC 7905). A pure function of struct tls_session and bytes: the same
 * session and bytes give the same result, in a successor, too. No I/O. The session may be a copy: what a
 * call changes in it counts only once the caller has stored it.
 *
 * Errors are alert descriptions (RFC 8446 6), negative: send that alert (tls_record_alert), read no more.
 */
#ifndef WORKER_TLS_RECORD_H
#define WORKER_TLS_RECORD_H

#include "shm/vault.h"

#include <stdbool.h>
#include <stddef.h>

enum tls_record_type { TLS_ALERT = 21, TLS_HANDSHAKE = 22, TLS_APPLICATION = 23 };

enum tls_alert {
    TLS_CLOSE_NOTIFY = 0,
    TLS_UNEXPECTED_MESSAGE = 10,
    TLS_BAD_RECORD_MAC = 20,
    TLS_RECORD_OVERFLOW = 22,
    TLS_ILLEGAL_PARAMETER = 47,
    TLS_DECODE_ERROR = 50,
    TLS_PROTOCOL_VERSION = 70,
    TLS_INTERNAL_ERROR = 80,
    TLS_USER_CANCELED = 90,
};

enum {
    TLS_RECORD_HEADER = 5,
    TLS_PLAIN_MAX = 16384,                                     /* content of one record */
    TLS_RECORD_MAX = TLS_RECORD_HEADER + TLS_PLAIN_MAX + 1024, /* whole record, TLS 1.2's limit */
    TLS_OVERHEAD_MAX = TLS_RECORD_HEADER + 8 + 16 + 1,         /* what sealing adds, at most */
    TLS_CONTROL_MAX = 64, /* a sealed alert or KeyUpdate fits */
    TLS_PEER_ALERT =
        1000, /* tls_record_control: -TLS_PEER_ALERT - n: the peer sent fatal alert n */
};

/* A cipher for each suite and direction, keys set up on demand. One a worker; heap. */
struct tls_engine;
struct tls_engine *tls_engine_new(void); /* NULL: no memory, or a cipher is missing */

/* The same with OpenSSL's ciphers only, which is what a CPU without those of common/gcm.h gets. */
struct tls_engine *tls_engine_new_evp(void);

void tls_engine_free(struct tls_engine **engine);

/*
 * A session ends: forget what is expanded for its suite, so that none of its keys, old ones included,
 * stays behind. The session itself is the caller's to wipe (tls_session_wipe).
 */
void tls_engine_forget(struct tls_engine *engine, const struct tls_session *session);

/*
 * Bytes of the whole record that begins at `p`, of which n are there; 0: more are needed to tell.
 * Negative: an alert, no such record may come now, or none at all: after TLS_RECV_CLOSE the peer has
 * nothing more to say, and it is passed over rather than answered (RFC 8446 6.1).
 */
int tls_record_need(const struct tls_session *session, const uint8_t *p, size_t n);

/*
 * Open one whole record of n bytes, as tls_record_need has measured it, into `dst` (room for n; must not
 * overlap). Returns the bytes of
 * content (0 is possible) and its type. Negative: an alert; then dst holds nothing of the record.
 */
int tls_record_open(struct tls_engine *engine, struct tls_session *session, const uint8_t *record,
                    size_t n, uint8_t *dst, enum tls_record_type *type);

/*
 * Process the content of a record that is not application data. Returns 0 (go on), 1 (close_notify:
 * TLS_RECV_CLOSE is set), -alert, or below -TLS_PEER_ALERT (TLS_FATAL is set: answer nothing).
 * May set TLS_UPDATE_OWED, and changes rx keys on KeyUpdate.
 */
int tls_record_control(struct tls_session *session, enum tls_record_type type, const uint8_t *p,
                       size_t n);

/* Content that one record may carry. */
size_t tls_record_content_max(const struct tls_session *session);

/*
 * Seal n bytes (<= tls_record_content_max) into one record at `out` (room for n + TLS_OVERHEAD_MAX; must
 * not overlap). Returns its length or -TLS_INTERNAL_ERROR: after TLS_SENT_CLOSE or TLS_FATAL, at the end
 * of the sequence numbers, or if the library failed.
 */
int tls_record_seal(struct tls_engine *engine, struct tls_session *session,
                    enum tls_record_type type, const uint8_t *in, size_t n, uint8_t *out);

/* Bytes that sealing adds to a record's content. */
size_t tls_record_overhead(const struct tls_session *session);

/*
 * Should a KeyUpdate be sealed before the next data: owed to the peer, or our keys have sealed enough?
 * TLS 1.3 only. *ask: the peer's keys have been used enough, too.
 */
bool tls_record_update_due(const struct tls_session *session, bool *ask);

/* TLS 1.2 cannot change keys: true once the session must end before its limits (RFC 8446 5.5). */
bool tls_record_worn_out(const struct tls_session *session);

/* Seal a KeyUpdate under the present keys, then change tx keys. Room TLS_CONTROL_MAX. As _seal. */
int tls_record_update(struct tls_engine *engine, struct tls_session *session, bool ask,
                      uint8_t *out);

/* Seal an alert: close_notify as a warning, all others fatal. Room TLS_CONTROL_MAX. As _seal. */
int tls_record_alert(struct tls_engine *engine, struct tls_session *session, enum tls_alert alert,
                     uint8_t *out);

/* ---- making a session: from a handshake (worker/tls_handshake.c) ---- */

/*
 * Keys of TLS 1.3 from both traffic secrets (32 bytes, 48 for AES-256). Sets version, suite and both
 * directions; the rest stays.
 */
void tls_session_from_secrets(struct tls_session *session, enum tls_suite suite,
                              const uint8_t *rx_secret, const uint8_t *tx_secret);

/*
 * The same for TLS 1.2, from the master secret; TLS_CLIENT_ROLE in flags says whose keys are whose. Whoever
 * goes on from another's records sets seq and, for GCM, tx.u.nonce_base.
 */
void tls_session_from_master(struct tls_session *session, enum tls_suite suite,
                             const uint8_t master[48], const uint8_t client_random[32],
                             const uint8_t server_random[32]);

/* Has it a version and a suite that this layer knows? A wild store may have changed them. */
bool tls_session_is_known(const struct tls_session *session);

/* Overwrite with zeros so that no compiler takes it out. */
void tls_session_wipe(struct tls_session *session);

#endif
