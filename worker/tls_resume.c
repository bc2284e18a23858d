/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_resume.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* With more servers some share a place, and are resumed less often. A session has 6 KB. */
    PLACES = 1024,
    TICKET_MAX = 8192, /* of OpenSSL's servers 250 bytes; one may carry our own certificates */
    /* A resumed session passes by a certificate that has expired or was replaced: for no longer than this. */
    VERIFIED_MS = 3600 * 1000,
};

struct place {
    SSL_SESSION *session; /* counted; NULL: the place is free */
    struct tls_resume_claim claim;
    bool fits; /* while pruning */
};

struct tls_resume {
    struct place places[PLACES]; /* by the backend's index modulo their number */
};

struct tls_resume *tls_resume_new(void)
{
    return calloc(1, sizeof(struct tls_resume));
}

static void clear(struct place *place)
{
    SSL_SESSION_free(place->session);
    place->session = NULL;
}

void tls_resume_free(struct tls_resume **resume)
{
    for (uint32_t i = 0; *resume && i < PLACES; i++)
        clear(&(*resume)->places[i]);
    free(*resume);
    *resume = NULL;
}

/* The place that holds a session of this backend; NULL: none does. */
static struct place *find(struct tls_resume *resume, uint32_t backend)
{
    struct place *place = resume ? &resume->places[backend % PLACES] : NULL;
    return place && place->session && place->claim.backend == backend ? place : NULL;
}

static bool same_mark(const struct tls_mark *a, const struct tls_mark *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

struct ssl_session_st *tls_resume_find(struct tls_resume *resume, struct tls_resume_claim *claim,
                                       uint64_t now_ms)
{
    struct place *place = find(resume, claim->backend);
    if (!place || !same_mark(&place->claim.mark, &claim->mark))
        return NULL;
    /* OpenSSL takes the right away from a session over which a connection has failed. */
    if (now_ms - place->claim.verified_ms >= VERIFIED_MS ||
        !SSL_SESSION_is_resumable(place->session)) {
        clear(place);
        return NULL;
    }
    claim->verified_ms = place->claim.verified_ms;
    return place->session;
}

void tls_resume_done(struct tls_resume *resume, struct tls_resume_claim *claim, bool resumed,
                     uint64_t now_ms)
{
    if (resumed)
        return;
    claim->verified_ms = now_ms;
    tls_resume_forget(resume, claim->backend);
}

/* RFC 8446 4.6.1: a lifetime of zero means not to keep it; in TLS 1.2 (RFC 5077 3.3), that it is not told. */
static bool worth_keeping(const SSL_SESSION *session)
{
    const unsigned char *ticket;
    size_t n = 0;
    SSL_SESSION_get0_ticket(session, &ticket, &n);
    return n <= TICKET_MAX && (SSL_SESSION_get_protocol_version(session) != TLS1_3_VERSION ||
                               SSL_SESSION_get_ticket_lifetime_hint(session) > 0);
}

void tls_resume_keep(struct tls_resume *resume, const struct tls_resume_claim *claim,
                     struct ssl_session_st *session)
{
    if (!session)
        return;
    if (!resume || !worth_keeping(session)) {
        SSL_SESSION_free(session);
        return;
    }
    struct place *place = &resume->places[claim->backend % PLACES];
    clear(place);
    place->session = session;
    place->claim = *claim;
}

void tls_resume_forget(struct tls_resume *resume, uint32_t backend)
{
    struct place *place = find(resume, backend);
    if (place)
        clear(place);
}

/* Mark what is still good for the servers of one upstream. */
static void find_fitting(struct tls_resume *resume, const struct image *image,
                         struct tls_contexts *contexts, uint32_t number)
{
    const struct image_upstream *upstream = image_upstream(image, number);
    if (!(upstream->tls_flags & UPSTREAM_TLS))
        return;
    for (uint32_t i = 0; i < upstream->servers.count; i++) {
        const struct image_server *server = image_upstream_server(image, upstream, i);
        struct place *place = find(resume, server->backend);
        struct tls_mark mark;
        if (place && tls_contexts_mark(contexts, number, server, &mark) == 0)
            place->fits = same_mark(&mark, &place->claim.mark);
    }
}

void tls_resume_prune(struct tls_resume *resume, const struct image *image,
                      struct tls_contexts *contexts)
{
    if (!resume)
        return;
    for (uint32_t i = 0; i < PLACES; i++)
        resume->places[i].fits = false;
    for (uint32_t i = 0; i < image->header->upstreams.count; i++)
        find_fitting(resume, image, contexts, i);
    for (uint32_t i = 0; i < PLACES; i++) {
        if (!resume->places[i].fits)
            clear(&resume->places[i]);
    }
}
