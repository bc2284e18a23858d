/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS sessions with backends, to be resumed: the newest one of each server. A worker keeps its own; they
 * die with it. A resumed session was verified when it began, by the settings of then: so it counts only
 * where the same settings hold, and not for ever. Worker only; heap.
 */
#ifndef WORKER_TLS_RESUME_H
#define WORKER_TLS_RESUME_H

#include "worker/tls_context.h"

struct ssl_session_st;
struct tls_resume;

/* Which session a connection may resume, and what the session that it leaves goes by. */
struct tls_resume_claim {
    uint32_t backend;     /* on the board */
    struct tls_mark mark; /* of its server, in the connection's generation */
    uint64_t verified_ms; /* monotonic: the full handshake that it all goes back to */
};

/* NULL: no memory. All functions below accept NULL: no session is there, and none is kept. */
struct tls_resume *tls_resume_new(void);
void tls_resume_free(struct tls_resume **resume);

/*
 * The session to be offered to claim->backend, borrowed until the next call; NULL: none. Sets
 * claim->verified_ms, which holds if the session is resumed.
 */
struct ssl_session_st *tls_resume_find(struct tls_resume *resume, struct tls_resume_claim *claim,
                                       uint64_t now_ms);

/*
 * A handshake is done. If it was a full one, claim->verified_ms is now, and a session that was offered is
 * forgotten: OpenSSL's servers give no ticket to who offers one that does not fit.
 */
void tls_resume_done(struct tls_resume *resume, struct tls_resume_claim *claim, bool resumed,
                     uint64_t now_ms);

/* Takes a session, in place of an older one; NULL: nothing changes. */
void tls_resume_keep(struct tls_resume *resume, const struct tls_resume_claim *claim,
                     struct ssl_session_st *session);

/* A handshake with the backend has failed: the next one is a full one. */
void tls_resume_forget(struct tls_resume *resume, uint32_t backend);

/* A new generation serves: forget what was made by other settings than its own, or whose server is gone. */
void tls_resume_prune(struct tls_resume *resume, const struct image *image,
                      struct tls_contexts *contexts);

#endif
