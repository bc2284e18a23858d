/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/relay_made.h"

#include "worker/crash_point.h"
#include "worker/guard.h"
#include "worker/tls_burst.h"
#include "worker/tunnel.h"
#include "worker/tunnel_tls.h"

#include <errno.h>
#include <zlib.h>

enum {
    SEAL_INPUT_MAX =
        30000, /* sealed in records of 512 bytes, the smallest, it still fits a chunk */
};

/* A step, done for the first time or again. */
struct step {
    struct worker *w;
    struct arena_tunnel *t;
    uint32_t d;
    struct vault_side *src; /* NULL: plain */
    struct vault_side *dst;
    bool walk;        /* frames are looked at, worker/guard.c */
    bool again;       /* by a successor */
    bool more;        /* whole records are left for the next step */
    uint32_t chunk;   /* of the input */
    uint32_t len;     /* bytes of input */
    uint32_t used;    /* of these, how many have been made into output */
    uint32_t content; /* bytes that the source has sent */
    uint32_t heard;   /* of these, how many are more than an answer to our ping */
    uint32_t out;     /* bytes of output, in the op's chunk */
    int error;        /* alert that the source has earned, or beyond TLS_PEER_ALERT; 0: none */
};

static struct arena_op *op_of(const struct worker *w)
{
    return &w->arena->header->op;
}

static struct vault_op *vault_op(const struct worker *w)
{
    return &w->vault.header->op;
}

static void open_step(struct step *s, struct worker *w, uint32_t tunnel, uint32_t d)
{
    *s = (struct step){.w = w, .t = &w->tunnels[tunnel], .d = d};
    s->src = tunnel_tls_side(w, tunnel, d);
    s->dst = tunnel_tls_side(w, tunnel, !d);
    s->walk = s->t->dir[d].care & CARE_WALK;
}

/* Content of a step at most, so that what is made of it fits into a chunk. */
static uint32_t content_max(const struct step *s)
{
    uint32_t max = s->dst ? SEAL_INPUT_MAX : ARENA_CHUNK_SIZE;
    return s->walk ? max - WS_WALK_EXTRA : max;
}

/* Where the next bytes of input go: behind those that make no whole record yet. */
static void find_input(struct step *s)
{
    bool rest = s->src && s->src->in_chunk != 0;
    s->chunk = rest ? s->src->in_chunk : op_of(s->w)->scratch;
    s->len = rest ? s->src->in_len : 0;
}

/* ---- the journal ---- */

/* All that the step will change, as it is now. Before the op names the step. */
static void save(const struct step *s)
{
    struct arena_op *op = op_of(s->w);
    struct vault_op *vop = vault_op(s->w);
    op->base = s->t->dir[s->d].rx;
    op->track = s->t->track[s->d];
    op->src_off = s->t->src_off[s->d];
    vop->now_ms = s->w->now_ms;
    if (s->src)
        vop->before[0] = *s->src;
    if (s->dst)
        vop->before[1] = *s->dst;
    if (s->walk)
        guard_save(s->w, (uint32_t)(s->t - s->w->tunnels));
}

/* Back to it. Nothing was pending, so nothing is. */
static int restore(const struct step *s)
{
    const struct arena_op *op = op_of(s->w);
    const struct vault_op *vop = vault_op(s->w);
    struct arena_dir *dir = &s->t->dir[s->d];
    struct vault_side *sides[2] = {s->src, s->dst};
    for (uint32_t i = 0; i < 2; i++) {
        if (!sides[i])
            continue;
        if (vop->before[i].check != vault_check(&vop->before[i].session))
            return -EBADMSG;
        *sides[i] = vop->before[i];
    }
    if (s->walk)
        guard_restore(s->w, (uint32_t)(s->t - s->w->tunnels));
    dir->rx = op->base;
    dir->tx = op->base;
    dir->chunk = 0;
    dir->flags &= (uint8_t)~DIR_BLOCKED;
    s->t->track[s->d] = op->track;
    s->t->src_off[s->d] = op->src_off;
    return 0;
}

/* ---- making output: nothing here may depend on anything but the journal and the input ---- */

static uint8_t *out_at(const struct step *s)
{
    return arena_chunk(s->w->arena, op_of(s->w)->out) + s->out;
}

static uint32_t out_room(const struct step *s)
{
    return ARENA_CHUNK_SIZE - s->out;
}

static void seal(struct step *s, const uint8_t *content, uint32_t n)
{
    struct vault_side *dst = s->dst;
    struct tls_engine *engine = s->w->tls_engine;
    uint32_t now_ms = vault_op(s->w)->now_ms;
    bool ask = false;
    if (n == 0)
        return;
    /* Owed or due: before the next data is soon enough (RFC 8446 4.6.3). */
    if (tls_record_update_due(&dst->session, &ask)) {
        int len = tls_record_update(engine, &dst->session, ask, out_at(s));
        s->error = len < 0 ? -len : 0;
        s->out += len < 0 ? 0 : (uint32_t)len;
    }
    uint32_t burst = tls_burst_at(dst->burst, dst->burst_ms, now_ms);
    for (uint32_t done = 0; done < n;) {
        uint32_t k = (uint32_t)tls_burst_content(&dst->session, burst);
        k = n - done < k ? n - done : k;
        ASSERT(out_room(s) >= k + TLS_OVERHEAD_MAX);
        int len =
            tls_record_seal(engine, &dst->session, TLS_APPLICATION, content + done, k, out_at(s));
        if (len < 0) {
            s->error = -len;
            return;
        }
        s->out += (uint32_t)len;
        done += k;
        burst = tls_burst_add(burst, k);
    }
    dst->burst = burst;
    dst->burst_ms = now_ms;
    dst->sealed += n;
}

/* A record that is no data. Returns 0, 1 (the source has ended) or negative: s->error is set. */
static int control(struct step *s, enum tls_record_type type, const uint8_t *p, int n)
{
    int rc = tls_record_control(&s->src->session, type, p, (size_t)n);
    if (rc < 0)
        s->error = -rc;
    return rc;
}

/* Open whole records one behind the other into `to`. Returns the bytes of content. */
static uint32_t open_records(struct step *s, uint8_t *to)
{
    const uint8_t *in = arena_chunk(s->w->arena, s->chunk);
    struct tls_session *session = &s->src->session;
    uint32_t content = 0;
    while (s->used < s->len) {
        enum tls_record_type type;
        int need = tls_record_need(session, in + s->used, s->len - s->used);
        if (need == 0 || (need > 0 && (uint32_t)need > s->len - s->used))
            break;
        s->more = need > 0 && content + (uint32_t)need > content_max(s);
        if (s->more)
            break;
        int n = need < 0 ? need
                         : tls_record_open(s->w->tls_engine, session, in + s->used, (size_t)need,
                                           to + content, &type);
        if (n < 0) {
            s->error = -n;
            break;
        }
        s->used += (uint32_t)need;
        if (type == TLS_APPLICATION) {
            content += (uint32_t)n;
            continue;
        }
        int rc = control(s, type, to + content, n);
        if (rc > 0)
            s->used = s->len; /* what follows a close_notify is nobody's */
        if (rc != 0)
            break;
    }
    s->src->opened += content;
    return content;
}

/* What the source has sent, as it is to be looked at. */
static uint8_t *open_input(struct step *s)
{
    if (!s->src) {
        s->content = s->len;
        s->used = s->len;
        return arena_chunk(s->w->arena, s->chunk);
    }
    uint8_t *content = s->dst || s->walk ? tunnel_tls_content(s->w) : out_at(s);
    s->content = open_records(s, content);
    return content;
}

/* Frame by frame: into the output, or to where it is sealed from. Returns the bytes. */
static uint32_t walk(struct step *s, const uint8_t *content, uint8_t *to)
{
    struct guard_walk walk = {
        .d = s->d,
        .now_ms = vault_op(s->w)->now_ms,
        .in = content,
        .n = s->content,
        .again = s->again,
        .counts_out = !s->src, /* a source that is TLS has counted what it opened */
    };
    guard_walk(s->w, (uint32_t)(s->t - s->w->tunnels), &walk, to);
    s->heard = walk.heard;
    return walk.out;
}

static void make(struct step *s)
{
    uint8_t *content = open_input(s);
    uint32_t n = s->content;
    s->heard = n;
    if (s->walk) {
        uint8_t *to = s->dst ? tunnel_tls_walked(s->w) : out_at(s);
        n = walk(s, content, to);
        content = to;
    } else {
        ws_track_feed(&s->t->track[s->d], content, n);
    }
    if (s->dst)
        seal(s, content, n);
    else
        s->out = n;
}

static void make_end(struct step *s)
{
    int n = tls_record_alert(s->w->tls_engine, &s->dst->session, TLS_CLOSE_NOTIFY, out_at(s));
    s->out = n > 0 ? (uint32_t)n : 0;
}

/* ---- the result ---- */

/* What is left of the input stands at the front of a chunk. */
static void keep_rest(struct step *s)
{
    struct vault_side *src = s->src;
    uint32_t left = s->len - s->used;
    uint32_t chunk = s->chunk;
    if (left > 0 && s->used > 0) {
        /* Into another chunk: a successor needs the input as it was. */
        chunk = vault_op(s->w)->rest;
        memcpy(arena_chunk(s->w->arena, chunk), arena_chunk(s->w->arena, s->chunk) + s->used, left);
    }
    src->in_chunk = left > 0 ? (uint16_t)chunk : 0;
    src->in_len = (uint16_t)left;
}

/*
 * `consumed` bytes were read from the source, `sent` of the output were taken. Death anywhere in here: the
 * op is set, so a successor goes back to the journal and comes to the same.
 */
static void settle(struct step *s, uint32_t consumed, uint32_t sent)
{
    struct arena_dir *dir = &s->t->dir[s->d];
    if (s->src) {
        keep_rest(s);
        s->src->check = vault_check(&s->src->session);
    }
    if (s->dst)
        s->dst->check = vault_check(&s->dst->session);
    CRASH_POINT(made_sides);
    s->t->src_off[s->d] += consumed - s->out;
    dir->rx += s->out;
    CRASH_POINT(made_rx_stored);
    dir->tx += sent;
    if (sent < s->out) {
        dir->base = op_of(s->w)->base;
        dir->chunk = (uint16_t)op_of(s->w)->out;
        dir->flags |= DIR_BLOCKED;
    }
    CRASH_POINT(made_settled);
}

/* Chunks that have become the tunnel's are replaced, one that it no longer needs is freed. */
static void change_chunks(const struct step *s, uint32_t before)
{
    struct worker *w = s->w;
    struct arena_op *op = op_of(w);
    struct vault_op *vop = vault_op(w);
    uint32_t now = s->src ? s->src->in_chunk : 0;
    if (s->t->dir[s->d].chunk == op->out)
        tunnel_chunk_give(w, &op->out);
    if (before != 0 && before != now)
        tunnel_chunk_free(w, before);
    if (now != 0 && now == op->scratch)
        tunnel_chunk_give(w, &op->scratch);
    if (now != 0 && now == vop->rest)
        tunnel_chunk_give(w, &vop->rest);
}

static bool over(const struct step *s)
{
    return s->src && s->src->session.flags & TLS_RECV_CLOSE;
}

/* ---- a step of a living worker ---- */

/* A whole record was left from before the tunnel: no event will tell of it. */
static bool has_record(const struct step *s)
{
    if (!s->src || s->len == 0)
        return false;
    int need = tls_record_need(&s->src->session, arena_chunk(s->w->arena, s->chunk), s->len);
    return need < 0 || (need > 0 && (uint32_t)need <= s->len);
}

/* No chunk to park bytes in: leave them in the kernel until one is free. */
static enum relay_result starve(const struct step *s, uint32_t tunnel)
{
    worker_count(s->w, COUNTER_CHUNKS_SHORT);
    starved_add(s->w, tunnel, s->d);
    return RELAY_WAIT;
}

/* The source has broken TLS: tell it, if nothing is half sent to it, and end the tunnel. */
static enum relay_result refuse(const struct step *s, enum reason *reason)
{
    uint8_t alert[TLS_CONTROL_MAX];
    const struct arena_dir *back = &s->t->dir[!s->d];
    *reason = REASON_TLS_ERROR;
    if (s->error >= TLS_PEER_ALERT) {
        *reason = s->d == 0 ? REASON_CLIENT_RESET : REASON_BACKEND_RESET;
        return RELAY_FAILED;
    }
    bool silent = !s->src || s->src->session.flags & (TLS_SENT_CLOSE | TLS_FATAL);
    if (silent || back->rx != back->tx)
        return RELAY_REFUSED;
    /* Death after it: the successor comes to the same verdict, and the same bytes. */
    int n = tls_record_alert(s->w->tls_engine, &s->src->session, (enum tls_alert)s->error, alert);
    if (n > 0)
        (void)!send(s->t->fd[s->d], alert, (size_t)n, MSG_NOSIGNAL);
    return RELAY_REFUSED;
}

/* The source has ended, and a Close of ours may have to go before that is passed on. */
static enum relay_result source_ended(const struct step *s, uint32_t tunnel)
{
    if (s->walk && guard_source_ended(s->w, tunnel, s->d))
        return RELAY_MORE;
    return relay_source_ended(s->w, tunnel, s->d);
}

/*
 * The source has ended in mid-record: nothing can make a whole one of that any more. No step is in
 * flight. Death before the chunk is let go: nobody owns it, so the successor lets it go.
 */
static void drop_rest(const struct step *s)
{
    if (!s->src || s->src->in_chunk == 0)
        return;
    uint32_t chunk = s->src->in_chunk;
    s->src->in_len = 0;
    s->src->in_chunk = 0;
    COMMIT_FENCE();
    tunnel_chunk_free(s->w, chunk);
}

/* One recv behind the input that is there. Returns the bytes; 0: *result is what the step came to. */
static uint32_t read_input(struct step *s, uint32_t tunnel, enum relay_result *result,
                           enum reason *reason)
{
    uint8_t *to = arena_chunk(s->w->arena, s->chunk) + s->len;
    ssize_t got = relay_read(s->w, s->t, s->d, to, content_max(s) - s->len);
    CRASH_POINT(made_received);
    if (got > 0)
        return (uint32_t)got;
    if (got == 0) {
        relay_op_end(s->w);
        drop_rest(s);
        *result = source_ended(s, tunnel);
    } else {
        *result = relay_read_ended(s->w, tunnel, s->d, got, reason);
    }
    return 0;
}

/* What there is to do next in a direction whose step is done. */
static enum relay_result step_done(const struct step *s, uint32_t tunnel, bool more,
                                   enum reason *reason)
{
    const struct arena_dir *dir = &s->t->dir[s->d];
    if (UNLIKELY(s->dst && tls_record_worn_out(&s->dst->session))) {
        *reason = REASON_TLS_LIMIT;
        return RELAY_REFUSED;
    }
    if (UNLIKELY(dir->flags & DIR_BLOCKED)) {
        relay_note_blocked(s->w, tunnel, s->d);
        return RELAY_WAIT;
    }
    if (UNLIKELY(over(s)))
        return source_ended(s, tunnel);
    return more || s->more || dir->flags & DIR_HANGUP ? RELAY_MORE : RELAY_WAIT;
}

static enum relay_result run_step(struct step *s, uint32_t tunnel, bool read, enum reason *reason)
{
    struct worker *w = s->w;
    enum relay_result result = RELAY_WAIT;
    uint32_t before = s->src ? s->src->in_chunk : 0;
    uint32_t n = 0;
    uint32_t limit = content_max(s) - s->len;
    save(s);
    relay_op_begin(w, OP_MADE, tunnel, s->d);
    CRASH_POINT(made_op_set);
    if (read && (n = read_input(s, tunnel, &result, reason)) == 0)
        return result;
    s->len += n;
    make(s);
    CRASH_POINT(made_output);
    ssize_t sent =
        s->out > 0 ? relay_write(w, s->t, s->d, arena_chunk(w->arena, op_of(w)->out), s->out) : 0;
    CRASH_POINT(made_sent);
    if (UNLIKELY(s->error != 0))
        return refuse(s, reason); /* the op stays set until the close takes over */
    if (sent < 0 && errno != EAGAIN)
        return relay_failed(!s->d, reason);
    settle(s, n, sent < 0 ? 0 : (uint32_t)sent);
    relay_op_end(w);
    CRASH_POINT(made_op_cleared);
    change_chunks(s, before);
    relay_publish(w, tunnel, s->d, s->content, s->heard > 0);
    /* Edge-triggered: a short read has emptied the queue, unless a FIN stands behind it. */
    return step_done(s, tunnel, !read || n == limit, reason);
}

/*
 * Is a source gone that is not read? What it sent before a FIN (EPIPE) is still to be passed on; an RST
 * by itself has given up what was not read yet. Death after this, which takes the error off the
 * socket: the successor reads on when the pause is over, and finds an end.
 */
static bool is_reset(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0 && error != EPIPE;
}

static enum relay_result stay_paused(const struct step *s, enum reason *reason)
{
    if (s->t->dir[s->d].flags & DIR_HANGUP && is_reset(s->t->fd[s->d]))
        return relay_failed(s->d, reason);
    return RELAY_WAIT;
}

enum relay_result relay_made_once(struct worker *w, uint32_t tunnel, uint32_t d,
                                  enum reason *reason)
{
    struct step s;
    open_step(&s, w, tunnel, d);
    bool words = s.walk && guard_has_words(w, tunnel, d);
    if (UNLIKELY(over(&s) && !words))
        return source_ended(&s, tunnel);
    if (s.walk && !words && guard_is_paused(w, tunnel, d))
        return stay_paused(&s, reason);
    if (UNLIKELY(s.t->tls != 0 && tunnel_tls_engine(w) < 0)) {
        *reason = REASON_NO_MEMORY;
        return RELAY_FAILED;
    }
    if (UNLIKELY(w->free_chunk_count < STARVED_CHUNKS_A_STEP))
        return starve(&s, tunnel);
    find_input(&s);
    return run_step(&s, tunnel, !words && !has_record(&s), reason);
}

bool relay_made_say_end(struct worker *w, uint32_t tunnel, uint32_t d)
{
    struct step s;
    open_step(&s, w, tunnel, d);
    if (!s.dst || s.dst->session.flags & (TLS_SENT_CLOSE | TLS_FATAL) || w->free_chunk_count == 0)
        return true;
    if (tunnel_tls_engine(w) < 0) /* a successor may have none yet */
        return true;
    s.src = NULL; /* nothing is read */
    s.walk = false;
    save(&s);
    relay_op_begin(w, OP_END, tunnel, d);
    CRASH_POINT(made_end_op_set);
    make_end(&s);
    /* Unread bytes would make an RST of the close, which overtakes what waits for it. */
    bool read_all = s.t->dir[!d].flags & DIR_EOF;
    ssize_t sent =
        (read_all ? relay_write_last : relay_write)(w, s.t, d, out_at(&s) - s.out, s.out);
    CRASH_POINT(made_end_sent);
    settle(&s, 0, sent < 0 ? 0 : (uint32_t)sent);
    relay_op_end(w);
    change_chunks(&s, 0);
    if (!(s.t->dir[d].flags & DIR_BLOCKED))
        return true;
    relay_note_blocked(w, tunnel, d);
    return false;
}

/* ---- the same step again, by a successor ---- */

/* The bytes of output that have left: made again they must be the same ones. */
static uint32_t digest_sent(const struct step *s, uint32_t sent)
{
    const uint8_t *out = arena_chunk(s->w->arena, op_of(s->w)->out);
    return (uint32_t)crc32(0, out, sent);
}

int relay_made_resolve(struct worker *w, uint32_t tunnel, uint32_t d, uint32_t consumed,
                       uint32_t sent)
{
    const struct arena_op *op = op_of(w);
    bool end = op->cur >> 28 == OP_END;
    struct step s;
    open_step(&s, w, tunnel, d);
    uint32_t rest = vault_op(w)->rest;
    uint32_t chunks = w->arena->header->chunks_max;
    if (s.t->tls >> 2 >= w->vault.header->sides_max)
        return -EBADMSG;
    if (op->out == 0 || op->out >= chunks || rest == 0 || rest >= chunks ||
        (s.t->tls != 0 && tunnel_tls_engine(w) < 0))
        return -EBADMSG;
    if (end) {
        s.src = NULL; /* nothing was being read */
        s.walk = false;
    }
    s.again = true;
    int rc = restore(&s);
    if (rc < 0)
        return rc;
    find_input(&s);
    uint32_t limit = s.src ? ARENA_CHUNK_SIZE : content_max(&s);
    if (s.chunk >= chunks || consumed > limit || s.len + consumed > limit ||
        sent > ARENA_CHUNK_SIZE)
        return -ERANGE;
    uint32_t before = digest_sent(&s, sent);
    s.len += consumed;
    if (end)
        make_end(&s);
    else
        make(&s);
    CRASH_POINT(adopt_made);
    if (s.error != 0)
        return -EPROTO;
    if (sent > s.out || digest_sent(&s, sent) != before)
        return -ERANGE;
    settle(&s, consumed, sent);
    return 0;
}
