/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/verify.h"

#include "worker/guard.h"
#include "worker/position.h"
#include "worker/tunnel_tls.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

bool verify_is_crash(int signal)
{
    return signal == WORKER_DIED_UNKNOWN || verify_is_strike(signal);
}

bool verify_is_strike(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
           signal == SIGABRT;
}

void verify_condemn(struct arena_tunnel *t, enum reason reason)
{
    /* Before the state, so that every successor sends RST: a FIN would look like the data's end. */
    t->abort = 1;
    t->reason = (uint8_t)reason;
    COMMIT_FENCE();
    t->state = TUNNEL_CLOSING;
}

bool verify_strike(struct worker *w, struct arena_tunnel *t)
{
    uint16_t now_s = (uint16_t)(w->mono_ms / 1000);
    if ((uint16_t)(now_s - t->strike_s) > STRIKE_DECAY_S)
        t->strikes = 0;
    t->strike_s = now_s;
    t->strikes++;
    if (t->strikes < STRIKES_MAX)
        return false;
    verify_condemn(t, REASON_QUARANTINED);
    return true;
}

/* Who owns a chunk or a descriptor, to find what two records claim. */
struct claims {
    uint8_t *chunks;
    uint8_t *fds;
    uint8_t *sides; /* entries of the vault */
};

static void free_claims(struct claims *claims)
{
    free(claims->chunks);
    free(claims->fds);
    free(claims->sides);
}

static bool claim(uint8_t *taken, uint32_t index)
{
    bool first = taken[index] == 0;
    taken[index] = 1;
    return first;
}

/* The number is in range, nobody else's, and names the socket that the record was made with. */
static bool descriptor_holds(const struct worker *w, struct claims *claims,
                             const struct arena_tunnel *t, uint32_t side)
{
    int fd = t->fd[side];
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    if (fd < FD_DYNAMIC || (uint32_t)fd >= w->fd_max)
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0)
        return false;
    return (uint32_t)cookie == t->cookie[side] && claim(claims->fds, (uint32_t)fd);
}

static bool chunk_holds(const struct worker *w, struct claims *claims, const struct arena_dir *dir)
{
    uint32_t pending = dir->rx - dir->tx;
    if (dir->chunk == 0)
        return pending == 0;
    if (dir->chunk >= w->arena->header->chunks_max || !claim(claims->chunks, dir->chunk))
        return false;
    return dir->rx - dir->base <= ARENA_CHUNK_SIZE && dir->tx - dir->base <= ARENA_CHUNK_SIZE &&
           pending <= ARENA_CHUNK_SIZE;
}

/* Our counts are the kernel's. Where a connection is reset there is nothing left to compare. */
static bool positions_hold(const struct arena_tunnel *t)
{
    struct position at[2];
    for (uint32_t side = 0; side < 2; side++) {
        int rc = position_read(t->fd[side], side == 1, &at[side]);
        if (rc == -EOPNOTSUPP)
            return true; /* a UNIX socket keeps no counts */
        if (rc < 0)
            return false;
        if (at[side].dead)
            return true;
    }
    for (uint32_t d = 0; d < 2; d++) {
        if (at[d].consumed != t->dir[d].rx + t->src_off[d] ||
            at[!d].written != t->dir[d].tx + t->dst_off[d])
            return false;
    }
    return true;
}

/* False: the record is not to be trusted. Numbers that are not ours are dropped on the way. */
static bool record_holds(const struct worker *w, struct claims *claims, struct arena_tunnel *t)
{
    bool holds = t->state == TUNNEL_OPEN || t->state == TUNNEL_CLOSING;
    for (uint32_t side = 0; side < 2; side++) {
        if (t->state == TUNNEL_CLOSING && t->fd[side] == -1)
            continue;
        if (!descriptor_holds(w, claims, t, side)) {
            t->fd[side] = -1;
            holds = false;
        }
    }
    for (uint32_t d = 0; d < 2; d++) {
        if (!chunk_holds(w, claims, &t->dir[d])) {
            t->dir[d].chunk = 0;
            holds = false;
        }
    }
    if (!tunnel_tls_holds(w, (uint32_t)(t - w->tunnels), claims->sides, claims->chunks)) {
        t->tls = 0; /* the entries are nobody's: wiped when the lists are made */
        holds = false;
    }
    if (t->backend >= w->board->header->backends_max) {
        t->backend = 0;
        holds = false;
    }
    if (!guard_holds(w, (uint32_t)(t - w->tunnels))) {
        for (uint32_t d = 0; d < 2; d++)
            t->dir[d].care = 0;
        holds = false;
    }
    if (t->rules == 0 || t->rules >= ARENA_RULES_MAX) {
        t->rules = 0;
        holds = false;
    }
    if (t->reason >= REASON_COUNT)
        t->reason = REASON_WORKER_DIED;
    return holds && (t->state != TUNNEL_OPEN || positions_hold(t));
}

int verify_records(struct worker *w)
{
    struct claims claims = {calloc(w->arena->header->chunks_max, 1), calloc(w->fd_max, 1),
                            calloc(w->vault.header->sides_max, 1)};
    int condemned = 0;
    if (!claims.chunks || !claims.fds || !claims.sides) {
        free_claims(&claims);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < w->arena->header->tunnels_max; i++) {
        struct arena_tunnel *t = &w->tunnels[i];
        if (t->state == TUNNEL_FREE || record_holds(w, &claims, t))
            continue;
        /* One that is being closed may stand amid a step, or be wiped in part: that is not why it ends. */
        bool closing = t->state == TUNNEL_CLOSING;
        condemned += !closing;
        verify_condemn(t, closing ? (enum reason)t->reason : REASON_WORKER_DIED);
    }
    free_claims(&claims);
    return condemned;
}
